"""Reading a request's body: bounded, decompressed, and no larger than agreed."""

from __future__ import annotations

import zlib

from fastapi import Request

from ingest.api.problems import Problem

MAX_BODY_BYTES = 16 * 2**20
# An oversized body is read to its end and thrown away, up to here, so that the sender, who is
# still sending, gets the answer instead of a broken connection.
_DRAINED_BYTES = 128 * 2**20
_JSON = ("application/json", "text/json", "")


async def read_body(request: Request, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """The body, decompressed. Raises Problem: too large, unsupported type or encoding, broken gzip."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    supported = (kind in _JSON or kind.endswith("+json")) and encoding in ("identity", "", "gzip")
    announced = request.headers.get("content-length", "")
    too_large = announced.isdigit() and int(announced) > max_bytes
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > max_bytes:
            too_large = True
        if size > _DRAINED_BYTES:
            break
        if too_large or not supported:
            parts.clear()
        else:
            parts.append(part)
    if too_large:
        raise Problem("body_too_large", {"limit_bytes": str(max_bytes), "got_bytes": announced or str(size)})
    if not supported:
        raise Problem(
            "unsupported_media_type", {"got": kind if encoding in ("identity", "gzip") else encoding}
        )
    body = b"".join(parts)
    return _gunzip(body, max_bytes) if encoding == "gzip" else body


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    machine = zlib.decompressobj(wbits=31)
    try:
        plain = machine.decompress(body, max_bytes + 1)
    except zlib.error as broken:
        raise Problem("bad_gzip") from broken
    if len(plain) > max_bytes:
        raise Problem("body_too_large", {"limit_bytes": str(max_bytes)})
    if not machine.eof:
        raise Problem("bad_gzip")
    return plain
