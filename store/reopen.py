"""Which computed equipment-hours a report changes the meaning of, so that they are computed again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from store.database import Connection

Change = tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]
"""(the state before, None for a first report; the state now, None when it was withdrawn)."""

# Spans are merged first and only hours that exist are looked at, so that neither a far-away start nor
# many overlapping spans cost more than the hours that were computed. Older hours stay as they are.
_MARK: LiteralString = """
    , merged AS (
        SELECT equipment_id, unnest(range_agg(tstzrange(low - interval '1 hour', high, '(]'))) AS span
        FROM (
            SELECT equipment_id, greatest(start, now() - interval '3 years') AS low,
                coalesce("end", 'infinity') AS high FROM changed
        ) AS bounded
        WHERE low < high GROUP BY equipment_id
    )
    INSERT INTO dirty_hour (equipment_id, hour)
    SELECT h.equipment_id, h.hour FROM merged m JOIN equipment_hour h
        ON h.equipment_id = m.equipment_id AND h.hour > lower(m.span) AND h.hour <= upper(m.span)
    UNION
    -- being computed for the first time just now, from what was reported before
    SELECT d.equipment_id, d.hour FROM merged m JOIN dirty_hour d
        ON d.equipment_id = m.equipment_id AND d.hour > lower(m.span) AND d.hour <= upper(m.span)
    ORDER BY 1, 2
    ON CONFLICT (equipment_id, hour) DO UPDATE SET marked_at = clock_timestamp()"""

_SPANS: LiteralString = """
    WITH changed AS (
        SELECT q.equipment_id, r.start, r."end"
        FROM jsonb_to_recordset(%(changed)s) AS r (equipment_code text, start timestamptz, "end" timestamptz)
        JOIN equipment q ON q.unit_id = %(unit)s AND q.code = r.equipment_code
    )"""

# The first interval of a tag holds for what was read before it, too.
_INTERVALS: LiteralString = """
    WITH changed AS (
        SELECT t.equipment_id, NULL::timestamptz AS "end", CASE WHEN EXISTS (
            SELECT FROM reporting_schedule s WHERE s.tag_id = t.tag_id AND s.valid_from < r.valid_from
        ) THEN r.valid_from END AS start
        FROM jsonb_to_recordset(%(changed)s) AS r (name text, valid_from timestamptz)
        JOIN tag t ON t.unit_id = %(unit)s AND t.name = r.name
    )"""


def reopen(conn: Connection, unit_id: int, dataset: str, changes: Iterable[Change]) -> None:
    """Mark the computed hours that these changes of applied records reach, old state and new.

    Calendar and orders: the span before and the span now, on the equipment before and now. A tag's
    reporting interval: from where it holds. Rated capacity, which has no date: every hour. Hours not
    computed yet are marked by their own rows. Within the caller's transaction, after the records are applied.
    """
    reached: list[Mapping[str, Any]] = []
    statement = _SPANS + _MARK
    if dataset in ("shift_calendar", "production_order"):
        reached = _spans(changes)
    elif dataset == "equipment":
        reached = [
            {"equipment_code": new["code"], "start": None, "end": None}
            for old, new in changes
            if old is not None and new is not None and _differs(old, new, "rated_capacity_per_h")
        ]
    elif dataset == "tag":
        statement = _INTERVALS + _MARK
        reached = [
            {"name": new["name"], "valid_from": new["valid_from"]}
            for old, new in changes
            if new is not None and (old is None or _differs(old, new, "interval_s"))
        ]
    if reached:
        conn.execute(statement, {"unit": unit_id, "changed": Jsonb(reached)})


def _spans(changes: Iterable[Change]) -> list[Mapping[str, Any]]:
    states: Sequence[Mapping[str, Any]] = [state for pair in changes for state in pair if state is not None]
    return [{field: s.get(field) for field in ("equipment_code", "start", "end")} for s in states]


def _differs(old: Mapping[str, Any], new: Mapping[str, Any], field: str) -> bool:
    return bool(old.get(field) != new.get(field))
