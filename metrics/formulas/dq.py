"""Data quality: due slots, validity, timeliness, latency."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from metrics.formulas.terms import Floats, Terms, column, reasons
from store.latency import quantile_s


class Rate(NamedTuple):
    """Sums of a ratio for some entities and periods: float64, NaN = null."""

    numerator: Floats
    denominator: Floats
    value: Floats


def transmission_rate_v1(slots: pd.DataFrame) -> Terms:
    """Slots filled / slots due. Columns `filled`, `due`: counts by equipment, hour and the source that answers for it."""
    due, filled = column(slots, "due"), column(slots, "filled")
    nothing = (due == 0) & (filled == 0)
    why = reasons(len(slots), (nothing, "nothing_due"))
    return Terms(np.where(nothing, np.nan, filled), due, due, due, why, "nothing_due")


def validity_rate_v1(arrivals: pd.DataFrame) -> Terms:
    """Good readings / (stored + quarantined). Columns `valid`, `readings`, `quarantined`: counts by hour of source time."""
    received = column(arrivals, "readings") + column(arrivals, "quarantined")
    return Terms(column(arrivals, "valid"), received, received, received, reasons(len(arrivals)), "no_data")


def timeliness_v1(arrivals: pd.DataFrame) -> Terms:
    """Live readings within 60 s / live readings. Columns `timely`, `live`: counts by hour of source time."""
    live = column(arrivals, "live")
    return Terms(column(arrivals, "timely"), live, live, live, reasons(len(arrivals)), "no_live_data")


def effective_rate_v1(transmission: Rate, validity: Rate) -> Rate:
    """Transmission rate × validity rate, as (slots filled × validity rate) / slots due; NaN where either is."""
    value = transmission.value * validity.value
    return Rate(transmission.numerator * validity.value, transmission.denominator, value)


def latency_p95_v1(histogram: pd.DataFrame) -> pd.DataFrame:
    """95th percentile (s) of each group of a histogram of store.latency.

    Columns `group` (int, dense from 0), `bucket` (int), `n` (count). Returns one row a group present,
    `group`, `value` (s), `n` (rows counted).
    """
    buckets: dict[int, dict[int, int]] = {}
    counts = histogram.groupby(["group", "bucket"], as_index=False)["n"].sum()
    for group, bucket, n in zip(counts["group"], counts["bucket"], counts["n"], strict=True):
        if n > 0:
            buckets.setdefault(int(group), {})[int(bucket)] = int(n)
    return pd.DataFrame(
        {
            "group": np.array(list(buckets), np.int64),
            "value": np.array([quantile_s(b) for b in buckets.values()], np.float64),
            "n": np.array([sum(b.values()) for b in buckets.values()], np.int64),
        }
    )
