"""The account of a demo run: every number measured."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from qunce.demo.pages import statuses
from qunce.settings import Settings
from store.database import connect
from store.latency import quantile_s
from store.totals import by_protocol, indicator_counts, latency_counts

PROTOCOLS = ("opcua", "mqtt", "http_push", "http_pull")


def account(
    settings: Settings,
    dsn: str,
    ready_s: float,
    paths: list[str],
    latency_before: tuple[datetime, dict[int, int]],
) -> dict[str, Any]:
    """What the report file holds.

    Latency is of what was stored since the histogram `latency_before` (its start, its counts) was
    taken; everything else is of all that is kept.
    """
    since, before = latency_before
    with connect(dsn, application="demo", autocommit=True) as conn:
        totals = {total.protocol: total for total in by_protocol(conn)}
        counts = latency_counts(conn, since)
        indicators = indicator_counts(conn)
    latency = quantile_s({bucket: n - before.get(bucket, 0) for bucket, n in counts.items()})
    return {
        "ready_seconds": round(ready_s, 2),
        "points": {name: totals[name].stored if name in totals else 0 for name in PROTOCOLS},
        "rows_stored": sum(total.stored for total in totals.values()),
        "duplicates": sum(total.duplicates for total in totals.values()),
        "quarantined": sum(total.quarantined for total in totals.values()),
        "indicators": indicators,
        "latency_p95_seconds": None if latency is None else round(latency, 3),
        "pages": statuses(settings, paths),
    }
