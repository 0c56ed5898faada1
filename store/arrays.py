"""NumPy columns to and from PostgreSQL: whole arrays in its binary form, no Python object a value.

As parameters, wrapped with `column`: `unnest(%b::integer[], %b::timestamptz[])` turns them into rows.
As results: `array_send(array_agg(x))`, read by `values`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

from store.times import POSTGRES_EPOCH_US

Kind = Literal["int2", "int4", "int8", "float8", "timestamptz", "bool"]
# kind → (oid of the element, oid of the array, how an element is written)
_KINDS: dict[Kind, tuple[int, int, str]] = {
    "bool": (16, 1000, "?"),
    "int8": (20, 1016, ">i8"),
    "int2": (21, 1005, ">i2"),
    "int4": (23, 1007, ">i4"),
    "float8": (701, 1022, ">f8"),
    "timestamptz": (1184, 1185, ">i8"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A one-dimensional array on its way to the database; `kind` is the PostgreSQL type of its elements."""

    items: npt.NDArray[np.generic]
    kind: Kind


def column(items: npt.ArrayLike, kind: Kind) -> Column:
    """`items` (for timestamptz: int64 µs since the Unix epoch, UTC) as a parameter; NaN in float8 stays NaN."""
    return Column(np.asarray(items), kind)


def values(sent: bytes | None, kind: Kind) -> npt.NDArray[Any]:
    """The elements of `array_send(array)`, an array without nulls; timestamptz as µs since the Unix epoch, UTC.

    None, as `array_agg` of no rows is, has no elements. Raises ValueError on nulls or another type.
    """
    wire = np.dtype(_KINDS[kind][2])
    if sent is None:
        return np.empty(0, wire.newbyteorder("="))
    dimensions, _, element = struct.unpack_from(">iii", sent)
    if element != _KINDS[kind][0]:
        raise ValueError(f"an array of {kind} expected, got elements of type {element}")
    if not dimensions:
        return np.empty(0, wire.newbyteorder("="))
    items = np.frombuffer(sent, [("length", ">i4"), ("value", wire)], offset=20)
    if (items["length"] != wire.itemsize).any():
        raise ValueError("an array without nulls expected")
    found = items["value"].astype(wire.newbyteorder("="))
    return found + POSTGRES_EPOCH_US if kind == "timestamptz" else found


class _ColumnDumper(Dumper):
    format = Format.BINARY

    def get_key(self, obj: Column, format: object) -> Any:  # the class and the kind
        return (Column, obj.kind)

    def upgrade(self, obj: Column, format: object) -> Dumper:
        dumper = _ColumnDumper(Column)
        dumper.oid = _KINDS[obj.kind][1]
        return dumper

    def dump(self, obj: Column) -> Buffer:
        element, _, wire = _KINDS[obj.kind]
        given = obj.items - POSTGRES_EPOCH_US if obj.kind == "timestamptz" else obj.items
        n = len(given)
        if n == 0:
            return struct.pack(">iii", 0, 0, element)
        width = np.dtype(wire).itemsize
        items = np.empty(n, [("length", ">i4"), ("value", wire)])
        items["length"], items["value"] = width, given
        return struct.pack(">iiiii", 1, 0, element, n, 1) + items.tobytes()


psycopg.adapters.register_dumper(Column, _ColumnDumper)
