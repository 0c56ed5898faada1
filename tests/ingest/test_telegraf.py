"""Telegraf's JSON → Batch, by the mapping of line protocol; NDJSON line by line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ingest.api.bodies import LINES, READINGS
from ingest.decode import decode_measurements, decode_ndjson
from ingest.decoded import Decoded, Malformed
from ingest.lineprotocol import decode_lines
from tests.ingest.test_lineprotocol import WHO, readings

METRIC = {
    "name": "opcua", "tags": {"equipment": "M1", "host": "gw01"},
    "fields": {"temperature": 21.5, "produced": 1200, "running": True, "state": "Executing"},
    "timestamp": 1795392000,
}  # fmt: skip


def decoded(body: object, **more: Any) -> Decoded:
    return decode_measurements(json.dumps(body).encode(), **{**WHO, **more})


@pytest.mark.parametrize("body", [METRIC, {"metrics": [METRIC]}])
def test_both_shapes_are_what_the_line_would_be(body: object) -> None:
    line = b'opcua,equipment=M1,host=gw01 temperature=21.5,produced=1200i,running=true,state="Executing" 1795392000'
    assert readings(decoded(body)) == readings(decode_lines(line, **WHO, precision="s"))


@pytest.mark.parametrize(
    ("timestamp", "precision"),
    [(1795392000123, "ms"), (1795392000123000, "us"), (1795392000123000000, "ns"),
     ("2026-11-23T08:00:00.123+08:00", None)],
)  # fmt: skip
def test_times_in_the_units_that_were_said(timestamp: int | str, precision: str | None) -> None:
    more = {} if precision is None else {"precision": precision}
    [first, *_] = readings(decoded({**METRIC, "timestamp": timestamp}, **more))
    assert first[1] == 1795392000123000


def test_a_wrong_metric_is_refused_by_itself() -> None:
    got = decoded({"metrics": [METRIC, {"name": "x"}, {"name": "x", "fields": {"a": 1}}, 5,
                               {**METRIC, "fields": {"temperature": [1], "energy": 2}}]})  # fmt: skip
    assert [(r.place, r.reason) for r in got.batch.refused] == [
        ("metrics[1] records[4]", "missing_field"),
        ("metrics[2] records[5]", "missing_timestamp"),
        ("metrics[3] records[6]", "wrong_type"),
        ("metrics[4] records[7].value", "unsupported_value"),
    ]
    assert [tag for tag, _, _ in readings(got)][-1] == "M1.energy"


@pytest.mark.parametrize(
    "body",
    [{"metrics": [], "records": []}, {"fields": {"a": 1}}, {**METRIC, "tags": ["M1"]}, {"metrics": {}}, {"fields": 1},
     {"columns": {"tag": [], "ts": [], "value": []}, "tags": {"a": "b"}}],
)  # fmt: skip
def test_what_is_neither_is_refused_whole(body: object) -> None:
    with pytest.raises(Malformed) as refused:
        decoded(body)
    assert refused.value.reason == "wrong_shape"


def test_an_envelope_is_read_and_checked() -> None:
    said = {
        "source_id": "gw-7",
        "msg_id": "m-1",
        "sent_at": "2026-11-23T08:00:00+08:00",
        "schema_version": "1",
    }
    got = decoded({"records": [], "mode": "correction", **said})
    assert (got.batch.mode, got.envelope.msg_id, got.envelope.sent_at) == (
        "backfill",
        "m-1",
        1795392000000000,
    )
    for wrong in ({"schema_version": 2}, {"msg_id": 7}, {"msg_id": "x" * 201}, {"sent_at": "yesterday"}):
        with pytest.raises(Malformed):
            decoded({"records": [], **wrong})


def test_every_line_of_ndjson_is_taken_or_refused_by_itself() -> None:
    good = b'{"tag":"M1.x","ts":"2026-11-23T08:00:00+08:00","value":%d}'
    body = b"\n".join(
        [good % 1, b"", b'{"tag":"M1.x"', b" " + good % 2 + b"\r", b"\xff", b'{"x":' * 9999, b"7", b'{"tag":"M1.x"}',
         b'{"tag":"M1.x","ts":"2026-11-23T08:00:00","value":3}', good % 4]
    )  # fmt: skip
    got = decode_ndjson(body, **WHO, mode="backfill")
    assert (got.batch.mode, got.batch.value.tolist(), got.index.tolist()) == (
        "backfill",
        [1, 2, 4],
        [0, 2, 8],
    )
    assert sorted((r.place, r.reason, r.parameters.get("line")) for r in got.batch.refused) == [
        ("line 3 records[1]", "malformed_json", "3"),
        ("line 5 records[3]", "malformed_json", "5"),
        ("line 6 records[4].x", "unknown_field", None),
        ("line 7 records[5]", "wrong_type", None),
        ("line 8 records[6]", "missing_field", None),
        ("line 9 records[7].ts", "timestamp_without_zone", None),
    ]


def test_the_examples_of_the_document_are_readings() -> None:
    [json_body, ndjson, _] = READINGS["requestBody"]["content"].values()
    for example in json_body["examples"].values():
        assert readings(decoded(example["value"]))
    _, _, _, row, _ = ndjson["schema"]["description"].split("`")
    assert readings(decode_ndjson(row.encode(), **WHO))
    line = LINES["requestBody"]["content"]["text/plain"]["example"]
    assert len(readings(decode_lines(line.encode(), **WHO))) == 2
