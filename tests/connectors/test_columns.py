"""Columns: gathering, merging, taking apart. Nothing may be lost or change its order."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.columns import Columns, encoded_parts, merge, merge_by_unit, scalar
from ingest.batch import Batch, decode

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["A.x", "A.y", "B.x", "C.z"]),
        st.integers(0, 2**60),
        st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5)),
    ),
    max_size=40,
)


def batch_of(rows, refused: int = 0, unit: str = "U") -> Batch:
    columns = Columns()
    for tag, ts, value in rows:
        number, text, fault = scalar(value)
        assert not fault
        columns.add(tag, ts, number, text, 0)
    for i in range(refused):
        columns.refuse(f"[{i}]", "wrong_shape", b"x" * 50, {"place": "$"})
    return columns.batch(unit, "test:1", 5)


def rows_of(batch: Batch):
    texts = [None] * len(batch) if batch.text is None else batch.text.tolist()
    return [
        (batch.tags[i], ts, value if text is None else text)
        for i, ts, value, text in zip(
            batch.tag_index.tolist(), batch.ts.tolist(), batch.value.tolist(), texts, strict=True
        )
    ]


@given(st.lists(ROWS, min_size=1, max_size=4))
def test_merge_keeps_every_row_in_order(groups):
    merged = merge([batch_of(rows, refused=1) for rows in groups])
    assert rows_of(merged) == [row for rows in groups for row in rows]
    assert len(merged.refused) == len(groups)


@settings(max_examples=50)
@given(ROWS, st.integers(0, 10), st.integers(3000, 6000))
def test_parts_fit_and_hold_everything(rows, refused: int, most: int):
    batch = batch_of(rows, refused)
    parts = list(encoded_parts(batch, most))
    assert all(len(data) <= most for _, data in parts)
    assert [row for part, _ in parts for row in rows_of(part)] == rows
    assert [entry.place for part, _ in parts for entry in part.refused] == [f"[{i}]" for i in range(refused)]
    assert [row for _, data in parts for row in rows_of(decode(data))] == rows


def test_a_single_row_too_large_is_cut_and_says_so():
    columns = Columns()
    columns.add("A.note", 7, 0.0, "x" * 10_000, 0)
    ((part, data),) = encoded_parts(columns.batch("U", "s", 1), 4000)
    assert len(data) <= 4000
    (entry,) = part.refused
    assert (entry.reason, entry.tag, entry.ts) == ("body_too_large", "A.note", 7)
    assert entry.parameters["got_bytes"] == "10000"


def test_a_large_original_is_cut_and_says_so():
    columns = Columns()
    columns.refuse("$", "malformed_json", b"x" * 1_000_000)
    (entry,) = columns.batch("U", "s", 1).refused
    assert entry.parameters["original_bytes"] == "1000000"
    assert len(entry.original) < 1_000_000


def test_units_and_modes_are_kept_apart():
    batches = [batch_of([("A.x", 1, 1.0)], unit=unit) for unit in ("U1", "U2", "U1")]
    merged = merge_by_unit([*batches, batch_of([], unit="U3")])
    assert [(batch.unit, len(batch)) for batch in merged] == [("U1", 2), ("U2", 1)]


def test_scalars():
    assert scalar(True) == (1.0, None, "")
    assert scalar("007") == (0.0, "007", "")
    assert scalar(math.nan)[2] == "not_finite"
    assert scalar(10**400)[2] == "not_finite"
    assert scalar(None)[2] == "missing_value"
    assert scalar([1])[2] == "unsupported_value"
    assert np.isfinite(scalar(2)[0])
