"""Arrow of the open interface → Batch: what is taken, what is refused, what is not even read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import arrow
from ingest.arrow import decode_arrow
from ingest.batch import Batch
from ingest.decode import decode_measurements
from ingest.decoded import MAX_ROWS, MAX_TEXT, Malformed

WHO: dict[str, Any] = {"unit": "GD-ELE-01", "source": "http_push:GD-ELE-01", "received_at": 1}
FILES = Path(__file__).parent / "files"
UTC_US = pa.timestamp("us", "UTC")


def stream(*records: pa.RecordBatch, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=False, **options)
    with pa.ipc.new_stream(sink, records[0].schema, options=options) as writer:
        for record in records:
            writer.write_batch(record)
    return sink.getvalue().to_pybytes()


def record(metadata: dict[str, str] | None = None, **columns: Any) -> pa.RecordBatch:
    made = {"tag": pa.array(["a.x", "b.y"]), "ts": pa.array([1, 2]), "value": pa.array([1.5, 2.5]), **columns}
    return pa.record_batch({k: v for k, v in made.items() if v is not None}).replace_schema_metadata(metadata)


def read(*records: pa.RecordBatch, **options: Any) -> Batch:
    return decode_arrow(stream(*records), **WHO, **options).batch


def tags_of(batch: Batch) -> list[str]:
    return [batch.tags[i] for i in batch.tag_index]


@pytest.mark.parametrize(
    "tag",
    [
        pa.array(["a.x", "b.y"]),
        pa.array(["a.x", "b.y"], pa.large_string()),
        pa.array(["a.x", "b.y"], pa.string_view()),
        pa.array(["?", "a.x", "b.y"], pa.string_view())[1:],
        pa.array(["a.x", "b.y"]).dictionary_encode(),
        pa.DictionaryArray.from_arrays(pa.array([2, 0], pa.uint8()), pa.array(["b.y", "?", "a.x"])),
    ],
)
@pytest.mark.parametrize(
    "ts",
    [
        pa.array([1_000_000, 2_000_000]),
        pa.array([1_000_000, 2_000_000], UTC_US),
        pa.array([1, 2], pa.timestamp("s", "Asia/Shanghai")),
        pa.array([1000, 2000], pa.timestamp("ms", "+08:00")),
        pa.array([1_000_000_999, 2_000_000_000], pa.timestamp("ns", "UTC")),
    ],
)
def test_tags_and_times_in_every_form(tag: pa.Array, ts: pa.Array) -> None:
    batch = read(record(tag=tag, ts=ts))
    assert tags_of(batch) == ["a.x", "b.y"]
    assert batch.ts.tolist() == [1_000_000, 2_000_000]
    assert (batch.value.tolist(), batch.text, batch.mode) == ([1.5, 2.5], None, "live")


@pytest.mark.parametrize(
    ("value", "numbers"),
    [
        (pa.array([1, -2], pa.int8()), [1.0, -2.0]),
        (pa.array([1, 2**64 - 1], pa.uint64()), [1.0, 2.0**64]),
        (pa.array([True, False]), [1.0, 0.0]),
        (pa.array([0.5, 2], pa.float32()), [0.5, 2.0]),
    ],
)
def test_numbers_in_every_form(value: pa.Array, numbers: list[float]) -> None:
    assert read(record(value=value)).value.tolist() == numbers


@pytest.mark.parametrize("value", [pa.array(["007", "on"]), pa.array(["007", "on"]).dictionary_encode()])
def test_text_stays_text(value: pa.Array) -> None:
    batch = read(record(value=value))
    assert batch.text is not None
    assert batch.text.tolist() == ["007", "on"]


def test_numbers_and_text_side_by_side() -> None:
    batch = read(record(value=pa.array([None, 7.0]), text=pa.array(["on", None])))
    assert batch.text is not None
    assert (batch.text.tolist(), batch.value.tolist()) == (["on", None], [0.0, 7.0])


@pytest.mark.parametrize(
    "quality",
    [
        pa.array([0x80350000, None], pa.int64()),
        pa.array([0x80350000, 0], pa.uint32()),
        pa.array(["B", "good"]),
        pa.array(["B", None]).dictionary_encode(),
    ],
)
def test_quality_in_every_form(quality: pa.Array) -> None:
    assert read(record(quality=quality)).quality.tolist() in ([0x8035 - 0x10000, 0], [0x8005 - 0x10000, 0])


def test_several_record_batches_each_with_a_dictionary_of_its_own() -> None:
    records = [
        record(tag=pa.DictionaryArray.from_arrays(pa.array(index, pa.int8()), pa.array(names)))
        for index, names in (([0, 1], ["a", "b"]), ([1, 0], ["a", "b"]), ([0, 1], ["b", "c"]))
    ]
    batch = read(*records)
    assert tags_of(batch) == ["a", "b", "b", "a", "b", "c"]
    assert set(batch.tags) == {"a", "b", "c"}


def test_the_mode_is_in_the_metadata_or_told() -> None:
    assert read(record({"mode": "backfill"})).mode == "backfill"
    assert read(record({"mode": "backfill"}), mode="live").mode == "live"


def test_faulty_rows_are_refused_by_themselves_and_can_be_sent_again_as_json() -> None:
    columns = {
        "tag": pa.array(["a", None, "c", "d", "e", "f", "g", "h"]),
        "ts": pa.array([1, 2, None, 4, 5, 6, 7, 8], UTC_US),
        "value": pa.array([1.0, 2, 3, None, 5, None, 7, 8]),
        "text": pa.array([None] * 4 + ["both", "x" * (MAX_TEXT + 1), None, None]),
        "quality": pa.array(["good", None, None, None, None, None, "splendid", None]),
    }
    decoded = decode_arrow(stream(record(**columns), record(**columns)), **WHO)
    assert decoded.index.tolist() == [0, 7, 8, 15]
    assert [(r.place, r.reason, r.tag, r.ts) for r in decoded.batch.refused[:6]] == [
        ("records[1]", "missing_field", None, 2),
        ("records[2]", "missing_field", "c", None),
        ("records[3].value", "missing_value", "d", 4),
        ("records[4].value", "wrong_type", "e", 5),
        ("records[5].value", "text_too_long", "f", 6),
        ("records[6].quality", "bad_quality", "g", 7),
    ]
    assert decoded.batch.refused[6].place == "records[9]"
    assert decoded.batch.refused[5].parameters == {"got": "splendid"}
    assert json.loads(decoded.batch.refused[5].original) == {
        "tag": "g", "ts": 7, "value": 7.0, "quality": "splendid",
    }  # fmt: skip


@pytest.mark.parametrize("quality", [pa.array([-1, 2**32]), pa.array([2**63, 2**64 - 1], pa.uint64())])
def test_a_number_that_is_no_status_code_is_refused(quality: pa.Array) -> None:
    assert [r.reason for r in read(record(quality=quality)).refused] == ["bad_quality"] * 2


@pytest.mark.parametrize(
    ("unit", "raw"), [("s", 2**62), ("s", -(2**62)), ("ms", 2**62), ("us", 2**62), ("ns", 2**63 - 1)]
)
def test_no_time_wraps_around(unit: str, raw: int) -> None:
    ts = read(record(ts=pa.array([raw, raw], pa.timestamp(unit, "UTC")))).ts
    assert (np.sign(ts) == np.sign(raw)).all()
    assert (np.abs(ts) > 10**15).all()


def sliced(size: int) -> pa.RecordBatch:
    return record(tag=pa.array(["a"] * size), ts=pa.array([1] * size), value=pa.array([1.0] * size))


def deep() -> pa.DataType:
    kind = pa.int8()
    for _ in range(60):
        kind = pa.list_(kind)
    return kind


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "malformed_arrow"),
        (b"ARROW1\0\0" + b"\0" * 50, "malformed_arrow"),
        (b'{"records": []}', "malformed_arrow"),
        (stream(record())[:-60], "malformed_arrow"),
        (stream(record()) + stream(record()), "malformed_arrow"),
        (stream(record(ts=pa.array([1, 2], pa.timestamp("us")))), "timestamp_without_zone"),
        (stream(record(ts=pa.array(["2026-11-23T08:00:00Z"] * 2))), "wrong_type"),
        (stream(record(value=pa.array([[1], [2]]))), "wrong_type"),
        (stream(record(value=pa.array([None, None], deep()))), "wrong_type"),
        (stream(record(tag=pa.array([1, 2]))), "wrong_type"),
        (stream(record(tag=pa.array([1, 2]).dictionary_encode())), "wrong_type"),
        (stream(record(quality=pa.array([0.0, 1.0]))), "wrong_type"),
        (stream(record(value=pa.array(["a", "b"]), text=pa.array(["a", "b"]))), "wrong_shape"),
        (stream(record(colour=pa.array(["red", "blue"]))), "unknown_field"),
        (stream(record(ts=None)), "missing_field"),
        (stream(record(value=None)), "missing_field"),
        (stream(record({"mode": "maybe"})), "wrong_shape"),
        (stream(sliced(MAX_ROWS // 2), sliced(MAX_ROWS // 2 + 1)), "too_many_rows"),
        (stream(record(), compression="zstd"), "compressed_arrow"),
        (stream(record(tag=pa.array(["a", "b"]).dictionary_encode()), compression="lz4"), "compressed_arrow"),
        (stream(*[record()] * (arrow.MAX_RECORD_BATCHES + 1)), "wrong_shape"),
        (stream(record(tag=pa.array(["a" * 500, "b"]))), "wrong_shape"),
    ],
)
def test_what_is_wrong_with_the_whole_is_said_of_the_whole(body: bytes, reason: str) -> None:
    with pytest.raises(Malformed) as caught:
        decode_arrow(body, **WHO)
    assert caught.value.reason == reason, caught.value.parameters


def test_one_entry_of_a_dictionary_does_not_become_gigabytes() -> None:
    n = 100_000
    repeated = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int8)), pa.array(["x" * 20_000]))
    for column in ("value", "quality"):
        columns = {"tag": pa.array(["a"] * n), "ts": pa.array([1] * n), "value": pa.array([1.0] * n)}
        with pytest.raises(Malformed, match="body_too_large"):
            read(record(**{**columns, column: repeated}))


@pytest.mark.parametrize("name", ["polars.arrows", "polars-categorical.arrows"])
def test_what_polars_writes(name: str) -> None:
    decoded = decode_arrow((FILES / name).read_bytes(), **WHO)
    batch = decoded.batch
    assert tags_of(batch) == ["CNC-0001.temperature", "CNC-0001.state", "M.x"]
    assert (batch.ts - 1_795_392_000_000_000).tolist() == [0, 1, 3]
    assert batch.text is not None
    assert batch.text.tolist() == [None, "Executing, which is long", None]
    assert batch.value.tolist() == [1.5, 0.0, 3.5]
    assert [(r.place, r.reason) for r in batch.refused] == [("records[2]", "missing_field")]


def test_the_file_format_is_named() -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, record().schema) as writer:
        writer.write_batch(record())
    with pytest.raises(Malformed) as caught:
        decode_arrow(sink.getvalue().to_pybytes(), **WHO)
    assert caught.value.reason == "malformed_arrow"
    assert "stream format" in caught.value.parameters["detail"]


def test_views_of_the_same_bytes_do_not_become_gigabytes() -> None:
    n = 100_000
    long = pa.array(["x" * 20_000], pa.string_view())
    views = np.frombuffer(long.buffers()[1], np.uint8)[:16]
    many = pa.Array.from_buffers(
        pa.string_view(), n, [None, pa.py_buffer(np.tile(views, n)), long.buffers()[2]]
    )
    columns = {"tag": pa.array(["a"] * n), "ts": pa.array([1] * n), "value": pa.array([1.0] * n)}
    for column in ("tag", "value", "quality"):
        with pytest.raises(Malformed, match="body_too_large"):
            read(record(**{**columns, column: many}))


def test_views_in_slices_and_none_at_all() -> None:
    tag = pa.array(["?" * 30, None, "a.x", "b.y" * 5, "?"], pa.string_view())[2:4]
    assert tags_of(read(record(tag=tag))) == ["a.x", "b.y" * 5]
    empty = record(tag=tag[:0], ts=pa.array([], pa.int64()), value=pa.array([], pa.string_view()))
    assert read(empty).rows == 0


def test_views_that_are_no_text_or_lead_elsewhere_are_refused() -> None:
    good = (FILES / "polars.arrows").read_bytes()
    for before, after in (
        (b"\x00\x00\x00Exec", b"\x7f\xff\xff\x7fExec"),
        (b"which", b"w\xffich"),
        (b"M.x", b"M\xffx"),
    ):
        assert before in good
        at = good.rindex(before)
        with pytest.raises(Malformed, match="malformed_arrow"):
            decode_arrow(good[:at] + after[: len(before)] + good[at + len(before) :], **WHO)


def test_indices_and_offsets_outside_of_their_buffers_are_refused() -> None:
    index = pa.array([0, 1], pa.int32())
    good = stream(record(tag=pa.DictionaryArray.from_arrays(index, pa.array(["a", "b"]))))
    at = good.rindex(index.buffers()[1].to_pybytes()[:8])
    bad = good[:at] + b"\xff\xff\xff\x7f" + good[at + 4 :]
    with pytest.raises(Malformed, match="malformed_arrow"):
        decode_arrow(bad, **WHO)


def test_the_same_readings_decode_alike_in_arrow_and_in_json() -> None:
    at = datetime(2026, 11, 23, 8, tzinfo=UTC)
    us = int(at.timestamp()) * 1_000_000
    rows = [
        {"tag": "a.x", "ts": at.isoformat(), "value": 1.5},
        {"tag": "b.y", "ts": at.isoformat(), "value": 2.5},
    ]
    by_json = decode_measurements(json.dumps({"records": rows}).encode(), **WHO).batch
    by_arrow = read(record(ts=pa.array([us, us], UTC_US)))
    for name in ("tags", "mode", "text"):
        assert getattr(by_json, name) == getattr(by_arrow, name)
    for name in ("tag_index", "ts", "value", "quality"):
        assert getattr(by_json, name).tolist() == getattr(by_arrow, name).tolist()


GOOD = stream(
    record(tag=pa.array(["a", "b"]).dictionary_encode(), text=pa.array(["x", None]), value=pa.array([None, 1.0]),
           quality=pa.array(["good", "bad"]))
)  # fmt: skip


VIEWS = (FILES / "polars.arrows").read_bytes()


@pytest.mark.parametrize("good", [GOOD, VIEWS])
@given(
    st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=4),
    st.integers(0, 2**12),
)
def test_no_bytes_stop_the_decoder(good: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    body = bytearray(good)
    for at, byte in changes:
        body[at % len(body)] = byte
    for candidate in (bytes(body), bytes(body[:cut])):
        try:
            batch = decode_arrow(candidate, **WHO).batch
        except Malformed:
            continue
        assert batch.rows <= MAX_ROWS
