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


def latency_quantile_s(counts: dict[int, int], quantile: float = 0.95) -> float | None:
    """Seconds from source time to stored that this share does not exceed; None without readings.

    Interpolated within the histogram's bucket (10 % wide).
    """
    from store.accounts import (  # brings pandas, which a quick start can do without
        BUCKET_BASE_S,
        BUCKET_GROWTH,
    )

    wanted = quantile * sum(counts.values())
    passed = 0
    for bucket, n in sorted(counts.items()):
        if n > 0 and passed + n >= wanted:
            low = BUCKET_BASE_S * BUCKET_GROWTH**bucket if bucket > 0 else 0.0
            high = BUCKET_BASE_S * BUCKET_GROWTH ** (bucket + 1)
            return float(low + (high - low) * (wanted - passed) / n)
        passed += n
    return None
