"""Tables as files: what is read back is what was put in, and nothing in it is a formula."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from ingest import tables
from ingest.tables import Format, SheetFull, writing

SCHEMA = pa.schema(
    [
        ("text", pa.string()), ("at", pa.timestamp("us", "UTC")), ("day", pa.date32()), ("x", pa.float64()),
        ("n", pa.int64()), ("yes", pa.bool_()),
    ]
)  # fmt: skip
WHEN = datetime(2026, 11, 21, 8, 0, 0, 250_000, tzinfo=UTC)
ROWS = [
    {"text": "=1+cmd|' /C calc'!A0", "at": WHEN, "day": date(2026, 11, 21), "x": -1.5, "n": 2**53, "yes": True},
    {"text": None, "at": None, "day": None, "x": None, "n": None, "yes": None},
    {"text": '说 "是",\n再说', "at": WHEN, "day": date(1999, 1, 1), "x": 0.1 + 0.2, "n": -7, "yes": False},
    {"text": "", "at": WHEN, "day": None, "x": 1e300, "n": 0, "yes": None},
]  # fmt: skip


def made(form: Format, *batches: list[dict[str, object]]) -> bytes:
    file = writing(form, SCHEMA)
    found = b""
    try:
        for batch in batches:
            found += b"".join(file.add(pa.RecordBatch.from_pylist(batch, SCHEMA)))
        return found + b"".join(file.end())
    finally:
        file.drop()


def test_csv_is_read_back_by_pandas() -> None:
    frame = pd.read_csv(io.BytesIO(made("csv", ROWS[:2], ROWS[2:])), encoding="utf-8-sig", parse_dates=["at"], keep_default_na=False,
                        na_values={"x": [""], "n": [""]})  # fmt: skip
    assert frame["text"].tolist() == ["'" + ROWS[0]["text"], "", ROWS[2]["text"], ""]
    assert frame["x"].tolist()[0] == -1.5
    assert frame["x"].tolist()[2:] == [0.1 + 0.2, 1e300]
    assert frame["at"].tolist()[0] == WHEN
    assert frame["yes"].tolist() == ["true", "", "false", ""]
    assert frame["day"].tolist() == ["2026-11-21", "", "1999-01-01", ""]


@pytest.mark.parametrize("text", ["=1", "+1", "-x", "@a", "\t=1", "\r=1", "\n=1"])
def test_no_cell_of_a_csv_begins_a_formula(text: str) -> None:
    head, _, line = made("csv", [{**ROWS[0], "text": text}]).decode("utf-8-sig").partition("\n")
    assert head.startswith('"text"')
    assert line.lstrip('"').startswith("'" + text)


def test_parquet_is_read_back_as_it_was() -> None:
    table = pyarrow.parquet.read_table(io.BytesIO(made("parquet", ROWS[:1], ROWS[1:])))
    assert table.schema.equals(SCHEMA)
    assert table.to_pylist() == ROWS


def test_row_groups_are_handed_on_as_they_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_ROW_GROUP", 3)
    file = writing("parquet", SCHEMA)
    pieces = [len(b"".join(file.add(pa.RecordBatch.from_pylist(ROWS[:2], SCHEMA)))) for _ in range(6)]
    assert [size > 100 for size in pieces] == [False, True, False, True, False, True]
    assert sum(1 for _ in file.end()) == 1


def test_a_workbook_is_read_back_by_openpyxl() -> None:
    sheet = openpyxl.load_workbook(io.BytesIO(made("xlsx", ROWS[:2], ROWS[2:])))["data"]
    rows = list(sheet.iter_rows())
    assert [cell.value for cell in rows[0]] == SCHEMA.names
    first = rows[1]
    assert (first[0].value, first[0].data_type, first[0].quotePrefix) == (ROWS[0]["text"], "s", True)
    assert (first[1].value, first[2].value.isoformat()) == (
        "2026-11-21T08:00:00.250000Z",
        "2026-11-21T00:00:00",
    )
    assert [cell.value for cell in first[3:]] == [-1.5, 2**53, True]
    assert [cell.value for cell in rows[2]] == [None] * 6
    assert rows[3][0].value == ROWS[2]["text"]


@pytest.mark.parametrize("form", ["csv", "xlsx", "parquet"])
def test_a_table_without_rows_has_its_heading(form: Format) -> None:
    content = io.BytesIO(made(form))
    frame = {"csv": pd.read_csv, "xlsx": pd.read_excel, "parquet": pd.read_parquet}[form](content)
    assert frame.columns.tolist() == SCHEMA.names
    assert len(frame) == 0


def test_what_excel_cannot_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SheetFull, match="32,767"):
        made("xlsx", [{**ROWS[0], "text": "x" * 32_768}])
    monkeypatch.setattr(tables, "MOST_SHEET_ROWS", 5)
    file = writing("xlsx", SCHEMA)
    list(file.add(pa.RecordBatch.from_pylist(ROWS, SCHEMA)))
    with pytest.raises(SheetFull, match="5 rows"):
        list(file.add(pa.RecordBatch.from_pylist(ROWS, SCHEMA)))
    file.drop()
    file.drop()
