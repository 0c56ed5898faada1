"""Moments as parameters of a request: RFC 3339 with a zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query
from pydantic import AfterValidator, AwareDatetime, BeforeValidator

from ingest.breaches import broken

_EARLIEST, _END = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_UNESCAPED = re.compile(r"(\d) (\d\d:\d\d)$")
_NUMBER = re.compile(r"\s*[-+]?[0-9._]+(e[-+]?[0-9]+)?\s*", re.IGNORECASE)


def _as_written(given: object) -> object:
    """In an address a + that was not escaped arrives as a blank; a number would be taken for seconds since 1970."""
    if not isinstance(given, str):
        return given
    if _NUMBER.fullmatch(given):
        raise broken(
            "应为带时区的 RFC 3339 时间,如 2026-11-23T08:00:00+08:00",
            "must be RFC 3339 with a zone, as 2026-11-23T08:00:00+08:00",
        )
    return _UNESCAPED.sub(r"\1+\2", given)


def _in_range(moment: datetime) -> datetime:
    try:
        utc = moment.astimezone(UTC)
    except OverflowError:
        utc = _END
    if not (_EARLIEST <= utc < _END):
        raise broken("应在 1970 至 2199 年之间(UTC)", "must lie in the years 1970 to 2199 (UTC)")
    return utc


Moment = Annotated[AwareDatetime, BeforeValidator(_as_written), AfterValidator(_in_range)]
Since = Annotated[Moment | None, Query(description="起始时间(含) | RFC 3339 with a zone; inclusive")]
Until = Annotated[Moment | None, Query(description="截止时间(不含) | RFC 3339 with a zone; exclusive")]
