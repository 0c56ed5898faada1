"""The tags of a unit as columns: what validation compares readings with, for a million tags too."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.csv

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
    frozen_s and rate_per_s float64[m] (NaN = not watched).
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
    frozen_s: npt.NDArray[np.float64]
    rate_per_s: npt.NDArray[np.float64]
    newest: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    since: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.tag_id)


def unit_tags(conn: Connection, unit_code: str) -> UnitTags | None:
    """The tags of one unit; None when the unit is not registered. A million tags take some seconds."""
    row = conn.execute("SELECT unit_id FROM lead_unit WHERE code = %s", (unit_code,)).fetchone()
    return None if row is None else _read_from(conn, row[0], 0, ())


def renew(conn: Connection, tags: UnitTags, changed: Sequence[str] = ()) -> UnitTags:
    """The tags with those registered since and, read again, those named in `changed`."""
    fresh = _read_from(conn, tags.unit_id, int(tags.tag_id.max()) if len(tags) else 0, changed)
    if not len(fresh):
        return tags
    return _joined(tags, np.isin(tags.tag_id, fresh.tag_id, invert=True), fresh)


def _joined(tags: UnitTags, kept: npt.NDArray[np.bool_], more: UnitTags) -> UnitTags:
    columns = {
        field.name: np.concatenate([getattr(tags, field.name)[kept], getattr(more, field.name)])
        for field in fields(UnitTags)
        if field.name not in ("unit_id", "rows")
    }
    return UnitTags(unit_id=tags.unit_id, rows=tags.rows.replaced(kept, more.rows), **columns)


_COLUMNS = {
    "name": pa.string(), "tag_id": pa.int32(), "equipment_id": pa.int32(), "data_type": pa.int8(),
    "low": pa.float64(), "high": pa.float64(),
    "signal": pa.dictionary(pa.int32(), pa.string()), "unit": pa.dictionary(pa.int32(), pa.string()),
    "frozen_s": pa.float64(), "rate_per_s": pa.float64(),
    "newest": pa.int64(), "value": pa.float64(), "since": pa.int64(),
}  # fmt: skip


def _read_from(conn: Connection, unit_id: int, after: int, changed: Sequence[str]) -> UnitTags:
    """Tags whose id is greater than `after`, and those named; in pages, so that memory stays small."""
    found = _unit_tags(unit_id, _page(conn, unit_id, after, changed))
    more = len(found) >= _PAGE
    while more:
        page = _unit_tags(unit_id, _page(conn, unit_id, int(found.tag_id.max()), ()))
        found = _joined(found, np.ones(len(found), np.bool_), page)
        more = len(page) == _PAGE
    return found


def _page(conn: Connection, unit_id: int, after: int, changed: Sequence[str]) -> pa.Table:
    # As CSV, which Arrow reads a hundred times faster than rows become objects.
    with (
        conn.cursor() as cursor,
        cursor.copy(
            "COPY (SELECT t.name, t.tag_id, t.equipment_id, array_position(%s::text[], t.data_type) - 1,"
            " coalesce(t.range_min, 'NaN'), coalesce(t.range_max, 'NaN'), t.signal, t.unit,"
            " coalesce(t.frozen_after_s, 'NaN'), coalesce(t.rate_max_per_s, 'NaN'),"
            " coalesce((extract(epoch FROM l.ts) * 1000000)::bigint, %s), coalesce(l.value, 'NaN'),"
            " coalesce((extract(epoch FROM l.unchanged_since) * 1000000)::bigint, %s)"
            " FROM (SELECT * FROM tag WHERE unit_id = %s AND (tag_id > %s OR name = ANY(%s::text[]))"
            "   ORDER BY tag_id LIMIT %s) t LEFT JOIN latest_value l USING (tag_id) ORDER BY t.tag_id)"
            " TO STDOUT (FORMAT csv)",
            [list(DATA_TYPES), NEVER, NEVER, unit_id, after, list(changed), _PAGE],
        ) as copy,
    ):
        data = b"".join(copy)
    if not data:
        return pa.schema(list(_COLUMNS.items())).empty_table()
    return pyarrow.csv.read_csv(
        io.BytesIO(data),
        pyarrow.csv.ReadOptions(column_names=list(_COLUMNS)),
        pyarrow.csv.ParseOptions(newlines_in_values=True),
        pyarrow.csv.ConvertOptions(column_types=_COLUMNS, strings_can_be_null=False),
    )


def _unit_tags(unit_id: int, table: pa.Table) -> UnitTags:
    def numbers(name: str) -> npt.NDArray[Any]:
        # Copied: what Arrow hands out is read-only, and the newest reading is kept current in place.
        return np.array(table.column(name).to_numpy())

    def words(name: str) -> npt.NDArray[np.object_]:
        # Dictionary-encoded: a million tags then share a few dozen Python texts.
        column = table.unify_dictionaries().column(name)
        vocabulary: npt.NDArray[np.object_] = np.array([], object)
        codes = [np.empty(0, np.int32)]
        for chunk in column.chunks:
            vocabulary = np.array(chunk.dictionary.to_pylist(), object)
            codes.append(chunk.indices.to_numpy())
        found: npt.NDArray[np.object_] = vocabulary[np.concatenate(codes)]
        return found

    return UnitTags(
        unit_id=unit_id,
        rows=Names.of(table.column("name").to_pylist()),
        tag_id=numbers("tag_id"),
        equipment_id=numbers("equipment_id"),
        data_type=numbers("data_type"),
        low=numbers("low"),
        high=numbers("high"),
        signal=words("signal"),
        unit=words("unit"),
        frozen_s=numbers("frozen_s"),
        rate_per_s=numbers("rate_per_s"),
        newest=numbers("newest"),
        value=numbers("value"),
        since=numbers("since"),
    )


def _hashes(names: Sequence[str]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    objects = np.array(names, object)
    first, second = (pd.util.hash_array(objects, hash_key=key, categorize=False) for key in _KEYS)
    return first, second
