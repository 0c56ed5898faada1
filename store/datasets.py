"""Applying what units report: typed tables for the present, dataset_revision for every state there was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, LiteralString, NamedTuple

from psycopg.types.json import Jsonb

from store.database import Connection
from store.reopen import Change, reopen
from store.times import moment

# One statement a dataset: %(records)s is a JSON array of validated records, %(unit)s the owner.
# References were checked before, so the joins lose nothing.
_UPSERT: Mapping[str, LiteralString] = MappingProxyType(
    {
        "park": """
            INSERT INTO park (unit_id, code, name, region_code, virtual)
            SELECT %(unit)s, r.code, r.name, r.region_code, r.virtual
            FROM jsonb_to_recordset(%(records)s) AS r (code text, name text, region_code text, virtual boolean)
            ON CONFLICT (unit_id, code) DO UPDATE SET name = excluded.name,
                region_code = excluded.region_code, virtual = excluded.virtual""",
        "enterprise": """
            INSERT INTO enterprise
                (unit_id, uscc, name, region_code, industry, park_id, registered_on, scale)
            SELECT %(unit)s, r.uscc, r.name, r.region_code, r.industry, p.park_id, r.registered_on, r.scale
            FROM jsonb_to_recordset(%(records)s) AS r (uscc text, name text, region_code text,
                industry text, park_code text, registered_on date, scale text)
            LEFT JOIN park p ON p.unit_id = %(unit)s AND p.code = r.park_code
            ON CONFLICT (unit_id, uscc) DO UPDATE SET name = excluded.name,
                region_code = excluded.region_code, industry = excluded.industry,
                park_id = excluded.park_id, registered_on = excluded.registered_on, scale = excluded.scale""",
        "equipment": """
            INSERT INTO equipment (unit_id, enterprise_id, code, name, kind, rated_capacity_per_h,
                digital, networked, commissioned_on)
            SELECT %(unit)s, e.enterprise_id, r.code, r.name, r.kind, r.rated_capacity_per_h,
                r.digital, r.networked, r.commissioned_on
            FROM jsonb_to_recordset(%(records)s) AS r (code text, enterprise_uscc text, name text,
                kind text, rated_capacity_per_h float8, digital boolean, networked boolean,
                commissioned_on date)
            JOIN enterprise e ON e.unit_id = %(unit)s AND e.uscc = r.enterprise_uscc
            ON CONFLICT (unit_id, code) DO UPDATE SET enterprise_id = excluded.enterprise_id,
                name = excluded.name, kind = excluded.kind,
                rated_capacity_per_h = excluded.rated_capacity_per_h, digital = excluded.digital,
                networked = excluded.networked, commissioned_on = excluded.commissioned_on""",
        "tag": """
            WITH input AS (
                SELECT r.*, q.equipment_id
                FROM jsonb_to_recordset(%(records)s) AS r (name text, equipment_code text, signal text,
                    data_type text, unit text, interval_s float8, valid_from timestamptz,
                    range_min float8, range_max float8, frozen_after_s float8, rate_max_per_s float8)
                JOIN equipment q ON q.unit_id = %(unit)s AND q.code = r.equipment_code
            ), kept AS (
                INSERT INTO tag (unit_id, equipment_id, name, signal, data_type, unit, range_min, range_max,
                    frozen_after_s, rate_max_per_s)
                SELECT DISTINCT ON (name) %(unit)s, equipment_id, name, signal, data_type, unit,
                    range_min, range_max, frozen_after_s, rate_max_per_s
                FROM input ORDER BY name, valid_from DESC
                ON CONFLICT (unit_id, name) DO UPDATE SET equipment_id = excluded.equipment_id,
                    unit = excluded.unit, range_min = excluded.range_min, range_max = excluded.range_max,
                    frozen_after_s = excluded.frozen_after_s, rate_max_per_s = excluded.rate_max_per_s
                RETURNING tag_id, name
            )
            INSERT INTO reporting_schedule (tag_id, valid_from, interval_s)
            SELECT tag_id, valid_from, interval_s FROM input JOIN kept USING (name)
            ON CONFLICT (tag_id, valid_from) DO UPDATE SET interval_s = excluded.interval_s""",
        "shift_calendar": """
            INSERT INTO shift_calendar (unit_id, equipment_id, start_at, end_at, kind)
            SELECT %(unit)s, q.equipment_id, r.start, r."end", r.kind
            FROM jsonb_to_recordset(%(records)s) AS r (equipment_code text, start timestamptz,
                "end" timestamptz, kind text)
            JOIN equipment q ON q.unit_id = %(unit)s AND q.code = r.equipment_code
            ON CONFLICT (equipment_id, start_at, kind) DO UPDATE SET end_at = excluded.end_at""",
        "production_order": """
            INSERT INTO production_order
                (unit_id, order_id, equipment_id, product, pri_s, planned_quantity, start_at, end_at)
            SELECT %(unit)s, r.order_id, q.equipment_id, r.product, r.planned_run_time_per_item_s,
                r.planned_quantity, r.start, r."end"
            FROM jsonb_to_recordset(%(records)s) AS r (order_id text, equipment_code text, product text,
                planned_run_time_per_item_s float8, planned_quantity float8, start timestamptz,
                "end" timestamptz)
            JOIN equipment q ON q.unit_id = %(unit)s AND q.code = r.equipment_code
            ON CONFLICT (unit_id, order_id) DO UPDATE SET equipment_id = excluded.equipment_id,
                product = excluded.product, pri_s = excluded.pri_s,
                planned_quantity = excluded.planned_quantity, start_at = excluded.start_at,
                end_at = excluded.end_at""",
        "milestone": """
            INSERT INTO milestone (unit_id, code, name, planned_on, accepted_on)
            SELECT %(unit)s, r.code, r.name, r.planned_on, r.accepted_on
            FROM jsonb_to_recordset(%(records)s) AS r (code text, name text, planned_on date,
                accepted_on date)
            ON CONFLICT (unit_id, code) DO UPDATE SET name = excluded.name,
                planned_on = excluded.planned_on, accepted_on = excluded.accepted_on""",
        "reported_indicator": """
            INSERT INTO reported_indicator
                (unit_id, code, period_start, period_end, value, numerator, denominator)
            SELECT %(unit)s, r.code, r.period_start, r.period_end, r.value, r.numerator, r.denominator
            FROM jsonb_to_recordset(%(records)s) AS r (code text, period_start timestamptz,
                period_end timestamptz, value float8, numerator float8, denominator float8)
            ON CONFLICT (unit_id, code, period_start, period_end) DO UPDATE SET value = excluded.value,
                numerator = excluded.numerator, denominator = excluded.denominator""",
    }
)

_KNOWN: Mapping[str, LiteralString] = MappingProxyType(
    {
        "region_code": "SELECT code FROM region WHERE code = ANY(%(codes)s)",
        "park_code": "SELECT code FROM park WHERE unit_id = %(unit)s AND code = ANY(%(codes)s)",
        "enterprise_uscc": "SELECT uscc FROM enterprise WHERE unit_id = %(unit)s AND uscc = ANY(%(codes)s)",
        "equipment_code": "SELECT code FROM equipment WHERE unit_id = %(unit)s AND code = ANY(%(codes)s)",
    }
)


class Problem(NamedTuple):
    """A record that cannot be applied: its row, the field, a code of store.reasons, its parameters."""

    row: int
    field: str
    reason: str
    parameters: dict[str, str]


@dataclass(frozen=True, slots=True)
class Submission:
    """Verdict on one submission; received = accepted + duplicates + quarantined."""

    received: int
    accepted: int
    duplicates: int
    corrections: int
    quarantined: int
    errors: list[dict[str, Any]]


def problems(
    conn: Connection, unit_id: int, dataset: str, records: Sequence[dict[str, Any]]
) -> list[Problem]:
    """Records that refer to what is not registered, or would change a tag's type."""
    found: dict[int, Problem] = {}
    for field, query in _KNOWN.items():
        named = {record[field] for record in records if record.get(field) is not None}
        if not named:
            continue
        known = {c for (c,) in conn.execute(query, {"unit": unit_id, "codes": list(named)})}
        for i, record in enumerate(records):
            code = record.get(field)
            if code is not None and code not in known:
                found.setdefault(i, Problem(i, field, "unknown_reference", {"field": field, "got": code}))
    if dataset == "tag":
        types: dict[str, str] = dict(
            conn.execute(
                "SELECT name, data_type FROM tag WHERE unit_id = %s AND name = ANY(%s)",
                (unit_id, [record["name"] for record in records]),
            ).fetchall()
        )
        for i, record in enumerate(records):
            before = types.setdefault(record["name"], record["data_type"])
            if before != record["data_type"]:
                parameters = {"tag": record["name"], "before": before, "got": record["data_type"]}
                found.setdefault(i, Problem(i, "data_type", "type_change", parameters))
    return sorted(found.values())


def apply(
    conn: Connection,
    unit_id: int,
    dataset: str,
    records: Sequence[dict[str, Any]],
    keys: Sequence[str],
    batch: str,
    received_at_us: int,
) -> tuple[int, int, int]:
    """Store records without `problems`; returns (accepted, duplicates, corrections).

    The same key with the same content is a duplicate; with other content it is a correction, and
    a new revision. Within one call the later record wins.
    """
    before = {
        key: (revision, record)
        for key, revision, record in conn.execute(
            "SELECT DISTINCT ON (natural_key) natural_key, revision, record FROM dataset_revision"
            " WHERE unit_id = %s AND dataset = %s AND natural_key = ANY(%s)"
            " ORDER BY natural_key, revision DESC",
            (unit_id, dataset, list(keys)),
        )
    }
    revisions: list[tuple[str, int, dict[str, Any]]] = []
    changes: list[Change] = []
    duplicates = corrections = 0
    for key, record in zip(keys, records, strict=True):
        revision, present = before.get(key, (0, None))
        if present is not None and _stated(present) == _stated(record):
            duplicates += 1
            continue
        corrections += revision > 0
        before[key] = (revision + 1, record)
        revisions.append((key, revision + 1, record))
        changes.append((present, record))
    if revisions:
        with (
            conn.cursor() as cursor,
            cursor.copy(
                "COPY dataset_revision (unit_id, dataset, natural_key, revision, record, batch, received_at)"
                " FROM STDIN"
            ) as copy,
        ):
            for key, revision, record in revisions:
                copy.write_row(
                    (unit_id, dataset, key, revision, Jsonb(record), batch, moment(received_at_us))
                )
        present_state = {key: record for key, _, record in revisions}
        parameters = {"unit": unit_id, "records": Jsonb(list(present_state.values()))}
        conn.execute(_UPSERT[dataset], parameters)
        reopen(conn, unit_id, dataset, changes)
    return len(revisions), duplicates, corrections


def _stated(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says: a field that was not among the dataset's yet is as one left out."""
    return {field: value for field, value in record.items() if value is not None}


def last_reported(conn: Connection, unit_id: int, dataset: str, keys: Sequence[str]) -> dict[str, datetime]:
    """When records of these natural keys were last reported; those never reported are left out."""
    rows = conn.execute(
        "SELECT natural_key, max(received_at) FROM dataset_revision"
        " WHERE unit_id = %s AND dataset = %s AND natural_key = ANY(%s) GROUP BY natural_key",
        (unit_id, dataset, list(keys)),
    )
    return dict(rows.fetchall())


def keep_submission(
    conn: Connection,
    batch: str,
    unit_id: int,
    dataset: str,
    verdict: Submission,
    body_digest: bytes | None = None,
) -> None:
    """Record the verdict, so that the sender can be told (`store.submissions.find`)."""
    conn.execute(
        "INSERT INTO submission"
        " (batch, unit_id, dataset, received, accepted, duplicates, corrections, quarantined, errors,"
        " body_digest) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (batch) DO NOTHING",
        (
            batch, unit_id, dataset, verdict.received, verdict.accepted, verdict.duplicates,
            verdict.corrections, verdict.quarantined, Jsonb(verdict.errors), body_digest,
        ),
    )  # fmt: skip
