"""Totals over everything: for the account of a run, not for pages."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from store.database import Connection


class ProtocolTotal(NamedTuple):
    """Rows of all sources of one protocol (the source key's part before the colon)."""

    protocol: str
    stored: int
    duplicates: int
    quarantined: int


def by_protocol(conn: Connection) -> list[ProtocolTotal]:
    """The ledger, added up by protocol."""
    rows = conn.execute(
        "SELECT split_part(s.key, ':', 1), sum(l.stored)::bigint, sum(l.duplicates)::bigint,"
        " sum(l.quarantined)::bigint"
        " FROM ingest_ledger l JOIN source s USING (source_id) GROUP BY 1 ORDER BY 1"
    )
    return [ProtocolTotal(*row) for row in rows]


def indicator_counts(conn: Connection) -> dict[str, int]:
    """Indicator code → current values (not superseded, not without a value)."""
    rows = conn.execute(
        "SELECT code, count(*) FROM indicator_value"
        " WHERE superseded_at IS NULL AND value IS NOT NULL GROUP BY code ORDER BY code"
    )
    return dict(rows.fetchall())


def latency_counts(conn: Connection, since: datetime) -> dict[int, int]:
    """Histogram bucket → live readings, of the 5-minute slots that reach past `since`."""
    rows = conn.execute(
        "SELECT bucket, sum(n)::bigint FROM latency_bucket"
        " WHERE slot > %s - interval '5 minutes' GROUP BY bucket ORDER BY bucket",
        (since,),
    )
    return dict(rows.fetchall())
