"""A chunk in each of the forms in which it can be sent; all built before anything is timed."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from benchmarks.fleet import SIGNALS, Fleet
from benchmarks.plan import Chunk, columns
from ingest.batch import Batch, encode

ARROW = "application/vnd.apache.arrow.stream"
JSON = "application/json"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Message(NamedTuple):
    """One message of MQTT."""

    topic: str
    payload: bytes


def log_message(fleet: Fleet, chunk: Chunk) -> bytes:
    """As the interface appends it to the log."""
    cut = columns(fleet, chunk)
    code = fleet.units[chunk.unit]
    batch = Batch(
        unit=code,
        source=source_of(code),
        tags=cut.names,
        tag_index=cut.tag_index,
        ts=cut.ts,
        value=cut.value,
        quality=np.zeros(len(cut.ts), np.int16),
        received_at=time.time_ns() // 1000,
    )
    return encode(batch)


def source_of(unit: str) -> str:
    """The source that the interface names for what a unit pushes."""
    return f"http_push:{unit}"


def arrow(fleet: Fleet, chunk: Chunk) -> bytes:
    """Arrow IPC: tag (dictionary), ts (µs, UTC), value."""
    cut = columns(fleet, chunk)
    record = pa.record_batch(
        {
            "tag": pa.DictionaryArray.from_arrays(pa.array(cut.tag_index), pa.array(cut.names, pa.string())),
            "ts": pa.array(cut.ts).cast(pa.timestamp("us", tz="UTC")),
            "value": pa.array(cut.value),
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, record.schema) as writer:
        writer.write_batch(record)
    return bytes(sink.getvalue())


def json_columns(fleet: Fleet, chunk: Chunk) -> bytes:
    """The interface's columns."""
    cut = columns(fleet, chunk)
    table = {"tag": cut.tag_index.tolist(), "ts": cut.ts.tolist(), "value": cut.value.tolist()}
    return msgspec.json.encode({"tags": cut.names, "columns": table})


def json_rows(fleet: Fleet, chunk: Chunk) -> bytes:
    """The interface's rows: one object a reading, its time as RFC 3339."""
    cut = columns(fleet, chunk)
    stamps = {us: rfc3339(us) for us in np.unique(chunk.ts).tolist()}
    rows = [
        {"tag": cut.names[tag], "ts": stamps[ts], "value": value}
        for tag, ts, value in zip(cut.tag_index.tolist(), cut.ts.tolist(), cut.value.tolist(), strict=True)
    ]
    return msgspec.json.encode({"records": rows})


def mqtt_messages(fleet: Fleet, chunk: Chunk) -> list[Message]:
    """One message a scan: the machine's topic, one time, SIGNALS values."""
    cut = columns(fleet, chunk)
    code = fleet.units[chunk.unit]
    names = [f"p{signal}" for signal in range(SIGNALS)]
    return [
        Message(
            f"qunce/v1/{code}/measurements/M{machine}",
            msgspec.json.encode({"ts": rfc3339(ts), "values": dict(zip(names, row, strict=True))}),
        )
        for machine, ts, row in zip(
            chunk.machine.tolist(), chunk.ts.tolist(), cut.value.reshape(-1, SIGNALS).tolist(), strict=True
        )
    ]


def rfc3339(us: int) -> str:
    """As most senders write it: milliseconds, the zone of the sender."""
    moment = _EPOCH + timedelta(microseconds=us, hours=8)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}+08:00"
