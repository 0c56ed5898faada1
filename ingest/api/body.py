"""Reading a request's body: with room held before it is in memory, in limited time."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection

from fastapi import Request
from starlette.requests import ClientDisconnect

from ingest.api.problems import Problem
from ingest.api.rooms import Room
from ingest.decoder import MAX_BODY_BYTES
from ingest.unpacking import CODINGS

SILENCE_S = 15.0
"""How long a sender may fall silent within a body."""
TOTAL_S = 180.0
"""How long a body may take as a whole; 16 MiB then need 0.75 Mbit/s."""
JSON = ("application/json", "text/json", "")


def content_type(request: Request) -> str:
    """The body's type, small, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def coding(request: Request) -> str:
    """How the body is compressed, as `ingest.unpacking` names it; "" = not. Raises Problem."""
    given = request.headers.get("content-encoding", "").strip().lower().removeprefix("x-")
    if given in ("", "identity"):
        return ""
    if given not in CODINGS:
        raise Problem("unsupported_media_type", {"got": given[:100]})
    return given


async def read_body(
    request: Request, room: Room, types: Collection[str] | None = JSON, *, most: int = MAX_BODY_BYTES
) -> bytes:
    """The body as it comes, of one of `types` or any JSON (None: any at all); `room` holds it from before it is read.

    At most `most` bytes. Raises Problem as soon as it is clear: no room, too large, too slow, unsupported type or encoding.
    """
    kind = content_type(request)
    coding(request)
    if types is not None and kind not in types and not kind.endswith("+json"):
        raise Problem("unsupported_media_type", {"got": kind[:100]})
    announced = request.headers.get("content-length", "")
    size = int(announced) if announced.isdecimal() else 0
    _fits(size, room, most)
    parts: list[bytes] = []
    arrived = 0
    async for part in _arriving(request):
        arrived += len(part)
        if arrived > size:
            _fits(arrived, room, most)
        parts.append(part)
    body = parts[0] if len(parts) == 1 else b"".join(parts)
    signed = getattr(request.state, "content_sha256", None)
    if signed is not None and hashlib.sha256(body).hexdigest() != signed:
        raise Problem("bad_signature", {"detail": "X-Qunce-Content-Sha256"})
    return body


def _fits(size: int, room: Room, most: int) -> None:
    if size > most:
        raise Problem("body_too_large", {"limit_bytes": str(most), "got_bytes": str(size)})
    room.hold(size)


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
        if part:
            yield part
