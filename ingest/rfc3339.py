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

_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What nearly every sender writes; the column reader reads the like of it many at a time.
_FORM = re.compile(r"[0-9-]{10}T[0-9:]{8}(?:\.(?P<fraction>[0-9]+))?(?P<zone>Z|[+-][0-9]{2}:[0-9]{2})")
_WORTHWHILE = 16
"""So many times are read faster together than one by one."""
_SHORTEST, _LONGEST = len("2026-11-23T00:00:00Z"), len("2026-11-23T00:00:00.123456789+08:00")
_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int32)
_DAYS_BEFORE = np.cumsum(_DAYS, dtype=np.int32) - _DAYS
_DAYS_TO_1970 = 719_162


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
    ts = np.zeros(len(texts), np.int64)
    left = np.ones(len(texts), np.bool_)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    for length in range(_SHORTEST, _LONGEST + 1) if len(texts) >= _WORTHWHILE else ():
        rows = np.flatnonzero(lengths == length)
        if not len(rows):
            continue
        whole = len(rows) == len(texts)
        ts[rows], read = _alike(texts if whole else [texts[i] for i in rows.tolist()], length)
        left[rows[read]] = False
    faults: list[tuple[int, str]] = []
    for i in np.flatnonzero(left).tolist():
        try:
            ts[i] = epoch_us(texts[i])
        except BadTime as bad:
            faults.append((i, bad.reason))
    return ts, faults


def _alike(texts: Sequence[str], length: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Times of one length, written like the first of them → (µs UTC int64[n], which were read bool[n]).

    What is not read here is not wrong for that: `epoch_us` decides. What is read is 0 where it was not.
    """
    n, nothing = len(texts), (np.zeros(len(texts), np.int64), np.zeros(len(texts), np.bool_))
    form = _FORM.fullmatch(texts[0])
    joined = "".join(texts)
    if form is None or not joined.isascii():
        return nothing
    # One row of bytes for each place in the text, so that every step below runs along memory.
    signs = np.ascontiguousarray(np.frombuffer(joined.encode(), np.uint8).reshape(n, length).T)
    digit = signs - np.uint8(48)  # what is below "0" comes out large
    read = np.ones(n, np.bool_)

    def number(start: int, end: int) -> npt.NDArray[np.int32]:
        total = np.zeros(n, np.int32)
        for place in range(start, end):
            np.logical_and(read, digit[place] <= 9, out=read)
            total *= 10
            total += digit[place]
        return total

    for place, sign in ((4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")):
        read &= signs[place] == ord(sign)
    year, month, day = number(0, 4), number(5, 7), number(8, 10)
    hour, minute, second = number(11, 13), number(14, 16), number(17, 19)
    us = np.zeros(n, np.int32)
    if form["fraction"] is not None:
        start, end = form.span("fraction")
        read &= signs[start - 1] == ord(".")
        kept = min(end, start + 6)
        us = number(start, kept) * 10 ** (6 - (kept - start))
        for place in range(kept, end):  # cut off, but digits
            read &= digit[place] <= 9
    ahead = np.zeros(n, np.int32)
    if form["zone"] == "Z":
        read &= signs[length - 1] == ord("Z")
    else:
        sign = signs[length - 6]
        read &= ((sign == ord("+")) | (sign == ord("-"))) & (signs[length - 3] == ord(":"))
        ahead_h, ahead_min = number(length - 5, length - 3), number(length - 2, length)
        read &= (ahead_h < 24) & (ahead_min < 60)
        ahead = np.where(sign == ord("-"), np.int32(-1), np.int32(1)) * (ahead_h * 60 + ahead_min)
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    read &= (year >= 1) & (month >= 1) & (month <= 12) & (hour < 24) & (minute < 60) & (second < 60)
    month[~read] = 1
    read &= (day >= 1) & (day <= _DAYS[month] + (leap & (month == 2)))
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 - _DAYS_TO_1970
    days += _DAYS_BEFORE[month] + (leap & (month > 2)) + day - 1
    hours = (days * 24 + hour).astype(np.int64)
    passed = ((hours * 60 + minute - ahead) * 60 + second) * 1_000_000 + us
    passed[~read] = 0
    return passed, read
