"""What a caller names by public codes, as the ids behind them: only what is in sight exists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from store.database import Connection, only


class Entities(NamedTuple):
    """What indicator values speak of: level and entity_id, side by side."""

    levels: list[str]
    ids: list[int]


class Tag(NamedTuple):
    """A tag in sight. `unit` is UCUM."""

    tag_id: int
    name: str
    signal: str
    data_type: str
    unit: str


def unit_id(conn: Connection, code: str) -> int | None:
    """A unit in sight by its code."""
    row = conn.execute("SELECT unit_id FROM lead_unit WHERE code = %s", (code,)).fetchone()
    return None if row is None else int(row[0])


def sees_units(conn: Connection) -> bool:
    """Whether there are units of which the caller sees everything, revisions too."""
    return bool(only(conn.execute("SELECT cardinality(visible_units()) > 0"))[0])


def entities(
    conn: Connection,
    *,
    unit: str | None = None,
    pilot: str | None = None,
    enterprise: str | None = None,
    equipment: str | None = None,
    source: str | None = None,
) -> Entities:
    """What these public codes name, and what belongs to it; each narrows what the others choose. Empty: nothing in sight.

    A unit has its pilots, enterprises, equipment and sources; an enterprise (USCC) itself and its equipment.
    """
    rows = conn.execute(
        "SELECT * FROM ("
        " SELECT 'cluster' AS level, p.pilot_id AS id FROM pilot p JOIN lead_unit u USING (unit_id)"
        "  WHERE num_nonnulls(%(enterprise)s::text, %(equipment)s::text, %(source)s::text) = 0"
        "   AND (%(pilot)s::text IS NULL OR p.code = %(pilot)s) AND (%(unit)s::text IS NULL OR u.code = %(unit)s)"
        " UNION ALL SELECT 'enterprise', e.enterprise_id FROM enterprise e LEFT JOIN lead_unit u USING (unit_id)"
        "  WHERE num_nonnulls(%(pilot)s::text, %(equipment)s::text, %(source)s::text) = 0"
        "   AND (%(enterprise)s::text IS NULL OR e.uscc = %(enterprise)s)"
        "   AND (%(unit)s::text IS NULL OR u.code = %(unit)s)"
        " UNION ALL SELECT 'equipment', q.equipment_id FROM equipment q"
        "  LEFT JOIN lead_unit u ON u.unit_id = q.unit_id LEFT JOIN enterprise e USING (enterprise_id)"
        "  WHERE num_nonnulls(%(pilot)s::text, %(source)s::text) = 0"
        "   AND (%(equipment)s::text IS NULL OR q.code = %(equipment)s)"
        "   AND (%(enterprise)s::text IS NULL OR e.uscc = %(enterprise)s)"
        "   AND (%(unit)s::text IS NULL OR u.code = %(unit)s)"
        " UNION ALL SELECT 'source', s.source_id FROM source s JOIN lead_unit u USING (unit_id)"
        "  WHERE num_nonnulls(%(pilot)s::text, %(enterprise)s::text, %(equipment)s::text) = 0"
        "   AND (%(source)s::text IS NULL OR s.key = %(source)s) AND (%(unit)s::text IS NULL OR u.code = %(unit)s)"
        ") found",
        {"unit": unit, "pilot": pilot, "enterprise": enterprise, "equipment": equipment, "source": source},
    ).fetchall()
    return Entities([level for level, _ in rows], [entity for _, entity in rows])


def tags(
    conn: Connection,
    of_unit: int,
    *,
    names: Sequence[str] | None = None,
    equipment: str | None = None,
    limit: int | None = None,
) -> list[Tag]:
    """Tags of a unit in sight, in the order of tag_id: these names, those of an equipment, or all."""
    rows = conn.execute(
        "SELECT t.tag_id, t.name, t.signal, t.data_type, t.unit FROM tag t"
        " WHERE t.unit_id = %(unit)s AND (%(names)s::text[] IS NULL OR t.name = ANY(%(names)s::text[]))"
        "   AND (%(equipment)s::text IS NULL OR t.equipment_id = ("
        "     SELECT equipment_id FROM equipment WHERE unit_id = %(unit)s AND code = %(equipment)s))"
        " ORDER BY t.tag_id LIMIT %(limit)s",
        {
            "unit": of_unit,
            "names": None if names is None else list(names),
            "equipment": equipment,
            "limit": limit,
        },
    )
    return [Tag(*row) for row in rows]
