"""Due slots, and how many of them were filled; declared stoppages; readings and good readings by hour."""

from __future__ import annotations

import numpy as np
import pandas as pd

from metrics.readings import Bools, Floats, Ints, Readings, hours_of, position
from store.rollups import TEXT, RawSlice
from store.times import HOUR_US

LATE_US = 15_000_000
"""A slot is not due before a reading at its end could have arrived."""
_FAR = 1 << 60


def due_and_filled(raw: RawSlice, readings: Readings, now: int) -> tuple[Ints, Ints]:
    """(due, filled) of every equipment-hour of the slice, text tags left out.

    Slot k of a schedule is at valid_from + k intervals and takes readings half an interval either
    way, so that a source's jitter does not empty it; it belongs to the hour it lies in. A slot within a
    declared stoppage is not due, and does not count as filled either.
    """
    run, hour, offset = hours_of(raw.runs)
    due = np.zeros(len(hour), np.int64)
    filled = np.zeros(len(hour), np.int64)
    s = raw.schedules
    if not len(s["tag_id"]):
        return due, filled
    tag = np.searchsorted(raw.tags["tag_id"], s["tag_id"])
    since = s["valid_from"]
    until = np.full(len(since), _FAR)
    same = tag[1:] == tag[:-1]
    until[:-1] = np.where(same, since[1:], _FAR)
    step = (s["interval_s"] * 1e6).astype(np.int64)
    ready = now - step // 2 - LATE_US  # slots after this are not due yet

    wanted = raw.tags["role"][tag] != TEXT
    left = pd.DataFrame({"equipment_id": raw.runs["equipment_id"][run], "at": np.arange(len(hour))})
    right = pd.DataFrame(
        {"equipment_id": raw.tags["equipment_id"][tag][wanted], "schedule": np.flatnonzero(wanted)}
    )
    pairs = left.merge(right, on="equipment_id")
    at, k = pairs["at"].to_numpy(), pairs["schedule"].to_numpy()
    first = np.maximum(hour[at], since[k])
    last = np.minimum(np.minimum(hour[at] + HOUR_US, until[k]), ready[k] + 1)
    n = np.maximum(_slots_before(last, since[k], step[k]) - _slots_before(first, since[k], step[k]), 0)
    np.add.at(due, at, np.where(last > first, n, 0))
    _excuse(due, raw, pairs, first, last)

    row = np.flatnonzero((readings.schedule >= 0) & (readings.role != TEXT)[readings.group])
    k = readings.schedule[row]
    number = np.rint((readings.ts[row] - since[k]) / step[k]).astype(np.int64)
    slot = since[k] + number * step[k]
    mine = readings.run[readings.group[row]]
    inside = (slot >= raw.runs["lo"][mine]) & (slot < raw.runs["hi"][mine]) & (slot < until[k])
    inside &= (slot <= ready[k]) & (slot >= since[k])
    inside &= ~_stopped(raw, raw.runs["equipment_id"][mine], slot)
    row, slot, mine = row[inside], slot[inside], mine[inside]
    group = readings.group[row]
    distinct = np.ones(len(row), np.bool_)
    distinct[1:] = (group[1:] != group[:-1]) | (slot[1:] != slot[:-1])
    index = offset[mine] + (slot - raw.runs["lo"][mine]) // HOUR_US
    filled += np.bincount(index[distinct], minlength=len(hour))
    return due, filled


def readings_and_valid(raw: RawSlice, readings: Readings) -> tuple[Ints, Ints]:
    """(readings, readings of good quality) with a time within each equipment-hour of the slice."""
    _, hour, offset = hours_of(raw.runs)
    run = readings.run[readings.group]
    inside = (readings.ts >= raw.runs["lo"][run]) & (readings.ts < raw.runs["hi"][run])
    index = (offset[run] + (readings.ts - raw.runs["lo"][run]) // HOUR_US)[inside]
    good: Bools = ((readings.quality >= 0) & (readings.quality < 0x4000))[inside]
    n = len(hour)
    return (
        np.bincount(index, minlength=n).astype(np.int64),
        np.bincount(index[good], minlength=n).astype(np.int64),
    )


def stopped_seconds(raw: RawSlice, now: int) -> Floats:
    """Seconds of every equipment-hour of the slice within a declared stoppage, up to `now` (µs).

    From the equipment's first reporting schedule on: before it nothing is due anyway.
    """
    run, hour, _ = hours_of(raw.runs)
    seconds = np.zeros(len(hour))
    stops = raw.stoppages
    if not len(stops["start"]):
        return seconds
    s = raw.schedules
    tag = np.searchsorted(raw.tags["tag_id"], s["tag_id"])
    wanted = raw.tags["role"][tag] != TEXT
    schedules = pd.DataFrame(
        {"equipment_id": raw.tags["equipment_id"][tag][wanted], "first": s["valid_from"][wanted]}
    )
    begin = schedules.groupby("equipment_id")["first"].min()
    hours = pd.DataFrame({"equipment_id": raw.runs["equipment_id"][run], "at": np.arange(len(hour))})
    pairs = hours.merge(pd.DataFrame(stops), on="equipment_id").merge(begin, on="equipment_id")
    at = pairs["at"].to_numpy()
    low = np.maximum(np.maximum(pairs["start"], pairs["first"]), hour[at])
    high = np.minimum(np.minimum(pairs["end"], now), hour[at] + HOUR_US)
    np.add.at(seconds, at, np.maximum(high - low, 0) / 1e6)
    return seconds


def _excuse(due: Ints, raw: RawSlice, pairs: pd.DataFrame, first: Ints, last: Ints) -> None:
    """Take from `due` the slots of [first, last) of each pair (hour, schedule) that lie in a stoppage."""
    if not len(raw.stoppages["start"]):
        return
    cut = pairs.assign(first=first, last=last).merge(pd.DataFrame(raw.stoppages), on="equipment_id")
    k = cut["schedule"].to_numpy()
    since, step = raw.schedules["valid_from"][k], (raw.schedules["interval_s"][k] * 1e6).astype(np.int64)
    low = np.maximum(cut["first"].to_numpy(), cut["start"].to_numpy())
    high = np.minimum(cut["last"].to_numpy(), cut["end"].to_numpy())
    n = np.maximum(_slots_before(high, since, step) - _slots_before(low, since, step), 0)
    np.subtract.at(due, cut["at"].to_numpy(), np.where(high > low, n, 0))


def _stopped(raw: RawSlice, equipment: Ints, time: Ints) -> Bools:
    """Whether each time lies in a declared stoppage of its equipment."""
    owner, start = raw.stoppages["equipment_id"], raw.stoppages["start"]
    if not len(start):
        return np.zeros(len(time), np.bool_)
    who, group = np.unique(owner, return_inverse=True)
    mine = np.searchsorted(who, equipment)
    # An old start is drawn near, so that the search keys stay within 64 bits.
    found = position(group, np.maximum(start, raw.runs["lo"].min()), mine, time)
    some = np.maximum(found, 0)
    return np.asarray((found >= 0) & (owner[some] == equipment) & (time < raw.stoppages["end"][some]))


def _slots_before(time: Ints, since: Ints, step: Ints) -> Ints:
    """How many slots of a schedule lie before a time."""
    return np.asarray(-((since - time) // step))
