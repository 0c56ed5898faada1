"""Run a province: live traffic over all four ways, the past filled in beside it, truth and ledger kept."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from typing import Any, Final

from simulators.clock import Clock
from simulators.context import Epochs, RunContext, RunOptions
from simulators.faults import Faults
from simulators.heartbeat import Heartbeat
from simulators.ledger import Progress, write_ledger
from simulators.live import Lane
from simulators.mqtt_factory import MqttGateway, by_gateway, by_machine
from simulators.office import Office
from simulators.opcua_site import OpcuaSite
from simulators.outbox import Outbox
from simulators.platform_pull import Feed, PullServer, feed_body
from simulators.platform_push import PushPlatform, platform_body
from simulators.province import Credentials, Province, Source, lane_names
from simulators.shifts import DAY_MS
from simulators.signals import Origin
from simulators.works import Works

log = logging.getLogger("simulators")

FLUSH_S: Final = 0.5
GRID_MS: Final = 10_000
REGISTRATION_MS: Final = 12_000
CATCH_UP_S: Final = 600.0
"""An accelerated run without a duration starts so far in the past that it reaches now after this real time."""


def epochs_of(outbox: Outbox, options: RunOptions, now: int) -> Epochs:
    """The remembered times, or new ones: live soon, history from the start of a UTC day."""
    known = outbox.get("epochs")
    if known is not None:
        first, second = known.split()
        return Epochs(int(first), int(second))
    if options.speed > 1:
        now -= int((options.speed - 1) * (options.duration_s or CATCH_UP_S) * 1000)
    # Live begins when registration is about done: what was due before would all be late.
    live_start = (now + REGISTRATION_MS) // GRID_MS * GRID_MS + GRID_MS
    history_start = live_start
    if options.history_s > 0:
        history_start = int(live_start - options.history_s * 1000) // DAY_MS * DAY_MS
    outbox.set("epochs", f"{history_start} {live_start}")
    return Epochs(history_start, live_start)


def prepare(province: Province, credentials: Credentials, options: RunOptions) -> RunContext:
    """Open the state and fix what a run needs; ValueError if the state belongs to another seed."""
    outbox = Outbox(options.state_dir / "outbox.sqlite")
    seed = outbox.get("seed")
    if seed is not None and seed != str(province.seed):
        outbox.close()
        raise ValueError(f"the state in {options.state_dir} belongs to seed {seed}, not {province.seed}")
    outbox.set("seed", str(province.seed))
    epochs = epochs_of(outbox, options, int(time.time() * 1000))
    sources = tuple(source for source in province.sources if source.unit in credentials.units)
    cursors = [outbox.cursor(name) for source in sources for name in lane_names(source)]
    start = min((cursor for cursor in cursors if cursor is not None), default=epochs.live_start)
    origin = Origin(epochs.history_start // DAY_MS, epochs.live_start // DAY_MS)
    return RunContext(
        province=province,
        credentials=credentials,
        options=options,
        epochs=epochs,
        sources=sources,
        outbox=outbox,
        works=Works(province, origin, outbox),
        clock=Clock(start, options.speed),
        faults=Faults(options.faults, province.seed, sources),
        progress=Progress(),
        stop=threading.Event(),
    )


def run_province(province: Province, credentials: Credentials, options: RunOptions) -> int:
    """Run until SIGTERM, SIGINT or the duration's end; returns only when it could not start (exit code 2)."""
    try:
        context = prepare(province, credentials, options)
    except ValueError as error:
        log.error("%s", error)
        return 2
    failed = True
    try:
        failed = asyncio.run(_serve(context))
    except Exception:
        log.exception("the run failed")
    finally:
        write_ledger(context.outbox, options.state_dir)
        # worker threads may still wait for an answer; all they know is in the outbox
        logging.shutdown()
        sys.stderr.flush()
        os._exit(1 if failed else 0)


async def _serve(context: RunContext) -> bool:
    """Run all parts; True if live traffic failed."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    office = Office(context)
    for source in context.sources:
        for name in lane_names(source):
            office.settle_gap(source, name)
    site = OpcuaSite(context, office)
    site.start()
    office.start()
    book = asyncio.create_task(_keep_books(context))
    live = asyncio.create_task(_Live(context).run(office))
    live.add_done_callback(lambda _task: stopping.set())
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), context.options.duration_s or None)
    log.info("stopping")
    failed = live.done()
    context.stop.set()
    live.cancel()
    book.cancel()
    await asyncio.gather(live, book, asyncio.to_thread(site.stop), return_exceptions=True)
    await asyncio.to_thread(office.join, 0.5)
    context.progress.write(context.options.state_dir)
    return failed


async def _keep_books(context: RunContext) -> None:
    while True:
        context.progress.write(context.options.state_dir)
        await asyncio.to_thread(write_ledger, context.outbox, context.options.state_dir)
        await asyncio.to_thread(context.works.save_totals)
        await asyncio.sleep(0.5)


class _Live:
    """Samples all lanes in turn and runs their clients."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._lanes: list[Lane] = []

    async def run(self, office: Office) -> None:
        """Wait until the tags are registered, then sample and send until cancelled."""
        context = self._context
        await asyncio.to_thread(office.wait_registered)
        tasks = []
        for source in context.sources:
            for name in lane_names(source):
                if context.outbox.cursor(name) is None and source.protocol != "opcua":
                    context.outbox.set_cursor(name, context.epochs.live_start)
            tasks += [asyncio.create_task(client) for client in self._clients(source)]
        context.faults.begin()
        context.progress.set(live=True)
        log.info("live: %d sources, %d lanes", len(context.sources), len(self._lanes))
        try:
            while True:
                behind = [lane.flush(context.clock.now()) for lane in self._lanes]
                await asyncio.sleep(0.02 if any(behind) else FLUSH_S)
                for task in tasks:
                    if task.done():
                        task.result()
        except Exception:
            log.exception("live traffic failed")
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _clients(self, source: Source) -> Iterator[Coroutine[Any, Any, None]]:
        context = self._context
        credentials = context.credentials
        key = credentials.units[source.unit].api_key
        if source.protocol in ("http_push", "mqtt") and credentials.api_url:
            yield Heartbeat(context, source, key).run()
        if source.protocol == "mqtt" and credentials.mqtt is not None:
            for place, gateway in enumerate(source.gateways):
                by_row = by_gateway(source.unit, columns=place % 4 == 3)
                encode = by_machine(source.unit) if place % 2 == 0 else by_row
                machines = context.works.machines(source.unit, gateway.equipment)
                lane = Lane(context, gateway.client_id, source, machines, encode)
                self._lanes.append(lane)
                yield MqttGateway(context, lane, credentials.mqtt, key).run()
        elif source.protocol == "http_push" and credentials.api_url:
            machines = context.works.machines(source.unit, source.equipment)
            encode = platform_body(columns=len(self._lanes) % 2 == 1)
            lane = Lane(context, source.key, source, machines, encode)
            self._lanes.append(lane)
            yield PushPlatform(context, lane, key).run()
        elif source.protocol == "http_pull":
            machines = context.works.machines(source.unit, source.equipment)
            lane = Lane(context, source.key, source, machines, feed_body)
            self._lanes.append(lane)
            port = context.options.base_port + (source.port_offset or 0)
            yield PullServer(context, lane, port, Feed(context.outbox, source.key)).run()
