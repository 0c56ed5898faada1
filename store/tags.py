"""The tags of a unit as columns: what validation compares readings with, for a million tags too."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, LiteralString, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.csv
from psycopg import sql

from store.database import Connection

DATA_TYPES = ("enum", "counter", "float", "int", "bool", "text")
"""Data types of a tag; the position is the code in `UnitTags.data_type`."""

NEVER = -(2**62)
"""`UnitTags.newest` of a tag without a reading."""

_KEYS = ("0123456789123456", "qunce-qunce-tags")
_PAGE = 100_000


class Names:
    """Where each of m names stands: two 64-bit hashes a name instead of a Python object (20 B, not 200).

    Two different names share both hashes with a probability of m² / 2^129.
    """

    def __init__(self, first: npt.NDArray[np.uint64], second: npt.NDArray[np.uint64]) -> None:
        self._order = np.argsort(first, kind="stable").astype(np.int32)
        self._first, self._second = first[self._order], second[self._order]

    @classmethod
    def of(cls, names: Sequence[str]) -> Self:
        """The names of rows 0, 1, 2 …"""
        return cls(*_hashes(names))

    def __len__(self) -> int:
        return len(self._order)

    def find(self, names: Sequence[str]) -> npt.NDArray[np.int64]:
        """The row of each name, -1 where there is none: int64[n]."""
        if not len(self) or not len(names):
            return np.full(len(names), -1, np.int64)
        first, second = _hashes(names)
        at = np.searchsorted(self._first, first).clip(max=len(self) - 1)
        found = (self._first[at] == first) & (self._second[at] == second)
        return np.where(found, self._order[at], -1).astype(np.int64)

    def __contains__(self, name: str) -> bool:
        return bool(self.find([name])[0] >= 0)

    def replaced(self, kept: npt.NDArray[np.bool_], more: Names) -> Names:
        """The names of the rows that are kept, and after them `more`."""
        first, second = np.empty_like(self._first), np.empty_like(self._second)
        first[self._order], second[self._order] = self._first, self._second
        more_first, more_second = np.empty_like(more._first), np.empty_like(more._second)
        more_first[more._order], more_second[more._order] = more._first, more._second
        return Names(np.r_[first[kept], more_first], np.r_[second[kept], more_second])


@dataclass(slots=True)
class UnitTags:
    """All tags of one unit, as columns of m tags; `rows` finds a tag's row by its name.

    tag_id int32[m], equipment_id int32[m], data_type int8[m] (index into DATA_TYPES),
    low and high float64[m] (NaN = no bound), signal and unit object[m],
    frozen_s and rate_per_s float32[m] (NaN = not watched).
    The newest stored reading, which the writer keeps current: newest int64[m] (source time, µs UTC;
    NEVER = none), value float64[m], since int64[m] (source time since which the value is the same).
    """

    unit_id: int
    rows: Names
    tag_id: npt.NDArray[np.int32]
    equipment_id: npt.NDArray[np.int32]
    data_type: npt.NDArray[np.int8]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    signal: npt.NDArray[np.object_]
    unit: npt.NDArray[np.object_]
    frozen_s: npt.NDArray[np.float32]
    rate_per_s: npt.NDArray[np.float32]
    newest: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    since: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.tag_id)


def unit_tags(conn: Connection, unit_code: str) -> UnitTags | None:
    """The tags of one unit; None when the unit is not registered. A million tags take some seconds."""
    row = conn.execute("SELECT unit_id FROM lead_unit WHERE code = %s", (unit_code,)).fetchone()
    return None if row is None else _joined(row[0], _pages(conn, row[0], 0))


def renew(conn: Connection, tags: UnitTags, changed: Sequence[str] = ()) -> UnitTags:
    """The tags with those registered since and, read again, those named in `changed`."""
    last = int(tags.tag_id.max()) if len(tags) else 0
    fresh = _pages(conn, tags.unit_id, last)
    for start in range(0, len(changed), _PAGE):
        named = "name = ANY(%s::text[]) AND tag_id <= %s"
        fresh.append(_read(conn, tags.unit_id, named, [list(changed[start : start + _PAGE]), last]))
    more = _joined(tags.unit_id, fresh)
    if not len(more):
        return tags
    kept = np.isin(tags.tag_id, more.tag_id, invert=True)
    columns = {name: np.concatenate([getattr(tags, name)[kept], getattr(more, name)]) for name in _NAMES}
    return UnitTags(unit_id=tags.unit_id, rows=tags.rows.replaced(kept, more.rows), **columns)


_NAMES = tuple(field.name for field in fields(UnitTags) if field.name not in ("unit_id", "rows"))

_Page = tuple[dict[str, npt.NDArray[Any]], tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]]
"""Columns of some tags, and the hashes of their names."""


def _joined(unit_id: int, pages: Sequence[_Page]) -> UnitTags:
    columns = {name: np.concatenate([page[name] for page, _ in pages]) for name in _NAMES}
    first, second = (np.concatenate([hashes[i] for _, hashes in pages]) for i in (0, 1))
    return UnitTags(unit_id=unit_id, rows=Names(first, second), **columns)


_COLUMNS = {
    "name": pa.string(), "tag_id": pa.int32(), "equipment_id": pa.int32(), "data_type": pa.int8(),
    "low": pa.float64(), "high": pa.float64(),
    "signal": pa.dictionary(pa.int32(), pa.string()), "unit": pa.dictionary(pa.int32(), pa.string()),
    "frozen_s": pa.float32(), "rate_per_s": pa.float32(),
    "newest": pa.int64(), "value": pa.float64(), "since": pa.int64(),
}  # fmt: skip


def _pages(conn: Connection, unit_id: int, after: int) -> list[_Page]:
    """Tags whose id is greater than `after`: in pages, so that memory stays small."""
    pages = []
    while True:
        pages.append(_read(conn, unit_id, "tag_id > %s", [after]))
        found = pages[-1][0]["tag_id"]
        if len(found) < _PAGE:
            return pages
        after = int(found[-1])


def _read(conn: Connection, unit_id: int, which: LiteralString, given: list[object]) -> _Page:
    # As CSV, which Arrow reads a hundred times faster than rows become objects.
    statement = sql.SQL(
        "COPY (SELECT t.name, t.tag_id, t.equipment_id, array_position(%s::text[], t.data_type) - 1,"
        " coalesce(t.range_min, 'NaN'), coalesce(t.range_max, 'NaN'), t.signal, t.unit,"
        " coalesce(t.frozen_after_s, 'NaN'), coalesce(t.rate_max_per_s, 'NaN'),"
        " coalesce((extract(epoch FROM l.ts) * 1000000)::bigint, %s), coalesce(l.value, 'NaN'),"
        " coalesce((extract(epoch FROM l.unchanged_since) * 1000000)::bigint, %s)"
        " FROM (SELECT * FROM tag WHERE unit_id = %s AND {} ORDER BY tag_id LIMIT %s) t"
        " LEFT JOIN latest_value l USING (tag_id) ORDER BY t.tag_id) TO STDOUT (FORMAT csv)"
    ).format(sql.SQL(which))
    with (
        conn.cursor() as cursor,
        cursor.copy(statement, [list(DATA_TYPES), NEVER, NEVER, unit_id, *given, _PAGE]) as copy,
    ):
        data = b"".join(copy)
    if not data:
        return _columns(pa.schema(list(_COLUMNS.items())).empty_table())
    table = pyarrow.csv.read_csv(
        io.BytesIO(data),
        pyarrow.csv.ReadOptions(column_names=list(_COLUMNS)),
        pyarrow.csv.ParseOptions(newlines_in_values=True),
        pyarrow.csv.ConvertOptions(column_types=_COLUMNS, strings_can_be_null=False),
    )
    return _columns(table)


def _columns(table: pa.Table) -> _Page:
    columns: dict[str, npt.NDArray[Any]] = {
        # Copied: what Arrow hands out is read-only, and the newest reading is kept current in place.
        name: _words(table, name) if pa.types.is_dictionary(kind) else np.array(table.column(name).to_numpy())
        for name, kind in _COLUMNS.items()
        if name != "name"
    }
    return columns, _hashes(table.column("name").to_pylist())


def _words(table: pa.Table, name: str) -> npt.NDArray[np.object_]:
    # Dictionary-encoded: a million tags then share a few dozen Python texts.
    column = table.column(name).unify_dictionaries()
    if not len(column):
        return np.empty(0, object)
    words = np.array([sys.intern(word) for word in column.chunk(0).dictionary.to_pylist()], object)
    found: npt.NDArray[np.object_] = words[np.concatenate([c.indices.to_numpy() for c in column.chunks])]
    return found


def _hashes(names: Sequence[str]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    objects = np.array(names, object)
    first, second = (pd.util.hash_array(objects, hash_key=key, categorize=False) for key in _KEYS)
    return first, second
