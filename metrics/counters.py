"""Counters: increments with reset detection, and how much of them falls between two instants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metrics.readings import Bools, Floats, Ints, Readings, position
from store.rollups import ROLES, RawSlice
from store.times import HOUR_US

LONGEST_GAP_US = 3 * HOUR_US
"""Over a longer gap between two readings nothing is counted: the increment is not known to any hour."""
CAPACITY_FACTOR = 1.5
"""More than this times the rated capacity cannot have been produced."""
_SLACK_PIECES = 2.0  # counters are whole numbers and readings short apart

GAP, RESET, REJECTED, NO_ORDER, OUTLIER = 1, 2, 4, 8, 16
"""Bits of equipment_hour.flags."""


@dataclass(frozen=True, slots=True)
class Increments:
    """Cumulated increments of counters: piecewise linear between readings, per group of `Readings`.

    Row arrays: `group`, `ts`; `total` and `covered` (µs) up to the reading; `step` and `counted`
    for the interval that starts there (`counted` false: gap, rejected, or the last reading).
    `flags` are the bits found in the interval that starts at the row.
    """

    group: Ints
    ts: Ints
    total: Floats
    covered: Floats
    step: Floats
    counted: Bools
    length: Ints
    flags: Ints

    def at(self, group: Ints, time: Ints) -> tuple[Floats, Floats]:
        """(total, covered µs) of each group up to each time; 0 before the group's first reading.

        An interval's increment is spread evenly over it: that is how pieces made between two
        readings are shared among the hours or orders on either side.
        """
        index = position(self.group, self.ts, group, time)
        before = (index < 0) | (self.group[np.maximum(index, 0)] != group) if len(self.ts) else index < 0
        if not len(self.ts):
            return np.zeros(len(time)), np.zeros(len(time))
        i = np.maximum(index, 0)
        part = np.minimum(time - self.ts[i], self.length[i]) * self.counted[i]
        total = self.total[i] + self.step[i] * part / np.maximum(self.length[i], 1)
        covered = self.covered[i] + part
        return np.where(before, 0.0, total), np.where(before, 0.0, covered)


def increments(raw: RawSlice, readings: Readings) -> Increments:
    """Increments of all counter groups. Bad-quality readings do not count; uncertain ones do.

    A fall means the counter was reset and counts from zero. More pieces than CAPACITY_FACTOR times
    the rated capacity allows are rejected. A lone reading out of line with its neighbours, which agree
    with one another, is dropped first, or it would pass for a reset and a jump.
    """
    role = readings.role[readings.group]
    pieces = (role >= ROLES.index("produced")) & (role <= ROLES.index("scrap"))
    mine = (pieces | (role == ROLES.index("energy"))) & (readings.quality >= 0) & np.isfinite(readings.value)
    group, ts, value = readings.group[mine], readings.ts[mine], readings.value[mine]
    per_us = _limits(raw, readings)[group]

    lone = _lone(group, ts, value, per_us)
    drop_flag = np.zeros(len(ts), np.bool_)
    drop_flag[:-1] = lone[1:]
    keep = ~lone
    group, ts, value, per_us, flagged = group[keep], ts[keep], value[keep], per_us[keep], drop_flag[keep]

    n = len(ts)
    follows = np.zeros(n, np.bool_)
    follows[:-1] = group[1:] == group[:-1]
    length = np.zeros(n, np.int64)
    step = np.zeros(n)
    length[:-1] = np.where(follows[:-1], ts[1:] - ts[:-1], 0)
    step[:-1] = np.where(follows[:-1], _grown(value[:-1], value[1:]), 0.0)
    reset = np.zeros(n, np.bool_)
    reset[:-1] = follows[:-1] & _fell(value[:-1], value[1:])
    gap = follows & (length > LONGEST_GAP_US)
    rejected = follows & ~gap & (step > per_us * np.maximum(length, 1) + _SLACK_PIECES)
    counted = follows & ~gap & ~rejected
    step = np.where(counted, step, 0.0)
    # Sums start anew in each group: what a group holds does not depend on what was computed with it.
    total, covered = _sums(group, step), _sums(group, np.where(counted, length, 0).astype(np.float64))
    flags = GAP * gap + RESET * (reset & counted) + REJECTED * rejected + OUTLIER * flagged
    return Increments(group, ts, total, covered, step, counted, length, flags.astype(np.int64))


def _fell(before: Floats, after: Floats) -> Bools:
    return np.asarray(after < before - 1e-9 * np.maximum(np.abs(before), 1.0))


def _grown(before: Floats, after: Floats) -> Floats:
    return np.where(_fell(before, after), after, np.maximum(after - before, 0.0))


def _limits(raw: RawSlice, readings: Readings) -> Floats:
    """Largest credible increment a µs, by group; infinite for energy and where no capacity is registered."""
    owner = raw.tags["equipment_id"][readings.tag]
    known = raw.rated["equipment_id"]
    index = np.minimum(np.searchsorted(known, owner), max(len(known) - 1, 0))
    rated = raw.rated["per_h"][index] if len(known) else np.full(len(owner), np.nan)
    limit = np.where(np.isnan(rated) | (readings.role == ROLES.index("energy")), np.inf, rated)
    return np.asarray(limit * CAPACITY_FACTOR / HOUR_US)


def _lone(group: Ints, ts: Ints, value: Floats, per_us: Floats) -> Bools:
    """Readings that disagree with both neighbours while these agree with one another."""
    out = np.zeros(len(ts), np.bool_)
    if len(ts) < 3:
        return out
    a, b, c = value[:-2], value[1:-1], value[2:]
    same = (group[:-2] == group[1:-1]) & (group[1:-1] == group[2:])
    limited = np.isfinite(per_us[1:-1])
    with np.errstate(invalid="ignore"):
        into = _grown(a, b) > per_us[1:-1] * (ts[1:-1] - ts[:-2]) + _SLACK_PIECES
        out_of = _grown(b, c) > per_us[1:-1] * (ts[2:] - ts[1:-1]) + _SLACK_PIECES
        past = per_us[1:-1] * (ts[2:] - ts[:-2]) + _SLACK_PIECES
        agree = ~_fell(a, c) & ((c - a <= past) | ~limited)
    odd = (_fell(a, b) | into) & (_fell(b, c) | out_of)
    # Without a capacity only the size of the excursion tells an outlier from a reset.
    excursion = np.minimum(np.abs(b - a), np.abs(c - b)) > 10 * np.abs(c - a) + 1
    out[1:-1] = same & agree & np.where(limited, odd, (_fell(a, b) | _fell(b, c)) & excursion)
    return out


def _sums(group: Ints, step: Floats) -> Floats:
    """Sum of the steps before each row within its group."""
    total = np.cumsum(step) - step
    first = np.searchsorted(group, group, side="left")
    return np.asarray(total - total[first]) if len(total) else total
