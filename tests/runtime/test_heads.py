"""A real server on a socket: heads that grow or do not end, and bodies that are all frame."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from qunce import heads
from qunce.heads import BoundedProtocol
from qunce.process import free_port


async def app(scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[..., Any]) -> None:
    if scope["type"] != "http":
        return
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    text = f"{len(scope['headers'])} {size}".encode()
    head = [(b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": text})


def with_server(test: Callable[[int], Awaitable[None]]) -> None:
    async def run() -> None:
        port = free_port()
        config = uvicorn.Config(app, host="127.0.0.1", port=port, http=BoundedProtocol, log_config=None)
        server = uvicorn.Server(config)
        work = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            await asyncio.wait_for(test(port), 30)
        finally:
            server.should_exit = True
            await work

    asyncio.run(run())


async def told(port: int, *pieces: bytes) -> tuple[bytes, int]:
    """Send pieces until the server ends the connection → (what it said, pieces sent)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent = 0
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            sent += 1
        answer = await reader.read(2**16)
    except ConnectionError:
        answer = b""
    writer.close()
    return answer, sent


START = b"GET / HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        [START, *[b"X-A: " + b"a" * 60_000 + b"\r\n"] * 1_000],
        [START + b"X-A: ", *[b"a" * 60_000] * 1_000],
        [b"GET /", *[b"a" * 60_000] * 1_000],
        [START + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n", *[b"T: " + b"a" * 60_000 + b"\r\n"] * 1_000],
        [START + b"Transfer-Encoding: chunked\r\n\r\n2;", *[b"a" * 60_000] * 1_000],
    ],
    ids=["many headers", "one header", "the path", "trailers", "a chunk's extension"],
)  # fmt: skip
def test_a_head_without_end_is_refused_long_before_it_fills_the_memory(pieces: list[bytes]) -> None:
    async def test(port: int) -> None:
        answer, sent = await told(port, *pieces)
        assert sent < 200
        assert answer == b"" or b"431 " in answer
        assert (await told(port, START + b"Connection: close\r\n\r\n"))[0].endswith(b"2 0")

    with_server(test)


def test_what_is_long_and_ends_is_served() -> None:
    async def test(port: int) -> None:
        long = START + b"X-A: " + b"a" * 60_000 + b"\r\nConnection: close\r\n\r\n"
        assert (await told(port, long))[0].endswith(b"3 0")
        body = b"b" * 2**20
        post = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        assert (await told(port, post + body))[0].endswith(b"3 %d" % len(body))
        chunks = [b"400\r\n" + b"c" * 1024 + b"\r\n"] * 2_000
        begin = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert (await told(port, begin, *chunks, b"0\r\n\r\n"))[0].endswith(b"3 %d" % (2_000 * 1024))
        # One after the other on one connection, and several at once.
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(200):
            writer.write(START + b"\r\n")
            assert (await reader.readuntil(b"1 0")).startswith(b"HTTP/1.1 200")
        writer.write((START + b"\r\n") * 20)
        got = b""
        while got.count(b"200 OK") < 20:
            got += await reader.read(2**16)
        writer.close()

    with_server(test)


def test_whoever_does_not_say_what_he_wants_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "WITHIN_S", 0.3)

    async def test(port: int) -> None:
        assert await told(port) == (b"", 0)
        assert await told(port, START) == (b"", 1)
        # A body is the application's own affair.
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na")
        await asyncio.sleep(0.6)
        writer.write(b"b")
        assert (await reader.readuntil(b"2 2")).startswith(b"HTTP/1.1 200")
        writer.close()

    with_server(test)
