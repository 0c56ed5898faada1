"""Files of measurements and their mapping: which readings come of which rows."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from ingest.arrow import decode_arrow
from qunce.push.backfill import arrow, check, chunks, identity
from qunce.push.mapping import Csv, Mapping, MappingError, read_mapping
from qunce.push.readings import readings

WIDE = Mapping.model_validate(
    {
        "time": {"column": "时间", "zone": "Asia/Shanghai"},
        "tags": {"产量": "M1.produced", "状态": {"tag": "M1.state", "as": "text"}},
        "quality": {"column": "q", "good": ["192"], "bad": ["0"]},
    }
)
T = datetime(2026, 11, 23, tzinfo=UTC)


def sent(rows: Any, mapping: Mapping, first_row: int = 0) -> list[tuple[Any, ...]]:
    found = readings(rows, mapping, first_row)
    return [
        (*one.values(), row) for one, row in zip(found.table.to_pylist(), found.row.tolist(), strict=True)
    ]


def test_a_column_a_tag() -> None:
    rows = pa.table(
        {
            "时间": ["2026-11-23 08:00:00", "2026-11-23 08:00:10.5", ""],
            "产量": ["1200", "", "7"],
            "状态": ["运行", "停机", "停机"],
            "q": ["192", "0", "192"],
        }
    )
    later = T.replace(second=10, microsecond=500_000)
    assert sent(rows, WIDE, 5) == [
        ("M1.produced", T, 1200.0, None, "good", 5),
        ("M1.state", T, None, "运行", "good", 5),
        ("M1.state", later, None, "停机", "bad", 6),
    ]


def test_what_is_sent_is_what_the_interface_reads() -> None:
    rows = pa.table({"时间": ["2026-11-23T00:00:00Z"], "产量": ["1.5"], "状态": ["运行"], "q": [None]})
    body = arrow(readings(rows, WIDE, 0).table)
    batch = decode_arrow(body, unit="U", source="s", received_at=0).batch
    assert (batch.tags, batch.ts.tolist(), batch.text.tolist()) == (
        ("M1.produced", "M1.state"), [int(T.timestamp() * 1e6)] * 2, [None, "运行"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("time", "cells"),
    [
        ({"unit": "s"}, [T.timestamp()]),
        ({"unit": "ms"}, [int(T.timestamp() * 1000)]),
        ({"unit": "ns"}, [int(T.timestamp() * 1e9)]),
        ({"unit": "s"}, [str(T.timestamp())]),
        ({}, ["2026-11-23T08:00:00+08:00"]),
        ({"zone": "Asia/Shanghai", "format": "%d.%m.%Y %H:%M"}, ["23.11.2026 08:00"]),
        ({"zone": "Asia/Shanghai"}, pa.array([1795420800000], pa.timestamp("ms"))),
        ({}, pa.array([T], pa.timestamp("us", tz="+00:00"))),
    ],
)
def test_times_of_every_kind(time: dict[str, Any], cells: Any) -> None:
    mapping = Mapping.model_validate({"time": {"column": "t", **time}, "tags": {"v": "M1.x"}})
    [(tag, ts, value, _, _, _)] = sent(pa.table({"t": cells, "v": [1]}), mapping)
    assert (tag, ts, value) == ("M1.x", T, 1.0)


def test_a_row_a_reading_with_names_of_their_own() -> None:
    mapping = Mapping.model_validate(
        {"time": {"column": "t"}, "long": {"tag": "point", "value": "v", "names": {"AI001": "M1.x"}}}
    )
    rows = pa.table({"t": ["2026-11-23T00:00:00Z"] * 2, "point": ["AI001", "M1.y"], "v": ["1", " 2.5 "]})
    assert [one[:3] for one in sent(rows, mapping)] == [("M1.x", T, 1.0), ("M1.y", T, 2.5)]


def test_a_row_without_a_readable_time_is_named() -> None:
    rows = pa.table(
        {
            "时间": ["2026-11-23 08:00", "昨天", None],
            "产量": ["1", "2", "3"],
            "状态": [None] * 3,
            "q": [None] * 3,
        }
    )
    found = readings(rows, WIDE, 100)
    assert (found.untimed, found.row.tolist()) == ([(101, "昨天")], [100])


def test_a_time_without_a_zone_is_never_guessed() -> None:
    mapping = Mapping.model_validate({"time": {"column": "t"}, "tags": {"v": "M1.x"}})
    for cell in ("2026-11-23 08:00:00", "2026-11-23T08:00"):
        with pytest.raises(MappingError, match="zone"):
            readings(pa.table({"t": [cell], "v": [1]}), mapping, 0)


def test_a_mapping_that_cannot_be_is_refused(tmp_path: Path) -> None:
    for text, key in (
        ("[time]\ncolumn='t'\n", "either"),
        ("[time]\ncolumn='t'\nzone='Mars'\n[tags]\nv='M1.x'\n", "zone"),
        ("[time]\ncolum='t'\n[tags]\nv='M1.x'\n", "time"),
        ("[time", "TOML"),
    ):
        (tmp_path / "m.toml").write_text(text)
        with pytest.raises(MappingError, match=key):
            read_mapping(tmp_path / "m.toml")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_file_is_cut_at_the_same_rows_whatever_its_blocks(tmp_path: Path, form: str) -> None:
    n = 120_000
    table = pa.table({"t": pa.array(range(n), pa.int64()), "v": [0.5] * n, "other": ["x"] * n})
    path = tmp_path / f"f.{form}"
    if form == "csv":
        import pyarrow.csv

        pyarrow.csv.write_csv(table, path)
    else:
        pq.write_table(table, path, row_group_size=7_000)
    mapping = Mapping.model_validate({"time": {"column": "t", "unit": "s"}, "tags": {"v": "M1.x"}})
    cut = [(first, rows.num_rows) for first, rows in chunks(path, mapping)]
    assert cut == [(0, 50_000), (50_000, 50_000), (100_000, 20_000)]
    assert identity(path, mapping) == identity(path, mapping)
    console = Console(file=StringIO(), width=200)
    assert check(path, mapping, console).received == 50_000
    assert "M1.x" in console.file.getvalue()


@pytest.mark.parametrize(
    ("said", "encoding", "delimiter"),
    [
        ({"delimiter": ";", "encoding": "gb18030"}, "gbk", ";"),
        ({}, "gbk", ";"),
        ({}, "utf-8-sig", "\t"),
        ({}, "utf-8", ","),
    ],
)
def test_a_csv_of_a_chinese_windows(
    tmp_path: Path, said: dict[str, str], encoding: str, delimiter: str
) -> None:
    path = tmp_path / "f.csv"
    text = "时间;产量;状态;q\n2026-11-23 08:00:00;3;运行;192\n"
    path.write_bytes(text.replace(";", delimiter).encode(encoding))
    mapping = WIDE.model_copy(update={"csv": Csv.model_validate(said)})
    [(_, rows)] = chunks(path, mapping)
    assert [one[:4] for one in sent(rows, mapping)] == [
        ("M1.produced", T, 3.0, None),
        ("M1.state", T, None, "运行"),
    ]
    with pytest.raises(MappingError, match="没有列"):
        list(chunks(path, mapping.model_copy(update={"tags": {"没有": mapping.tags["产量"]}})))
