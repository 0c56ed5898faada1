"""The machines of the province, made on demand: one set for each thread that samples them."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from simulators.outbox import Outbox
from simulators.profile import Profile, profile_of
from simulators.province import Province
from simulators.signals import Machine, Origin


class Works:
    """Profiles and daily totals of all machines. Thread-safe; the machines it hands out are not."""

    def __init__(self, province: Province, origin: Origin, outbox: Outbox) -> None:
        self._outbox = outbox
        self._origin = origin
        self._lock = threading.Lock()
        self._totals = outbox.totals()
        self._unsaved: list[tuple[str, str, int, int, int, float]] = []
        self._equipment = {(one.unit, one.code): one for one in province.equipment}
        pilots = {pilot.unit.code: pilot for pilot in province.pilots}
        self.profiles: dict[tuple[str, str], Profile] = {
            key: profile_of(province, one, pilots[one.unit]) for key, one in self._equipment.items()
        }

    def machines(self, unit: str, codes: Iterable[str] | None = None) -> list[Machine]:
        """New machines of a unit: those named, or all."""
        wanted = None if codes is None else set(codes)
        return [
            Machine(self.profiles[key], one, self._origin, self)
            for key, one in self._equipment.items()
            if key[0] == unit and (wanted is None or key[1] in wanted)
        ]

    def get_total(self, unit: str, code: str, day: int) -> tuple[int, int, float] | None:
        """(produced, scrap, energy_kwh) of a machine-day if known."""
        return self._totals.get((unit, code, day))

    def put_total(self, unit: str, code: str, day: int, total: tuple[int, int, float]) -> None:
        """Remember a machine-day's totals; saved a little later."""
        with self._lock:
            self._totals[unit, code, day] = total
            self._unsaved.append((unit, code, day, *total))

    def save_totals(self) -> None:
        """Write new totals to the outbox, so that a later run need not simulate those days again."""
        with self._lock:
            unsaved, self._unsaved = self._unsaved, []
        if unsaved:
            self._outbox.add_totals(unsaved)
