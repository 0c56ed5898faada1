"""A small province and its machines, without state on disk."""

from __future__ import annotations

from datetime import date

from simulators.plan import plan_province
from simulators.profile import profile_of
from simulators.province import Province
from simulators.signals import Machine, Origin

AS_OF = date(2026, 11, 23)
TODAY = (AS_OF - date(1970, 1, 1)).days
ORIGIN = Origin(TODAY - 10, TODAY)


class Forgetful:
    """A store of totals that knows nothing."""

    def get_total(self, unit: str, code: str, day: int) -> tuple[int, int, float] | None:
        return None

    def put_total(self, unit: str, code: str, day: int, total: tuple[int, int, float]) -> None:
        """Forget it."""


def small_province(seed: int = 7) -> Province:
    return plan_province(seed, pilots=3, enterprises=15, equipment=30, as_of=AS_OF)


def machines_of(province: Province, origin: Origin = ORIGIN) -> list[Machine]:
    return [
        Machine(profile_of(province, one, province.pilot_of(one.unit)), one, origin, Forgetful())
        for one in province.equipment
    ]
