"""All OPC UA factories of a run in one thread with its own event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

from simulators.context import RunContext
from simulators.office import Office
from simulators.opcua_factory import OpcuaFactory
from simulators.opcua_nodes import load_standard_nodes
from simulators.province import Source

log = logging.getLogger("simulators.opcua")


class OpcuaSite:
    """Builds the servers at once, listens when the tags are registered, stops them together."""

    def __init__(self, context: RunContext, office: Office) -> None:
        self._context = context
        self._office = office
        self._sources = [source for source in context.sources if source.protocol == "opcua"]
        self._thread = threading.Thread(target=self._run, daemon=True, name="opcua")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the thread."""
        if self._sources:
            self._thread.start()

    def stop(self) -> None:
        """Stop listening; waits at most 3 s."""
        if self._loop is not None and self._main is not None and not self._loop.is_closed():
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
        context = self._context
        standard = await load_standard_nodes()
        factories = []
        for source in self._sources:
            factory = OpcuaFactory(context, source, standard)
            missing_from = context.outbox.cursor(source.key) or context.epochs.live_start
            await factory.build(self._report(source, missing_from))
            factories.append(factory)
        await asyncio.to_thread(self._office.wait_registered)
        log.info("OPC UA: %d servers from port %d", len(factories), context.options.base_port)
        await asyncio.gather(*(factory.run() for factory in factories))

    def _report(self, source: Source, missing_from: int) -> Callable[[], None]:
        def first_served() -> None:
            """What nobody could subscribe to until now is back-filled from the factory's historian."""
            self._office.fill(source, source.key, missing_from, self._context.clock.now())

        return first_served
