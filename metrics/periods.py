"""Periods: hours are UTC, days and months those of +08:00 (no daylight saving time since 1991)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from store.times import DAY_US, HOUR_US

OFFSET_US = 8 * HOUR_US
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""period_start of the period `now`."""

Ints = npt.NDArray[np.int64]


def start_of(period: str, time: Any) -> Ints:
    """Start (µs) of the period in which each time (µs) lies."""
    times = np.asarray(time, np.int64)
    if period == "now":
        return np.zeros_like(times)
    if period == "hour":
        return times // HOUR_US * HOUR_US
    if period == "day":
        return (times + OFFSET_US) // DAY_US * DAY_US - OFFSET_US
    months = (times + OFFSET_US).astype("datetime64[us]").astype("datetime64[M]")
    return months.astype("datetime64[us]").astype(np.int64) - OFFSET_US


def end_of(period: str, start: Any) -> Ints:
    """End (µs, exclusive) of the period that starts at each time; `now` never ends."""
    starts = np.asarray(start, np.int64)
    if period == "now":
        return np.full_like(starts, np.iinfo(np.int64).max)
    if period == "hour":
        return starts + HOUR_US
    if period == "day":
        return starts + DAY_US
    months = (starts + OFFSET_US).astype("datetime64[us]").astype("datetime64[M]") + 1
    return months.astype("datetime64[us]").astype(np.int64) - OFFSET_US
