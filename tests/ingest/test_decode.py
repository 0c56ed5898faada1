"""JSON of the open interface → Batch: what is taken, what is refused and where it says so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.batch import Batch, Refusal
from ingest.decode import decode_json, decode_measurements, decode_values
from ingest.decoded import MAX_ROWS, Malformed

WHO: dict[str, Any] = {"unit": "GD-ELE-01", "source": "http_push:GD-ELE-01", "received_at": 1}


def row(**changes: object) -> dict[str, object]:
    return {"tag": "M1.produced", "ts": "2026-11-23T08:00:00+08:00", "value": 1, **changes}


def rows(*records: object, **more: object) -> Batch:
    return decode_measurements(json.dumps({"records": records, **more}).encode(), **WHO).batch


def test_times_become_microseconds_utc_whatever_their_zone() -> None:
    batch = rows(
        row(), row(ts="2026-11-23T00:00:00Z"), row(ts="2026-11-22T19:00:00.000001-05:00"), mode="backfill"
    )
    assert batch.ts.tolist() == [1795392000000000, 1795392000000000, 1795392000000001]
    assert batch.mode == "backfill"


def test_text_stays_text_and_numbers_stay_numbers() -> None:
    batch = rows(row(value="007"), row(value=7), row(value=7.5), row(value=True))
    assert batch.text is not None
    assert batch.text.tolist() == ["007", None, None, None]
    assert batch.value.tolist() == [0.0, 7.0, 7.5, 1.0]


@pytest.mark.parametrize(
    ("quality", "stored"),
    [
        (None, 0),
        ("good", 0),
        ("uncertain", 0x4000),
        ("bad", -0x8000),
        ("S", 0x96),
        (0x80350000, 0x8035 - 0x10000),
    ],
)
def test_quality_in_every_form(quality: object, stored: int) -> None:
    assert rows(row(quality=quality)).quality.tolist() == [stored]


@pytest.mark.parametrize(
    ("record", "place", "reason"),
    [
        (row(ts="2026-11-23T08:00:00"), "records[1].ts", "timestamp_without_zone"),
        (row(ts="yesterday"), "records[1].ts", "timestamp_malformed"),
        (row(ts="2026-13-41T08:00:00Z"), "records[1].ts", "timestamp_malformed"),
        (row(ts=1795392000), "records[1].ts", "timestamp_malformed"),
        (row(value=None), "records[1].value", "missing_value"),
        (row(value=[1]), "records[1].value", "unsupported_value"),
        (row(value={"a": 1}), "records[1].value", "unsupported_value"),
        (row(quality=True), "records[1].quality", "bad_quality"),
        (row(qualty="bad"), "records[1].qualty", "unknown_field"),
        (row(Quality="bad"), "records[1].Quality", "unknown_field"),
        (row(tag=5), "records[1].tag", "wrong_type"),
        (row(quality="splendid"), "records[1].quality", "bad_quality"),
        ({"ts": "2026-11-23T08:00:00Z", "value": 1}, "records[1]", "missing_field"),
        ("not a row", "records[1]", "wrong_type"),
    ],
)
def test_a_bad_row_is_refused_by_itself_with_its_bytes(record: object, place: str, reason: str) -> None:
    batch = rows(row(), record, row(value=3))
    assert batch.value.tolist() == [1.0, 3.0]
    [refusal] = batch.refused
    assert (refusal.place, refusal.reason) == (place, reason)
    assert json.loads(refusal.original) == record


@pytest.mark.parametrize(
    ("body", "reason", "parameters"),
    [
        (b'{"records":\n [{"tag" 1}]}', "malformed_json", {"line": "2", "column": "10"}),
        (b"", "malformed_json", {"line": "1", "column": "1"}),
        (b"\xff", "malformed_json", {"line": "1"}),
        (
            b'{"records":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
            "malformed_json",
            {"detail": "nested too deeply"},
        ),
        (b'{"records": [null], "tags": Infinity}', "malformed_json", {"line": "1", "column": "29"}),
        (b'{"records": [null, {"tag": "\xff", "ts": "", "value": 1}]}', "malformed_json", {"column": "29"}),
        (b'{"records": [{"tag": "\xff", "ts": "", "value": 1}]}', "malformed_json", {"column": "23"}),
        (b"[]", "wrong_shape", {}),
        (b"{}", "wrong_shape", {}),
        (b'{"records": 5}', "wrong_shape", {}),
        (b'{"records": [], "modus": "backfill"}', "unknown_field", {"field": "modus"}),
        (b'{"records": [{"tag": 1}], "modus": "backfill"}', "unknown_field", {"field": "modus"}),
        (
            b'{"tags":["a"],"columns":{"tag":[0],"ts":[1],"value":[1],"qualty":[0]}}',
            "unknown_field",
            {"field": "qualty"},
        ),
        (b'{"records": [], "mode": "maybe"}', "wrong_shape", {}),
        (b'{"tags":["a"],"columns":{"tag":[0],"ts":[1,2],"value":[1]}}', "wrong_shape", {}),
        (b'{"tags":["a"],"columns":{"tag":[0],"ts":[99999999999999999999],"value":[1]}}', "wrong_shape", {}),
    ],
)
def test_what_is_wrong_with_the_whole_is_said_of_the_whole(
    body: bytes, reason: str, parameters: dict[str, str]
) -> None:
    with pytest.raises(Malformed) as caught:
        decode_measurements(body, **WHO)
    assert caught.value.reason == reason
    assert parameters.items() <= caught.value.parameters.items()
    [refusal] = decode_json(body, **WHO).refused
    assert (refusal.reason, refusal.original) == (reason, body)


def test_columns_carry_mixed_values_and_refuse_what_they_do_not_name() -> None:
    body = {"tags": ["a.x", "b.y"], "columns": {"tag": [0, 1, 7, 1], "ts": [1, 2, 3, 4],
            "value": [1, "on", 2, None], "quality": [None, "bad", None, None]}}  # fmt: skip
    decoded = decode_measurements(json.dumps(body).encode(), **WHO)
    assert decoded.index.tolist() == [0, 1]
    assert decoded.batch.quality.tolist() == [0, -0x8000]
    assert [(r.place, r.reason) for r in decoded.batch.refused] == [
        ("records[2].tag", "wrong_shape"),
        ("records[3].value", "missing_value"),
    ]
    assert [(r.tag, r.ts, json.loads(r.original)) for r in decoded.batch.refused] == [
        (None, 3, {"tag": 7, "ts": 3, "value": 2}),
        ("b.y", 4, {"tag": "b.y", "ts": 4, "value": None}),
    ]


def test_too_many_rows_are_refused_before_they_cost_anything() -> None:
    body = {"tags": ["a"], "columns": {"tag": [0] * (MAX_ROWS + 1), "ts": [], "value": []}}
    with pytest.raises(Malformed, match="too_many_rows"):
        decode_measurements(json.dumps(body).encode(), **WHO)


def test_one_time_several_signals() -> None:
    body = b'{"ts": "2026-11-23T08:00:00+08:00", "values": {"state": "Executing", "produced": 12, "odd": {}}}'
    batch = decode_values(body, equipment="M1", **WHO).batch
    assert [batch.tags[i] for i in batch.tag_index] == ["M1.state", "M1.produced"]
    assert [r.reason for r in batch.refused] == ["unsupported_value"]


@pytest.mark.parametrize("depth", [*range(900, 1000, 7), 20_000])
def test_a_value_nested_however_deep_is_refused(depth: int) -> None:
    body = b'{"ts":"2026-11-23T08:00:00Z","values":{"x":' + b"[" * depth + b"]" * depth + b"}}"
    [refusal] = decode_json(body, equipment="M1", **WHO).refused
    assert refusal.reason in ("malformed_json", "unsupported_value")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
records = st.fixed_dictionaries({}, optional={"tag": json_values, "ts": json_values, "value": json_values,
                                              "quality": json_values})  # fmt: skip


@given(st.lists(records | json_values, max_size=6))
def test_every_row_is_either_taken_or_refused(given_rows: list[Any]) -> None:
    batch = rows(*given_rows)
    assert batch.rows == len(given_rows)
    assert all(isinstance(refusal, Refusal) for refusal in batch.refused)


@given(st.binary(max_size=60) | json_values.map(lambda v: json.dumps(v).encode()))
def test_no_bytes_stop_the_decoder(body: bytes) -> None:
    assert decode_json(body, **WHO).rows >= 0
    assert decode_json(body, equipment="M1", **WHO).rows >= 0
