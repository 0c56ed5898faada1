"""Moments as integers and as datetimes. Every integer is µs since the Unix epoch, UTC, unless it says otherwise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
# PostgreSQL counts microseconds from 2000-01-01, everybody else from 1970-01-01.
POSTGRES_EPOCH_US = 946_684_800_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


_LOCAL = timezone(timedelta(hours=8))


def local(at: datetime) -> str:
    """A moment as people here read it: RFC 3339, +08:00. For texts; data is UTC."""
    return at.astimezone(_LOCAL).isoformat()


def moment(us: int) -> datetime:
    """µs since the Unix epoch → aware datetime, UTC. Raises OverflowError beyond the years 1..9999."""
    return _EPOCH + timedelta(microseconds=int(us))
