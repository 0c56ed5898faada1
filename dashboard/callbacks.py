"""What a page sends back to be drawn anew: taken whole, in time, and in the shape that Dash's own pages give it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.types import Message, Receive

PATH = "/_dash-update-component"
MOST_BYTES = 2**20
"""Files go to the open interface."""
WITHIN_S = 15.0


class Left(Exception):
    """Whoever asked has gone."""


class _Property(msgspec.Struct):
    id: str | dict[str, Any]
    property: str
    value: Any = None


class _Callback(msgspec.Struct):
    output: str
    inputs: list[_Property]
    outputs: dict[str, Any] | list[Any]
    state: list[_Property] = []
    changedPropIds: list[str] = []  # noqa: N815  # Dash's own name


_DECODER = msgspec.json.Decoder(_Callback)


async def whole(receive: Receive) -> bytes:
    """The body. Raises TimeoutError, Left, and ValueError when it is longer than it said or not a callback's."""
    parts: list[bytes] = []
    async with asyncio.timeout(WITHIN_S):
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Left
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
            if sum(map(len, parts)) > MOST_BYTES:
                raise ValueError("too long")
    body = b"".join(parts)
    _DECODER.decode(body)  # msgspec.DecodeError and ValidationError are ValueErrors
    return body


def again(body: bytes, receive: Receive) -> Receive:
    """The same body for whoever reads it next."""
    told = False

    async def receiving() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving
