"""Requests that are answered before their body was read: answered at once, and what still comes costs little."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SMALL_BYTES = 64 * 2**10
"""So much of a body may still come, and the connection goes on."""
# A connection that is closed while its sender is still sending may take the answer with it. So the
# body is read a little further, slowly: a sender that looks up finds the answer, one that does not
# is sent away after that.
_LINGER_S = 2.0
_SILENCE_S = 0.5
_PAUSE_S = 0.05


class Unread:
    """ASGI middleware: closes the connection of a request whose body nobody wanted."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on, watching how much of the body was read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        left = _announced(scope)
        closing = False

        async def reading() -> Message:
            nonlocal left
            message = await receive()
            more = message["type"] == "http.request" and message.get("more_body", False)
            left = left - len(message.get("body", b"")) if more else 0
            return message

        async def sending(message: Message) -> None:
            nonlocal closing
            if message["type"] == "http.response.start" and left > _SMALL_BYTES:
                closing = True
                others = [(name, value) for name, value in message["headers"] if name != b"connection"]
                message = {**message, "headers": [*others, (b"connection", b"close")]}
            last = message["type"] == "http.response.body" and not message.get("more_body", False)
            if closing and last:
                await send({**message, "more_body": True})
                await _linger(receive)
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        await self._app(scope, reading, sending)


def _announced(scope: Scope) -> float:
    """Bytes of the body, as far as the headers tell."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return float(value) if value.isdigit() else 0.0
        if name == b"transfer-encoding":
            return float("inf")
    return 0.0


async def _linger(receive: Receive) -> None:
    until = asyncio.get_running_loop().time() + _LINGER_S
    more = True
    while more and (left := until - asyncio.get_running_loop().time()) > 0:
        try:
            async with asyncio.timeout(min(left, _SILENCE_S)):
                message = await receive()
        except TimeoutError:
            return
        more = message["type"] == "http.request" and message.get("more_body", False)
        await asyncio.sleep(_PAUSE_S)
