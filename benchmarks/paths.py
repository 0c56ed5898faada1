"""The measured paths: from what a sender holds to the last committed row. Each is one function of a pass."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import httpx

from benchmarks import bodies
from benchmarks.cpu import Sample, Seconds
from benchmarks.memory import peak_bytes
from benchmarks.plan import Pass, chunks
from benchmarks.platform import READY_WITHIN_S, Platform
from benchmarks.senders import Sent, prepare_http, prepare_mqtt
from benchmarks.verdict import Ledger, Verdict, judge, ledger
from ingest.log import PARTITIONS, Log

POLL_S = 0.05
SILENCE_S = 30.0
_APPENDS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Run:
    """One pass over one path. `rows` sent in `seconds`; `booked` by the platform's ledger in this pass."""

    rows: int
    seconds: float
    sent: Sent
    booked: Ledger
    cpu_seconds: Seconds
    verdict: Verdict
    writer_bytes: int = 0
    """The most memory that any of the writers had."""
    start_seconds: float | None = None
    """From the start of the writers' processes to the first row stored, where they start within the pass."""

    @property
    def rows_per_second(self) -> float:
        """Readings a second, all that were sent, from the first on its way to the last one stored."""
        return self.rows / self.seconds


Path = Callable[[Platform, Pass], Run]


def log_to_store(writers: int) -> Path:
    """`writers` processes, well and idle, stand still while the log is filled; timed from when they are let go.

    As the connections of the bare COPY do, they begin together. Nothing of the pass is read or prepared yet;
    the headers of its messages may lie in the writers' sockets.
    """

    def run(platform: Platform, of: Pass) -> Run:
        before = ledger(platform.conn)
        names = platform.start_writers(_shares(writers))
        with platform.held(names):
            asyncio.run(_fill(platform, of))
            used = platform.cpu()
            began = time.time()
        return _writing(platform, of, names, before, began, used)

    return run


def cold_start(writers: int) -> Path:
    """The log is full, no writer runs; then `writers` processes start.

    Timed from the first connection a writer opens to the database to store something (its process
    has started, nothing is read or prepared yet); `start_seconds` from before its process was started.
    """

    def run(platform: Platform, of: Pass) -> Run:
        before = ledger(platform.conn)
        asyncio.run(_fill(platform, of))
        launched = time.time()
        names = [f"writer-{share}" for share in _shares(writers)]
        for name, share in zip(names, _shares(writers), strict=True):
            platform.launch(name, "writer", share)
        began = _begin_of_writing(platform, launched)
        return _writing(platform, of, names, before, began, platform.cpu(), launched)

    return run


def _shares(writers: int) -> list[str]:
    size = PARTITIONS // writers
    return [f"{first}-{first + size - 1}" for first in range(0, PARTITIONS, size)]


def _writing(
    platform: Platform,
    of: Pass,
    names: list[str],
    before: Ledger,
    began: float,
    used: Sample,
    launched: float | None = None,
) -> Run:
    ended, first = _until_stored(platform, of, before)
    cpu_seconds = used.until(platform.cpu())
    pids = platform.pids()
    most = max(peak_bytes(pids[name]) for name in names)
    platform.stop(*names)
    run = _run(platform, of, before, ended - began, Sent(), cpu_seconds)
    return replace(run, writer_bytes=most, start_seconds=None if launched is None else first - launched)


async def _fill(platform: Platform, of: Pass) -> None:
    fleet = platform.fleet
    log = await Log.connect(platform.nats.url, name="bench", max_bytes=platform.log_bytes)
    room = asyncio.Semaphore(_APPENDS_AT_ONCE)

    async def append(number: int, unit: str, data: bytes, rows: int) -> None:
        async with room:
            await log.append(
                data, kind="batch", lane="live", unit=unit, source=bodies.source_of(unit),
                msg_id=f"{of.day}/{number}", rows=rows,
            )  # fmt: skip

    try:
        async with asyncio.TaskGroup() as tasks:
            for number, chunk in enumerate(chunks(fleet, of)):
                data = bodies.log_message(fleet, chunk)
                tasks.create_task(append(number, fleet.units[chunk.unit], data, chunk.rows))
    finally:
        await log.close()


def _begin_of_writing(platform: Platform, launched: float) -> float:
    """When the first writer launched then connected, by the database's clock, which is this machine's."""
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        row = platform.conn.execute(
            "SELECT extract(epoch FROM min(backend_start))::float8 FROM pg_stat_activity"
            " WHERE application_name LIKE 'qunce-writer%%' AND backend_start >= to_timestamp(%s)",
            [launched],
        ).fetchone()
        if row and row[0] is not None:
            return float(row[0])
        platform.check_alive()
        time.sleep(POLL_S / 2)
    raise TimeoutError("no writer has connected to the database")


def http(name: str) -> Path:
    """A client process sends over HTTP, each unit on its own connection; the interface and one writer run."""

    def run(platform: Platform, of: Pass) -> Run:
        given = (platform.api_port, platform.keys, platform.fleet, of, name)
        return _sending(platform, of, prepare_http, given)

    return run


def mqtt(platform: Platform, of: Pass) -> Run:
    """A client process publishes, each unit as itself; broker, connectors and one writer run."""
    given = (platform.mqtt_port, platform.keys, platform.fleet, of)
    return _sending(platform, of, prepare_mqtt, given)


def _sending(
    platform: Platform, of: Pass, prepare: Callable[..., Callable[[], Sent]], given: tuple[Any, ...]
) -> Run:
    with platform.crew.prepared(prepare, [given]) as workers:
        before = ledger(platform.conn)
        used = platform.cpu(workers.pids)
        began = workers.begin()
        ended, _ = _until_stored(platform, of, before, workers.finished)
        sent = Sent()
        for done in workers.done():
            sent.add(done.result)
            ended = max(ended, done.ended)
        cpu_seconds = used.until(platform.cpu(workers.pids))
    return _run(platform, of, before, ended - began, sent, cpu_seconds)


def _until_stored(
    platform: Platform, of: Pass, before: Ledger, all_sent: Callable[[], bool] = lambda: True
) -> tuple[float, float]:
    """Wait until every row is booked and every new key stored, or nothing moves; (that moment, that of the first)."""
    in_order, late, _ = of.kinds
    rows, fresh = of.scans * platform.fleet.tags, (in_order + late) * platform.fleet.tags
    last, moved, first = before, time.time(), 0.0
    while True:
        now = ledger(platform.conn)
        if now != last:
            last, moved = now, time.time()
            first = first or moved
        booked = now.since(before)
        if booked.received >= rows and booked.stored >= fresh:
            return moved, first
        if time.time() - moved > SILENCE_S and all_sent():
            return moved, first
        platform.check_alive()
        time.sleep(POLL_S)


def _run(
    platform: Platform, of: Pass, before: Ledger, seconds: float, sent: Sent, cpu_seconds: Seconds
) -> Run:
    booked = ledger(platform.conn).since(before)
    rows = of.scans * platform.fleet.tags
    return Run(rows, seconds, sent, booked, cpu_seconds, judge(platform.conn, platform.fleet, of))


def supports_arrow(platform: Platform) -> bool:
    """Whether the interface takes Arrow."""
    key = next(iter(platform.keys.values()))
    answer = httpx.post(
        f"http://127.0.0.1:{platform.api_port}/api/v1/measurements",
        content=b"",
        headers={"Authorization": f"Bearer {key}", "Content-Type": bodies.ARROW},
        trust_env=False,
    )
    return answer.status_code != 415
