"""Samples of a machine for any window: what its controller shows at each due time.

State and mode are sampled on change (exact source time, ms) and on the keep-alive grid; counters, energy and
process values on an aligned grid of source time. Counters are cumulative since long before the run, so that
any window can be regenerated without the days before it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from simulators.machine import MODES, STATES, Floats, Ints, MachineDay, simulate_day
from simulators.names import Process
from simulators.profile import Profile
from simulators.province import Equipment
from simulators.shifts import DAY_MS

_KEPT_DAYS = 2


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a run's time begins: fixed on the first run and kept with its state.

    ``day``: first production day of the history; ``anchor_day``: the day on which live operation began, from
    which cumulative counters are reckoned in both directions.
    """

    day: int
    anchor_day: int


class Totals(Protocol):
    """A store of (produced, scrap, energy_kwh) of whole machine-days: only a cache."""

    def get_total(self, unit: str, code: str, day: int) -> tuple[int, int, float] | None:
        """The day's totals if known."""

    def put_total(self, unit: str, code: str, day: int, total: tuple[int, int, float]) -> None:
        """Remember the day's totals."""


class Machine:
    """One machine's samples. Not thread-safe: use one object a thread."""

    def __init__(self, profile: Profile, equipment: Equipment, origin: Origin, totals: Totals) -> None:
        self.profile = profile
        self.equipment = equipment
        self.code = equipment.code
        self.signals = [tag.signal for tag in equipment.tags]
        self.live_ms = {tag.signal: tag.live_interval_s * 1000 for tag in equipment.tags}
        self.history_ms = {tag.signal: tag.history_interval_s * 1000 for tag in equipment.tags}
        self._origin = origin
        self._totals = totals
        self._days: OrderedDict[int, MachineDay] = OrderedDict()
        self._bases: dict[int, tuple[int, int, float]] = {origin.anchor_day: self._offset()}

    def _offset(self) -> tuple[int, int, float]:
        """Counters at the anchor: more than the history can have used, plus what ran before."""
        days = self._origin.anchor_day - self._origin.day + 1
        most = int(days * 86_400 / (min(self.profile.pri_s) * 0.85)) + self.profile.number % 50_000
        return most, most // 4, round(days * 30 * self.profile.run_kw + self.profile.number % 9_000, 3)

    def day(self, day: int) -> MachineDay:
        """The simulated production day, from a small cache."""
        found = self._days.get(day)
        if found is None:
            found = self._days[day] = simulate_day(self.profile, day, self._origin.day)
            if len(self._days) > _KEPT_DAYS:
                self._days.popitem(last=False)
        return found

    def total(self, day: int) -> tuple[int, int, float]:
        """(produced, scrap, energy_kwh) of a whole day."""
        known = self._totals.get_total(self.profile.unit, self.code, day)
        if known is None:
            simulated = self.day(day)
            known = (simulated.produced, simulated.scrap, simulated.energy_kwh)
            self._totals.put_total(self.profile.unit, self.code, day, known)
        return known

    def base(self, day: int) -> tuple[int, int, float]:
        """Cumulative (produced, scrap, energy_kwh) at the start of a day."""
        base = self._bases.get(day)
        if base is not None:
            return base
        step = 1 if day > self._origin.anchor_day else -1
        at = day
        while at not in self._bases:
            at -= step
        produced, scrap, energy = self._bases[at]
        while at != day:
            more = self.total(at if step > 0 else at - 1)
            produced, scrap, energy = (
                produced + step * more[0],
                scrap + step * more[1],
                energy + step * more[2],
            )
            at += step
            self._bases[at] = (produced, scrap, energy)
        return produced, scrap, energy

    def next_change(self, ts: int) -> int:
        """The first time after ``ts`` at which a segment begins, ms (the day's end at the latest)."""
        day = self.day(ts // DAY_MS)
        place = int(np.searchsorted(day.start, ts, side="right"))
        return int(day.start[place]) if place < len(day.start) else day.end

    def window(self, start: int, end: int, every: Mapping[str, int]) -> list[tuple[str, Ints, list[Any]]]:
        """All samples with start <= ts < end (ms): (signal, times, values) for each signal, in time order.

        ``every`` gives each signal's grid in ms; enum values are names, counters int, the rest float.
        """
        parts: dict[str, tuple[list[Ints], list[Any]]] = {signal: ([], []) for signal in self.signals}
        at = start
        while at < end:
            number = at // DAY_MS
            stop = min(end, (number + 1) * DAY_MS)
            day = self.day(number)
            base = self.base(number)
            for signal in self.signals:
                ts, values = self._sample(day, base, signal, at, stop, every[signal])
                parts[signal][0].append(ts)
                parts[signal][1].extend(values)
            at = stop
        return [
            (signal, np.concatenate(times) if times else np.empty(0, np.int64), values)
            for signal, (times, values) in parts.items()
        ]

    def _sample(
        self, day: MachineDay, base: tuple[int, int, float], signal: str, start: int, end: int, every: int
    ) -> tuple[Ints, list[Any]]:
        grid = np.arange(-(-start // every) * every, end, every, dtype=np.int64)
        if signal in ("state", "mode"):
            grid = self._with_changes(day, signal, grid, start, end)
            if not len(grid):
                return grid, []
            segment = day.segment_at(grid)
            if signal == "state":
                return grid, [STATES[code] for code in day.state(segment).tolist()]
            return grid, [MODES[code] for code in day.mode(segment).tolist()]
        if not len(grid):
            return grid, []
        if signal in ("produced", "good", "scrap"):
            produced, scrap = day.counted(grid)
            if signal == "produced":
                return grid, (produced + base[0]).tolist()
            if signal == "scrap":
                return grid, (scrap + base[1]).tolist()
            return grid, (produced - scrap + (base[0] - base[1])).tolist()
        if signal == "energy":
            return grid, np.round(day.energy(grid) + base[2], 6).tolist()
        return grid, self._process(day, signal, grid).tolist()

    @staticmethod
    def _with_changes(day: MachineDay, signal: str, grid: Ints, start: int, end: int) -> Ints:
        first, last = np.searchsorted(day.start, (start, end))
        segments = np.arange(max(1, int(first)), int(last))
        if not len(segments):
            return grid
        codes = day.state if signal == "state" else day.mode
        changed = segments[codes(segments) != codes(segments - 1)]
        return np.union1d(grid, day.start[changed])

    def _process(self, day: MachineDay, signal: str, ts: Ints) -> Floats:
        kind = self.profile.kind
        process: Process = kind.temperature if signal == kind.temperature.signal else kind.extra
        if process is kind.temperature:
            level = day.warmth_at(ts)
        else:
            level = (day.state(day.segment_at(ts)) == 3).astype(np.float64)
        noise = _noise(ts, self.profile.number ^ (0 if process is kind.temperature else 0x5BD1E995))
        values = (
            process.rest
            + (process.run - process.rest) * level
            + noise * (process.spread * (0.15 + 0.85 * level))
        )
        return np.clip(values, process.low, process.high).round(3)


def _noise(ts: Ints, salt: int) -> Floats:
    """Repeatable noise in about (-2, 2): two splitmix64 hashes of time and salt, summed."""
    value = ts.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(salt)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    value ^= value >> np.uint64(31)
    low = (value & np.uint64(0xFFFFFFFF)).astype(np.float64) / 2**32
    high = (value >> np.uint64(32)).astype(np.float64) / 2**32
    return (low + high - 1.0) * 2.0
