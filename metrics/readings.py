"""Readings in order: groups (one tag in one run), reporting intervals, and search within groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from store.rollups import RawSlice
from store.times import HOUR_US

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

KEEP_INTERVALS = 3
"""A state, a mode and 'online' hold for this many reporting intervals after a reading."""
DEFAULT_INTERVAL_S = 60.0
"""For a tag without a reporting schedule."""


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings sorted by (run, tag, time), no two at one time of one tag.

    Row arrays: `group` (dense), `ts` µs, `value`, `quality`, `interval` µs in force at the reading,
    `schedule` (index into the slice's schedules, -1 without one). Group arrays: `start` (first row;
    one more entry ends the last), `run`, `tag` (index into the slice's tags), `role`.
    """

    group: Ints
    ts: Ints
    value: Floats
    quality: npt.NDArray[np.int16]
    interval: Ints
    schedule: Ints
    start: Ints
    run: Ints
    tag: Ints
    role: Ints

    def has_next(self) -> Bools:
        """Rows that another row of their group follows."""
        out = np.zeros(len(self.ts), np.bool_)
        out[:-1] = self.group[1:] == self.group[:-1]
        return out


def position(groups: Ints, times: Ints, wanted_groups: Any, wanted_times: Any) -> Ints:
    """Index of the last entry of the wanted group not later than the wanted time.

    `groups`, `times` sorted by group, then time. Where the group has no such entry, the index lies
    before the group's first (perhaps -1): compare `groups[index]`.
    """
    if not len(times):
        return np.full(len(wanted_times), -1, np.int64)
    low, high = int(times.min()), int(times.max())
    span = high - low + 3
    key = groups.astype(np.int64) * span + (times - low + 1)
    query = np.asarray(wanted_groups, np.int64) * span + (np.clip(wanted_times, low - 1, high + 1) - low + 1)
    return np.asarray(np.searchsorted(key, query, side="right") - 1, np.int64)


def read_order(raw: RawSlice) -> Readings:
    """Sort a slice's rows; the order of arrival and rows that came twice make no difference."""
    tag_ids = raw.tags["tag_id"]
    tag = np.searchsorted(tag_ids, raw.rows["tag_id"])
    order = np.lexsort((raw.rows["ts"], tag, raw.rows["run"]))
    run, tag, ts = raw.rows["run"][order].astype(np.int64), tag[order], raw.rows["ts"][order]
    new = np.ones(len(ts), np.bool_)
    new[1:] = (run[1:] != run[:-1]) | (tag[1:] != tag[:-1])
    keep = np.ones(len(ts), np.bool_)
    keep[1:] = new[1:] | (ts[1:] != ts[:-1])
    order, run, tag, ts, new = order[keep], run[keep], tag[keep], ts[keep], new[keep]
    start = np.flatnonzero(new)
    interval, schedule = _intervals(raw, tag, ts)
    return Readings(
        group=np.cumsum(new) - 1,
        ts=ts,
        value=raw.rows["value"][order],
        quality=raw.rows["quality"][order],
        interval=interval,
        schedule=schedule,
        start=np.append(start, len(ts)),
        run=run[start],
        tag=tag[start],
        role=raw.tags["role"][tag[start]].astype(np.int64),
    )


def _intervals(raw: RawSlice, tag: Ints, ts: Ints) -> tuple[Ints, Ints]:
    """Reporting interval (µs) and schedule index of each reading; before the first schedule, the first one's."""
    length = np.full(len(ts), int(DEFAULT_INTERVAL_S * 1e6), np.int64)
    index = np.full(len(ts), -1, np.int64)
    if not len(raw.schedules["tag_id"]) or not len(ts):
        return length, index
    owner = np.searchsorted(raw.tags["tag_id"], raw.schedules["tag_id"]).astype(np.int64)
    # Old schedules are drawn near, so that the search keys stay within 64 bits; their order remains.
    since = np.maximum(raw.schedules["valid_from"], int(ts.min()) - HOUR_US)
    found = position(owner, since, tag, ts)
    hit = (found >= 0) & (owner[np.maximum(found, 0)] == tag)
    after = np.minimum(found + 1, len(owner) - 1)
    early = ~hit & (owner[after] == tag)
    use = np.where(hit, found, after)
    some = hit | early
    length[some] = (raw.schedules["interval_s"][use[some]] * 1e6).astype(np.int64)
    index[hit] = found[hit]
    return length, index


def hours_of(runs: dict[str, npt.NDArray[Any]]) -> tuple[Ints, Ints, Ints]:
    """(run, hour, offset): every hour of every run in order; `offset[run]` is the first one's index."""
    n = ((runs["hi"] - runs["lo"]) // HOUR_US).astype(np.int64)
    offset = np.cumsum(n) - n
    run = np.repeat(np.arange(len(n)), n)
    hour = runs["lo"][run] + (np.arange(int(n.sum())) - offset[run]) * HOUR_US
    return run, hour, offset
