"""The hour rollup: readings, calendar and orders become additive components of an equipment-hour.

Pure: what comes out depends on the slice and `now` only, not on the order in which readings arrived
nor on which hours are computed together.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from metrics.counters import GAP, NO_ORDER, Increments, increments
from metrics.readings import Bools, Floats, Ints, Readings, hours_of, position, read_order
from metrics.slots import due_and_filled, readings_and_valid, stopped_seconds
from metrics.timeline import Pieces, pieces
from store.rollups import ROLES, RawSlice
from store.signals import MODE, STATE
from store.times import HOUR_US

SETTLE_S = 120
"""An hour stays provisional this long after its end: its last readings may still be on the way."""
COVERED_SHARE = 0.995
"""A counter's hour is null when less of it lies between readings."""
UNORDERED_SHARE = 0.05
"""PRI·PQ is null when more of the hour's pieces were made outside every order."""
_CALENDAR_REACH_US = 7 * 24 * HOUR_US


def compute(raw: RawSlice, now: int) -> pd.DataFrame:
    """Components of every equipment-hour of the slice, as `store.rollups.save_hours` takes them.

    `now` in µs since the epoch, UTC: an hour in progress is computed up to it. Seconds and pieces are
    rounded to 1e-6. Null (NaN) is what is not known: no tag, no calendar, no order, or a gap.
    """
    run, hour, _ = hours_of(raw.runs)
    readings = read_order(raw)
    cut = pieces(raw, readings, now)
    observed = np.clip(np.minimum(now, hour + HOUR_US) - hour, 0, HOUR_US) / 1e6
    frame = pd.DataFrame(
        {"equipment_id": raw.runs["equipment_id"][run], "hour": hour, "observed_s": observed}
    )
    _times(frame, raw, cut, _calendar_known(raw, run, hour))
    flags = _counters(frame, raw, readings, cut, now)
    frame["stopped_s"] = stopped_seconds(raw, now)
    frame["due"], frame["filled"] = due_and_filled(raw, readings, now)
    frame["readings"], frame["valid"] = readings_and_valid(raw, readings)
    frame["flags"] = flags
    frame["provisional"] = hour + HOUR_US + SETTLE_S * 1_000_000 > now
    numbers = frame.columns[frame.dtypes == np.float64]
    frame[numbers] = frame[numbers].round(6)
    return frame


def _times(frame: pd.DataFrame, raw: RawSlice, cut: Pieces, calendar: Bools) -> None:
    n = len(frame)
    seconds = (cut.end - cut.start) / 1e6

    def total(condition: Bools) -> Floats:
        return np.asarray(
            np.bincount(cut.hour[condition], weights=seconds[condition], minlength=n), np.float64
        )

    state, mode = ~np.isnan(cut.state), ~np.isnan(cut.mode)
    executing = cut.state == STATE["Executing"]
    producing = executing & (cut.mode == MODE["Processing"])
    known, state_known, mode_known = total(state & mode), total(state), total(mode)
    frame["known_s"] = known
    frame["state_known_s"] = state_known
    frame["online_s"] = total(cut.online)
    frame["executing_s"] = np.where(state_known > 0, total(executing), np.nan)
    frame["apt_s"] = np.where(known > 0, total(producing), np.nan)
    frame["aust_s"] = np.where(mode_known > 0, total(cut.mode == MODE["Setup"]), np.nan)
    frame["pbt_s"] = np.where(calendar, total(cut.busy), np.nan)
    frame["pbt_known_s"] = np.where(calendar, total(cut.busy & state & mode), np.nan)
    ordered = ~np.isnan(cut.pri)
    frame["pri_apt_s"] = np.where((known > 0) & (total(ordered) > 0), total(producing & ordered), np.nan)


def _calendar_known(raw: RawSlice, run: Ints, hour: Ints) -> Bools:
    """Hours whose equipment has a shift within a week: outside of those no calendar was reported."""
    shift = raw.calendar["kind"] == 0
    owner, start = raw.calendar["equipment_id"][shift], raw.calendar["start"][shift]
    who = raw.runs["equipment_id"][run]
    last = position(owner.astype(np.int64), start, who, hour + _CALENDAR_REACH_US)
    found = np.maximum(last, 0)
    if not len(start):
        return np.zeros(len(hour), np.bool_)
    return np.asarray((last >= 0) & (owner[found] == who) & (start[found] > hour - _CALENDAR_REACH_US))


def _counters(frame: pd.DataFrame, raw: RawSlice, readings: Readings, cut: Pieces, now: int) -> Ints:
    """Fill in the counters' columns; returns the flags."""
    flags = np.zeros(len(frame), np.int64)
    steps = increments(raw, readings)
    run, hour, _ = hours_of(raw.runs)
    # Neighbouring pieces with the same hour and order are one: counters do not care about the state.
    new = np.ones(len(cut.run), np.bool_)
    same_order = (cut.pri[1:] == cut.pri[:-1]) | (np.isnan(cut.pri[1:]) & np.isnan(cut.pri[:-1]))
    new[1:] = (cut.hour[1:] != cut.hour[:-1]) | ~same_order
    at = np.flatnonzero(new)
    part_hour, start, pri = cut.hour[at], cut.start[at], cut.pri[at]
    end = cut.end[np.append(at[1:], len(cut.run)) - 1] if len(at) else start

    end_of_hour = np.minimum(hour + HOUR_US, now)
    closed = hour + HOUR_US <= now
    names = {"produced": "pq", "good": "gq", "scrap": "sq", "energy": "energy_kwh"}
    for signal, name in names.items():
        group = _group_of(readings, len(raw.runs["lo"]), ROLES.index(signal))
        mine = group[run]
        have = mine >= 0
        low, low_covered = steps.at(mine, hour)
        high, high_covered = steps.at(mine, end_of_hour)
        observed = (end_of_hour - hour) / 1e6
        covered = (high_covered - low_covered) / 1e6
        interval = np.zeros(len(hour))
        first = readings.start[np.maximum(mine, 0)] if len(readings.ts) else np.zeros(len(hour), np.int64)
        if len(readings.ts):
            interval = np.where(have, readings.interval[np.minimum(first, len(readings.ts) - 1)] / 1e6, 0.0)
        # An hour in progress is counted up to the last reading, which may be some intervals old.
        needed = np.where(closed, COVERED_SHARE * observed, observed - 3 * interval - 60)
        known = have & (covered > 0) & (covered >= needed)
        frame[name] = np.where(known, high - low, np.nan)
        flags |= np.where(have & ~known, GAP, 0)
        flags |= _flags(steps, mine, hour, end_of_hour)
        if signal in ("produced", "good"):
            made = steps.at(group[cut.run[at]], end)[0] - steps.at(group[cut.run[at]], start)[0]
            value, unordered = _priced(made, pri, part_hour, frame[name].to_numpy())
            frame["pri_pq_s" if signal == "produced" else "pri_gq_s"] = value
            flags |= np.where(unordered, NO_ORDER, 0)
    return flags


def _priced(made: Floats, pri: Floats, hour: Ints, total: Floats) -> tuple[Floats, Bools]:
    """(Σ PRI × pieces, pieces made outside every order) by hour. Nothing made is 0 s, whatever the PRI."""
    ordered, n = ~np.isnan(pri), len(total)
    value = np.bincount(hour[ordered], weights=(made * pri)[ordered], minlength=n)
    outside = np.bincount(hour[~ordered], weights=made[~ordered], minlength=n)
    unordered = outside > UNORDERED_SHARE * np.nan_to_num(total) + 1e-9
    return np.where(np.isnan(total) | unordered, np.nan, value), unordered


def _group_of(readings: Readings, runs: int, role: int) -> Ints:
    """The group of a run that has this role, -1 without; the lowest tag where there are several."""
    out = np.full(runs, -1, np.int64)
    mine = np.flatnonzero(readings.role == role)[::-1]
    out[readings.run[mine]] = mine
    return out


def _flags(steps: Increments, group: Ints, start: Ints, end: Ints) -> Ints:
    """Bits of the intervals that overlap [start, end)."""
    out = np.zeros(len(start), np.int64)
    if not len(steps.ts):
        return out
    low = position(steps.group, steps.ts, group, start)
    high = position(steps.group, steps.ts, group, end - 1)
    before = (low < 0) | (steps.group[np.maximum(low, 0)] != group)
    low = np.where(before, low + 1, low)
    for bit in (GAP, 2, 4, 16):
        count = np.append(0, np.cumsum((steps.flags & bit) > 0))
        some = (high >= low) & (group >= 0)
        hit = count[np.where(some, high + 1, 0)] - count[np.where(some, low, 0)] > 0
        out |= np.where(hit & some, bit, 0)
    return out
