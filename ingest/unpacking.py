"""Content codings of HTTP bodies: gzip (RFC 1952) and zstd (RFC 8878), in bounded memory. Pure."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator

from ingest.decoded import Malformed, worded

if sys.version_info >= (3, 14):
    from compression.zstd import DecompressionParameter, ZstdDecompressor, ZstdError
else:
    from backports.zstd import DecompressionParameter, ZstdDecompressor, ZstdError

CODINGS = ("gzip", "zstd")
MOST_BYTES = 16 * 2**20
_PIECE_BYTES = 2**20
_WINDOW_LOG = 23
"""What RFC 9659 allows a zstd content coding: windows of 8 MiB."""
_MOST_FRAMES = 64
_MAGIC = bytes.fromhex("28b52ffd")
_CUT = worded("内容不完整", "it ends before its end")


def unpack(body: bytes, coding: str, limit: int = MOST_BYTES) -> bytes:
    """The body without its coding; "" is none.

    Raises Malformed: `bad_gzip`, `bad_zstd`, or `body_too_large` as soon as it is.
    """
    if not coding:
        return body
    parts: list[bytes] = []
    size = 0
    for part in _gunzipped(body) if coding == "gzip" else _unzstd(body):
        size += len(part)
        if size > limit:
            raise Malformed("body_too_large", {"limit_bytes": str(limit), "got_bytes": f"> {limit}"})
        parts.append(part)
    return b"".join(parts)


def _follows(rest: bytes) -> dict[str, str]:
    return worded(f"结束之后还有 {len(rest)} 字节", f"{len(rest)} bytes follow its end")


def _gunzipped(body: bytes) -> Iterator[bytes]:
    machine = zlib.decompressobj(wbits=31)
    rest = body
    while not machine.eof:
        try:
            part = machine.decompress(rest, _PIECE_BYTES)
        except zlib.error as broken:
            raise Malformed("bad_gzip", worded("格式不合法", str(broken))) from broken
        rest = machine.unconsumed_tail
        if not part and not rest and not machine.eof:
            raise Malformed("bad_gzip", _CUT)
        yield part
    if machine.unused_data:
        raise Malformed("bad_gzip", _follows(machine.unused_data))


def _unzstd(body: bytes) -> Iterator[bytes]:
    """One frame after the other: a stream may be made of several."""
    rest = body
    for number in range(_MOST_FRAMES):
        machine = ZstdDecompressor(options={DecompressionParameter.window_log_max: _WINDOW_LOG})
        while not machine.eof:
            try:
                part = machine.decompress(rest, _PIECE_BYTES)
            except ZstdError as broken:
                follows = rest and number and not rest.startswith(_MAGIC)
                said = _follows(rest) if follows else worded("格式不合法", str(broken))
                raise Malformed("bad_zstd", said) from broken
            rest = b""
            if not part and machine.needs_input and not machine.eof:
                raise Malformed("bad_zstd", _CUT)
            yield part
        rest = machine.unused_data
        if not rest:
            return
    raise Malformed("bad_zstd", worded(f"超过 {_MOST_FRAMES} 帧", f"more than {_MOST_FRAMES} frames"))
