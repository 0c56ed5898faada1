"""Timelines of an equipment: state, mode, calendar, order, online; cut where any of them changes.

Between two neighbouring cuts nothing changes, so every time component is a sum of such pieces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metrics.readings import KEEP_INTERVALS, Bools, Floats, Ints, Readings, hours_of
from store.rollups import ROLES, TEXT, RawSlice
from store.times import HOUR_US

_HOUR, _STATE, _MODE, _SHIFT, _OFF, _ORDER, _ONLINE = range(7)
_ENUM_CODES = 4  # store/signals.py: state and mode both have the codes 0..3


@dataclass(frozen=True, slots=True)
class Pieces:
    """Pieces of time in which nothing changes: `run`, index of the equipment-hour, µs edges, and what holds.

    `state`, `mode`: codes of store/signals.py, NaN unknown; `busy`: within PBT; `pri`: planned run
    time per item of the order (s), NaN without order; `online`: a tag is young enough.
    """

    run: Ints
    hour: Ints
    start: Ints
    end: Ints
    state: Floats
    mode: Floats
    busy: Bools
    pri: Floats
    online: Bools


@dataclass
class _Cuts:
    run: list[Ints]
    at: list[Ints]
    what: list[Ints]
    value: list[Floats]

    def add(self, what: int, run: Ints, at: Ints, value: Floats | float) -> None:
        self.run.append(run)
        self.at.append(at)
        self.what.append(np.full(len(at), what, np.int64))
        self.value.append(np.broadcast_to(np.asarray(value, np.float64), at.shape))


def pieces(raw: RawSlice, readings: Readings, now: int) -> Pieces:
    """Cut the slice's hours into pieces; nothing after `now` (µs)."""
    run, hour, offset = hours_of(raw.runs)
    cuts = _Cuts([], [], [], [])
    cuts.add(_HOUR, run, hour, 0.0)
    cuts.add(_HOUR, np.arange(len(raw.runs["hi"])), raw.runs["hi"], 0.0)
    _states(cuts, readings)
    _online(cuts, readings)
    _calendar(cuts, raw)
    _orders(cuts, raw)

    run, at = np.concatenate(cuts.run), np.concatenate(cuts.at)
    what, value = np.concatenate(cuts.what), np.concatenate(cuts.value)
    order = np.lexsort((at, run))
    run, at, what, value = run[order], at[order], what[order], value[order]
    first = np.searchsorted(run, run, side="left")

    end = np.empty_like(at)
    end[:-1], end[-1:] = at[1:], at[-1:]
    end = np.minimum(end, now)
    inside = (at >= raw.runs["lo"][run]) & (end <= raw.runs["hi"][run]) & (end > at)
    inside[:-1] &= run[1:] == run[:-1]
    inside[-1:] = False

    def held(which: int) -> Floats:
        """What was last set, by the run."""
        index = np.maximum.accumulate(np.where(what == which, np.arange(len(what)), -1))
        return np.where(index >= first, value[np.maximum(index, 0)], np.nan)[inside]

    def running(which: int) -> Floats:
        """Sum of the steps so far, by the run."""
        total = np.cumsum(np.where(what == which, value, 0.0))
        before = np.where(first > 0, total[np.maximum(first - 1, 0)], 0.0)
        return np.asarray((total - before)[inside])

    run, at, end = run[inside], at[inside], end[inside]
    return Pieces(
        run=run,
        hour=offset[run] + (at - raw.runs["lo"][run]) // HOUR_US,
        start=at,
        end=end,
        state=held(_STATE),
        mode=held(_MODE),
        busy=(running(_SHIFT) > 0.5) & (running(_OFF) < 0.5),
        pri=held(_ORDER),
        online=running(_ONLINE) > 0.5,
    )


def _states(cuts: _Cuts, r: Readings) -> None:
    """The last value holds until the next reading, at most KEEP_INTERVALS intervals; a bad one means unknown."""
    if not len(r.ts):
        return
    expiry = r.ts + KEEP_INTERVALS * r.interval
    follows = r.has_next()
    lapsed = ~follows
    lapsed[:-1] |= follows[:-1] & (r.ts[1:] > expiry[:-1])
    for what, role in ((_STATE, ROLES.index("state")), (_MODE, ROLES.index("mode"))):
        mine = (r.role == role)[r.group]
        known = (r.quality >= 0) & (r.value >= 0) & (r.value < _ENUM_CODES)
        cuts.add(what, r.run[r.group[mine]], r.ts[mine], np.where(known, r.value, np.nan)[mine])
        gone = mine & lapsed
        cuts.add(what, r.run[r.group[gone]], expiry[gone], np.nan)


def _online(cuts: _Cuts, r: Readings) -> None:
    """Steps up where a tag's readings begin or go on after a gap, down where they lapse."""
    if not len(r.ts):
        return
    expiry = r.ts + KEEP_INTERVALS * r.interval
    scheduled = (r.role != TEXT)[r.group]
    follows = r.has_next()
    lapsed = ~follows
    lapsed[:-1] |= follows[:-1] & (r.ts[1:] > expiry[:-1])
    begins = np.ones(len(r.ts), np.bool_)
    begins[1:] = lapsed[:-1]
    up, down = begins & scheduled, lapsed & scheduled
    cuts.add(_ONLINE, r.run[r.group[up]], r.ts[up], 1.0)
    cuts.add(_ONLINE, r.run[r.group[down]], expiry[down], -1.0)


def _by_run(raw: RawSlice, equipment: Ints) -> tuple[Ints, Ints]:
    """Pairs (row, run) of rows of an equipment with each of its runs."""
    owner = raw.runs["equipment_id"]  # sorted: runs come by equipment
    low, high = np.searchsorted(owner, equipment, "left"), np.searchsorted(owner, equipment, "right")
    n = high - low
    row = np.repeat(np.arange(len(equipment)), n)
    run = low[row] + np.arange(len(row)) - (np.cumsum(n) - n)[row]
    return row, run


def _calendar(cuts: _Cuts, raw: RawSlice) -> None:
    row, run = _by_run(raw, raw.calendar["equipment_id"])
    for what, kind in ((_SHIFT, 0), (_OFF, 1)):
        mine = raw.calendar["kind"][row] == kind
        cuts.add(what, run[mine], raw.calendar["start"][row[mine]], 1.0)
        cuts.add(what, run[mine], raw.calendar["end"][row[mine]], -1.0)


def _orders(cuts: _Cuts, raw: RawSlice) -> None:
    """One order at a time: the one that started last; the order before it ends there."""
    o = raw.orders
    if not len(o["start"]):
        return
    end = o["end"].copy()
    same = o["equipment_id"][1:] == o["equipment_id"][:-1]
    end[:-1] = np.where(same, np.minimum(end[:-1], o["start"][1:]), end[:-1])
    closed = np.ones(len(end), np.bool_)
    closed[:-1] = ~(same & (end[:-1] == o["start"][1:]))
    row, run = _by_run(raw, o["equipment_id"])
    cuts.add(_ORDER, run, o["start"][row], o["pri_s"][row])
    ends = closed[row]
    cuts.add(_ORDER, run[ends], end[row[ends]], np.nan)
