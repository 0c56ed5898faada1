"""The writer: from the log into the store, at least once from the one, exactly once in the other."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from typing import Any

import psycopg
import structlog

from ingest.log import LANES, Entry, Lane, Log, LogUnavailable, Reader, all_partitions
from ingest.storing import Storing
from store.database import classify

Report = Callable[[str, str, dict[str, Any]], None]

# A back-fill message holds up to 60,000 rows; two at a time keep live data waiting well below a second.
_MESSAGES: dict[Lane, int] = {"live": 256, "backfill": 2}
_WAIT_S = 0.2
_FORGET_EVERY_S = 5.0
_MAINTAIN_EVERY_S = 600.0
_BACKOFF_S = (0.5, 15.0)

log_ = structlog.get_logger("ingest.writer")


async def run(
    dsn: str, log_url: str, stop: asyncio.Event, report: Report, partitions: Iterable[int] | None = None
) -> None:
    """Write until `stop` is set; then finish the transaction at hand and return.

    Each process must own its partitions (default: all) alone. Database and log may be away at any
    time: the writer waits and goes on where the last committed transaction left off.
    """
    writer = _Writer(dsn, log_url, report, list(partitions or all_partitions()))
    attempt = 0
    try:
        while not stop.is_set():
            try:
                await writer.work(stop)
            except (psycopg.Error, LogUnavailable, OSError) as error:
                attempt = 0 if writer.worked else attempt + 1
                writer.worked = False
                if attempt <= 1:
                    log_.warning("writer interrupted, trying again", error=str(error).strip())
                status = (
                    "permanent"
                    if classify(error) == "permanent" and isinstance(error, psycopg.Error)
                    else "recoverable"
                )
                report("writer", status, {"error": str(error).strip()[:500]})
                await writer.leave_log()
                await _pause(stop, attempt)
    finally:
        await writer.close()
    report("writer", "stopped", {})


class _Writer:
    def __init__(self, dsn: str, log_url: str, report: Report, partitions: list[int]) -> None:
        self._storing = Storing(dsn, partitions)
        self._log_url = log_url
        self._report = report
        self._partitions = partitions
        self._log: Log | None = None
        self._rows = 0
        self.worked = False
        """Whether something was stored since the last interruption."""

    async def work(self, stop: asyncio.Event) -> None:
        if self._log is None:
            self._log = await Log.connect(self._log_url, name="writer")
        log = self._log
        readers: dict[Lane, Reader] = {}
        positions: dict[Lane, dict[int, int]] = {}
        for lane in LANES:
            stored = await asyncio.to_thread(self._storing.positions, log.identity, lane)
            positions[lane] = {p: stored.get(p, 0) for p in self._partitions}
            readers[lane] = log.read(lane, positions[lane])
        forgot_at = maintained_at = 0.0
        while not stop.is_set():
            busy = False
            for lane in LANES:
                wait = _WAIT_S if lane == "live" and not busy else 0.02
                entries = await readers[lane].next(_MESSAGES[lane], wait)
                if entries:
                    busy = True
                    await self._store(log, lane, entries, positions[lane])
            self.worked = True
            now = time.monotonic()
            if now - forgot_at > _FORGET_EVERY_S:
                forgot_at = now
                for lane in LANES:
                    await log.forget(lane, positions[lane])
                if now - maintained_at > _MAINTAIN_EVERY_S:
                    maintained_at = now
                    await asyncio.to_thread(self._storing.maintain)
            self._report("writer", "ok", {"rows": self._rows})

    async def _store(self, log: Log, lane: Lane, entries: list[Entry], positions: dict[int, int]) -> None:
        # The lane is read in order, so every owned partition is complete up to the last entry.
        reached = dict.fromkeys(self._partitions, entries[-1].sequence)
        self._rows += await asyncio.to_thread(self._storing.store, entries, log.identity, lane, reached)
        positions.update(reached)

    async def leave_log(self) -> None:
        """Forget the log: after an interruption it may be another one, to which no position belongs."""
        if self._log is not None:
            await self._log.close()
        self._log = None

    async def close(self) -> None:
        await asyncio.to_thread(self._storing.close)
        await self.leave_log()


async def _pause(stop: asyncio.Event, attempt: int) -> None:
    low, high = _BACKOFF_S
    delay = min(high, low * 2 ** min(attempt, 10)) * random.uniform(0.5, 1.0)
    try:
        await asyncio.wait_for(stop.wait(), delay)
    except TimeoutError:
        return
