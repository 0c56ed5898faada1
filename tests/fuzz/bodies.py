"""Bodies that must be refused: every way of getting one wrong that we know, mutated at random."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PARTS = "multipart/form-data; boundary=x"
KINDS = {JSON: 62, ARROW: 12, NDJSON: 10, "text/plain": 8, "application/xml": 2, CSV: 2, XLSX: 2, PARTS: 2}
SEEDS: tuple[bytes, ...] = (
    b"", b"{", b"[", b"null", b"1", b'"x"', b"[]", b"{}", b'{"records"', b'{"records": 1}', b'{"records": [1]}',
    b'{"records": [{}]}', b'{"records": [{"tag": 1}]}', b'{"records": [{"tag": "a", "ts": 1}]}',
    b'{"records": [{"tag": "a", "ts": "2026-01-01T00:00:00Z"}]}',
    b'{"records": [{"tag": "a.b", "ts": "2026-99-01T00:00:00Z", "value": 1}]}',
    b'{"records": [{"tag": "a.b", "ts": "2026-01-01T00:00:00", "value": 1}]}',
    b'{"records": [{"tag": "a.b", "ts": "2026-01-01T00:00:00Z", "value": {}}]}',
    b'{"records": [{"tag": "a.b", "ts": "2026-01-01T00:00:00Z", "value": 1e999}]}',
    b'{"records": [{"tag": "\\u0000", "ts": "2026-01-01T00:00:00Z", "value": 1}]}',
    b'{"records": [{"tag": "a.b", "ts": "2026-01-01T00:00:00Z", "value": 1, "x": 1}]}',
    b'{"tags": ["a"], "columns": {"tag": [1], "ts": [1], "value": [1]}}',
    b'{"tags": ["a"], "columns": {"tag": [0], "ts": [1, 2], "value": [1]}}',
    b'{"tags": ["a"], "columns": {"tag": [0.5], "ts": ["x"], "value": [[]]}}',
    b'{"tags": {}, "columns": []}', b"[" * 5000, b'{"records": ' * 500, b"\xff\xfe\x00", b"\xef\xbb\xbf{}",
    '{"records": [{"tag": "温度'.encode("gbk"), b"a,b=c d=1 1", b"<xml/>", b"%PDF", b"PK\x03\x04",
    b'{"records": [NaN]}', b'{"records": [' + b"1," * 3000 + b"]}", b"0" * 40_000, b'"' + b"\\u00" * 99,
    b'{"records": 1, "records": {}}', b'{"records": [{"tag": "\\ud800", "ts": "2026-01-01T00:00:00Z", "value": 1}]}',
    b'{"records": [{"tag": "a.b", "ts": "2026-01-01T00:00:00Z", "value": ' + b"9" * 5000 + b"}]}",
    b'{"records": [' + b'{"a":' * 3000, b'{"name": "\\u0000", "user": {}, "from": 1e400, "key": [[]]}',
    b'{"metrics": [{"name": 1, "fields": [], "timestamp": -1e99}]}', b"a,b=c d=1 99999999999999999999999", b"a,=c d=\x00",
    b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n', b"--x\r\n" * 200, b"\x00" * 1000,
)  # fmt: skip


class Wrong(NamedTuple):
    """A request that cannot be taken."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def wrong(seed: int, places: Sequence[tuple[str, str]]) -> Iterator[Wrong]:
    """For these (method, path), without end. The same seed gives the same bodies."""
    pick = random.Random(seed)
    arrow = _arrow()
    bombs = {
        "gzip": gzip.compress(bytes(2**28)),
        "zstd": pa.Codec("zstd").compress(bytes(2**28), asbytes=True),
    }
    while True:
        method, path = pick.choice(places)
        kind = pick.choices(tuple(KINDS), tuple(KINDS.values()))[0]
        body = pick.choice(SEEDS) if kind != ARROW else _cut(arrow, pick)
        body = _mutated(body, pick) or b"{"  # nothing at all is no mistake in NDJSON
        if path.endswith("/write"):
            body = b"= " + body  # a line without a measurement
        headers = {"Content-Type": kind}
        coding = pick.choices(("", "gzip", "zstd", "br"), (80, 12, 4, 4))[0]
        if coding:
            headers["Content-Encoding"] = coding
            if coding in bombs and pick.random() < 0.02:
                body = bombs[coding]
            elif coding == "gzip" and pick.random() < 0.7:
                body = gzip.compress(body)
                body = body[: pick.randrange(1, len(body) + 1)]
        yield Wrong(method, path, headers, body)


def _mutated(body: bytes, pick: random.Random) -> bytes:
    """The body itself, or it with bytes put in and taken out; of these none that could be taken by chance."""
    rounds = pick.choice((0, 0, 1, 3))
    data = bytearray(body)
    for _ in range(rounds):
        where = pick.randrange(len(data) + 1)
        if pick.random() < 0.5:
            data[where:where] = pick.randbytes(pick.randrange(1, 5))
        elif data:
            del data[where : where + pick.randrange(1, 5)]
    text = bytes(data)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text[:-1] if rounds and isinstance(found, dict) else text


def _cut(stream: bytes, pick: random.Random) -> bytes:
    """The beginning of an Arrow stream; not its schema alone, which is a whole stream of no readings."""
    cut = stream[: pick.randrange(len(stream) - 8)]
    try:
        pa.ipc.open_stream(cut).read_all()
    except (pa.ArrowInvalid, OSError):
        return cut
    return cut[:-1]


def _arrow() -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table({"tag": ["a.b"], "ts": pa.array([1], pa.int64()), "value": [1.0]})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
