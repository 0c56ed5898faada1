"""Columns out of and into PostgreSQL."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from store.columnar import micros, read, write
from store.database import Connection


def test_columns_come_back_as_they_went(conn: Connection):
    conn.execute("CREATE TEMP TABLE x (i int, f float8, t text, b boolean)")
    empty = pd.DataFrame(
        {
            "i": pd.Series([], dtype=int),
            "f": [],
            "t": pd.Series([], dtype=str),
            "b": pd.Series([], dtype=bool),
        }
    )
    frame = pd.DataFrame(
        {"i": [1, -2], "f": [0.1, float("nan")], "t": ['中,"文\n', None], "b": [True, False]}
    )
    write(conn, "x", pd.concat([empty, frame], ignore_index=True))
    write(conn, "x", empty)
    rows = conn.execute("SELECT * FROM x ORDER BY i DESC").fetchall()
    assert rows == [(1, 0.1, '中,"文\n', True), (-2, None, None, False)]
    back = read(
        conn,
        "SELECT i, coalesce(f, 'NaN'), b, '2026-05-28T00:00:00.000001Z'::timestamptz FROM x ORDER BY i DESC",
        [],
        {"i": "int4", "f": "float8", "b": "bool", "ts": "timestamptz"},
    )
    assert back["i"].tolist() == [1, -2]
    assert back["b"].tolist() == [True, False]
    assert np.isnan(back["f"][1])
    assert back["ts"][0] == micros(pd.Timestamp("2026-05-28T00:00:00.000001Z"))


def test_a_null_or_another_type_is_refused(conn: Connection):
    for query in ("SELECT NULL::int4", "SELECT 1::int8", "SELECT 1::int4, 2::int4"):
        with pytest.raises(ValueError, match=r"null|type"):
            read(conn, query, [], {"i": "int4"})  # type: ignore[arg-type]


def test_no_rows_are_empty_columns(conn: Connection):
    assert len(read(conn, "SELECT 1::int4 WHERE false", [], {"i": "int4"})["i"]) == 0
