"""The writer: from the log into the store, at least once from the one, exactly once in the other.

An index follows the log without its content, a backlog keeps what waits unit by unit, and hands
store: `express` what units send live, one or two others back-fill and backlogs. Each hand prepares one
group while it commits the one before.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import os
import random
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, ParamSpec, TypeVar, get_args

import psycopg
import structlog

from ingest.backlog import MOST_ROWS, Backlog, Hand
from ingest.datasets.rules import CORRECTION_WINDOW
from ingest.log import LANES, PARTITIONS, Entry, Index, Log, LogUnavailable, Waiting, all_partitions
from ingest.preparing import Prepared
from ingest.storing import Storing
from ingest.units import Known
from store import accounts, submissions
from store.database import classify, connect

P = ParamSpec("P")
T = TypeVar("T")
Report = Callable[[str, str, dict[str, Any]], None]

HANDS: tuple[Hand, ...] = get_args(Hand)
_INDEX_MESSAGES = 1_000
_WAIT_S = 0.2
_PACE_S = 0.1
"""The express hand begins a group at most this often, so that many units' readings share one commit."""
_FORGET_EVERY_S = 5.0
_MAINTAIN_EVERY_S = 600.0
_REPORT_EVERY_S = 0.5
_BACKOFF_S = (0.5, 15.0)
_DRAIN_S = 4.0
_FETCH_MESSAGES = 256
_FIRST_ROWS, _LEAST_ROWS = 100_000, 25_000
_SHORT_S, _LONG_S = 1.2, 2.0
_PENDING_TOLD = 200

log_ = structlog.get_logger("ingest.writer")


async def run(
    dsn: str,
    log_url: str,
    stop: asyncio.Event,
    report: Report,
    partitions: Iterable[int] | None = None,
    *,
    window: timedelta = CORRECTION_WINDOW,
) -> None:
    """Write until `stop` is set; then finish the transactions at hand and return.

    `window`: how long after its first report a record can be corrected.

    Each process must own its partitions (default: all) alone. Database and log may be away at any
    time: the writer waits and goes on where the last committed transaction left off.
    """
    writer = _Writer(dsn, log_url, report, list(partitions or all_partitions()), stop, window)
    attempt = 0
    try:
        while not stop.is_set():
            try:
                await writer.work()
            except (psycopg.Error, LogUnavailable, OSError) as error:
                attempt = 0 if writer.worked else attempt + 1
                writer.worked = False
                if attempt <= 1:
                    log_.warning("writer interrupted, trying again", error=str(error).strip())
                permanent = isinstance(error, psycopg.Error) and classify(error) == "permanent"
                status = "permanent" if permanent else "recoverable"
                writer.say(status, error=str(error).strip()[:500])
                await writer.leave()
                await _pause(stop, attempt)
    finally:
        await writer.leave()
    report("writer", "stopped", {})


class _Hand:
    """One of the writer's hands: its connections, and threads for its two stages."""

    def __init__(self, name: Hand, storing: Storing, most_rows: int) -> None:
        self.name = name
        self.storing = storing
        self._most_rows = most_rows
        self.rows = _FIRST_ROWS
        """Rows to take for one group: as many as the database stores in about a second."""
        self._threads = ThreadPoolExecutor(2, thread_name_prefix=f"writer-{name}")

    def start(self, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> asyncio.Future[T]:
        """Do something in a thread."""
        return asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *given, **named))

    def commit(self, prepared: Prepared, stream: str) -> int:
        """Store a group; returns its rows. Large groups share their costs, long ones hold up others."""
        begun = time.monotonic()
        rows = self.storing.commit(prepared, stream)
        seconds = time.monotonic() - begun
        if seconds > _LONG_S:
            self.rows = max(self.rows // 2, _LEAST_ROWS)
        elif seconds < _SHORT_S and rows > self.rows // 2:
            self.rows = min(self.rows * 3 // 2, self._most_rows)
        return rows

    def close(self) -> None:
        """Wait for the threads, close the connections."""
        self._threads.shutdown()
        self.storing.close()


@dataclass(slots=True)
class _Group:
    """Messages that a hand has taken, what they were prepared to, and the commit under way."""

    waiting: list[Waiting]
    entries: list[Entry]
    prepared: Prepared | None = None
    commit: asyncio.Future[int] | None = None


class _Writer:
    def __init__(
        self,
        dsn: str,
        log_url: str,
        report: Report,
        partitions: list[int],
        stop: asyncio.Event,
        window: timedelta,
    ) -> None:
        self._dsn = dsn
        self._log_url = log_url
        self._report = report
        self._partitions = partitions
        self._stop = stop
        self._window = window
        self._log: Log | None = None
        self._hands: list[_Hand] = []
        self._backlog = Backlog({}, {})
        self._news = asyncio.Event()
        self._rows = 0
        self._fill = (0, 0)
        self.worked = False
        """Whether something was stored since the last interruption."""

    async def work(self) -> None:
        """Join log and database, and store until told to stop. Raises what interrupts it."""
        log = self._log = await Log.connect(self._log_url, name="writer")
        known = Known()
        hands = _hands(self._partitions)
        # The first owns the partitions for the hands that there are not, too: a writer with more may be dying.
        numbers: list[tuple[int, ...]] = [
            (0, *range(len(hands), len(HANDS))),
            *((i,) for i in range(1, len(hands))),
        ]
        self._hands = [
            _Hand(name, Storing(self._dsn, self._partitions, mine, known, self._window), most_rows)
            for (name, most_rows), mine in zip(hands.items(), numbers, strict=True)
        ]
        opened = await asyncio.gather(
            *(asyncio.to_thread(hand.storing.open) for hand in self._hands), return_exceptions=True
        )
        for error in opened:
            if error is not None:
                raise error
        # Not before every hand owns the partitions: what another writer was committing is committed now, or never.
        reached = await asyncio.to_thread(self._hands[0].storing.reached, log.identity)
        self._backlog = Backlog(*reached)
        index = log.index(self._partitions)
        tasks = [asyncio.create_task(self._follow(index)), asyncio.create_task(self._keep_house(log, index))]
        tasks += [asyncio.create_task(self._store(hand, log)) for hand in self._hands]
        giving_up = asyncio.create_task(self._give_up(tasks))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                if not task.cancelled():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            # What a hand is committing is committed, or fails, before anybody begins anew.
            await asyncio.gather(*tasks, return_exceptions=True)
            giving_up.cancel()

    async def _give_up(self, tasks: list[asyncio.Task[None]]) -> None:
        """Told to stop, wait for what is being committed, but not for ever: what is not is in the log."""
        await self._stop.wait()
        await asyncio.sleep(_DRAIN_S)
        for hand in self._hands:
            hand.storing.abandon()
        for task in tasks:
            task.cancel()

    async def _follow(self, index: Index) -> None:
        """Learn what the log holds."""
        while not self._stop.is_set():
            if self._backlog.full:
                await asyncio.sleep(_WAIT_S)
                continue
            found = await index.next(_INDEX_MESSAGES, _WAIT_S)
            if self._backlog.add(found):
                self._wake()

    async def _store(self, hand: _Hand, log: Log) -> None:
        """Prepare one group while the one before is being committed, until told to stop."""
        before: _Group | None = None
        try:
            while True:
                begun, news = time.monotonic(), self._news
                taken = [] if self._stop.is_set() else self._backlog.take(hand.name, hand.rows)
                group = await self._prepare(hand, _Group(taken, await _fetch(log, taken))) if taken else None
                if before is not None and not await self._committed(hand, log, before) and group is not None:
                    # It was prepared on top of what was not stored like that.
                    hand.storing.forget([entry.unit for entry in group.entries])
                    group = await self._prepare(hand, group)
                before = group
                if group is not None:
                    if group.prepared is not None:
                        group.commit = hand.start(hand.commit, group.prepared, log.identity)
                elif self._stop.is_set():
                    return
                else:
                    await self._wait(_WAIT_S, news)
                if hand.name == "express" and group is not None:
                    await self._wait(_PACE_S - (time.monotonic() - begun))
        finally:
            if before is not None and before.commit is not None:
                # A commit under way cannot be called back, so it is waited for, whatever else happens.
                await asyncio.wait([before.commit])

    async def _prepare(self, hand: _Hand, group: _Group) -> _Group:
        try:
            group.prepared = await hand.start(hand.storing.ready, group.entries)
        except psycopg.Error as error:
            if classify(error) != "data":
                raise
            group.prepared = None  # something in it cannot even be looked at: that will show one by one
        return group

    async def _committed(self, hand: _Hand, log: Log, group: _Group) -> bool:
        """Wait until a group is stored; False when that had to be done one by one."""
        whole = group.commit is not None
        try:
            if group.commit is not None:
                self._rows += await asyncio.shield(group.commit)
        except psycopg.Error as error:
            if classify(error) != "data":
                raise
            whole = False
        if not whole:
            hand.storing.forget([entry.unit for entry in group.entries])
            self._rows += await hand.start(hand.storing.one_by_one, group.entries, log.identity)
        self._backlog.done(group.waiting)
        self._wake()
        self.worked = True
        return whole

    def _wake(self) -> None:
        """There is something new for the hands: each waits for the event that was there when it last looked."""
        self._news.set()
        self._news = asyncio.Event()

    async def _wait(self, seconds: float, event: asyncio.Event | None = None) -> None:
        """Wait, at most until told to stop, or until the event."""
        if seconds <= 0:
            return
        waited = [asyncio.ensure_future(one.wait()) for one in (self._stop, event) if one is not None]
        try:
            await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waited:
                one.cancel()

    async def _keep_house(self, log: Log, index: Index) -> None:
        """Let the log forget what is stored, tell the senders what waits, and say how it goes."""
        forgot_at = time.monotonic()
        maintained_at = 0.0
        while not self._stop.is_set():
            now = time.monotonic()
            if now - forgot_at > _FORGET_EVERY_S:
                forgot_at = now
                await self._forget(log, index)
                self._fill = await log.fill()
                _give_back_memory()
            if now - maintained_at > _MAINTAIN_EVERY_S:
                maintained_at = now
                await asyncio.to_thread(self._maintain)
            await log.tell_waiting(self._partitions, self._backlog.bytes_waiting())
            self.say("ok")
            await self._wait(_REPORT_EVERY_S)
        await self._forget(log, index)

    async def _forget(self, log: Log, index: Index) -> None:
        for lane in LANES:
            await log.forget(lane, self._backlog.stored_to(lane, self._partitions, index.reached))

    def _maintain(self) -> None:
        with connect(self._dsn, application="writer-maintain", autocommit=True) as conn:
            accounts.drop_expired(conn)
            submissions.drop_expired(conn)

    def say(self, status: str, **more: Any) -> None:
        """Report, with what is stored and what waits."""
        pending = self._backlog.pending()
        most = sorted(pending.items(), key=lambda one: -one[1])[:_PENDING_TOLD]
        detail = {
            "rows": self._rows,
            "pending_rows": sum(pending.values()),
            "pending": [[unit, source, rows] for (unit, source), rows in most],
            "log": {"bytes": self._fill[0], "limit_bytes": self._fill[1]},
        }
        self._report("writer", status, {**detail, **more})

    async def leave(self) -> None:
        """Forget the log: after an interruption it may be another one, to which no position belongs."""
        for hand in self._hands:
            await asyncio.to_thread(hand.close)
        self._hands = []
        if self._log is not None:
            await self._log.close()
        self._log = None


def _hands(partitions: list[int]) -> dict[Hand, int]:
    """The hands, and the rows of a group that each may take: two for bulk where the writer's share is two cores.

    One connection keeps one core of the database busy; more of them than cores slow each other down.
    Two hands share the memory of one.
    """
    express, bulk, bulk_2 = HANDS
    hands = {express: MOST_ROWS[express], bulk: MOST_ROWS[bulk]}
    if len(os.sched_getaffinity(0)) * len(partitions) / PARTITIONS >= 2:
        hands |= {hand: MOST_ROWS[hand] // 2 for hand in (bulk, bulk_2)}
    return hands


async def _fetch(log: Log, taken: list[Waiting]) -> list[Entry]:
    """The content of messages, in their order. Raises LogUnavailable when the log has not got them all."""
    entries: list[Entry] = []
    for (lane, unit), group in itertools.groupby(taken, lambda w: (w.lane, w.unit)):
        wanted = list(group)
        while wanted:
            # With room for the headers, which count too.
            room = sum(w.n_bytes + 512 for w in wanted[:_FETCH_MESSAGES])
            found = await log.fetch(lane, unit, wanted[0].sequence, len(wanted[:_FETCH_MESSAGES]), room)
            if not found or [e.sequence for e in found] != [w.sequence for w in wanted[: len(found)]]:
                raise LogUnavailable(f"messages of {unit} from {wanted[0].sequence} on are not in the log")
            entries += found
            wanted = wanted[len(found) :]
    return entries


def _give_back_memory() -> None:
    """What large groups have left free in the allocator goes back to the system; glibc keeps it otherwise."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


async def _pause(stop: asyncio.Event, attempt: int) -> None:
    low, high = _BACKOFF_S
    delay = min(high, low * 2 ** min(attempt, 10)) * random.uniform(0.5, 1.0)
    try:
        await asyncio.wait_for(stop.wait(), delay)
    except TimeoutError:
        return
