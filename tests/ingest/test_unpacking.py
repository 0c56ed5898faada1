"""gzip and zstd bodies: unpacked in bounds, and what is wrong with them said precisely."""

from __future__ import annotations

import gzip
import tracemalloc

import pytest
from backports import zstd

from ingest.decoded import Malformed
from ingest.unpacking import unpack

BODY = b'{"records": []}' * 1000
WIDE = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})


@pytest.mark.parametrize(
    ("coding", "packed"),
    [("", BODY), ("gzip", gzip.compress(BODY)), ("zstd", zstd.compress(BODY)),
     ("zstd", zstd.compress(BODY[:500]) + zstd.compress(BODY[500:]))],
    ids=["plain", "gzip", "zstd", "two frames"],
)  # fmt: skip
def test_what_was_packed_comes_out(coding: str, packed: bytes) -> None:
    assert unpack(packed, coding) == BODY


@pytest.mark.parametrize(
    ("coding", "packed", "detail"),
    [
        ("gzip", gzip.compress(BODY)[:-1], "ends before its end"),
        ("gzip", gzip.compress(BODY) + b"more", "4 bytes follow"),
        ("gzip", b"nonsense", "header"),
        ("zstd", zstd.compress(BODY)[:-1], "ends before its end"),
        ("zstd", zstd.compress(BODY) + b"more", "4 bytes follow"),
        ("zstd", b"nonsense", "frame"),
        ("zstd", b"", "ends before its end"),
        ("zstd", WIDE.compress(b"x") + WIDE.flush(), "memory"),
        ("zstd", zstd.compress(b"") * 100, "more than 64 frames"),
    ],
)
def test_what_is_broken_is_named(coding: str, packed: bytes, detail: str) -> None:
    with pytest.raises(Malformed) as refused:
        unpack(packed, coding)
    assert refused.value.reason == f"bad_{coding}"
    assert detail in refused.value.parameters["detail"]


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_a_bomb_does_not_go_off(pack: object) -> None:
    bomb = pack(bytes(200 * 2**20))  # type: ignore[operator]
    coding = "zstd" if pack is zstd.compress else "gzip"
    tracemalloc.start()
    with pytest.raises(Malformed) as refused:
        unpack(bomb, coding)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused.value.reason == "body_too_large"
    assert peak < 40 * 2**20
