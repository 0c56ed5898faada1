"""Moments as integers and as datetimes. Every integer is µs since the Unix epoch, UTC, unless it says otherwise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
# PostgreSQL counts microseconds from 2000-01-01, everybody else from 1970-01-01.
POSTGRES_EPOCH_US = 946_684_800_000_000

LOCAL = timezone(timedelta(hours=8))
"""Days, months and times of people are of this zone (Asia/Shanghai)."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def local(at: datetime) -> str:
    """A moment as people here read it: RFC 3339, +08:00."""
    return at.astimezone(LOCAL).isoformat()


def shown(us: int) -> str:
    """As `local`, of µs since the Unix epoch, UTC; the number itself where it is no moment."""
    try:
        return local(moment(us))
    except OverflowError:
        return f"{us} µs"


def moment(us: int) -> datetime:
    """µs since the Unix epoch → aware datetime, UTC. Raises OverflowError beyond the years 1..9999."""
    return _EPOCH + timedelta(microseconds=int(us))
