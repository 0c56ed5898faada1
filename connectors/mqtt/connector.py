"""Reads an MQTT broker: persistent session, QoS 1, each message acknowledged only when it is durable."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import ClassVar

from connectors.contract import PermanentError, Report, Sink, TransientError
from connectors.journal import Journal
from connectors.mqtt.codec import Codec
from connectors.mqtt.config import MqttConfig
from connectors.mqtt.link import Link
from connectors.reach import port_answers

_DRAIN_SECONDS = 2.5


class MqttConnector:
    """One broker; see `connectors.contract.Connector`."""

    can_acknowledge: ClassVar[bool] = True

    def __init__(self, config: MqttConfig, log: Journal) -> None:
        self._config = config
        self._journal = log
        self._codec = Codec(config)
        self._link: Link | None = None

    async def reachable(self) -> bool:
        """See `connectors.contract.Reachable`."""
        return await port_answers(self._config.host, self._config.port)

    async def check(self) -> Report:
        """Log in with a session of its own, so that the persistent one is not disturbed."""
        started = time.monotonic()
        target = f"{self._config.host}:{self._config.port}"
        link = Link(self._config, self._journal, self._codec)
        reason, detail = "", ""
        try:
            detail = await link.connect(f"{self._config.session}-check", persistent=False)
        except (TransientError, PermanentError) as error:
            reason, detail = error.reason, error.detail
        finally:
            link.close()
        return Report(not reason, target, reason, detail, (time.monotonic() - started) * 1000)

    async def probe(self) -> int:
        """See `connectors.contract.Probe`: to the broker and back, on the connection that is running."""
        if self._link is None:
            raise TransientError("not_running", "there is no connection to ask on")
        return await self._link.probe()

    async def run(self, sink: Sink) -> None:
        """See `connectors.contract.Connector.run`."""
        link = Link(self._config, self._journal, self._codec)
        try:
            await link.connect(self._config.session, persistent=True)
            await link.subscribe()
            self._link = link
            self._journal.status("ok")
            work = [asyncio.create_task(link.pump(sink)), asyncio.create_task(link.watch())]
            if self._config.canary_topic is not None:
                work.append(asyncio.create_task(link.canary(self._config.canary_topic)))
            try:
                done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            finally:
                link.stop()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_DRAIN_SECONDS):
                        await asyncio.gather(work[0], return_exceptions=True)
                for task in work:
                    task.cancel()
                await asyncio.gather(*work, return_exceptions=True)
            for task in done:
                task.result()
        finally:
            self._link = None
            link.close()
