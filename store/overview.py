"""Read queries of the pages: pilots, what they achieved, what their equipment is doing now.

Every query is bounded by an index or by the size of the registry, never by the number of readings.
Times are aware datetimes in UTC. Ratios are fractions of 1, as the indicator catalogue has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple

from store.database import Connection
from store.signals import MODE, STATE


class Pilot(NamedTuple):
    """One cluster pilot with its lead unit; `enterprises` and `equipment` are registered counts."""

    pilot_id: int
    code: str
    name_zh: str
    name_en: str
    cluster_zh: str
    cluster_en: str
    kind: str
    region_code: str
    region: str
    unit_id: int
    unit_code: str
    unit_zh: str
    unit_en: str
    stage: str
    started_on: date
    enterprises: int
    equipment: int


class Figure(NamedTuple):
    """One current indicator value; `value` None comes with a `reason`."""

    code: str
    entity_id: int
    period: str
    period_start: datetime
    value: float | None
    numerator: float | None
    denominator: float | None
    n_inputs: int
    completeness: float | None
    provisional: bool
    reason: str | None
    formula_version: int
    computed_at: datetime


class Point(NamedTuple):
    """One value of a series."""

    code: str
    period_start: datetime
    value: float | None


class Milestone(NamedTuple):
    """A milestone of a unit's task book; `accepted_on` None = open. Days are of +08:00."""

    unit_id: int
    unit_code: str
    code: str
    name: str
    planned_on: date
    accepted_on: date | None


class Arrival(NamedTuple):
    """Live rows received by one protocol in the 10 seconds from `slot`."""

    slot: datetime
    protocol: str
    live: int


class EquipmentNow(NamedTuple):
    """What one machine last said.

    `state`, `mode`: names of OPC 40001-1, None if never said. `state_at`: source time of that word;
    `since`: from when it has been in this state (None: longer than the look-back of 24 h).
    `seen_at`: newest source time of any of its tags. `interval_s`: reporting interval of the state tag.
    """

    equipment_id: int
    code: str
    name: str
    kind: str
    enterprise_id: int
    enterprise: str
    state: str | None
    mode: str | None
    state_at: datetime | None
    since: datetime | None
    seen_at: datetime | None
    interval_s: float | None


class Enterprise(NamedTuple):
    """An enterprise on a unit's platform, with the number of its registered machines."""

    enterprise_id: int
    name: str
    region: str
    industry: str | None
    scale: str | None
    registered_on: date
    equipment: int


def clock(conn: Connection) -> datetime:
    """The database's clock, the one against which every age is measured."""
    row = conn.execute("SELECT clock_timestamp()").fetchone()
    if row is None:
        raise LookupError("the database did not tell the time")
    now: datetime = row[0]
    return now


def pilots(conn: Connection) -> list[Pilot]:
    """All pilots, by code."""
    rows = conn.execute(
        "SELECT p.pilot_id, p.code, p.name_zh, p.name_en, c.name_zh, c.name_en, c.kind,"
        " p.region_code, r.name, u.unit_id, u.code, u.name_zh, u.name_en, p.stage, p.started_on,"
        " (SELECT count(*) FROM enterprise e WHERE e.unit_id = u.unit_id)::int,"
        " (SELECT count(*) FROM equipment q WHERE q.unit_id = u.unit_id)::int"
        " FROM pilot p JOIN cluster c ON c.code = p.cluster_code"
        " JOIN region r ON r.code = p.region_code JOIN lead_unit u ON u.unit_id = p.unit_id"
        " ORDER BY p.code"
    )
    return [Pilot(*row) for row in rows]


def figures(
    conn: Connection,
    level: str,
    entities: Sequence[int],
    codes: Sequence[str],
    periods: Sequence[str],
    *,
    closed: bool = False,
) -> list[Figure]:
    """The newest current value of each (code, entity, period), one index probe each.

    `closed`: only of periods that had ended when they were computed.
    """
    rows = conn.execute(
        "SELECT v.code, v.entity_id, v.period, v.period_start, v.value, v.numerator, v.denominator, v.n_inputs,"
        " v.completeness, v.provisional, v.reason, v.formula_version, v.computed_at"
        " FROM unnest(%(codes)s::text[]) c (code), unnest(%(entities)s::int[]) e (id),"
        " unnest(%(periods)s::text[]) p (period)"
        " CROSS JOIN LATERAL (SELECT * FROM indicator_value i"
        "  WHERE i.code = c.code AND i.level = %(level)s AND i.entity_id = e.id AND i.period = p.period"
        "  AND i.superseded_at IS NULL AND NOT (%(closed)s AND i.provisional)"
        "  ORDER BY i.period_start DESC LIMIT 1) v",
        {
            "codes": list(codes),
            "entities": list(entities),
            "periods": list(periods),
            "level": level,
            "closed": closed,
        },
    )
    return [Figure(*row) for row in rows]


def series(
    conn: Connection, level: str, entity: int, codes: Sequence[str], period: str, since: datetime
) -> list[Point]:
    """Current values of one entity from `since` on, by code and time; at most 2,000 a code."""
    rows = conn.execute(
        "SELECT v.code, v.period_start, v.value FROM unnest(%(codes)s::text[]) c (code)"
        " CROSS JOIN LATERAL (SELECT i.code, i.period_start, i.value FROM indicator_value i"
        "  WHERE i.code = c.code AND i.level = %(level)s AND i.entity_id = %(entity)s"
        "  AND i.period = %(period)s AND i.period_start >= %(since)s AND i.superseded_at IS NULL"
        "  ORDER BY i.period_start DESC LIMIT 2000) v ORDER BY v.code, v.period_start",
        {"codes": list(codes), "level": level, "entity": entity, "period": period, "since": since},
    )
    return [Point(*row) for row in rows]


def milestones(conn: Connection) -> list[Milestone]:
    """Every milestone of every unit, by planned day."""
    rows = conn.execute(
        "SELECT m.unit_id, u.code, m.code, m.name, m.planned_on, m.accepted_on"
        " FROM milestone m JOIN lead_unit u USING (unit_id) ORDER BY m.planned_on, m.code"
    )
    return [Milestone(*row) for row in rows]


def arrivals(conn: Connection, since: datetime) -> list[Arrival]:
    """Live rows received by protocol in each 10-second slot from `since` on; back-fill does not count."""
    rows = conn.execute(
        "SELECT a.slot, split_part(s.key, ':', 1), sum(a.live)::bigint"
        " FROM arrival a JOIN source s USING (source_id) WHERE a.slot >= %s"
        " GROUP BY 1, 2 ORDER BY 1, 2",
        (since,),
    )
    return [Arrival(*row) for row in rows]


def sees_province(conn: Connection) -> bool:
    """Whether the caller sees what concerns the province as a whole."""
    row = conn.execute("SELECT sees_province()").fetchone()
    return bool(row and row[0])


def enterprises(conn: Connection, unit_id: int | None = None) -> list[Enterprise]:
    """Enterprises of a unit, or all that the caller sees, by day of joining."""
    rows = conn.execute(
        "SELECT e.enterprise_id, e.name, r.name, e.industry, e.scale, e.registered_on,"
        " (SELECT count(*) FROM equipment q WHERE q.enterprise_id = e.enterprise_id)::int"
        " FROM enterprise e JOIN region r ON r.code = e.region_code"
        " WHERE e.unit_id = %(unit)s OR %(unit)s::int IS NULL ORDER BY e.registered_on, e.enterprise_id",
        {"unit": unit_id},
    )
    return [Enterprise(*row) for row in rows]


def equipment_now(conn: Connection, unit_id: int | None = None) -> list[EquipmentNow]:
    """What every machine of a unit, or that the caller sees, last said, by enterprise and code."""
    rows = conn.execute(
        "SELECT q.equipment_id, q.code, q.name, q.kind, e.enterprise_id, e.name,"
        " s.value, m.value, s.ts,"
        # The newest reading with another value bounds the present state from below.
        " (SELECT min(x.ts) FROM measurement x WHERE x.tag_id = s.tag_id"
        "   AND x.ts > (SELECT y.ts FROM measurement y WHERE y.tag_id = s.tag_id AND y.value <> s.value"
        "    AND y.ts > s.ts - interval '24 hours' AND y.ts <= s.ts ORDER BY y.ts DESC LIMIT 1)),"
        " (SELECT max(l.ts) FROM tag t JOIN latest_value l USING (tag_id) WHERE t.equipment_id = q.equipment_id),"
        " (SELECT r.interval_s FROM reporting_schedule r WHERE r.tag_id = s.tag_id"
        "   AND r.valid_from <= now() ORDER BY r.valid_from DESC LIMIT 1)"
        " FROM equipment q JOIN enterprise e USING (enterprise_id)"
        " LEFT JOIN LATERAL (SELECT l.tag_id, l.ts, l.value FROM tag t JOIN latest_value l USING (tag_id)"
        "   WHERE t.equipment_id = q.equipment_id AND t.signal = 'state' LIMIT 1) s ON true"
        " LEFT JOIN LATERAL (SELECT l.value FROM tag t JOIN latest_value l USING (tag_id)"
        "   WHERE t.equipment_id = q.equipment_id AND t.signal = 'mode' LIMIT 1) m ON true"
        " WHERE q.unit_id = %(unit)s OR %(unit)s::int IS NULL"
        " ORDER BY e.registered_on, e.enterprise_id, q.code",
        {"unit": unit_id},
    )
    state = {code: name for name, code in STATE.items()}
    mode = {code: name for name, code in MODE.items()}
    return [
        EquipmentNow._make((*row[:6], _name(state, row[6]), _name(mode, row[7]), *row[8:])) for row in rows
    ]


def _name(names: dict[int, str], value: float | None) -> str | None:
    return None if value is None else names.get(int(value))
