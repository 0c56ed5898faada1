"""A lead unit's platform that pushes over HTTP: sends its journal in order, each body until it is taken."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

import httpx

from simulators.context import RunContext
from simulators.live import Encode, Encoded, Lane, Reading, encode_columns, encode_rows
from simulators.outbox import Message

log = logging.getLogger("simulators.push")

RECEIVED: Final = frozenset((200, 201, 202, 400, 422))
"""Answers that mean the body was received: stored, or kept in quarantine."""

REFUSED: Final = frozenset((413, 415))
"""Answers that mean the body will never be taken; none of it was received."""


def platform_body(*, columns: bool) -> Encode:
    """One body for all machines of the platform, as rows or as columns."""
    encode_body = encode_columns if columns else encode_rows

    def encode(readings: list[Reading], backfill: bool) -> Iterable[Encoded]:
        yield Encoded("", encode_body(readings, backfill), len(readings))

    return encode


def retry_after(response: httpx.Response, otherwise: float) -> float:
    """Seconds to wait as the server says, at most a minute."""
    try:
        return min(60.0, max(0.1, float(response.headers["Retry-After"])))
    except (KeyError, ValueError):
        return otherwise


class PushPlatform:
    """Posts what its lane journals, one request at a time."""

    def __init__(self, context: RunContext, lane: Lane, api_key: str) -> None:
        self.lane = lane
        self._outbox = context.outbox
        self._faults = context.faults
        self._url = f"{context.credentials.api_url.rstrip('/')}/api/v1/measurements"
        self._headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        self._is_down = False

    async def run(self) -> None:
        """Push until cancelled; silent while a drop-out lasts."""
        async with httpx.AsyncClient(timeout=30.0, trust_env=False) as client:
            while True:
                waiting = (
                    [] if self._faults.is_dropped(self.lane.source) else self._outbox.due(self.lane.name, 8)
                )
                for message in waiting:
                    pause = await self._send(client, message)
                    if pause:
                        await asyncio.sleep(pause)
                        break
                else:
                    await asyncio.sleep(0.05 if len(waiting) == 8 else 0.5)

    async def _send(self, client: httpx.AsyncClient, message: Message) -> float:
        """Send one message; returns how long to wait before the next try, 0 when it was received."""
        key = f"{self._outbox.install_id}-{message.id}"
        self._outbox.attempt([message])
        try:
            response = await client.post(
                self._url, content=message.body, headers={**self._headers, "Idempotency-Key": key}
            )
        except (httpx.ConnectError, httpx.ConnectTimeout):
            self._outbox.untried([message])
            return self._edge(down=True, what="no connection", pause=2.0)
        except httpx.HTTPError as error:
            return self._edge(down=True, what=repr(error), pause=2.0)
        if response.status_code in RECEIVED | REFUSED:
            is_refused = response.status_code in REFUSED
            self._outbox.acknowledge([message], as_column="refused" if is_refused else "sent")
            if is_refused:
                log.error("%s: never taken, %s", self.lane.name, response.status_code)
            return self._edge(down=False, what="", pause=0.0)
        if response.status_code in (401, 403, 404, 429, 503):
            self._outbox.untried([message])
        wait = retry_after(response, 5.0)
        return self._edge(down=True, what=f"status {response.status_code}", pause=wait)

    def _edge(self, *, down: bool, what: str, pause: float) -> float:
        if down and not self._is_down:
            log.warning("%s cannot push: %s", self.lane.name, what)
        elif self._is_down and not down:
            log.info("%s pushes again", self.lane.name)
        self._is_down = down
        return pause
