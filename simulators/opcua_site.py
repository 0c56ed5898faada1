"""All OPC UA factories of a run in one thread with its own event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from simulators.clock import Clock
from simulators.faults import Faults
from simulators.opcua_factory import OpcuaFactory
from simulators.outbox import Outbox
from simulators.province import Source
from simulators.works import Works

if TYPE_CHECKING:
    from simulators.office import Office
    from simulators.run import RunOptions

log = logging.getLogger("simulators.opcua")


class OpcuaSite:
    """Builds the servers at once, listens when the tags are registered, stops them together."""

    def __init__(
        self,
        sources: list[Source],
        works: Works,
        outbox: Outbox,
        faults: Faults,
        clock: Clock,
        office: Office,
        options: RunOptions,
        live_start: int,
    ) -> None:
        self._sources = sources
        self._works = works
        self._outbox = outbox
        self._faults = faults
        self._clock = clock
        self._office = office
        self._options = options
        self._live_start = live_start
        self._thread = threading.Thread(target=self._run, daemon=True, name="opcua")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the thread."""
        if self._sources:
            self._thread.start()

    def stop(self) -> None:
        """Stop listening; waits at most 3 s."""
        if self._loop is not None and self._main is not None:
            self._loop.call_soon_threadsafe(self._main.cancel)
        if self._thread.is_alive():
            self._thread.join(3.0)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except asyncio.CancelledError:
            pass
        except Exception:
            log.exception("the OPC UA factories failed")

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        factories = []
        for source in self._sources:
            factory = OpcuaFactory(
                source, self._works.machines(source.unit, source.equipment),
                self._options.base_port + (source.port_offset or 0), self._outbox, self._faults, self._clock,
            )  # fmt: skip
            missing_from = self._outbox.cursor(source.key) or self._live_start
            await factory.build(self._options.state_dir / "opcua-nodes", self._report(source, missing_from))
            factories.append(factory)
        while not self._office.is_registered.is_set():
            await asyncio.sleep(0.1)
        log.info("OPC UA: %d servers from port %d", len(factories), self._options.base_port)
        await asyncio.gather(*(factory.run() for factory in factories))

    def _report(self, source: Source, missing_from: int) -> Callable[[], None]:
        def first_served() -> None:
            """What nobody could subscribe to until now is back-filled from the factory's historian."""
            self._office.fill(source, source.key, missing_from, self._clock.now())

        return first_served
