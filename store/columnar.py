"""Columns out of and into PostgreSQL without a Python object a value.

Both directions use COPY: out in the binary format, whose rows have one fixed width when no field is
null, so that NumPy reads them as they are; in as CSV written by Arrow.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.csv
from psycopg import sql

from store.database import Connection
from store.times import POSTGRES_EPOCH_US

Columns = dict[str, npt.NDArray[Any]]

_HEADER = 19  # signature 11, flags 4, extension length 4
_WIRE = {"int2": ">i2", "int4": ">i4", "int8": ">i8", "float8": ">f8", "timestamptz": ">i8", "bool": "?"}
_HERE = {
    "int2": np.int16,
    "int4": np.int32,
    "int8": np.int64,
    "float8": np.float64,
    "timestamptz": np.int64,
    "bool": np.bool_,
}


def read(
    conn: Connection,
    query: LiteralString,
    params: Sequence[object] | Mapping[str, object],
    columns: Mapping[str, str],
) -> Columns:
    """Run a SELECT and return its columns as arrays.

    `columns` names the result's columns in order, each with its PostgreSQL type: int2, int4, int8,
    float8, bool or timestamptz (returned as int64 µs since the Unix epoch, UTC). No field may be
    null: `coalesce(x, 'NaN')` in the query. Raises ValueError when the rows do not have this shape.
    """
    with conn.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT binary)", params) as copy:
        data = b"".join(copy)
    fields: list[tuple[str, Any]] = [("field count", ">i2")]
    for name, kind in columns.items():
        fields += [(f"length {name}", ">i4"), (name, _WIRE[kind])]
    row = np.dtype(fields)
    body = len(data) - _HEADER - 2  # two bytes end the data
    if body % row.itemsize:
        raise ValueError(f"rows of {row.itemsize} bytes expected, got {body} bytes: a null, or another type")
    table = np.frombuffer(data, row, count=body // row.itemsize, offset=_HEADER)
    widths = [np.dtype(_WIRE[kind]).itemsize for kind in columns.values()]
    for name, width in zip(columns, widths, strict=True):
        if len(table) and not (table[f"length {name}"] == width).all():
            raise ValueError(f"column {name} has nulls or another type than declared")
    out: Columns = {}
    for name, kind in columns.items():
        array: npt.NDArray[Any] = table[name].astype(_HERE[kind])
        out[name] = array + POSTGRES_EPOCH_US if kind == "timestamptz" else array
    return out


def write(conn: Connection, table: LiteralString, frame: pd.DataFrame) -> None:
    """COPY a frame into the columns of `table` that have its columns' names.

    NaN and None become null; integers in a timestamptz column must have been made into text or
    seconds by the caller (the SQL that reads a staging table does that best).
    """
    if frame.empty:
        return
    buffer = io.BytesIO()
    # In one piece: Arrow's CSV writer emits zero bytes for an empty chunk, which concatenated frames have.
    arrow = pa.Table.from_pandas(frame, preserve_index=False).combine_chunks()
    pyarrow.csv.write_csv(
        arrow, buffer, pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")
    )
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(
        sql.Identifier(table), sql.SQL(", ").join(sql.Identifier(name) for name in frame.columns)
    )
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(buffer.getbuffer())


def micros(time: Any) -> int:
    """µs since the Unix epoch of an aware datetime."""
    return int(pd.Timestamp(time).tz_convert("UTC").value // 1000)
