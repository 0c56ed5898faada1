"""The shop calendar and the production orders of a machine: pure functions of (seed, machine, day).

A production day runs from 08:00 to 08:00 local time (Asia/Shanghai, +08:00), which is exactly a UTC day;
days are counted from 1970-01-01. Minutes below count from the start of the production day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import Final

from simulators.profile import Profile

DAY_MS: Final = 86_400_000
MINUTE_MS: Final = 60_000

_PATTERNS: Final[dict[str, tuple[tuple[int, int, tuple[tuple[int, int], ...]], ...]]] = {
    # start, end, breaks
    "day": ((0, 720, ((240, 300), (570, 600))),),
    "two": ((0, 720, ((240, 285), (570, 600))), (720, 1440, ((960, 1005), (1290, 1320)))),
    "three": ((0, 480, ((240, 270),)), (480, 960, ((720, 750),)), (960, 1440, ((1200, 1230),))),
}

_PLANNED_DOWNTIME_SHARE: Final = 0.07


@dataclass(frozen=True, slots=True)
class Shift:
    """One shift: bounds, breaks and planned downtime as [start, end) in ms since the Unix epoch."""

    start: int
    end: int
    breaks: tuple[tuple[int, int], ...]
    planned_downtime: tuple[int, int] | None

    def busy(self) -> list[tuple[int, int]]:
        """Planned busy time (PBT): the shift without breaks and planned downtime, in order."""
        spans = []
        at = self.start
        closed = [*self.breaks, *([self.planned_downtime] if self.planned_downtime else [])]
        for start, end in sorted(closed):
            if start > at:
                spans.append((at, start))
            at = max(at, end)
        if at < self.end:
            spans.append((at, self.end))
        return spans


@dataclass(frozen=True, slots=True)
class Order:
    """A production order: one per shift. ``pri_s`` is the planned run time per item (PRI, s)."""

    order_id: str
    product: int
    pri_s: float
    planned_quantity: int
    start: int
    end: int
    setup: bool


def local_date(day: int) -> date:
    """The local date on which production day ``day`` begins."""
    return date(1970, 1, 1) + timedelta(days=day)


def shifts_of(profile: Profile, day: int) -> list[Shift]:
    """The shifts of a production day; none on a day of rest."""
    if profile.rests_on_sunday and local_date(day).weekday() == 6:
        return []
    machine = f"{profile.unit}/{profile.code}"
    origin = day * DAY_MS
    shifts = []
    for number, (start, end, breaks) in enumerate(_PATTERNS[profile.pattern]):
        random = Random(f"{profile.seed}/{machine}/{day}/{number}/downtime")
        planned = None
        if random.random() < _PLANNED_DOWNTIME_SHARE:
            # ends before the first break, so that no minute is taken off twice
            begin = origin + (start + 5 * random.randrange(0, 24)) * MINUTE_MS
            planned = (begin, begin + 5 * random.randrange(6, 19) * MINUTE_MS)
        shifts.append(
            Shift(
                origin + start * MINUTE_MS,
                origin + end * MINUTE_MS,
                tuple((origin + one * MINUTE_MS, origin + two * MINUTE_MS) for one, two in breaks),
                planned,
            )
        )
    return shifts


def product_of(seed: int, machine: str, day: int, shift: int, products: int) -> int:
    """Which product runs: it changes every second day or so, and sometimes between shifts of a day."""
    block = Random(f"{seed}/{machine}/{day // 2}/product").randrange(products)
    if shift and Random(f"{seed}/{machine}/{day}/{shift}/change").random() < 0.25:
        return (block + shift) % products
    return block


def orders_of(profile: Profile, shifts: list[Shift], day: int) -> list[Order]:
    """One order for each shift; bounds are the shift's. ``setup``: the product differs from the shift before."""
    orders = []
    name = f"{profile.unit}/{profile.code}"
    products = len(profile.pri_s)
    before = product_of(profile.seed, name, day - 1, 0, products)
    for number, shift in enumerate(shifts):
        product = product_of(profile.seed, name, day, number, products)
        pri = profile.pri_s[product]
        busy_s = sum(end - start for start, end in shift.busy()) / 1000
        orders.append(
            Order(
                order_id=f"{profile.code}-{local_date(day):%Y%m%d}-{number + 1}",
                product=product,
                pri_s=pri,
                planned_quantity=max(1, round(busy_s * 0.85 / pri)),
                start=shift.start,
                end=shift.end,
                setup=product != before,
            )
        )
        before = product
    return orders
