"""Data quality: due slots, validity, timeliness, latency."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from metrics.formulas.terms import Floats, Terms, column, reasons

BUCKET_BASE_S = 0.010
BUCKET_RATIO = 1.1
"""Bucket b of latency_bucket covers [BASE · RATIO^b, BASE · RATIO^(b+1)) s; 0 holds all below, too."""


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
    """95th percentile (s) of each group of a histogram, interpolated geometrically within its bucket.

    Columns `group` (int, dense from 0), `bucket` (int), `n` (count). Returns one row a group present,
    `group`, `value` (s), `n` (rows counted). Bucket 0 is taken from 0 s on, linearly.
    """
    counts = histogram.groupby(["group", "bucket"], as_index=False)["n"].sum()
    counts["below"] = counts.groupby("group")["n"].cumsum()
    total = counts.groupby("group")["n"].transform("sum")
    rank = 0.95 * total
    first = counts[counts["below"] >= rank].drop_duplicates("group").copy()
    first["total"] = total[first.index]
    share = (0.95 * first["total"] - (first["below"] - first["n"])) / first["n"]
    bucket = first["bucket"].to_numpy(np.float64)
    upper = BUCKET_BASE_S * BUCKET_RATIO ** (bucket + share.to_numpy(np.float64))
    linear = BUCKET_BASE_S * BUCKET_RATIO * share.to_numpy(np.float64)
    return pd.DataFrame(
        {
            "group": first["group"].to_numpy(),
            "value": np.where(bucket == 0, linear, upper),
            "n": first["total"].to_numpy(),
        }
    )
