"""MQTT messages → one Batch per unit."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.columns import Columns
from connectors.mqtt.codec import Codec, Message
from connectors.mqtt.config import MqttConfig
from connectors.mqtt.payload import read_values
from ingest.batch import Batch
from ingest.decode import decode_json

AT = 1_795_392_000_000_000
NOW = "2026-11-23T08:00:00+08:00"


def codec(*topics: dict[str, Any], named_by: str = "connector") -> Codec:
    settings = {"topics": list(topics)} if topics else {}
    return Codec(
        MqttConfig.model_validate(
            {"type": "mqtt", "name": "b", "host": "h", "source_named_by": named_by} | settings
        )
    )


def message(topic: str | None, payload: Any, mid: int = 1) -> Message:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Message(mid, 1, topic, body, AT + mid)


def rows(batch: Batch) -> list[tuple[str, int, Any]]:
    texts = [None] * len(batch) if batch.text is None else batch.text.tolist()
    return [
        (batch.tags[i], ts, value if text is None else text)
        for i, ts, value, text in zip(
            batch.tag_index.tolist(), batch.ts.tolist(), batch.value.tolist(), texts, strict=True
        )
    ]


def test_messages_of_a_unit_become_one_batch():
    result = codec(named_by="unit").decode(
        [
            message("qunce/v1/U1/measurements/A", {"ts": NOW, "values": {"x": 1, "state": "Executing"}}, 1),
            message("qunce/v1/U2/measurements/A", {"ts": NOW, "values": {"x": 5}}, 2),
            message("qunce/v1/U1/measurements", {"records": [{"tag": "B.y", "ts": NOW, "value": True}]}, 3),
            message("qunce/v1/U1/measurements/C", {"ts": NOW, "values": {"x": 2}, "quality": "bad"}, 4),
        ]
    )
    by_unit = {batch.unit: batch for batch in result.batches}
    assert sorted(rows(by_unit["U1"])) == [
        ("A.state", AT, "Executing"), ("A.x", AT, 1.0), ("B.y", AT, 1.0), ("C.x", AT, 2.0),
    ]  # fmt: skip
    assert rows(by_unit["U2"]) == [("A.x", AT, 5.0)]
    assert by_unit["U1"].source == "mqtt:U1"
    assert by_unit["U1"].received_at == AT + 4
    assert (by_unit["U1"].quality != 0).sum() == 1


@pytest.mark.parametrize(
    "topic", ["elsewhere", "qunce/v1/a.b/measurements", "qunce/v1/a b/measurements/x", None]
)
def test_messages_of_no_unit_are_set_apart(topic: str | None):
    result = codec().decode([message(topic, {"ts": NOW, "values": {"x": 1}})])
    assert result.batches == []
    assert len(result.unplaced) == 1


def test_backfill_is_kept_apart():
    result = codec().decode(
        [
            message("qunce/v1/U/measurements/A", {"ts": NOW, "values": {"x": 1}}),
            message("qunce/v1/U/measurements/A", {"ts": NOW, "values": {"x": 1}, "mode": "backfill"}),
        ]
    )
    assert sorted(batch.mode for batch in result.batches) == ["backfill", "live"]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=4) | st.just(NOW),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["ts", "values", "quality", "records", "x", "value", "mode"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)
FORMS: list[dict[str, Any]] = [
    {"topic": "a/{equipment}/v", "unit": "U", "payload": {"form": "values"}},
    {"topic": "b/{equipment}/v", "unit": "U", "payload": {"form": "values", "values_field": None}},
    {"topic": "c/{equipment}/v", "unit": "U", "payload": {"form": "records", "signal_field": "x"}},
    {
        "topic": "d/{equipment}/{signal}",
        "unit": "U",
        "payload": {"form": "single", "time_form": "epoch_seconds"},
    },
    {"topic": "e/{equipment}", "unit": "U"},
    {"topic": "f", "unit": "U"},
]


@settings(max_examples=300)
@given(
    st.one_of(
        JSON.map(lambda j: json.dumps(j).encode()),
        JSON.map(lambda j: json.dumps(j).encode().replace(b"a", b"\xff").replace(b"0", b"\xff", 1)),
        st.binary(max_size=30),
        st.sampled_from(
            [b'{"ts":"2026-11-23T00:00:00Z","values":{"x":"\xff"}}', b'{"records":[null],"x":Infinity}']
        ),
    ),
    st.sampled_from(FORMS),
)
def test_any_payload_is_taken_or_refused_never_raised(payload: bytes, form: dict[str, Any]):
    topic = form["topic"].replace("{equipment}", "E").replace("{signal}", "s")
    result = codec(*FORMS).decode([message(topic, payload)])
    assert result.unplaced == []
    for batch in result.batches:
        assert batch.unit == "U"
        for entry in batch.refused:
            assert entry.place.startswith(topic)
            assert entry.reason


@settings(max_examples=200)
@given(
    st.fixed_dictionaries(
        {
            "ts": st.sampled_from(
                [NOW, "2026-11-23T00:00:00Z", "2026-11-23T00:00:00.1234567Z", "2026-11-23", "x"]
            )
            | st.datetimes().map(lambda d: d.isoformat() + "Z"),
            "values": st.dictionaries(
                st.sampled_from(["x", "y", "z"]),
                st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(),
            ),
        }
    )
)
def test_the_quick_way_agrees_with_the_interface(body: dict[str, Any]):
    """Whatever the quick reader takes, it takes exactly as the interface's own decoder does."""
    payload = msgspec.json.encode(body)
    columns = Columns()
    if read_values(payload, "E", columns):
        quick = columns.batch("U", "s", 1)
        slow = decode_json(payload, unit="U", source="s", received_at=1, equipment="E")
        assert slow.refused == ()
        assert rows(quick) == rows(slow)


@pytest.mark.parametrize(
    ("payload", "body", "expected"),
    [
        ({"form": "values"}, {"ts": NOW, "values": {"x": 1}}, [("E.x", AT, 1.0)]),
        ({"form": "values", "values_field": None}, {"ts": NOW, "x": 1, "quality": "good"}, [("E.x", AT, 1.0)]),
        (
            {"form": "values", "time_field": "t", "time_form": "epoch_milliseconds"},
            {"t": AT // 1000, "values": {"x": 1}},
            [("E.x", AT, 1.0)],
        ),
        ({"form": "values", "time_zone": "Asia/Shanghai"}, {"ts": "2026-11-23 08:00:00", "values": {"x": 1}}, [("E.x", AT, 1.0)]),
        ({"form": "values", "time_missing": "received"}, {"values": {"x": 1}}, [("E.x", AT + 1, 1.0)]),
        (
            {"form": "records", "records_field": "d", "signal_field": "n", "value_field": "v"},
            {"d": [{"ts": NOW, "n": "x", "v": 1}, {"ts": NOW, "n": "y", "v": "on"}]},
            [("E.x", AT, 1.0), ("E.y", AT, "on")],
        ),
        ({"form": "records", "tag_field": "tag"}, [{"ts": NOW, "tag": "Z.q", "value": 2}], [("Z.q", AT, 2.0)]),
        ({"form": "single", "signal_field": "s"}, {"ts": NOW, "s": "x", "value": 3}, [("E.x", AT, 3.0)]),
        (
            {"form": "single", "equipment_field": "m", "signal_field": "s"},
            {"ts": NOW, "m": 12, "s": "x", "value": 3},
            [("E.x", AT, 3.0)],
        ),
    ],
)  # fmt: skip
def test_forms(payload: dict[str, Any], body: Any, expected: list[tuple[str, int, Any]]):
    result = codec({"topic": "f/{equipment}", "unit": "U", "payload": payload}).decode([message("f/E", body)])
    (batch,) = result.batches
    assert batch.refused == ()
    assert rows(batch) == expected


@pytest.mark.parametrize(
    ("payload", "body", "reason"),
    [
        ({"form": "values"}, {"values": {"x": 1}}, "missing_field"),
        ({"form": "values"}, {"ts": "2026-11-23T08:00:00", "values": {"x": 1}}, "timestamp_without_zone"),
        ({"form": "values"}, {"ts": "yesterday", "values": {"x": 1}}, "timestamp_malformed"),
        ({"form": "values"}, {"ts": 5, "values": {"x": 1}}, "wrong_type"),
        ({"form": "values"}, {"ts": NOW, "values": [1]}, "wrong_shape"),
        ({"form": "values"}, {"ts": NOW, "values": {"x": {"a": 1}}}, "unsupported_value"),
        ({"form": "values"}, {"ts": NOW, "values": {"x": 1}, "quality": "fine"}, "bad_quality"),
        ({"form": "records", "signal_field": "s"}, {"ts": NOW}, "wrong_shape"),
        ({"form": "records", "signal_field": "s"}, [{"ts": NOW, "value": 1}], "missing_field"),
        ({"form": "values"}, b"{", "malformed_json"),
        ({"form": "values"}, b'{"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "malformed_json"),
        ({"form": "values"}, {"ts": "2026-11-23T08:00:00+0800", "values": {"x": 1}}, "timestamp_malformed"),
    ],
)
def test_refusals(payload: dict[str, Any], body: Any, reason: str):
    result = codec({"topic": "f/{equipment}", "unit": "U", "payload": payload}).decode([message("f/E", body)])
    (batch,) = result.batches
    assert [entry.reason for entry in batch.refused] == [reason]
    assert len(batch) == 0


@pytest.mark.parametrize(
    ("template", "subscribed", "yes", "no"),
    [
        ("a/{equipment}/t", "a/+/t", ["a/E/t"], ["a/E/t/x", "a/E", "b/E/t"]),
        ("a/{equipment}/#", "a/+/#", ["a/E", "a/E/x/y"], ["a"]),
        ("a.b/+/{equipment}", "a.b/+/+", ["a.b/x/E"], ["aXb/x/E"]),
    ],
)
def test_topic_templates(template: str, subscribed: str, yes: list[str], no: list[str]):
    (route,) = codec({"topic": template, "unit": "U", "payload": {"form": "values"}}).routes
    assert route.filter == subscribed
    for topic in yes:
        match = route.pattern.fullmatch(topic)
        assert match
        assert match["equipment"] == "E"
    for topic in no:
        assert not route.pattern.fullmatch(topic)


def test_what_a_unit_publishes_elsewhere_in_its_branch_is_refused_with_its_payload():
    result = codec(named_by="unit").decode(
        [message("qunce/v1/U1/nothing/x/y", b"{}"), message("qunce/v1/U1", b"\x00")]
    )
    assert result.unplaced == []
    (batch,) = result.batches
    assert (batch.unit, batch.source, len(batch)) == ("U1", "mqtt:U1", 0)
    assert [(r.place, r.reason, r.original) for r in batch.refused] == [
        ("qunce/v1/U1/nothing/x/y: $", "unknown_topic", b"{}"),
        ("qunce/v1/U1: $", "unknown_topic", b"\x00"),
    ]


def test_nothing_is_subscribed_to_twice():
    assert codec().filters() == ["qunce/v1/+/#"]
    apart = [{"topic": t, "unit": "U"} for t in ("a/{equipment}", "a/+", "a/b", "a/b/#", "b/c", "a/+/c")]
    assert codec(*apart).filters() == ["a/+", "a/b/#", "b/c", "a/+/c"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["A", "B"]),
            st.sampled_from([NOW, "2026-11-23T08:00:01Z"]),
            st.dictionaries(
                st.sampled_from(["x", "y", "state", "z"]),
                st.one_of(
                    st.floats(allow_nan=False, allow_infinity=False),
                    st.integers(),
                    st.booleans(),
                    st.text(max_size=5),
                ),
                max_size=4,
            ),
        ),
        max_size=8,
    )
)
@settings(max_examples=150, deadline=None)
def test_values_gathered_over_messages_are_those_of_each_by_itself(
    messages: list[tuple[str, str, dict[str, Any]]],
):
    gathered, expected = Columns(), []
    for equipment, ts, values in messages:
        body = json.dumps({"ts": ts, "values": values}).encode()
        one = decode_json(body, unit="U", source="mqtt:b", received_at=AT, equipment=equipment)
        if read_values(body, equipment, gathered):
            assert not one.refused
            expected += rows(one)
    batch = gathered.batch("U", "mqtt:b", AT)
    assert rows(batch) == expected
    assert len(gathered) == len(expected)
