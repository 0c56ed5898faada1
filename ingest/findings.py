"""Readings that are taken but doubted: a value that is frozen, a change too fast to be true. Pure.

A finding sets the quality to Uncertain, with a sub-code that says which; it refuses nothing. Only tags
that were registered with `frozen_after_s` or `rate_max_per_s` are watched, and only readings newer
than all that is stored of the tag are judged: what is sent again later must come out the same.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ingest.batch import is_good
from store.measurements import FROZEN, TOO_FAST
from store.tags import NEVER, UnitTags


def doubted(
    tags: UnitTags,
    row: npt.NDArray[np.int64],
    ts: npt.NDArray[np.int64],
    value: npt.NDArray[np.float64],
    quality: npt.NDArray[np.int16],
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Judge readings of watched tags, in order of (row, ts) and newer than `tags.newest`, all numeric.

    row int64[n], ts int64[n] µs UTC. Returns the qualities int16[n], the watched rows of the tags
    int64[k], and since when (source time, µs UTC) the newest value of each has been the same int64[k].
    """
    watched = ~np.isnan(tags.frozen_s[row]) | ~np.isnan(tags.rate_per_s[row])
    if not watched.any():
        return quality, np.empty(0, np.int64), np.empty(0, np.int64)
    row, ts, value = row[watched], ts[watched], value[watched]
    begins = np.r_[True, row[1:] != row[:-1]]
    before, at = np.roll(value, 1), np.roll(ts, 1)
    before[begins], at[begins] = tags.value[row[begins]], tags.newest[row[begins]]
    unknown = at == NEVER
    elapsed_s = np.where(unknown, np.inf, (ts - at) / 1e6)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(elapsed_s > 0, np.abs(value - before) / elapsed_s, 0.0)

    # A run of equal values began at its first reading, or, when it goes on, when the stored one did.
    same = ~unknown & (value == before)
    goes_on = begins & same & (tags.since[row] != NEVER)
    starts = ~same | begins
    start = np.maximum.accumulate(np.where(starts, np.arange(len(row)), 0))
    started = np.where(goes_on, tags.since[row], np.where(begins & same, at, ts))[start]

    judged = quality[watched]
    good = is_good(judged)
    judged = np.where(good & (rate > tags.rate_per_s[row]), TOO_FAST, judged)
    judged = np.where(good & (ts - started > tags.frozen_s[row] * 1e6), FROZEN, judged)
    quality = quality.copy()
    quality[watched] = judged.astype(np.int16)
    last = np.flatnonzero(np.r_[row[1:] != row[:-1], True])
    return quality, row[last], started[last]
