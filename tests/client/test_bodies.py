"""Request bodies: what goes over the wire, without a wire."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from qunce.client import Reading, bodies

AT = datetime(2026, 11, 26, 8, 0, 0, 250_000, UTC)


def text(body: bodies.Body) -> dict[str, object]:
    return json.loads(gzip.decompress(body.content) if body.coding else body.content)


def test_readings_become_rows() -> None:
    rows = [
        Reading("A.x", AT, 1),
        {"tag": "A.y", "ts": "2026-11-26T08:00:00Z", "value": True, "quality": "bad"},
    ]
    [body] = bodies.of_readings(rows, "live")
    assert (body.rows, body.content_type, body.coding) == (2, "application/json", "")
    assert text(body) == {
        "mode": "live",
        "records": [
            {"tag": "A.x", "ts": "2026-11-26T08:00:00.250000+00:00", "value": 1},
            {"tag": "A.y", "ts": "2026-11-26T08:00:00Z", "value": True, "quality": "bad"},
        ],
    }


def test_many_readings_are_cut_in_order() -> None:
    rows = (Reading("A.x", AT + timedelta(seconds=i), i) for i in range(bodies.ROWS_A_REQUEST + 5))
    first, second = bodies.of_readings(rows, "backfill")
    assert (first.rows, second.rows) == (bodies.ROWS_A_REQUEST, 5)
    assert first.coding == "gzip"
    assert [row["value"] for row in text(second)["records"]] == [bodies.ROWS_A_REQUEST + i for i in range(5)]


def test_large_texts_are_cut_by_bytes() -> None:
    rows = [Reading("A.log", AT + timedelta(seconds=i), "字" * 30_000) for i in range(300)]
    parts = list(bodies.of_readings(rows, "live"))
    assert sum(part.rows for part in parts) == 300
    assert len(parts) > 1
    assert all(len(gzip.decompress(part.content)) <= 12 * 2**20 for part in parts)


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        (Reading("A.x", AT.replace(tzinfo=None), 1), r"readings\[0\]\.ts .* has no zone"),
        (Reading("A.x", AT, float("nan")), r"readings\[0\]\.value is nan"),
        (Reading("A.x", AT, {1}), "set has no form in JSON"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_it_is_sent(reading: Reading, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        list(bodies.of_readings([reading], "live"))


def test_numbers_in_columns_travel_as_arrow() -> None:
    ts = np.arange(3) * 1_000_000 + 1_795_392_000_000_000
    [body] = bodies.of_columns(["A.x", "A.y", "A.x"], ts, np.array([1.5, 2, 3]), None, "backfill")
    assert body.content_type == bodies.ARROW
    table = pa.ipc.open_stream(body.content).read_all()
    assert table.schema.metadata == {b"mode": b"backfill"}
    assert table["tag"].to_pylist() == ["A.x", "A.y", "A.x"]
    assert table["ts"].to_pylist() == ts.tolist()
    assert table["value"].to_pylist() == [1.5, 2.0, 3.0]


@pytest.mark.parametrize("value", [[True, "on", 3], ["Executing", "Executing", "NotExecuting"]])
def test_other_columns_travel_as_json(value: list[object]) -> None:
    [body] = bodies.of_columns(["A.x", "A.y", "A.x"], [AT] * 3, value, ["good", 0, None], "live")
    at = 1_795_680_000_250_000
    assert text(body) == {
        "mode": "live",
        "tags": ["A.x", "A.y"],
        "columns": {"tag": [0, 1, 0], "ts": [at] * 3, "value": value, "quality": ["good", 0, None]},
    }


def test_without_pyarrow_numbers_travel_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_pyarrow", lambda: None)
    [body] = bodies.of_columns(["A.x"], [AT], [1.0], None, "backfill")
    assert text(body)["columns"] == {"tag": [0], "ts": [1_795_680_000_250_000], "value": [1.0]}
    with pytest.raises(ValueError, match="needs pyarrow"):
        list(bodies.of_table(None, "live"))


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        list(bodies.of_columns(["A.x"], [1, 2], [1.0], None, "live"))


def test_records_may_hold_dates() -> None:
    [body] = bodies.of_records([{"code": "M-1", "planned_on": date(2026, 12, 1)}], "typing error")
    assert text(body) == {"reason": "typing error", "records": [{"code": "M-1", "planned_on": "2026-12-01"}]}
