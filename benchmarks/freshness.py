"""`qunce bench freshness`: how long from a reading's source time until anybody can query it.

Many units send all the time, each a scan of its machines when it is read, at half of the rate that the
same way takes at most (measured first, with large batches, in the same run). A unit sends once in
`every_s`, or more often when its machines are too few for the rate. Who cannot keep up is told by
`kept_up`: then the delays are those of a queue. A reader on a connection of its own asks
every ten milliseconds which readings of one tag a unit are there. The limit is the same without a
platform: COPY of one unit's batch, seen by the same reader.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from benchmarks import paths, progress
from benchmarks.copying import rows_of, store
from benchmarks.cpu import Seconds
from benchmarks.fleet import SIGNALS, Fleet
from benchmarks.plan import DAY_US, Chunk, key, sorted_once
from benchmarks.platform import Platform
from benchmarks.senders import FORMS, Client, Sent
from benchmarks.verdict import Verdict, compare, ledger, stored_between
from store.database import Connection, connect
from store.rows import measurement_copy

UNITS, TAGS = 20, 20_000
EVERY_S = 1.0
POLL_S = 0.01
KEPT_UP = 0.95
_PATIENCE_S = 30.0
_FLOOD_S = 10.0
_LIMIT_SAMPLES = 100


class Reader:
    """Sees the readings of some tags appear: asks for those later than the last it saw."""

    def __init__(self, dsn: str, tags: Sequence[int], since: int) -> None:
        self._conn = connect(dsn, application="reader", autocommit=True)
        self._last = dict.fromkeys(tags, since)
        self.delays_s: list[float] = []

    def look(self) -> int:
        """Ask once; keep how old each reading is that is there now and was not before. Returns how many."""
        found = self._conn.execute(
            "SELECT m.tag_id, (extract(epoch FROM m.ts) * 1000000)::bigint"
            " FROM unnest(%s::integer[], %s::bigint[]) AS seen (tag_id, last), LATERAL ("
            "  SELECT tag_id, ts FROM measurement m WHERE m.tag_id = seen.tag_id"
            "  AND m.ts > to_timestamp(seen.last / 1e6) AND m.ts > to_timestamp(%s::float8)) m",
            (list(self._last), list(self._last.values()), min(self._last.values()) / 1e6),
        ).fetchall()
        now = time.time()
        for tag, ts in found:
            if ts > self._last[tag]:
                self.delays_s.append(now - ts / 1e6)
        for tag, ts in found:
            self._last[tag] = max(self._last[tag], ts)
        return len(found)

    def close(self) -> None:
        """Close the connection."""
        self._conn.close()


def prepare_live(
    port: int, keys: dict[str, str], fleet: Fleet, path: str, every: tuple[int, float], seconds: float
) -> Callable[[], tuple[Sent, list[Chunk]]]:
    """Every unit sends a scan of so many machines every so many seconds, all at other moments; of the first machine always.

    Who is late sends without pause; after twice the time nobody does.
    """
    body, kind, _ = FORMS[path]
    scans, every_s = every
    clients = [Client(port, keys[code], kind) for code in fleet.units]

    def send(unit: int) -> list[Chunk]:
        sent: list[Chunk] = []
        begin = time.time() + every_s * unit / len(fleet.units)
        turn = 0
        while (due := begin + turn * every_s) < begin + seconds and time.time() < begin + 2 * seconds:
            time.sleep(max(0.0, due - time.time()))
            others = 1 + (turn * (scans - 1) + np.arange(scans - 1)) % max(1, fleet.machines - 1)
            machine = np.r_[0, others].astype(np.int32)
            # Read when it was due, however long the one before took to be acknowledged.
            chunk = Chunk(unit, machine, np.full(scans, int(due * 1e6)))
            clients[unit].post(body(fleet, chunk), f"fresh/{begin:.6f}/{turn}")
            sent.append(chunk)
            turn += 1
        clients[unit].close()
        return sent

    def work() -> tuple[Sent, list[Chunk]]:
        with ThreadPoolExecutor(len(clients)) as pool:
            sent = [chunk for chunks in pool.map(send, range(len(clients))) for chunk in chunks]
        total = Sent()
        for client in clients:
            total.add(client.sent)
        return total, sent

    return work


def pace(fleet: Fleet, rate: float, every_s: float) -> tuple[int, float]:
    """Machines of a batch, and seconds between two batches of a unit: together `rate` readings a second."""
    a_scan = SIGNALS * len(fleet.units)
    scans = int(np.clip(round(rate * every_s / a_scan), 1, fleet.machines))
    return scans, scans * a_scan / rate


def run(
    *,
    rate: float | None = None,
    seconds: float = 30.0,
    rows: int = 1_000_000,
    tags: int = TAGS,
    every_s: float = EVERY_S,
) -> dict[str, Any]:
    """Measure; returns what `--json` prints. `rate` in readings a second, default half of the measured maximum."""
    progress.say("starting a platform …")
    with Platform(tags=tags, units=UNITS) as platform:
        return on(platform, rate, seconds, rows, every_s)


def on(
    platform: Platform, rate: float | None, seconds: float, rows: int, every_s: float = EVERY_S
) -> dict[str, Any]:
    """Measure on a platform of which no role runs."""
    platform.start("writer", "api")
    path = "http_arrow" if paths.supports_arrow(platform) else "http_json_columns"
    # Measured even where the rate is given: roles that have just begun load what they need.
    of = platform.next_pass(max(1, round(rows / platform.fleet.tags)))
    with progress.step(f"the most that {path} takes …"):
        most = paths.http(path)(platform, of).rows_per_second
    platform.forget(of)
    progress.say(f"  {path} takes at most {most:,.0f} rows/s in bulk")
    # Live traffic is dearer a row than bulk: one reading a tag at a time. So its own maximum is measured, by
    # sending more than can be stored, with batches of the same size.
    with progress.step("the most that it takes live …"):
        flooded = live(platform, path, pace(platform.fleet, most, every_s), min(seconds, _FLOOD_S))
    most_live = flooded.verdict.expected / flooded.stored_s
    progress.say(f"  {path} takes at most {most_live:,.0f} rows/s live")
    wanted = rate if rate is not None else most_live / 2
    every = pace(platform.fleet, wanted, every_s)
    scans, every_s = every
    limit = bare(platform, scans)
    progress.say(f"  limit: bare COPY visible after p50 {limit['p50_seconds'] * 1000:.1f} ms")
    with progress.step(f"{wanted:,.0f} rows/s for {seconds:.0f} s …"):
        delays, sent, verdict, took, _, cpu_seconds = live(platform, path, every, seconds)
    return {
        "benchmark": "freshness",
        "machine": platform.facts(),
        "path": path,
        "units": len(platform.fleet.units),
        "tags": platform.fleet.tags,
        "rows_per_batch": scans * SIGNALS,
        "every_seconds": round(every_s, 3),
        "rate": round(wanted),
        "rate_sent": round(verdict.expected / took),
        "kept_up": verdict.expected / took >= KEPT_UP * wanted,
        "max_rate": round(most_live),
        "max_rate_bulk": round(most),
        "seconds": round(took, 1),
        **quantiles(delays),
        "n": len(delays),
        "limit": limit,
        "cpu_seconds": cpu_seconds,
        "sent": asdict(sent),
        "acknowledged": verdict.expected,
        **asdict(verdict),
    }


def bare(platform: Platform, scans: int) -> dict[str, float]:
    """COPY of one batch and nothing else, seen by the same reader; the first tag of the first unit is watched."""
    platform.open_today()
    fleet = platform.fleet
    reader = Reader(platform.dsn, [int(fleet.tag_ids[0, 0])], time.time_ns() // 1000)
    for _ in range(_LIMIT_SAMPLES):
        ts = np.full(scans, time.time_ns() // 1000)
        rows = rows_of(fleet, [Chunk(0, np.arange(scans, dtype=np.int32), ts)])
        store(platform.conn, measurement_copy(rows))
        while not reader.look():
            pass
    reader.close()
    return {**quantiles(reader.delays_s), "n": len(reader.delays_s)}


class Lived(NamedTuple):
    """Delays of the watched readings (s), what was sent, whether all is there, how long sending took and how
    long until all was stored, what it cost.
    """

    delays_s: list[float]
    sent: Sent
    verdict: Verdict
    seconds: float
    stored_s: float
    cpu_seconds: Seconds


def live(platform: Platform, path: str, every: tuple[int, float], seconds: float) -> Lived:
    """Send and read at the same time."""
    fleet = platform.fleet
    given = (platform.api_port, platform.keys, fleet, path, every, seconds)
    before = ledger(platform.conn)
    with platform.crew.prepared(prepare_live, [given]) as workers:
        used = platform.cpu(workers.pids)
        began = workers.begin()
        reader = Reader(platform.dsn, fleet.tag_ids[:, 0].tolist(), int(began * 1e6))
        while not workers.finished():
            reader.look()
            platform.check_alive()
            time.sleep(POLL_S)
        done = workers.done()[0]
        cpu_seconds = used.until(platform.cpu(workers.pids))
    sent, chunks = done.result
    expected = keys_of(fleet, chunks, int(began * 1e6) // DAY_US)
    patience = time.time() + _PATIENCE_S
    while ledger(platform.conn).since(before).stored < len(expected) and time.time() < patience:
        reader.look()
        time.sleep(POLL_S)
    stored_s = time.time() - began
    reader.look()
    reader.close()
    verdict = judged(platform.conn, expected, int(began * 1e6))
    return Lived(reader.delays_s, sent, verdict, done.ended - done.began, stored_s, cpu_seconds)


def keys_of(fleet: Fleet, chunks: Sequence[Chunk], day: int) -> npt.NDArray[np.int64]:
    """Keys of everything in these chunks, ascending."""
    signals = np.arange(SIGNALS)
    found = [
        key(
            fleet.tag_ids[c.unit][(c.machine[:, None] * SIGNALS + signals).ravel()],
            np.repeat(c.ts, SIGNALS),
            day,
        )
        for c in chunks
    ]
    return sorted_once(np.concatenate(found))


def judged(conn: Connection, expected: npt.NDArray[np.int64], begin: int) -> Verdict:
    """What the table has from `begin` (µs) on, against what was sent."""
    day = begin // DAY_US
    return compare(expected, stored_between(conn, begin, (day + 1) * DAY_US + DAY_US // 2), day)


def quantiles(delays_s: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and the longest, in seconds."""
    p50, p95, p99, longest = (
        np.quantile(delays_s, [0.5, 0.95, 0.99, 1.0]).tolist() if delays_s else [float("nan")] * 4
    )
    return {
        "p50_seconds": round(p50, 4),
        "p95_seconds": round(p95, 4),
        "p99_seconds": round(p99, 4),
        "max_seconds": round(longest, 4),
    }


def show(found: dict[str, Any], console: Console) -> None:
    """The table for people."""
    table = Table(
        title=f"时效 | freshness: {found['rate']:,} 行/秒 rows/s, {found['path']}, {found['seconds']:.0f} s",
        caption=f"丢失 lost {found['lost']}, 重复 doubled {found['doubled']} / {found['acknowledged']:,}",
    )
    for column in ("源时间→可查 source time → queryable", "p50 s", "p95 s", "p99 s", "max s", "n"):
        table.add_column(column, justify="right" if column.endswith((" s", "n")) else "left")
    for name, one in (("群策 qunce", found), ("极限 limit: COPY", found["limit"])):
        figures = [f"{one[f'{q}_seconds']:.3f}" for q in ("p50", "p95", "p99", "max")]
        table.add_row(name, *figures, str(one["n"]))
    console.print(table)
    if not found["kept_up"]:
        console.print(
            f"跟不上 | could not keep up: {found['rate_sent']:,} 行/秒 rows/s"
            f" ({found['rows_per_batch']:,} 行/批 rows a batch)"
        )
