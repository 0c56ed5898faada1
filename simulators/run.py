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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulators.clock import Clock
from simulators.faults import Faults
from simulators.ledger import Progress, write_ledger
from simulators.live import Encode, Lane
from simulators.mqtt_factory import MqttGateway, by_gateway, by_machine
from simulators.office import Office
from simulators.opcua_site import OpcuaSite
from simulators.outbox import Outbox
from simulators.platform_pull import Feed, PullServer, feed_body
from simulators.platform_push import PushPlatform, platform_body
from simulators.province import Credentials, Province, Source
from simulators.shifts import DAY_MS
from simulators.signals import Origin
from simulators.works import Works

log = logging.getLogger("simulators")

FLUSH_S = 0.5
CATCH_UP_S = 600.0
"""How far in the past an accelerated run without a duration begins, in seconds of real time to be run."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line asks for. ``history_s`` and ``duration_s`` in seconds; duration 0: until stopped."""

    state_dir: Path
    base_port: int
    history_s: float
    faults: frozenset[str]
    speed: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class Epochs:
    """The run's fixed times in ms, remembered from the first run on."""

    history_start: int
    live_start: int

    @property
    def origin(self) -> Origin:
        """The days on which history and live operation began."""
        return Origin(self.history_start // DAY_MS, self.live_start // DAY_MS)


def epochs_of(outbox: Outbox, options: RunOptions, now: int) -> Epochs:
    """The remembered times, or new ones: live from the last full minute, history from the start of a UTC day."""
    known = outbox.get("epochs")
    if known is not None:
        history_start, live_start = known.split()
        return Epochs(int(history_start), int(live_start))
    if options.speed > 1:
        now -= int((options.speed - 1) * (options.duration_s or CATCH_UP_S) * 1000)
    live_start = now // 60_000 * 60_000
    history_start = live_start
    if options.history_s > 0:
        history_start = int(live_start - options.history_s * 1000) // DAY_MS * DAY_MS
    outbox.set("epochs", f"{history_start} {live_start}")
    return Epochs(history_start, live_start)


def run_province(province: Province, credentials: Credentials, options: RunOptions) -> int:
    """Run until SIGTERM, SIGINT or the duration's end; returns the exit code."""
    options.state_dir.mkdir(parents=True, exist_ok=True)
    outbox = Outbox(options.state_dir / "outbox.sqlite")
    seed = outbox.get("seed")
    if seed is not None and seed != str(province.seed):
        log.error("the state in %s belongs to seed %s, not %s", options.state_dir, seed, province.seed)
        return 2
    outbox.set("seed", str(province.seed))
    try:
        asyncio.run(_Run(province, credentials, options, outbox).main())
    finally:
        write_ledger(outbox, options.state_dir)
    # worker threads may still wait for an answer; all they know is in the outbox
    logging.shutdown()
    sys.stderr.flush()
    os._exit(0)


class _Run:
    def __init__(
        self, province: Province, credentials: Credentials, options: RunOptions, outbox: Outbox
    ) -> None:
        self._province = province
        self._credentials = credentials
        self._options = options
        self._outbox = outbox
        self._progress = Progress()
        self._stop = threading.Event()
        self._epochs = epochs_of(outbox, options, int(time.time() * 1000))
        sources = [source for source in province.sources if source.unit in credentials.units]
        self._sources = sources
        start = min([self._epochs.live_start] if not (known := self._cursors()) else known)
        self._clock = Clock(start, options.speed)
        self._faults = Faults(options.faults, province.seed, sources)
        self._works = Works(province, self._epochs.origin, outbox)
        self._lanes: list[Lane] = []

    def _cursors(self) -> list[int]:
        names = [name for source in self._sources for name in lane_names(source)]
        return [cursor for name in names if (cursor := self._outbox.cursor(name)) is not None]

    async def main(self) -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        office = Office(
            self._province, self._credentials, self._outbox, self._works, self._epochs.history_start,
            self._epochs.live_start, self._clock, self._progress, self._stop, self._options,
        )  # fmt: skip
        for source in self._sources:
            for name in lane_names(source):
                office.settle_gap(source, name)
        site = OpcuaSite(
            [source for source in self._sources if source.protocol == "opcua"], self._works, self._outbox,
            self._faults, self._clock, office, self._options, self._epochs.live_start,
        )  # fmt: skip
        site.start()
        office.start()
        book = asyncio.create_task(self._keep_books())
        live = asyncio.create_task(self._live(office))
        end = self._options.duration_s or None
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), end)
        log.info("stopping")
        self._stop.set()
        live.cancel()
        book.cancel()
        await asyncio.gather(live, book, asyncio.to_thread(site.stop), return_exceptions=True)
        office.join(1.0)
        self._progress.write(self._options.state_dir)

    async def _keep_books(self) -> None:
        while True:
            self._progress.write(self._options.state_dir)
            await asyncio.to_thread(write_ledger, self._outbox, self._options.state_dir)
            self._works.save_totals()
            await asyncio.sleep(0.5)

    async def _live(self, office: Office) -> None:
        """Wait until tags are registered, then sample and send until cancelled."""
        while not office.is_registered.is_set():
            await asyncio.sleep(0.1)
        tasks = []
        for source in self._sources:
            for name in lane_names(source):
                if self._outbox.cursor(name) is None and source.protocol != "opcua":
                    self._outbox.set_cursor(name, self._epochs.live_start)
            tasks += [asyncio.create_task(client) for client in self._clients(source)]
        self._faults.begin()
        self._progress.set(live=True)
        log.info("live: %d sources", len(self._sources))
        try:
            while True:
                behind = [lane.flush(self._clock.now()) for lane in self._lanes]
                await asyncio.sleep(0.02 if any(behind) else FLUSH_S)
                for task in tasks:
                    if task.done() and (error := task.exception()) is not None:
                        raise error
        except Exception:
            log.exception("live traffic failed")
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _clients(self, source: Source) -> Iterator[Coroutine[Any, Any, None]]:
        number = len(self._lanes)
        if source.protocol == "mqtt" and self._credentials.mqtt is not None:
            for place, gateway in enumerate(source.gateways):
                style: Encode = (
                    by_machine(source.unit)
                    if place % 2 == 0
                    else by_gateway(source.unit, columns=place % 4 == 3)
                )
                lane = self._lane(gateway.client_id, source, gateway.equipment, style)
                password = self._credentials.units[source.unit].api_key
                yield MqttGateway(lane, self._credentials.mqtt, password, self._outbox, self._faults).run()
        elif source.protocol == "http_push" and self._credentials.api_url:
            lane = self._lane(
                lane_names(source)[0], source, source.equipment, platform_body(columns=number % 2 == 1)
            )
            key = self._credentials.units[source.unit].api_key
            yield PushPlatform(lane, self._credentials.api_url, key, self._outbox, self._faults).run()
        elif source.protocol == "http_pull":
            lane = self._lane(lane_names(source)[0], source, source.equipment, feed_body)
            port = self._options.base_port + (source.port_offset or 0)
            feed = Feed(self._outbox, source.key)
            yield PullServer(port, self._credentials.pull_token, feed, lane, self._faults).run()

    def _lane(self, name: str, source: Source, codes: list[str], encode: Encode) -> Lane:
        machines = self._works.machines(source.unit, codes)
        lane = Lane(name, source, machines, self._outbox, self._faults, encode)
        self._lanes.append(lane)
        return lane


def lane_names(source: Source) -> list[str]:
    """The names under which a source's clients keep their cursors."""
    if source.protocol == "mqtt":
        return [gateway.client_id for gateway in source.gateways]
    return [source.key]
