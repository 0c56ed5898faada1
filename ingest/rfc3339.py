"""The one reading of RFC 3339 times, whichever way they come in. Pure.

Strict: date, `T` (or `t`, or one blank), seconds, and `Z` or `±hh:mm`. Python and pandas each take
more, and not the same more.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo

import numpy as np
import numpy.typing as npt
import pandas as pd

_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
# What nearly every sender writes, and what pandas reads alike, six times faster.
_PLAIN = re.compile(
    r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BadTime(ValueError):
    """The text is no time. `reason`: `timestamp_malformed`, or `timestamp_without_zone`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def epoch_us(text: str, zone: tzinfo | None = None) -> int:
    """µs since the Unix epoch, UTC; digits beyond the microsecond are cut off.

    `zone` is that of texts that state none. Raises BadTime.
    """
    if _TIME.fullmatch(text) is None:
        raise BadTime("timestamp_malformed")
    try:
        moment = datetime.fromisoformat(text.upper() if text[-1] == "z" else text)
    except ValueError:  # a 13th month, an offset of a day
        raise BadTime("timestamp_malformed") from None
    if moment.tzinfo is None:
        if zone is None:
            raise BadTime("timestamp_without_zone")
        moment = moment.replace(tzinfo=zone)
    passed = moment - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def epoch_us_column(texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], list[tuple[int, str]]]:
    """Texts → (µs UTC int64[n], faults as (index, reason)); a faulty time is 0."""
    if all(map(_PLAIN.fullmatch, texts)):
        parsed = pd.to_datetime(pd.Series(texts, dtype=object), utc=True, format="ISO8601", errors="coerce")
        if not parsed.isna().any():
            return np.asarray(parsed.dt.as_unit("us").astype(np.int64), np.int64), []
    ts = np.zeros(len(texts), np.int64)
    faults: list[tuple[int, str]] = []
    for i, text in enumerate(texts):
        try:
            ts[i] = epoch_us(text)
        except BadTime as bad:
            faults.append((i, bad.reason))
    return ts, faults
