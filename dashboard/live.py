"""The pulse: one small message to every open page when the snapshot was renewed.

See docs/adr/0004-live-updates.md for why it is our own websocket. A page that falls behind gets the
newest pulse, never a queue of old ones; a page that closes leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping

import psycopg
from fastapi import FastAPI
from starlette.websockets import WebSocket, WebSocketDisconnect

from dashboard.login import viewer
from store.identity import Principal
from store.sessions import SESSION_COOKIE, Sessions

PATH = "/live"
Pulse = Mapping[str, float | int | str]
_Slot = asyncio.Queue[Pulse | None]


class Hub:
    """Hands each pulse to the listeners of its scope. Lives on the event loop; `publish` and `dismiss` may be
    called from any thread.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots: dict[str, set[_Slot]] = {}
        self._last: dict[str, Pulse] = {}

    @property
    def listeners(self) -> int:
        """How many pages listen now."""
        return sum(map(len, self._slots.values()))

    def bind(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Say on which loop the listeners are; None when it ends."""
        self._loop = loop

    def publish(self, scope: str, pulse: Pulse) -> None:
        """Hand over a pulse to who sees this scope; returns at once."""
        self._soon(self._offer, scope, pulse)

    def dismiss(self, scope: str) -> None:
        """Nothing more comes for this scope: its listeners are to connect anew."""
        self._soon(self._offer, scope, None)

    def _soon(self, call: Callable[[str, Pulse | None], None], scope: str, pulse: Pulse | None) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop closed between the two lines
                loop.call_soon_threadsafe(call, scope, pulse)

    def _offer(self, scope: str, pulse: Pulse | None) -> None:
        if pulse is None:
            self._last.pop(scope, None)
        else:
            self._last[scope] = pulse
        for slot in self._slots.get(scope, ()):
            if slot.full():
                slot.get_nowait()
            slot.put_nowait(pulse)

    async def serve(self, socket: WebSocket, scope: str, is_open: Callable[[], Awaitable[bool]]) -> None:
        """Accept a page and feed it the pulses of its scope until it goes or its session ends."""
        await socket.accept()
        slot: _Slot = asyncio.Queue(maxsize=1)
        if (last := self._last.get(scope)) is not None:
            slot.put_nowait(last)
        self._slots.setdefault(scope, set()).add(slot)
        gone = asyncio.ensure_future(_until_gone(socket))
        try:
            while True:
                fresh = asyncio.ensure_future(slot.get())
                await asyncio.wait({fresh, gone}, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    fresh.cancel()
                    return
                if not await is_open():
                    await socket.close(4401, "login")
                    return
                pulse = fresh.result()
                if pulse is None:
                    await socket.close(1012, "again")
                    return
                await socket.send_text(json.dumps(dict(pulse)))
        except (WebSocketDisconnect, RuntimeError):
            return
        finally:
            gone.cancel()
            self._slots[scope].discard(slot)
            if not self._slots[scope]:
                del self._slots[scope]


async def _until_gone(socket: WebSocket) -> None:
    # Pages say nothing; reading is how a closed connection is noticed.
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


def add_route(api: FastAPI, hub: Hub, sessions: Sessions, look: Callable[[Principal], object]) -> None:
    """Offer the pulse at PATH; who may connect is decided by the wall. `look` is told who listens."""

    async def live(socket: WebSocket) -> None:
        who, token = viewer(), socket.cookies.get(SESSION_COOKIE, "")

        async def is_open() -> bool:
            look(who)
            if sessions.remembered(token) is not None:
                return True
            with contextlib.suppress(psycopg.Error, OSError):
                return await asyncio.to_thread(sessions.who, token) is not None
            return False

        look(who)
        await hub.serve(socket, who.scope, is_open)

    def session() -> dict[str, str]:
        return {"session": "open"}  # behind the wall: whoever gets here has one

    api.add_api_websocket_route(PATH, live, name="live")
    api.add_api_route(f"{PATH}/session", session, methods=["GET"], include_in_schema=False)
