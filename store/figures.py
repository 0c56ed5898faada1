"""Indicator values as callers read them: page by page, newest first, with the public codes of what they speak of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString, NamedTuple

from psycopg import sql

from store.database import Connection
from store.scope import Entities


class Figure(NamedTuple):
    """One value. `entity_id` is internal; of unit, pilot, enterprise (USCC), equipment and source what applies."""

    code: str
    level: str
    entity_id: int
    unit: str | None
    pilot: str | None
    enterprise: str | None
    equipment: str | None
    source: str | None
    period: str
    period_start: datetime
    value: float | None
    numerator: float | None
    denominator: float | None
    n_inputs: int
    completeness: float | None
    formula_version: int
    provenance: str
    provisional: bool
    reason: str | None
    computed_at: datetime
    superseded_at: datetime | None
    age_s: float


class Place(NamedTuple):
    """Where a page ends: the next one begins behind it."""

    period_start: datetime
    code: str
    level: str
    entity_id: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which values: of one kind of period, beginning in [start, end); None = no condition.

    `as_of`: the values as they were known then. Of an open period only the newest value is kept
    (docs/adr/0005): one that has been computed anew since then is not among them.
    """

    period: str
    codes: Sequence[str] | None = None
    levels: Sequence[str] | None = None
    entities: Entities | None = None
    start: datetime | None = None
    end: datetime | None = None
    as_of: datetime | None = None


_VALID: LiteralString = """
  AND CASE WHEN %(as_of)s::timestamptz IS NULL THEN i.superseded_at IS NULL
           ELSE i.computed_at <= %(as_of)s AND (i.superseded_at IS NULL OR i.superseded_at > %(as_of)s) END
"""
# Conditions are left out where nothing is asked, so that the planner sees those that narrow.
_CONDITIONS: dict[str, LiteralString] = {
    "codes": " AND i.code = ANY(%(codes)s)",
    "levels": " AND i.level = ANY(%(levels)s)",
    "start": " AND i.period_start >= %(start)s",
    "end": " AND i.period_start < %(end)s",
}
_OF_ENTITIES: LiteralString = (
    " AND (i.level, i.entity_id) IN (SELECT * FROM unnest(%(entity_levels)s::text[], %(entity_ids)s::int[]))"
)
_BEHIND: LiteralString = (
    " AND (i.period_start, i.code, i.level, i.entity_id)"
    " < (%(at_start)s::timestamptz, %(at_code)s::text, %(at_level)s::text, %(at_entity)s::int)"
)


def page(conn: Connection, wanted: Wanted, after: Place | None, limit: int) -> list[Figure]:
    """The next `limit` values in sight behind `after`, newest period first."""
    conditions: LiteralString = _VALID
    for name, condition in _CONDITIONS.items():
        if getattr(wanted, name) is not None:
            conditions += condition
    if wanted.entities is not None:
        conditions += _OF_ENTITIES
    if after is not None:
        conditions += _BEHIND
    levels, ids = wanted.entities or (None, None)
    at: dict[str, Any] = (
        {}
        if after is None
        else dict(zip(("at_start", "at_code", "at_level", "at_entity"), after, strict=True))
    )
    query = sql.SQL(
        "SELECT i.code, i.level, i.entity_id, u.code, p.code, e.uscc, q.code, s.key, i.period, i.period_start,"
        " i.value, i.numerator, i.denominator, i.n_inputs, i.completeness, i.formula_version, i.provenance,"
        " i.provisional, i.reason, i.computed_at, i.superseded_at,"
        " extract(epoch FROM clock_timestamp() - i.computed_at)::float8"
        " FROM (SELECT i.* FROM indicator_value i WHERE i.period = %(period)s{}"
        " ORDER BY i.period_start DESC, i.code DESC, i.level DESC, i.entity_id DESC LIMIT %(limit)s) i"
        " LEFT JOIN pilot p ON i.level = 'cluster' AND p.pilot_id = i.entity_id"
        " LEFT JOIN equipment q ON i.level = 'equipment' AND q.equipment_id = i.entity_id"
        " LEFT JOIN enterprise e ON i.level IN ('enterprise', 'equipment') AND e.enterprise_id ="
        "  CASE i.level WHEN 'enterprise' THEN i.entity_id ELSE q.enterprise_id END"
        " LEFT JOIN source s ON i.level = 'source' AND s.source_id = i.entity_id"
        " LEFT JOIN lead_unit u ON u.unit_id = coalesce(p.unit_id, q.unit_id, e.unit_id, s.unit_id)"
        " ORDER BY i.period_start DESC, i.code DESC, i.level DESC, i.entity_id DESC"
    ).format(sql.SQL(conditions))
    rows = conn.execute(
        query,
        {
            "period": wanted.period, "codes": _list(wanted.codes), "levels": _list(wanted.levels),
            "start": wanted.start, "end": wanted.end, "as_of": wanted.as_of, "entity_levels": levels,
            "entity_ids": ids, "limit": limit, **at,
        },
    )  # fmt: skip
    return [Figure(*row) for row in rows]


def place(figure: Figure) -> Place:
    """Where this value lies in the order of the pages."""
    return Place(figure.period_start, figure.code, figure.level, figure.entity_id)


def _list(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else list(values)
