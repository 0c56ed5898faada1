"""Records of datasets as callers read them: those that hold, those that held at a moment, and all revisions of one.

What holds is read from the datasets' own tables, so that an enterprise or a bank sees its rows there. The past is in
dataset_revision, which those see who see the unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from psycopg import sql

from store.database import Connection
from store.shapes import Column, Shape, shape_of

_REFERENCES: Mapping[str, tuple[str, str]] = {
    "park_id": ("park", "code"),
    "enterprise_id": ("enterprise", "uscc"),
    "equipment_id": ("equipment", "code"),
}
_SCHEDULE = (
    Column("valid_from", "valid_from", "timestamp with time zone", True),
    Column("interval_s", "interval_s", "double precision", True),
)
"""What a record of a tag says beside the tag's own row: one record a reporting interval."""
_UNIT = Column("unit_id", "unit", "integer", True)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records: of a unit in sight, of one natural key, received since a moment. None = no condition."""

    dataset: str
    key_fields: tuple[str, ...]
    unit_id: int | None = None
    key: str | None = None
    since: datetime | None = None


class Held(NamedTuple):
    """A record that holds: `values` in the order of `fields`, `place` what `present` goes on behind.

    `revision` and `received_at` of its last report; None for who sees the record, but not the unit's revisions.
    """

    unit: str | None
    key: str
    values: tuple[Any, ...]
    revision: int | None
    received_at: datetime | None
    place: tuple[str, ...]


class Past(NamedTuple):
    """A record as of a moment."""

    unit_id: int
    unit: str | None
    key: str
    record: dict[str, Any]
    revision: int
    received_at: datetime


def fields(conn: Connection, dataset: str) -> tuple[Column, ...]:
    """The fields of a record in the order of `Held.values`, with their types in the database."""
    return _columns(shape_of(conn, dataset))


def present(conn: Connection, wanted: Wanted, after: Sequence[str] | None, limit: int) -> list[Held]:
    """The next `limit` records that hold, in sight, behind the place `after`; in the order of the table's own key.

    `unit` is null where the unit itself is not in sight, and so are references to what is not.
    """
    shape = shape_of(conn, wanted.dataset)
    conditions: list[sql.Composable] = []
    if wanted.unit_id is not None:
        conditions.append(sql.SQL("t.unit_id = %(unit)s"))
    if wanted.key is not None:
        conditions.append(sql.SQL("{} = %(key)s").format(_natural(shape, wanted.key_fields)))
    if wanted.since is not None:
        conditions.append(
            sql.SQL(
                "(t.unit_id, {}) IN (SELECT unit_id, natural_key FROM dataset_revision"
                " WHERE dataset = %(dataset)s AND received_at >= %(since)s)"
            ).format(_natural(shape, wanted.key_fields))
        )
    if after is not None:
        conditions.append(
            sql.SQL("({}) > ({})").format(
                sql.SQL(", ").join(_ordered(shape)),
                sql.SQL(", ").join(
                    sql.SQL("{}::text::{}").format(sql.Placeholder(f"at{i}"), sql.SQL(_type(shape, name)))
                    for i, name in enumerate(_key(shape))
                ),
            )
        )
    query = sql.SQL(
        "WITH t AS MATERIALIZED (SELECT t.*, {extra} {natural} AS natural_key, {order}"
        "   FROM {table} t {schedule} WHERE true {conditions} ORDER BY {ordered} LIMIT %(limit)s)"
        " SELECT u.code, t.natural_key, r.revision, r.received_at, {place}, {values} FROM t"
        " LEFT JOIN lead_unit u ON u.unit_id = t.unit_id"
        " LEFT JOIN LATERAL (SELECT revision, received_at FROM dataset_revision d WHERE d.unit_id = t.unit_id"
        "   AND d.dataset = %(dataset)s AND d.natural_key = t.natural_key ORDER BY revision DESC LIMIT 1) r ON true"
        " ORDER BY {again}"
    )
    names = _key(shape)
    rows = conn.execute(
        query.format(
            extra=sql.SQL("s.valid_from, s.interval_s,") if wanted.dataset == "tag" else sql.SQL(""),
            natural=_natural(shape, wanted.key_fields),
            order=sql.SQL(", ").join(
                sql.SQL("{} AS {}").format(one, sql.Identifier(f"_{i}"))
                for i, one in enumerate(_ordered(shape))
            ),
            table=sql.Identifier(shape.table),
            schedule=sql.SQL("JOIN reporting_schedule s USING (tag_id)")
            if wanted.dataset == "tag"
            else sql.SQL(""),
            conditions=sql.SQL("").join(sql.SQL(" AND {}").format(one) for one in conditions),
            ordered=sql.SQL(", ").join(_ordered(shape)),
            place=sql.SQL(", ").join(
                sql.SQL("t.{}::text").format(sql.Identifier(f"_{i}")) for i in range(len(names))
            ),
            values=sql.SQL(", ").join(_value(column) for column in _columns(shape)),
            again=sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(f"_{i}")) for i in range(len(names))),
        ),
        {
            "unit": wanted.unit_id, "key": wanted.key, "since": wanted.since, "dataset": wanted.dataset, "limit": limit,
            **{f"at{i}": value for i, value in enumerate(after or ())},
        },
    )  # fmt: skip
    n = 4 + len(names)
    return [Held(row[0], row[1], tuple(row[n:]), row[2], row[3], tuple(row[4:n])) for row in rows]


def as_of(
    conn: Connection, wanted: Wanted, moment: datetime, after: tuple[int, str] | None, limit: int
) -> list[Past]:
    """The next `limit` records as they were known at `moment`, behind (unit_id, natural key); withdrawn ones left out."""
    rows = conn.execute(
        "SELECT f.unit_id, u.code, f.natural_key, f.record, f.revision, f.received_at FROM ("
        " SELECT DISTINCT ON (unit_id, natural_key) unit_id, natural_key, record, revision, received_at"
        " FROM dataset_revision WHERE dataset = %(dataset)s AND recorded_at <= %(moment)s"
        "  AND (%(unit)s::int IS NULL OR unit_id = %(unit)s) AND (%(key)s::text IS NULL OR natural_key = %(key)s)"
        "  AND (%(at_unit)s::int IS NULL OR (unit_id, natural_key) > (%(at_unit)s::int, %(at_key)s::text))"
        " ORDER BY unit_id, natural_key, revision DESC) f LEFT JOIN lead_unit u USING (unit_id)"
        " WHERE (f.record -> 'withdrawn') IS DISTINCT FROM 'true'::jsonb"
        "  AND (%(since)s::timestamptz IS NULL OR f.received_at >= %(since)s)"
        " ORDER BY f.unit_id, f.natural_key LIMIT %(limit)s",
        {
            "dataset": wanted.dataset, "moment": moment, "unit": wanted.unit_id, "key": wanted.key,
            "since": wanted.since, "at_unit": after[0] if after else None, "at_key": after[1] if after else None,
            "limit": limit,
        },
    )  # fmt: skip
    return [Past(*row) for row in rows]


def revisions(
    conn: Connection, unit_id: int, dataset: str, key: str, after: int, limit: int
) -> list[dict[str, Any]]:
    """The next `limit` revisions of one natural key beyond number `after`, oldest first: all that is kept of each."""
    rows = conn.execute(
        "SELECT to_jsonb(r) - '{unit_id,dataset,natural_key,received_at,recorded_at}'::text[], r.received_at FROM dataset_revision r"
        " WHERE unit_id = %s AND dataset = %s AND natural_key = %s AND revision > %s ORDER BY revision LIMIT %s",
        (unit_id, dataset, key, after, limit),
    )
    return [{**row, "received_at": received_at} for row, received_at in rows]


@cache
def _columns(shape: Shape) -> tuple[Column, ...]:
    return (*shape.columns, *_SCHEDULE) if shape.table == "tag" else shape.columns


@cache
def _key(shape: Shape) -> tuple[str, ...]:
    """Columns of the order in which records are read: the table's own unique key, unit first."""
    own = tuple(name for name in shape.key if name != "unit_id")
    return ("unit_id", *own, "valid_from") if shape.table == "tag" else ("unit_id", *own)


def _type(shape: Shape, name: str) -> str:
    return next(column.type for column in (_UNIT, *_columns(shape)) if column.name == name)


def _from(shape: Shape, name: str) -> sql.Composed:
    alias = "s" if shape.table == "tag" and name in {column.name for column in _SCHEDULE} else "t"
    return sql.SQL("{}.{}").format(sql.Identifier(alias), sql.Identifier(name))


@cache
def _ordered(shape: Shape) -> tuple[sql.Composed, ...]:
    return tuple(_from(shape, name) for name in _key(shape))


def _value(column: Column) -> sql.Composed:
    """A field's value, of a row of the query's `t`."""
    own = sql.SQL("t.{}").format(sql.Identifier(column.name))
    if column.name in _REFERENCES:
        return sql.SQL("({})").format(_code(column.name, own))
    if column.type.startswith("numeric"):
        return sql.SQL("{}::float8").format(own)
    return own


def _code(name: str, own: sql.Composed) -> sql.Composed:
    table, code = _REFERENCES[name]
    return sql.SQL("SELECT x.{} FROM {} x WHERE x.{} = {}").format(
        sql.Identifier(code), sql.Identifier(table), sql.Identifier(name), own
    )


@cache
def _natural(shape: Shape, key_fields: tuple[str, ...]) -> sql.Composed:
    """The natural key of a row as text, as ingest.datasets.natural_key makes it of a record."""
    parts = []
    for field in key_fields:
        column = next(one for one in _columns(shape) if one.field == field)
        own = _from(shape, column.name)
        if column.name in _REFERENCES:
            text = sql.SQL("({})").format(_code(column.name, own))
        elif column.type == "timestamp with time zone":
            text = sql.SQL(
                "to_char({0} AT TIME ZONE 'UTC', CASE WHEN date_trunc('second', {0}) = {0}"
                ' THEN \'YYYY-MM-DD"T"HH24:MI:SS"Z"\' ELSE \'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\' END)'
            ).format(own)
        elif column.type == "date":
            text = sql.SQL("to_char({}, 'YYYY-MM-DD')").format(own)
        elif column.type == "boolean":
            text = sql.SQL("CASE {} WHEN true THEN 'True' WHEN false THEN 'False' END").format(own)
        else:
            text = sql.SQL("{}::text").format(own)
        if len(key_fields) > 1:
            text = sql.SQL(r"replace(replace({}, '\', '\\'), '|', '\|')").format(text)
        parts.append(sql.SQL("coalesce({}, 'None')").format(text))
    return sql.SQL(" || '|' || ").join(parts)
