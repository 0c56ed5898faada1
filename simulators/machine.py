"""One production day of one machine as discrete events: a pure function of (profile, day, origin).

Everything else is read off the day: samples at any time (``signals``) and the ground truth (``truth``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulators.profile import Profile
from simulators.shifts import DAY_MS, Order, Shift, orders_of, shifts_of

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

STATES: Final = ("NotAvailable", "OutOfService", "NotExecuting", "Executing")
"""OPC 40001-1 MachineryItemState."""

MODES: Final = ("None", "Maintenance", "Setup", "Processing")
"""OPC 40001-1 MachineryOperationMode."""

OFF, BREAK, PLANNED, RUN, SETUP, MICRO, WAIT, REPAIR, LOST = range(9)
"""What a machine does in a segment."""

_STATE: Final = np.array([1, 2, 2, 3, 2, 2, 2, 2, 0])
_MODE: Final = np.array([0, 0, 1, 3, 2, 3, 0, 1, 0])

_WARM: Final = np.array([0.0, 0.6, 0.2, 1.0, 0.7, 0.97, 0.85, 0.35, 0.3])
"""How near to its running value the process temperature settles."""

_THERMAL_MS: Final = 9 * 60_000.0


@dataclass(frozen=True, slots=True)
class MachineDay:
    """Segments of a production day; segment i covers [start[i], start[i+1]), the last one to the day's end.

    ``run_before``: ms of production in the segment's order before it; ``pieces_before``: pieces of the day
    completed before that order; ``cycle_ms``: true cycle time; ``energy_before``: kWh used before the segment;
    ``scrap_of``: scrapped pieces among the first n pieces of the day.
    """

    day: int
    start: Ints
    what: Ints
    run_before: Ints
    pieces_before: Ints
    cycle_ms: Floats
    kw: Floats
    energy_before: Floats
    warmth: Floats
    scrap_of: Ints
    shifts: tuple[Shift, ...]
    orders: tuple[Order, ...]
    produced: int
    scrap: int
    energy_kwh: float

    @property
    def end(self) -> int:
        """End of the day, ms since the Unix epoch."""
        return (self.day + 1) * DAY_MS

    def segment_at(self, ts: Ints) -> Ints:
        """Index of the segment in which each time lies."""
        return np.searchsorted(self.start, ts, side="right") - 1

    def state(self, segment: Ints) -> Ints:
        """Index into STATES."""
        return _STATE[self.what[segment]]

    def mode(self, segment: Ints) -> Ints:
        """Index into MODES."""
        return _MODE[self.what[segment]]

    def counted(self, ts: Ints) -> tuple[Ints, Ints]:
        """Pieces produced and scrapped since the day's start, at each time (the piece finished then included)."""
        segment = self.segment_at(ts)
        ran = self.run_before[segment] + np.where(self.what[segment] == RUN, ts - self.start[segment], 0)
        produced = self.pieces_before[segment] + np.floor(ran / self.cycle_ms[segment]).astype(np.int64)
        return produced, self.scrap_of[produced]

    def energy(self, ts: Ints) -> Floats:
        """kWh used since the day's start."""
        segment = self.segment_at(ts)
        return self.energy_before[segment] + self.kw[segment] * (ts - self.start[segment]) / 3.6e6

    def warmth_at(self, ts: Ints) -> Floats:
        """0 (at rest) to 1 (running): a first-order lag towards what the segment asks for."""
        segment = self.segment_at(ts)
        target = _WARM[self.what[segment]]
        decay = np.exp(-(ts - self.start[segment]) / _THERMAL_MS)
        return target + (self.warmth[segment] - target) * decay


def simulate_day(profile: Profile, day: int, origin_day: int) -> MachineDay:
    """Simulate production day ``day``; ``origin_day`` is where the slow improvement of the pilot starts."""
    week = (day - origin_day) / 7
    losses = profile.losses(week)
    name = f"{profile.unit}/{profile.code}"
    shifts = shifts_of(profile.seed, name, profile.pattern, profile.rests_on_sunday, day)
    orders = orders_of(profile.seed, profile.unit, profile.code, shifts, day, profile.pri_s)
    rng = np.random.Generator(np.random.PCG64([profile.seed, profile.number, day]))

    starts: list[int] = []
    what: list[int] = []
    owner: list[int] = []
    at = day * DAY_MS
    to_failure = rng.uniform() * profile.mtbf_h / losses * rng.weibull(profile.weibull_shape) * 3.6e6
    for index, (shift, order) in enumerate(zip(shifts, orders, strict=True)):
        to_failure = _run_shift(profile, shift, order, losses, to_failure, rng, index, starts, what, owner)
        at = shift.end
    if at < (day + 1) * DAY_MS:
        starts.append(at)
        what.append(OFF)
        owner.append(len(shifts) - 1)
    return _measure(profile, day, week, losses, rng, starts, what, owner, tuple(shifts), tuple(orders))


def _run_shift(
    profile: Profile,
    shift: Shift,
    order: Order,
    losses: float,
    to_failure: float,
    rng: np.random.Generator,
    index: int,
    starts: list[int],
    what: list[int],
    owner: list[int],
) -> float:
    """Append one shift's segments; returns the run time left to the next failure, ms."""

    def put(start: int, kind: int) -> None:
        starts.append(start)
        what.append(kind)
        owner.append(index)

    pending: list[tuple[float, int]] = []
    if order.setup:
        pending.append((profile.setup_min * math.sqrt(losses) * rng.lognormal(0, 0.25) * 60_000, SETUP))
    micro_mean, wait_mean = profile.micro_stop_min * 60_000 / losses, profile.wait_h * 3.6e6 / losses
    to_micro, to_wait = rng.exponential(micro_mean), rng.exponential(wait_mean)
    planned = shift.planned_downtime
    last_end = shift.start
    for start, end in shift.busy():
        if start > last_end:
            put(last_end, PLANNED if planned and planned[0] == last_end else BREAK)
        at = start
        while at < end:
            if pending:
                length, kind = pending.pop()
            else:
                length, kind = min(to_micro, to_wait, to_failure), RUN
            stop = min(end, at + max(1, round(length)))
            put(at, kind)
            done = stop - at
            if stop == end and done < length:
                if kind != RUN:
                    pending.append((length - done, kind))
                    at = stop
                    continue
            if kind == RUN:
                to_micro, to_wait, to_failure = to_micro - done, to_wait - done, to_failure - done
                if to_failure < 1:
                    repair = profile.repair_min * losses**0.5 * rng.lognormal(0, 0.8) * 60_000
                    reaction = rng.uniform(1, 9) * 60_000
                    pending += [
                        (min(repair, 6 * 3.6e6), REPAIR),
                        (reaction, LOST if rng.uniform() < 0.15 else WAIT),
                    ]
                    to_failure = profile.mtbf_h / losses * rng.weibull(profile.weibull_shape) * 3.6e6
                elif to_micro < 1:
                    pending.append((rng.uniform(18, 110) * 1000, MICRO))
                if to_micro < 1:
                    to_micro = rng.exponential(micro_mean)
                if to_wait < 1:
                    pending.append((rng.lognormal(math.log(6), 0.6) * 60_000, WAIT))
                    to_wait = rng.exponential(wait_mean)
            at = stop
        last_end = end
    if last_end < shift.end:
        put(last_end, BREAK)
    return to_failure


def _measure(
    profile: Profile,
    day: int,
    week: float,
    losses: float,
    rng: np.random.Generator,
    starts: list[int],
    what: list[int],
    owner: list[int],
    shifts: tuple[Shift, ...],
    orders: tuple[Order, ...],
) -> MachineDay:
    start = np.array(starts, dtype=np.int64)
    kinds = np.array(what, dtype=np.int64)
    length = np.diff(start, append=(day + 1) * DAY_MS)
    ran = np.where(kinds == RUN, length, 0)
    load = rng.uniform(0.93, 1.07, size=max(1, len(orders)))
    ratio = profile.cycle_ratio * (1 + 0.035 * (losses - 1)) * rng.normal(1, 0.008, size=max(1, len(orders)))
    run_before = np.zeros(len(start), dtype=np.int64)
    pieces_before = np.zeros(len(start), dtype=np.int64)
    cycle_ms = np.ones(len(start))
    which = np.array(owner, dtype=np.int64)
    total = 0
    for index, order in enumerate(orders):
        mine = which == index
        cycle = order.pri_s * float(ratio[index]) * 1000
        run_before[mine] = np.concatenate(([0], np.cumsum(ran[mine])[:-1]))
        pieces_before[mine] = total
        cycle_ms[mine] = cycle
        total += math.floor(int(ran[mine].sum()) / cycle)
    idle, run = profile.idle_kw, profile.run_kw
    table = np.array(
        [0.03 * idle, 0.6 * idle, 0.5 * idle, run, 1.1 * idle, 0.95 * idle, idle, 0.5 * idle, 0.02 * idle]
    )
    kw = table[kinds] * np.where(kinds == RUN, load[np.maximum(which, 0)], 1.0)
    used = kw * length / 3.6e6
    season = 1 + 0.25 * math.sin(2 * math.pi * (day + profile.number % 23) / 23) + 0.01 * max(0.0, week) % 0.2
    scrapped = rng.random(total) < profile.scrap * losses * season
    scrap_of = np.concatenate(([0], np.cumsum(scrapped))).astype(np.int64)
    return MachineDay(
        day=day,
        start=start,
        what=kinds,
        run_before=run_before,
        pieces_before=pieces_before,
        cycle_ms=cycle_ms,
        kw=kw,
        energy_before=np.cumsum(used) - used,
        warmth=_warm_up(kinds, length),
        scrap_of=scrap_of,
        shifts=shifts,
        orders=orders,
        produced=total,
        scrap=int(scrap_of[-1]),
        energy_kwh=float(used.sum()),
    )


def _warm_up(kinds: Ints, length: Ints) -> Floats:
    decay = np.exp(-length / _THERMAL_MS).tolist()
    targets = _WARM[kinds].tolist()
    warmth = np.empty(len(targets))
    now = targets[0]
    for index, target in enumerate(targets):
        warmth[index] = now
        now = target + (now - target) * decay[index]
    return warmth
