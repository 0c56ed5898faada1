"""Read queries on the supply of data: sources, what they delivered, what was refused and why."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from store.database import Connection


class Supply(NamedTuple):
    """The account of one source, and of its last hour.

    Counts are rows. `last_received_at` is the platform's clock, `last_source_ts` the source's.
    `recent_*`: rows of source-time hours that touch the last 60 minutes. `interval_s`: the shortest
    reporting interval of the unit's tags; None while it has none. `sends_live`: it has sent live rows,
    so silence means something (a source may only bring back-fill or reports). `beat_at`: its last
    heartbeat, else the last of anything that sends for the unit; `beat_skew_s`: how far that clock was ahead.
    `stopped`: all equipment of the unit that is to report stands still by a declared stoppage, so silence is expected.
    """

    source_id: int
    unit_id: int
    unit_code: str
    unit_zh: str
    unit_en: str
    key: str
    received: int
    stored: int
    duplicates: int
    corrections: int
    quarantined: int
    last_received_at: datetime | None
    last_source_ts: datetime | None
    recent_accepted: int
    recent_quarantined: int
    recent_live: int
    recent_timely: int
    interval_s: float | None
    sends_live: bool
    beat_at: datetime | None
    beat_skew_s: float | None
    stopped: bool


class Refusal(NamedTuple):
    """One refused row; `original` is at most its first 2,000 bytes, `size` all of them."""

    quarantine_id: int
    unit_code: str
    unit_zh: str
    unit_en: str
    source: str
    place: str
    reason: str
    parameters: dict[str, Any]
    tag: str | None
    ts: datetime | None
    original: bytes
    size: int
    received_at: datetime


class DayOver(NamedTuple):
    """A machine with days on which an indicator was above its limit: the worst `value` (fraction of 1),
    start of the first such day (UTC), how many `days`.
    """

    unit_code: str
    equipment_code: str
    indicator: str
    since: datetime
    value: float
    days: int


def supplies(conn: Connection) -> list[Supply]:
    """Every source with its ledger, by unit and key."""
    rows = conn.execute(
        "SELECT s.source_id, u.unit_id, u.code, u.name_zh, u.name_en, s.key,"
        " coalesce(g.received, 0), coalesce(g.stored, 0), coalesce(g.duplicates, 0),"
        " coalesce(g.corrections, 0), coalesce(g.quarantined, 0), g.last_received_at, g.last_source_ts,"
        " coalesce(h.accepted, 0)::bigint, coalesce(h.quarantined, 0)::bigint,"
        " coalesce(h.live, 0)::bigint, coalesce(h.timely, 0)::bigint, i.interval_s,"
        " EXISTS (SELECT 1 FROM latency_bucket l WHERE l.source_id = s.source_id), b.received_at, b.skew_s,"
        " EXISTS (SELECT FROM stoppage p WHERE p.unit_id = u.unit_id AND p.withdrawn_at IS NULL"
        "   AND p.start_at <= now() AND coalesce(p.end_at, 'infinity') > now())"
        " AND NOT EXISTS (SELECT FROM equipment q WHERE q.unit_id = u.unit_id"
        "   AND EXISTS (SELECT FROM tag t JOIN reporting_schedule USING (tag_id) WHERE t.equipment_id = q.equipment_id)"
        "   AND NOT EXISTS (SELECT FROM stoppage_equipment x JOIN stoppage p USING (stoppage_id)"
        "     WHERE x.equipment_id = q.equipment_id AND p.withdrawn_at IS NULL"
        "      AND p.start_at <= now() AND coalesce(p.end_at, 'infinity') > now()))"
        " FROM source s JOIN lead_unit u USING (unit_id)"
        " LEFT JOIN ingest_ledger g USING (source_id)"
        " LEFT JOIN (SELECT source_id, sum(accepted) accepted, sum(quarantined) quarantined,"
        "   sum(live) live, sum(timely) timely FROM supply_hour"
        "   WHERE hour > now() - interval '2 hours' GROUP BY source_id) h USING (source_id)"
        " LEFT JOIN (SELECT t.unit_id, min(r.interval_s) interval_s FROM tag t"
        "   JOIN reporting_schedule r USING (tag_id) GROUP BY t.unit_id) i ON i.unit_id = u.unit_id"
        " LEFT JOIN LATERAL (SELECT received_at, skew_s FROM source_heartbeat b WHERE b.unit_id = s.unit_id"
        "   ORDER BY b.source = s.key DESC, b.received_at DESC LIMIT 1) b ON true"
        " ORDER BY u.code, s.key"
    )
    return [Supply(*row) for row in rows]


def days_over(
    conn: Connection, limits: Mapping[str, float], since: datetime, *, least_s: float, most: int
) -> list[DayOver]:
    """Machines with days from `since` on whose indicator is above its limit (code → fraction of 1), worst first.

    Only days with at least `least_s` seconds in the denominator count, as little time says little; at
    most `most` rows.
    """
    rows = conn.execute(
        "SELECT u.code, q.code, w.code, w.first, w.value, w.days FROM ("
        "  SELECT v.entity_id, v.code, min(v.period_start) AS first, max(v.value) AS value,"
        "   count(*)::int AS days"
        "  FROM indicator_value v JOIN unnest(%(codes)s::text[], %(limits)s::float8[]) l (code, most)"
        "   ON l.code = v.code AND v.value > l.most"
        "  WHERE v.period = 'day' AND v.period_start >= %(since)s AND v.level = 'equipment'"
        "   AND v.superseded_at IS NULL AND v.denominator >= %(least)s"
        "  GROUP BY v.entity_id, v.code) w"
        " JOIN equipment q ON q.equipment_id = w.entity_id JOIN lead_unit u USING (unit_id)"
        " ORDER BY w.value DESC, u.code, q.code, w.code LIMIT %(most)s",
        {
            "codes": list(limits), "limits": list(limits.values()), "since": since, "least": least_s,
            "most": most,
        },
    )  # fmt: skip
    return [DayOver(*row) for row in rows]


def refusals(conn: Connection, limit: int) -> list[Refusal]:
    """The newest refused rows of all units, newest first; at most `limit`."""
    rows = conn.execute(
        "SELECT q.quarantine_id, u.code, u.name_zh, u.name_en, coalesce(s.key, ''), q.place, q.reason,"
        " q.parameters, q.tag, q.ts, substring(q.original FROM 1 FOR 2000), length(q.original),"
        " q.received_at"
        # A unit at a time: row security would read past everybody else's to find the last of a few.
        " FROM (SELECT n.* FROM lead_unit o CROSS JOIN LATERAL (SELECT * FROM quarantine x"
        "   WHERE x.unit_id = o.unit_id ORDER BY x.quarantine_id DESC LIMIT %(most)s) n"
        "  ORDER BY n.quarantine_id DESC LIMIT %(most)s) q"
        " JOIN lead_unit u USING (unit_id) LEFT JOIN source s USING (source_id)"
        " ORDER BY q.quarantine_id DESC",
        {"most": limit},
    )
    return [Refusal(*row) for row in rows]


def refusal_counts(conn: Connection, newest: int) -> list[tuple[str, str, int]]:
    """(unit code, reason, rows) among the `newest` refused rows, most frequent first."""
    rows = conn.execute(
        "SELECT u.code, q.reason, count(*)::int"
        " FROM (SELECT n.* FROM lead_unit o CROSS JOIN LATERAL (SELECT unit_id, reason, quarantine_id"
        "   FROM quarantine x WHERE x.unit_id = o.unit_id ORDER BY x.quarantine_id DESC LIMIT %(most)s) n"
        "  ORDER BY n.quarantine_id DESC LIMIT %(most)s) q"
        " JOIN lead_unit u USING (unit_id) GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2",
        {"most": newest},
    )
    return [(row[0], row[1], row[2]) for row in rows]
