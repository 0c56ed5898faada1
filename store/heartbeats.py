"""Heartbeats of what sends for a unit: the last one of each, and in which minutes one came."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from store.database import Connection, only

MOST_SOURCES = 200
"""Senders of a unit that are remembered at once."""
FORGOTTEN = timedelta(days=30)
KEPT = timedelta(days=100)


class TooMany(Exception):
    """A unit has MOST_SOURCES senders already."""


class Beat(NamedTuple):
    """One heartbeat. `received_at` by the platform's clock, `skew_s` how far the sender's is ahead of it."""

    source: str
    received_at: datetime
    skew_s: float
    queue_depth: int | None
    oldest_queued: datetime | None
    version: str | None


def beat(conn: Connection, unit_id: int, one: Beat) -> None:
    """Keep a heartbeat of the calling unit. Raises TooMany."""
    known = conn.execute(
        "UPDATE source_heartbeat SET received_at = %s, skew_s = %s, queue_depth = %s, oldest_queued = %s,"
        " version = %s WHERE unit_id = %s AND source = %s",
        (*one[1:], unit_id, one.source),
    ).rowcount
    if not known:
        _add(conn, unit_id, one)
    hour = one.received_at.replace(minute=0, second=0, microsecond=0)
    first = conn.execute(
        "INSERT INTO heartbeat_hour AS h (unit_id, source, hour, minutes) VALUES (%s, %s, %s, 1::bigint << %s)"
        " ON CONFLICT (unit_id, source, hour) DO UPDATE SET minutes = h.minutes | excluded.minutes"
        " WHERE h.minutes & excluded.minutes = 0 RETURNING xmax = 0",
        (unit_id, one.source, hour, one.received_at.minute),
    ).fetchone()
    if first is not None and first[0]:
        conn.execute("DELETE FROM heartbeat_hour WHERE unit_id = %s AND hour < %s", (unit_id, hour - KEPT))


def _add(conn: Connection, unit_id: int, one: Beat) -> None:
    conn.execute(
        "DELETE FROM source_heartbeat WHERE unit_id = %s AND received_at < %s",
        (unit_id, one.received_at - FORGOTTEN),
    )
    count = "SELECT count(*) FROM source_heartbeat WHERE unit_id = %s"
    if only(conn.execute(count, (unit_id,)))[0] >= MOST_SOURCES:
        raise TooMany
    conn.execute(
        "INSERT INTO source_heartbeat (source, received_at, skew_s, queue_depth, oldest_queued, version, unit_id)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (unit_id, source) DO NOTHING",
        (*one, unit_id),
    )


def beats(conn: Connection, unit_id: int) -> list[Beat]:
    """The last heartbeat of each sender of a unit, by name."""
    rows = conn.execute(
        "SELECT source, received_at, skew_s, queue_depth, oldest_queued, version FROM source_heartbeat"
        " WHERE unit_id = %s ORDER BY source",
        (unit_id,),
    )
    return [Beat(*row) for row in rows]


def minutes_beaten(conn: Connection, unit_id: int, since: datetime, until: datetime) -> dict[str, int]:
    """Sender → minutes in the hours of [since, until) in which a heartbeat came."""
    rows = conn.execute(
        "SELECT source, sum(bit_count(minutes::bit(64)))::int FROM heartbeat_hour"
        " WHERE unit_id = %s AND hour >= %s AND hour < %s GROUP BY source",
        (unit_id, since, until),
    )
    return dict(rows.fetchall())
