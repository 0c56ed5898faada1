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
    scrap_of: NDArray[np.int32]
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
        return produced, self.scrap_of[produced].astype(np.int64)

    def energy(self, ts: Ints) -> Floats:
        """kWh used since the day's start."""
        segment = self.segment_at(ts)
        return self.energy_before[segment] + self.kw[segment] * (ts - self.start[segment]) / 3.6e6

    def warmth_at(self, ts: Ints) -> Floats:
        """0 (at rest) to 1 (running): a first-order lag towards what the segment asks for."""
        segment = self.segment_at(ts)
        target = _WARM[self.what[segment]]
        decay = np.exp(-(ts - self.start[segment]) / _THERMAL_MS)
        warmth: Floats = target + (self.warmth[segment] - target) * decay
        return warmth


def simulate_day(profile: Profile, day: int, origin_day: int) -> MachineDay:
    """Simulate production day ``day``; ``origin_day`` is where the slow improvement of the pilot starts."""
    shifts = shifts_of(profile, day)
    orders = orders_of(profile, shifts, day)
    events = _Events(profile, day, (day - origin_day) / 7)
    for index, (shift, order) in enumerate(zip(shifts, orders, strict=True)):
        events.run_shift(index, shift, order)
    return events.measured(tuple(shifts), tuple(orders))


class _Events:
    """The events of one day while they happen; the random draws are made in a fixed order."""

    def __init__(self, profile: Profile, day: int, week: float) -> None:
        self.profile = profile
        self.day = day
        self.losses = profile.losses(week)
        self.rng = np.random.Generator(np.random.PCG64([profile.seed, profile.number, day]))
        self.starts: list[int] = []
        self.what: list[int] = []
        self.owner: list[int] = []
        # where in its life a machine is at the day's start is drawn evenly, as no day knows the one before
        self.to_failure = self.rng.uniform() * self._life()

    def _life(self) -> float:
        """Run time from repair to failure, ms."""
        profile = self.profile
        return profile.mtbf_h / self.losses * float(self.rng.weibull(profile.weibull_shape)) * 3.6e6

    def put(self, start: int, kind: int, owner: int) -> None:
        """Begin a segment."""
        self.starts.append(start)
        self.what.append(kind)
        self.owner.append(owner)

    def run_shift(self, index: int, shift: Shift, order: Order) -> None:
        """Go through one shift: what is not finished when a break begins goes on after it."""
        profile, losses, rng = self.profile, self.losses, self.rng
        pending: list[tuple[float, int]] = []
        if order.setup:
            setup = profile.setup_min * math.sqrt(losses) * rng.lognormal(0, 0.25) * 60_000
            pending.append((setup, SETUP))
        micro_mean, wait_mean = profile.micro_stop_min * 60_000 / losses, profile.wait_h * 3.6e6 / losses
        to_micro, to_wait = rng.exponential(micro_mean), rng.exponential(wait_mean)
        planned = shift.planned_downtime
        last_end = shift.start
        for start, end in shift.busy():
            if start > last_end:
                self.put(last_end, PLANNED if planned and planned[0] == last_end else BREAK, index)
            at = start
            while at < end:
                if pending:
                    length, kind = pending.pop()
                else:
                    length, kind = min(to_micro, to_wait, self.to_failure), RUN
                stop = min(end, at + max(1, round(length)))
                self.put(at, kind, index)
                done = stop - at
                at = stop
                if kind != RUN:
                    if done < length - 1:
                        pending.append((length - done, kind))
                    continue
                to_micro, to_wait, self.to_failure = to_micro - done, to_wait - done, self.to_failure - done
                if self.to_failure < 1:
                    pending += self._failure()
                elif to_micro < 1:
                    pending.append((rng.uniform(18, 110) * 1000, MICRO))
                if to_micro < 1:
                    to_micro = rng.exponential(micro_mean)
                if to_wait < 1:
                    pending.append((rng.lognormal(math.log(6), 0.6) * 60_000, WAIT))
                    to_wait = rng.exponential(wait_mean)
            last_end = end
        if last_end < shift.end:
            self.put(last_end, BREAK, index)

    def _failure(self) -> list[tuple[float, int]]:
        """Repair, and before it (last in the list) the time until someone comes."""
        repair = self.profile.repair_min * self.losses**0.5 * self.rng.lognormal(0, 0.8) * 60_000
        reaction = self.rng.uniform(1, 9) * 60_000
        self.to_failure = self._life()
        return [(min(repair, 6 * 3.6e6), REPAIR), (reaction, LOST if self.rng.uniform() < 0.15 else WAIT)]

    def measured(self, shifts: tuple[Shift, ...], orders: tuple[Order, ...]) -> MachineDay:
        """Close the day and work out what was produced and used."""
        profile, day, losses, rng = self.profile, self.day, self.losses, self.rng
        at = shifts[-1].end if shifts else day * DAY_MS
        if at < (day + 1) * DAY_MS:
            self.put(at, OFF, len(shifts) - 1)
        start = np.array(self.starts, dtype=np.int64)
        kinds = np.array(self.what, dtype=np.int64)
        which = np.array(self.owner, dtype=np.int64)
        length = np.diff(start, append=(day + 1) * DAY_MS)
        ran = np.where(kinds == RUN, length, 0)
        parts = max(1, len(orders))
        load = rng.uniform(0.93, 1.07, size=parts)
        ratio = profile.cycle_ratio * (1 + 0.035 * (losses - 1)) * rng.normal(1, 0.008, size=parts)
        run_before = np.zeros(len(start), dtype=np.int64)
        pieces_before = np.zeros(len(start), dtype=np.int64)
        cycle_ms = np.ones(len(start))
        total = 0
        for index, order in enumerate(orders):
            mine = which == index
            cycle = order.pri_s * float(ratio[index]) * 1000
            run_before[mine] = np.concatenate(([0], np.cumsum(ran[mine])[:-1]))
            pieces_before[mine] = total
            cycle_ms[mine] = cycle
            total += math.floor(int(ran[mine].sum()) / cycle)
        idle, run = profile.idle_kw, profile.run_kw
        by_kind = np.array([0.03, 0.6, 0.5, 0.0, 1.1, 0.95, 1.0, 0.5, 0.02]) * idle
        kw = np.where(kinds == RUN, run * load[np.maximum(which, 0)], by_kind[kinds])
        used = kw * length / 3.6e6
        season = 1 + 0.25 * math.sin(2 * math.pi * (day + profile.number % 23) / 23)
        scrapped = rng.random(total) < profile.scrap * losses * season
        scrap_of = np.concatenate(([0], np.cumsum(scrapped))).astype(np.int32)
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
