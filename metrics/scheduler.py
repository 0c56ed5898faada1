"""When things are computed. Work is found in the database, so a run that was missed is made up for by the next."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import structlog
from apscheduler.events import EVENT_JOB_MAX_INSTANCES
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from psycopg_pool import ConnectionPool

from metrics import engine, moment
from store import rollups
from store.database import Connection, classify, connect, open_pool

_log = structlog.get_logger("metrics")

Report = Callable[[str, str, dict[str, Any]], None]

LIVE_S = 5
ROLLUP_S = 10
REGISTERS_S = 60
SILENT_S = 60
LIVE_SHARE = 0.1
"""Part of the time that may be spent on hours in progress."""
REPORT_S = 5
_LEADER_LOCK = 7_236_010
_ALL_SILENT_EVERY = 15
_MANY_SKIPPED = 6


async def run(dsn: str, stop: asyncio.Event, report: Report) -> None:
    """Compute indicators until `stop` is set; among several processes only the one that holds the lock does.

    Never raises for a database that is away: it reports `recoverable` (or `permanent`, by the class of
    the error) and tries again. `report(component, status, detail)` is called on the event loop. When
    `stop` is set, the work in hand is finished (a few seconds) and nothing of it is left behind.
    """
    report("metrics", "starting", {})
    # It warns of every tick that found the run before it still at work: `Jobs.skipped` tells of the first that matters.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    while not stop.is_set():
        try:
            leader = await asyncio.to_thread(_lead, dsn)
        except psycopg.Error as error:
            report("metrics", _status(error), {"error": str(error).strip()})
        else:
            if leader is not None:
                with leader:
                    await _work(dsn, leader, stop, report)
            else:
                report("metrics", "ok", {"leader": False})
        await _wait(stop, REPORT_S)
    report("metrics", "stopped", {})


def _lead(dsn: str) -> Connection | None:
    """A connection that holds the leader's lock for as long as it lives; None when another process has it."""
    conn = connect(dsn, application="metrics-leader", autocommit=True)
    row = conn.execute("SELECT pg_try_advisory_lock(%s)", (_LEADER_LOCK,)).fetchone()
    if row and row[0]:
        return conn
    conn.close()
    return None


async def _work(dsn: str, leader: Connection, stop: asyncio.Event, report: Report) -> None:
    with open_pool(dsn, application="metrics", max_size=3) as pool:
        jobs = Jobs(pool)
        # One thread a job: no job waits for another, and none runs twice at once.
        scheduler = AsyncIOScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(4)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        now = datetime.now(UTC)
        for job, every in (
            (jobs.live, LIVE_S),
            (jobs.rollup, ROLLUP_S),
            (jobs.registers, REGISTERS_S),
            (jobs.silent, SILENT_S),
        ):
            scheduler.add_job(job, "interval", seconds=every, next_run_time=now, id=job.__name__)
        scheduler.add_listener(lambda event: jobs.skipped(event.job_id), EVENT_JOB_MAX_INSTANCES)
        scheduler.start()
        try:
            while not stop.is_set():
                await asyncio.to_thread(leader.execute, "SELECT 1")  # the lock is gone with the connection
                status, detail = jobs.status()
                report("metrics", status, detail)
                await _wait(stop, REPORT_S)
        except psycopg.Error as error:
            report("metrics", _status(error), {"error": str(error).strip()})
        finally:
            jobs.halt.set()
            scheduler.pause()
            await asyncio.to_thread(jobs.finish)
            scheduler.shutdown(wait=False)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


def _status(error: BaseException) -> str:
    return "permanent" if classify(error) == "permanent" else "recoverable"


class Jobs:
    """The jobs, each run in a thread of the scheduler's, and what they last did."""

    def __init__(self, pool: ConnectionPool[Connection]) -> None:
        self.halt = threading.Event()
        self._pool = pool
        self._lock = threading.Lock()
        self._running = 0
        self._idle = threading.Condition(self._lock)
        self._errors: dict[str, tuple[str, str]] = {}
        self._figures: dict[str, Any] = {"leader": True, "hours": 0, "periods": 0, "backlog": None}
        self._skipped: dict[str, int] = {}
        self._live_due = 0.0
        self._silent_runs = 0

    def status(self) -> tuple[str, dict[str, Any]]:
        """Status by the closed list, and figures: hours and periods computed since the start, backlog, last runs."""
        with self._lock:
            detail = dict(self._figures)
            errors = dict(self._errors)
        if not errors:
            return "ok", detail
        status = "permanent" if any(kind == "permanent" for kind, _ in errors.values()) else "recoverable"
        return status, detail | {"error": "; ".join(f"{job}: {text}" for job, (_, text) in errors.items())}

    def skipped(self, name: str) -> None:
        """A tick found the job's run before it still at work, which makes up for it. Told once when it goes on for long."""
        with self._lock:
            self._skipped[name] = self._skipped.get(name, 0) + 1
            long = self._skipped[name] == _MANY_SKIPPED
            left = self._figures["backlog"]
        if long:
            _log.info("metrics job works on", job=name, backlog=left)

    def finish(self) -> None:
        """Wait until no job runs any more; `halt` must be set."""
        with self._idle:
            self._idle.wait_for(lambda: self._running == 0, timeout=60)

    def live(self) -> None:
        """What is so right now."""
        self._run("live", lambda conn: moment.live(conn, datetime.now(UTC)))

    def registers(self) -> None:
        """Counts on the registers, milestones, latency by hour and day."""
        self._run("registers", lambda conn: moment.registers(conn, datetime.now(UTC)))

    def silent(self) -> None:
        """Hours in which scheduled equipment sent nothing: the last ones often, all of them sometimes."""
        now = datetime.now(UTC)
        self._silent_runs += 1
        everything = self._silent_runs % _ALL_SILENT_EVERY == 0
        since = now - (timedelta(days=400) if everything else timedelta(hours=3))
        self._run("silent", lambda conn: _silent(conn, since, now))

    def rollup(self) -> None:
        """Work off what is marked: live hours every ROLLUP_S if they are quick, between slices of what is older."""
        self._run("rollup", self._roll)

    def _roll(self, conn: Connection) -> None:
        while not self.halt.is_set():
            now = datetime.now(UTC)
            if (began := time.monotonic()) >= self._live_due:
                self._tell_backlog(conn)
                while self._count("hours", engine.rollup(conn, now, live=True)) >= engine.SLICE_HOURS:
                    if self.halt.is_set():
                        return
                # The hour in progress is computed whole each time: the larger it is, the less often.
                spent = time.monotonic() - began
                self._live_due = began + max(0.9 * ROLLUP_S, spent / LIVE_SHARE)
            if self._count("periods", engine.indicators(conn, now)):
                continue
            if self._count("hours", engine.rollup(conn, now, live=False)):
                continue
            break
        self._tell_backlog(conn)

    def _tell_backlog(self, conn: Connection) -> None:
        with conn.transaction():
            left = rollups.backlog(conn)
        with self._lock:
            self._figures["backlog"] = left

    def _count(self, name: str, n: int) -> int:
        with self._lock:
            self._figures[name] += n
        return n

    def _run(self, name: str, work: Callable[[Connection], object]) -> None:
        with self._lock:
            if self.halt.is_set():
                return
            self._running += 1
        began = time.monotonic()
        try:
            with self._pool.connection() as conn:
                work(conn)
        except Exception as error:  # a job that fails is told and tried again on the next tick
            with self._lock:
                first = name not in self._errors
                self._errors[name] = (_status(error), f"{type(error).__name__}: {str(error).strip()}")
            if first:  # once when it breaks, once when it works again
                _log.error("metrics job failed", job=name, error=str(error), exc_info=error)
        else:
            with self._lock:
                mended = self._errors.pop(name, None)
                self._figures[f"{name}_at"] = datetime.now(UTC).isoformat(timespec="seconds")
                self._figures[f"{name}_seconds"] = round(time.monotonic() - began, 3)
            if mended:
                _log.warning("metrics job works again", job=name)
        finally:
            with self._idle:
                skipped = self._skipped.pop(name, 0)
                self._running -= 1
                self._idle.notify_all()
            if skipped >= _MANY_SKIPPED:
                _log.info("metrics job is done", job=name, seconds=round(time.monotonic() - began))


def _silent(conn: Connection, since: datetime, now: datetime) -> int:
    with conn.transaction():
        return rollups.mark_silent_hours(conn, since, now, quiet_s=120)
