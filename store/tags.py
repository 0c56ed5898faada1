"""The tags of a unit as columns: what validation compares readings with, for a million tags too."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, LiteralString, Self

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
from psycopg import sql

from store.arrays import Kind, values
from store.database import Connection, only

DATA_TYPES = ("enum", "counter", "float", "int", "bool", "text")
"""Data types of a tag; the position is the code in `UnitTags.data_type`."""

NEVER = -(2**62)
"""`UnitTags.newest` of a tag without a reading."""

_KEYS = ("0123456789123456", "qunce-qunce-tags")
_PAGE = 50_000
_SHORT, _LISTS_KEPT = 50, 4


class Names:
    """Where each of m names stands: two 64-bit hashes a name instead of a Python object (20 B, not 200).

    Two different names share both hashes with a probability of m² / 2^129. What was found for the last
    few lists of names is kept: a sender sends the same list again and again.
    """

    def __init__(self, first: npt.NDArray[np.uint64], second: npt.NDArray[np.uint64]) -> None:
        self._order = np.argsort(first, kind="stable").astype(np.int32)
        self._first, self._second = first[self._order], second[self._order]
        self._lately: dict[bytes, npt.NDArray[np.int32]] = {}

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
        if len(names) < _SHORT:
            return self._found(names)
        digest = hashlib.blake2b(msgspec.msgpack.encode(names), digest_size=16).digest()
        if (found := self._lately.get(digest)) is None:
            if len(self._lately) >= _LISTS_KEPT:
                self._lately.clear()
            found = self._lately[digest] = self._found(names).astype(np.int32)
        return found.astype(np.int64)

    def _found(self, names: Sequence[str]) -> npt.NDArray[np.int64]:
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
        named = {"named": list(changed[start : start + _PAGE]), "last": last, "after": 0}
        fresh.append(_read(conn, tags.unit_id, "name = ANY(%(named)s::text[]) AND tag_id <= %(last)s", named))
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


_COLUMNS: dict[str, tuple[LiteralString, Kind]] = {
    "tag_id": ("t.tag_id", "int4"),
    "equipment_id": ("t.equipment_id", "int4"),
    "data_type": ("(array_position(%(types)s::text[], t.data_type) - 1)::smallint", "int2"),
    "low": ("coalesce(t.range_min, 'NaN')", "float8"),
    "high": ("coalesce(t.range_max, 'NaN')", "float8"),
    "frozen_s": ("coalesce(t.frozen_after_s, 'NaN')", "float8"),
    "rate_per_s": ("coalesce(t.rate_max_per_s, 'NaN')", "float8"),
    "newest": ("coalesce(l.ts, '-infinity')", "timestamptz"),
    "value": ("coalesce(l.value, 'NaN')", "float8"),
    "since": ("coalesce(l.unchanged_since, '-infinity')", "timestamptz"),
}
_SMALLER = {"data_type": np.int8, "frozen_s": np.float32, "rate_per_s": np.float32}


def _pages(conn: Connection, unit_id: int, after: int) -> list[_Page]:
    """Tags whose id is greater than `after`: in pages, so that memory stays small."""
    pages = []
    while True:
        pages.append(_read(conn, unit_id, "tag_id > %(after)s", {"after": after}))
        found = pages[-1][0]["tag_id"]
        if len(found) < _PAGE:
            return pages
        after = int(found[-1])


def _read(conn: Connection, unit_id: int, which: LiteralString, given: dict[str, object]) -> _Page:
    # One row of arrays: a row a tag would be a million steps in Python.
    arrays = [
        sql.SQL("array_send(array_agg({} ORDER BY t.tag_id))").format(sql.SQL(x))
        for x, _ in _COLUMNS.values()
    ]
    statement = sql.SQL(
        "SELECT array_agg(t.name ORDER BY t.tag_id), array_agg(t.signal ORDER BY t.tag_id),"
        " array_agg(t.unit ORDER BY t.tag_id), {}"
        " FROM (SELECT * FROM tag WHERE unit_id = %(unit)s AND {} ORDER BY tag_id LIMIT %(most)s) t"
        " LEFT JOIN latest_value l ON l.tag_id = t.tag_id AND l.tag_id > %(after)s"
    ).format(sql.SQL(", ").join(arrays), sql.SQL(which))
    constants = {"types": list(DATA_TYPES), "unit": unit_id, "most": _PAGE}
    with conn.transaction(), conn.cursor(binary=True) as cursor:
        # Both sides are read in order of their keys: a hash of all latest values a page would cost more.
        cursor.execute("SET LOCAL enable_hashjoin = off")
        names, signal, unit, *sent = only(cursor.execute(statement, {**given, **constants}))
    columns: dict[str, npt.NDArray[Any]] = {
        name: values(array, kind) for (name, (_, kind)), array in zip(_COLUMNS.items(), sent, strict=True)
    }
    columns |= {name: columns[name].astype(kind) for name, kind in _SMALLER.items()}
    columns |= {name: np.maximum(columns[name], NEVER) for name in ("newest", "since")}  # -infinity
    for name, words in (("signal", signal), ("unit", unit)):
        # A million tags share a few dozen words.
        columns[name] = np.array(list(map(sys.intern, words or ())), object)
    return columns, _hashes(names or ())


def _hashes(names: Sequence[str]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    objects = np.array(names, object)
    first, second = (pd.util.hash_array(objects, hash_key=key, categorize=False) for key in _KEYS)
    return first, second
