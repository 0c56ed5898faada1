"""Canaries: one small message a connector sends every few seconds down the way that its readings take.

A canary that is stored proves the whole way at that moment: source, connector, log, writer, store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from store.database import Connection
from store.times import moment


class Canary(NamedTuple):
    """One canary on its way; times in µs since the Unix epoch, UTC: the source's clock, the connector's."""

    connector: str
    source_ts: int
    sent_at: int


class Arrived(NamedTuple):
    """The newest canary of a connector; times aware UTC.

    `times`: how many there were. `age_s`: how long ago it was stored, by the database's clock.
    """

    connector: str
    source_ts: datetime
    sent_at: datetime
    stored_at: datetime
    times: int
    age_s: float


def keep(conn: Connection, canaries: Sequence[Canary]) -> None:
    """Record canaries in the transaction at hand; an older one than that recorded only counts.

    Raises OverflowError for a time beyond the years 1..9999, before anything is written.
    """
    newest: dict[str, Canary] = {}
    for canary in sorted(canaries, key=lambda c: c.sent_at):
        newest[canary.connector] = canary
    counted = Counter(canary.connector for canary in canaries)
    rows = [
        (c.connector, moment(c.source_ts), moment(c.sent_at), counted[c.connector]) for c in newest.values()
    ]
    # In the order of their keys, so that two writers never wait for each other crosswise.
    for row in sorted(rows):
        conn.execute(
            "INSERT INTO canary AS c (connector, source_ts, sent_at, stored_at, count)"
            " VALUES (%s, %s, %s, clock_timestamp(), %s)"
            " ON CONFLICT (connector) DO UPDATE SET count = c.count + excluded.count,"
            " source_ts = CASE WHEN excluded.sent_at >= c.sent_at THEN excluded.source_ts ELSE c.source_ts END,"
            " stored_at = CASE WHEN excluded.sent_at >= c.sent_at THEN excluded.stored_at ELSE c.stored_at END,"
            " sent_at = greatest(c.sent_at, excluded.sent_at)",
            row,
        )


def arrived(conn: Connection) -> list[Arrived]:
    """The newest canary of every connector, by name."""
    rows = conn.execute(
        "SELECT connector, source_ts, sent_at, stored_at, count,"
        " extract(epoch FROM clock_timestamp() - stored_at)::float8 FROM canary ORDER BY connector"
    )
    return [Arrived(*row) for row in rows]
