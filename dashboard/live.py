"""The pulse: one small message to every open page when the snapshot was renewed.

See docs/adr/0004-live-updates.md for why it is our own websocket. A page that falls behind gets the
newest pulse, never a queue of old ones; a page that closes leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping

from fastapi import FastAPI
from starlette.websockets import WebSocket, WebSocketDisconnect

from dashboard.login import SESSION_COOKIE, Sessions

PATH = "/live"
Pulse = Mapping[str, float | int | str]


class Hub:
    """Hands each pulse to every listener. Lives on the event loop; `publish` may be called from any thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots: set[asyncio.Queue[Pulse]] = set()
        self._last: Pulse | None = None

    @property
    def listeners(self) -> int:
        """How many pages listen now."""
        return len(self._slots)

    def bind(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Say on which loop the listeners are; None when it ends."""
        self._loop = loop

    def publish(self, pulse: Pulse) -> None:
        """Hand over a pulse; returns at once."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop closed between the two lines
                loop.call_soon_threadsafe(self._offer, pulse)

    def _offer(self, pulse: Pulse) -> None:
        self._last = pulse
        for slot in self._slots:
            if slot.full():
                slot.get_nowait()
            slot.put_nowait(pulse)

    async def serve(self, socket: WebSocket, sessions: Sessions) -> None:
        """Accept a page and feed it until it goes or its session ends."""
        await socket.accept()
        slot: asyncio.Queue[Pulse] = asyncio.Queue(maxsize=1)
        if self._last is not None:
            slot.put_nowait(self._last)
        self._slots.add(slot)
        gone = asyncio.ensure_future(_until_gone(socket))
        try:
            while True:
                fresh = asyncio.ensure_future(slot.get())
                await asyncio.wait({fresh, gone}, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    fresh.cancel()
                    return
                if sessions.user(socket.cookies.get(SESSION_COOKIE)) is None:
                    await socket.close(4401, "login")
                    return
                await socket.send_text(json.dumps(dict(fresh.result())))
        except (WebSocketDisconnect, RuntimeError):
            return
        finally:
            gone.cancel()
            self._slots.discard(slot)


async def _until_gone(socket: WebSocket) -> None:
    # Pages say nothing; reading is how a closed connection is noticed.
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


def add_route(api: FastAPI, hub: Hub, sessions: Sessions) -> None:
    """Offer the pulse at PATH; who may connect is decided by the wall."""

    async def live(socket: WebSocket) -> None:
        await hub.serve(socket, sessions)

    def session() -> dict[str, str]:
        return {"session": "open"}  # behind the wall: whoever gets here has one

    api.add_api_websocket_route(PATH, live, name="live")
    api.add_api_route(f"{PATH}/session", session, methods=["GET"], include_in_schema=False)
