"""Reading a request's body: with room held before it is in memory, in limited time, decompressed."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator

from fastapi import Request
from starlette.requests import ClientDisconnect

from ingest.api.problems import Problem
from ingest.api.rooms import Room

MAX_BODY_BYTES = 16 * 2**20
SILENCE_S = 15.0
"""How long a sender may fall silent within a body."""
TOTAL_S = 180.0
"""How long a body may take as a whole; 16 MiB then need 0.75 Mbit/s."""
# What is refused is read to its end and thrown away, up to here, so that the sender, who is
# still sending, gets the answer instead of a broken connection.
_DRAINED_BYTES = 128 * 2**20
_INFLATED_BYTES = 2**20
_JSON = ("application/json", "text/json", "")


async def read_body(request: Request, room: Room, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """The body, decompressed; `room` holds it from before it is read.

    Raises Problem: no room, too large, too slow, unsupported type or encoding, broken gzip.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    announced = request.headers.get("content-length", "")
    problem = _known_before(kind, encoding, announced, max_bytes)
    parts: list[bytes] = []
    size = 0
    if problem is None:
        problem = _no_room(room, int(announced) if announced.isdigit() else 0)
    async for part in _arriving(request):
        size += len(part)
        if size > _DRAINED_BYTES:
            break
        if problem is None and size > max_bytes:
            problem = _too_large(max_bytes, announced or str(size))
        if problem is None:
            problem = _no_room(room, size)
        if problem is None:
            parts.append(part)
        else:
            parts.clear()
            room.give_back()
    if problem is not None:
        raise problem
    body = b"".join(parts)
    parts.clear()
    return await _gunzip(body, room, max_bytes) if encoding == "gzip" else body


def _known_before(kind: str, encoding: str, announced: str, max_bytes: int) -> Problem | None:
    """What the headers already tell."""
    if announced.isdigit() and int(announced) > max_bytes:
        return _too_large(max_bytes, announced)
    if encoding not in ("identity", "", "gzip"):
        return Problem("unsupported_media_type", {"got": encoding})
    if kind not in _JSON and not kind.endswith("+json"):
        return Problem("unsupported_media_type", {"got": kind})
    return None


def _too_large(max_bytes: int, got: str) -> Problem:
    return Problem("body_too_large", {"limit_bytes": str(max_bytes), "got_bytes": got})


def _no_room(room: Room, n_bytes: int) -> Problem | None:
    try:
        room.hold(n_bytes)
    except Problem as busy:
        return busy
    return None


async def _arriving(request: Request) -> AsyncIterator[bytes]:
    """The body's parts as they come. Raises Problem when they stop coming."""
    stream = request.stream()
    until = asyncio.get_running_loop().time() + TOTAL_S
    while True:
        left = until - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(min(SILENCE_S, left)):
                part = await anext(stream)
        except StopAsyncIteration:
            return
        except (TimeoutError, ClientDisconnect) as away:
            raise Problem("body_incomplete") from away
        yield part


async def _gunzip(body: bytes, room: Room, max_bytes: int) -> bytes:
    machine = zlib.decompressobj(wbits=31)
    parts: list[bytes] = []
    size, rest = 0, body
    while not machine.eof:
        room.hold(len(body) + size + _INFLATED_BYTES)
        try:
            part = machine.decompress(rest, _INFLATED_BYTES)
        except zlib.error as broken:
            raise Problem("bad_gzip") from broken
        rest = machine.unconsumed_tail
        size += len(part)
        if size > max_bytes:
            raise _too_large(max_bytes, f"> {max_bytes}")
        if not part and not rest and not machine.eof:
            raise Problem("bad_gzip")  # it ends before its end
        parts.append(part)
        await asyncio.sleep(0)
    if machine.unused_data:
        raise Problem("bad_gzip")
    return b"".join(parts)
