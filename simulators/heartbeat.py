"""The heartbeat of a lead unit's platform: its clock, and what waits in its journal."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Final

import httpx

from simulators.context import RunContext
from simulators.province import Source

EVERY_S: Final = 60.0

log = logging.getLogger("simulators.heartbeat")


class Heartbeat:
    """Tells the platform every minute that a source lives."""

    def __init__(self, context: RunContext, source: Source, api_key: str) -> None:
        self._source = source
        self._faults = context.faults
        self._url = f"{context.credentials.api_url.rstrip('/')}/api/v1/heartbeat"
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._round_trip_s = 0.0

    async def run(self) -> None:
        """Beat until cancelled; silent while a drop-out lasts. One that does not arrive is not sent again."""
        async with httpx.AsyncClient(timeout=10.0, trust_env=False) as client:
            while True:
                if not self._faults.is_dropped(self._source):
                    await self._beat(client)
                await asyncio.sleep(EVERY_S)

    async def _beat(self, client: httpx.AsyncClient) -> None:
        now = datetime.now(UTC)
        body = {
            "source": f"{self._source.protocol}:{self._source.unit}",
            "clock": now.isoformat(),
            "round_trip_s": round(self._round_trip_s, 3),
            "version": "simulator",
        }
        try:
            response = await client.post(self._url, json=body, headers=self._headers)
        except httpx.HTTPError:
            return
        self._round_trip_s = min(60.0, (datetime.now(UTC) - now).total_seconds())
        if response.status_code >= 400:
            log.warning("%s: heartbeat refused, %s", self._source.key, response.status_code)
