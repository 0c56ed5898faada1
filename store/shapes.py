"""What the table of a dataset is like, read off the database itself, and the statements that follow from it.

A record has the columns of its table as fields, except where a column holds an internal key or is named otherwise
than the interface names it. `tag` is spread over two tables and has statements of its own (store/datasets.py).
"""

from __future__ import annotations

from functools import cache
from typing import LiteralString, NamedTuple

from psycopg import sql

from store.database import Connection, only

FIELDS: dict[str, str] = {
    "park_id": "park_code",
    "enterprise_id": "enterprise_uscc",
    "equipment_id": "equipment_code",
    "start_at": "start",
    "end_at": "end",
    "pri_s": "planned_run_time_per_item_s",
}
"""Column → field, where they differ."""
_REFERENCES: dict[str, tuple[LiteralString, LiteralString]] = {
    "park_id": ("park", "code"),
    "enterprise_id": ("enterprise", "uscc"),
    "equipment_id": ("equipment", "code"),
}
"""Column with an internal key → the table it is of, and the column by which units know its rows."""


class Column(NamedTuple):
    """A column of a dataset's table, and the field of its records. `type` as PostgreSQL writes it."""

    name: str
    field: str
    type: str
    is_required: bool

    @property
    def as_sent(self) -> str:
        """The type of the field."""
        return "text" if self.name in _REFERENCES else self.type


class Referrer(NamedTuple):
    """A table that refers to rows of another: pairs of (its column, the column there)."""

    table: str
    pairs: tuple[tuple[str, str], ...]


class Shape(NamedTuple):
    """A dataset's table: columns that records fill, those of the natural key, who refers to its rows."""

    table: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    referrers: tuple[Referrer, ...]


_COLUMNS: LiteralString = """
    SELECT attname, format_type(atttypid, atttypmod), attnotnull
    FROM pg_attribute
    WHERE attrelid = to_regclass('public.' || %s) AND attnum > 0 AND NOT attisdropped
        AND attidentity = '' AND attgenerated = '' AND attname <> 'unit_id'
    ORDER BY attnum"""
# The unique key that has no internal number in it is the natural one.
_KEY: LiteralString = """
    SELECT array_agg(a.attname::text ORDER BY k.n)
    FROM pg_index i, unnest(i.indkey::int[]) WITH ORDINALITY AS k (attnum, n)
    JOIN pg_attribute a ON a.attrelid = to_regclass('public.' || %s) AND a.attnum = k.attnum
    WHERE i.indrelid = to_regclass('public.' || %s) AND i.indisunique AND i.indpred IS NULL
    GROUP BY i.indexrelid, i.indisprimary
    HAVING bool_and(a.attidentity = '')
    ORDER BY i.indisprimary DESC LIMIT 1"""
_REFERRERS: LiteralString = """
    SELECT c.conrelid::regclass::text, array_agg(a.attname::text ORDER BY k.n), array_agg(b.attname::text ORDER BY k.n)
    FROM pg_constraint c, unnest(c.conkey, c.confkey) WITH ORDINALITY AS k (own, other, n)
    JOIN pg_attribute a ON a.attnum = k.own JOIN pg_attribute b ON b.attnum = k.other
    WHERE c.contype = 'f' AND c.confrelid = to_regclass('public.' || %s)
        AND a.attrelid = c.conrelid AND b.attrelid = c.confrelid
    GROUP BY c.oid, c.conrelid ORDER BY 1"""
_known: dict[str, Shape] = {}


def shape_of(conn: Connection, dataset: str) -> Shape:
    """The shape of a dataset's table; read once a process, as migrations stop the writer."""
    if dataset not in _known:
        columns = [
            Column(str(name), FIELDS.get(str(name), str(name)), kind, required)
            for name, kind, required in conn.execute(_COLUMNS, (dataset,))
        ]
        [key] = only(conn.execute(_KEY, (dataset, dataset)))
        referrers = [
            Referrer(table, tuple(zip(own, other, strict=True)))
            for table, own, other in conn.execute(_REFERRERS, (dataset,))
        ]
        _known[dataset] = Shape(dataset, tuple(columns), tuple(key), tuple(dict.fromkeys(referrers)))
    return _known[dataset]


@cache
def upsert(shape: Shape) -> sql.Composed:
    """Insert the records %(records)s (a JSON array) of unit %(unit)s, or update those of the same key."""
    names = [sql.Identifier(column.name) for column in shape.columns]
    changed = [n for n, c in zip(names, shape.columns, strict=True) if c.name not in shape.key]
    action = (
        sql.SQL("UPDATE SET {}").format(
            sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(name) for name in changed)
        )
        if changed
        else sql.SQL("NOTHING")
    )
    return sql.SQL(
        "INSERT INTO {table} (unit_id, {names}) SELECT %(unit)s, {names} FROM ({found}) AS f"
        " ON CONFLICT ({key}) DO {action}"
    ).format(
        table=sql.Identifier(shape.table),
        names=sql.SQL(", ").join(names),
        found=_found(shape.columns),
        key=sql.SQL(", ").join(map(sql.Identifier, shape.key)),
        action=action,
    )


@cache
def delete(shape: Shape) -> sql.Composed:
    """Delete what the key fields of the records %(records)s of unit %(unit)s name."""
    return sql.SQL("DELETE FROM {table} AS t USING ({named}) AS n WHERE {same}").format(
        table=sql.Identifier(shape.table), named=_found(_of_key(shape)), same=_same(shape)
    )


@cache
def in_use(shape: Shape) -> sql.Composed:
    """(index, table that refers to it) of the records %(records)s that others refer to; `_row` is the index."""
    parts = [
        sql.SQL(
            "SELECT n._row, {name} FROM {table} t JOIN ({named}) AS n ON {same}"
            " WHERE EXISTS (SELECT FROM {other} AS o WHERE {referring})"
        ).format(
            name=sql.Literal(referrer.table),
            table=sql.Identifier(shape.table),
            named=_found(_of_key(shape)),
            same=_same(shape),
            other=sql.Identifier(referrer.table),
            referring=sql.SQL(" AND ").join(
                sql.SQL("o.{} = t.{}").format(sql.Identifier(own), sql.Identifier(there))
                for own, there in referrer.pairs
            ),
        )
        for referrer in shape.referrers
    ]
    return sql.SQL(" UNION ALL ").join(parts)


def _of_key(shape: Shape) -> tuple[Column, ...]:
    return tuple(column for column in shape.columns if column.name in shape.key)


def _same(shape: Shape) -> sql.Composed:
    names = [name for name in shape.key if name != "unit_id"]
    return sql.SQL("t.unit_id = %(unit)s AND {}").format(
        sql.SQL(" AND ").join(sql.SQL("t.{0} = n.{0}").format(sql.Identifier(name)) for name in names)
    )


def _found(columns: tuple[Column, ...]) -> sql.Composed:
    """The records as rows of the table; references were checked before, so the joins lose nothing."""
    fields = [
        sql.SQL("{} {}").format(sql.Identifier(column.field), sql.SQL(column.as_sent)) for column in columns
    ]
    values = []
    joins = []
    for column in columns:
        name, field = sql.Identifier(column.name), sql.Identifier(column.field)
        if column.name in _REFERENCES:
            table, code = map(sql.Identifier, _REFERENCES[column.name])
            joins.append(
                sql.SQL(" LEFT JOIN {0} ON {0}.unit_id = %(unit)s AND {0}.{1} = r.{2}").format(
                    table, code, field
                )
            )
            values.append(sql.SQL("{}.{}").format(table, name))
        else:
            values.append(sql.SQL("r.{} AS {}").format(field, name))
    return sql.SQL("SELECT r._row, {} FROM jsonb_to_recordset(%(records)s) AS r (_row int, {}){}").format(
        sql.SQL(", ").join(values), sql.SQL(", ").join(fields), sql.SQL("").join(joins)
    )
