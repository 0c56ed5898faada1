"""A unit's own data quality over a period, and its submissions: what it sent, what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from store.database import Connection
from store.latency import quantile_s

OPEN_COUNTED = 100_000
"""Of the open entries of a quarantine so many of the newest are counted by reason."""
_RATES = ("dq.transmission_rate", "dq.validity_rate", "dq.timeliness")


class SourceQuality(NamedTuple):
    """One source: rows of registered tags by source time, slots and rates from its hourly indicators. None = nothing to judge by.

    `due` and `filled` are those it answers for; `p95_s` of live rows that arrived in the period.
    """

    source: str
    received: int
    quarantined: int
    live: int
    timely: int
    due: float | None
    filled: float | None
    valid: float | None
    judged: float | None
    p95_s: float | None
    last_received_at: datetime | None
    clock_ahead_s: float | None


class EquipmentQuality(NamedTuple):
    """One equipment: slots due and filled, readings stored and good, rows refused, seconds declared stopped."""

    equipment: str
    enterprise_uscc: str
    due: int
    filled: int
    readings: int
    valid: int
    quarantined: int
    live: int
    timely: int
    stopped_s: float
    last_received_at: datetime | None


class OpenReason(NamedTuple):
    """How many entries are open for a reason, and the newest one's parameters."""

    reason: str
    open: int
    parameters: dict[str, str]


class Submitted(NamedTuple):
    """A submission of dataset records and its verdict."""

    batch: str
    dataset: str
    received: int
    accepted: int
    duplicates: int
    corrections: int
    quarantined: int
    applied_at: datetime


def of_sources(conn: Connection, unit_id: int, since: datetime, until: datetime) -> list[SourceQuality]:
    """Every source of a unit, by name; hours of [since, until)."""
    span = {"unit": unit_id, "since": since, "until": until, "codes": list(_RATES)}
    rows = conn.execute(
        "SELECT s.source_id, s.key, coalesce(h.received, 0), coalesce(h.quarantined, 0), coalesce(h.live, 0),"
        " coalesce(h.timely, 0), g.last_received_at, k.ahead_s"
        " FROM source s LEFT JOIN ingest_ledger g USING (source_id) LEFT JOIN clock_skew k USING (source_id)"
        " LEFT JOIN LATERAL (SELECT sum(accepted + duplicates + quarantined)::bigint AS received,"
        "   sum(quarantined)::bigint AS quarantined, sum(live)::bigint AS live, sum(timely)::bigint AS timely"
        "  FROM equipment q JOIN supply_hour h ON h.equipment_id = q.equipment_id AND h.source_id = s.source_id"
        "   AND h.hour >= %(since)s AND h.hour < %(until)s WHERE q.unit_id = %(unit)s) h ON true"
        " WHERE s.unit_id = %(unit)s ORDER BY s.key",
        span,
    ).fetchall()
    span["ids"] = [row[0] for row in rows]
    rates = {
        (source, code): (numerator, denominator)
        for source, code, numerator, denominator in conn.execute(
            "SELECT entity_id, code, sum(numerator), sum(denominator) FROM indicator_value"
            " WHERE code = ANY(%(codes)s) AND level = 'source' AND entity_id = ANY(%(ids)s) AND period = 'hour'"
            " AND period_start >= %(since)s AND period_start < %(until)s AND superseded_at IS NULL"
            " GROUP BY 1, 2",
            span,
        )
    }
    buckets: dict[int, dict[int, int]] = {}
    for source, bucket, n in conn.execute(
        "SELECT source_id, bucket, sum(n)::bigint FROM latency_bucket WHERE source_id = ANY(%(ids)s)"
        " AND slot >= %(since)s AND slot < %(until)s GROUP BY 1, 2",
        span,
    ):
        buckets.setdefault(source, {})[bucket] = n
    return [
        SourceQuality(
            key, received, quarantined, live, timely,
            due=rates.get((source, _RATES[0]), (None, None))[1],
            filled=rates.get((source, _RATES[0]), (None, None))[0],
            valid=rates.get((source, _RATES[1]), (None, None))[0],
            judged=rates.get((source, _RATES[1]), (None, None))[1],
            p95_s=quantile_s(buckets[source]) if source in buckets else None,
            last_received_at=last,
            clock_ahead_s=ahead,
        )
        for source, key, received, quarantined, live, timely, last, ahead in rows
    ]  # fmt: skip


def of_equipment(
    conn: Connection,
    unit_id: int,
    since: datetime,
    until: datetime,
    *,
    limit: int,
    after: str = "",
) -> list[EquipmentQuality]:
    """Equipment of a unit by code, from after `after`; hours of [since, until)."""
    rows = conn.execute(
        "SELECT q.code, e.uscc, coalesce(h.due, 0), coalesce(h.filled, 0), coalesce(h.readings, 0),"
        " coalesce(h.valid, 0), coalesce(s.quarantined, 0), coalesce(s.live, 0), coalesce(s.timely, 0),"
        " coalesce(h.stopped_s, 0), l.received_at"
        " FROM (SELECT * FROM equipment WHERE unit_id = %(unit)s AND code > %(after)s ORDER BY code LIMIT %(limit)s) q"
        " JOIN enterprise e USING (enterprise_id)"
        " LEFT JOIN LATERAL (SELECT sum(due)::bigint AS due, sum(filled)::bigint AS filled,"
        "   sum(readings)::bigint AS readings, sum(valid)::bigint AS valid, sum(stopped_s) AS stopped_s"
        "  FROM equipment_hour h WHERE h.equipment_id = q.equipment_id AND hour >= %(since)s AND hour < %(until)s"
        " ) h ON true"
        " LEFT JOIN LATERAL (SELECT sum(quarantined)::bigint AS quarantined, sum(live)::bigint AS live,"
        "   sum(timely)::bigint AS timely"
        "  FROM source x JOIN supply_hour s ON s.equipment_id = q.equipment_id AND s.source_id = x.source_id"
        "   AND s.hour >= %(since)s AND s.hour < %(until)s WHERE x.unit_id = %(unit)s"
        " ) s ON true"
        " LEFT JOIN LATERAL (SELECT max(l.received_at) AS received_at FROM tag t JOIN latest_value l USING (tag_id)"
        "  WHERE t.equipment_id = q.equipment_id) l ON true"
        " ORDER BY q.code",
        {"unit": unit_id, "since": since, "until": until, "after": after, "limit": limit},
    )
    return [EquipmentQuality(*row) for row in rows]


def open_reasons(conn: Connection, unit_id: int) -> list[OpenReason]:
    """Open entries of a unit's quarantine by reason, most frequent first, among the newest OPEN_COUNTED."""
    rows = conn.execute(
        "SELECT reason, count(*), (array_agg(parameters ORDER BY quarantine_id DESC))[1]"
        " FROM (SELECT quarantine_id, reason, parameters FROM quarantine WHERE unit_id = %s AND replayed_at IS NULL"
        "  ORDER BY quarantine_id DESC LIMIT %s) q GROUP BY 1 ORDER BY 2 DESC, 1",
        (unit_id, OPEN_COUNTED),
    )
    return [OpenReason(*row) for row in rows]


def submitted(
    conn: Connection,
    unit_id: int,
    *,
    limit: int,
    before: tuple[datetime, str] | None = None,
    dataset: str | None = None,
    refused: bool | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Submitted]:
    """A unit's applied submissions, newest first. `refused`: with or without refused records."""
    parameters: dict[str, Any] = {
        "unit": unit_id, "limit": limit, "dataset": dataset, "refused": refused, "since": since, "until": until,
        "at": before and before[0], "batch": before and before[1],
    }  # fmt: skip
    rows = conn.execute(
        "SELECT batch, dataset, received, accepted, duplicates, corrections, quarantined, applied_at FROM submission"
        " WHERE unit_id = %(unit)s AND (%(dataset)s::text IS NULL OR dataset = %(dataset)s)"
        " AND (%(refused)s::boolean IS NULL OR (quarantined > 0) = %(refused)s)"
        " AND (%(since)s::timestamptz IS NULL OR applied_at >= %(since)s)"
        " AND (%(until)s::timestamptz IS NULL OR applied_at < %(until)s)"
        " AND (%(at)s::timestamptz IS NULL OR (applied_at, batch) < (%(at)s, %(batch)s))"
        " ORDER BY applied_at DESC, batch DESC LIMIT %(limit)s",
        parameters,
    )
    return [Submitted(*row) for row in rows]
