"""`qunce bench soak`: does memory stay where it is, and is nothing lost, however long and however hard it is driven?

Seven units send over HTTP, one over MQTT, for as long as asked. At half of what the interface takes, or
with `overload` as fast as they are let: then the log fills up to its limit, and the senders wait as
they are told to (429, 503, acknowledgements of MQTT held back). Afterwards the backlog drains and
every acknowledged reading is looked up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import bodies, memory, paths, progress
from benchmarks.fleet import SIGNALS, Fleet, values_of
from benchmarks.plan import ROWS_A_MESSAGE, STEP_US, Chunk, Pass
from benchmarks.platform import Platform
from benchmarks.senders import FORMS, Client, Publisher, Sent
from benchmarks.verdict import Verdict, ledger, stored_in
from store.times import POSTGRES_EPOCH_US

LOG_MB = 512
MQTT_SHARE = 0.1
"""Share of the rate that comes over MQTT."""
_DRAINED_WITHIN_S = 600.0


class Soaked(NamedTuple):
    """What the senders did: of the interface's answers, and per unit how many scans of each machine were taken."""

    sent: Sent
    scans: list[int]


def prepare_soak(
    ports: tuple[int, int],
    keys: dict[str, str],
    fleet: Fleet,
    of: Pass,
    path: str,
    rate: float | None,
    seconds: float,
) -> Callable[[], Soaked]:
    """All units send for `seconds`: together `rate` readings a second, or (None) as fast as they are let."""
    body, kind, most = FORMS[path]
    http_port, mqtt_port = ports
    units = len(fleet.units)
    by_http = range(units - 1)
    publisher = Publisher(mqtt_port, fleet.units[-1], keys[fleet.units[-1]])
    machines = np.arange(fleet.machines, dtype=np.int32)
    steps = max(1, min(most, ROWS_A_MESSAGE) // (fleet.machines * SIGNALS))

    def chunk(unit: int, first: int, count: int) -> Chunk:
        ts = of.begins + (first + np.arange(count)) * STEP_US
        return Chunk(unit, np.tile(machines, count), np.repeat(ts, fleet.machines))

    def over_http(unit: int) -> tuple[Sent, int]:
        client = Client(http_port, keys[fleet.units[unit]], kind)
        each = None if rate is None else rate * (1 - MQTT_SHARE) / len(by_http) / fleet.machines / SIGNALS
        count = steps if each is None else max(1, min(steps, round(each)))
        done = 0
        for _ in turns(seconds, None if each is None else count / each):
            client.post(body(fleet, chunk(unit, done, count)), f"soak/{done}")
            done += count
        client.close()
        return client.sent, done

    def over_mqtt() -> int:
        each = None if rate is None else rate * MQTT_SHARE / fleet.machines / SIGNALS
        done = 0

        def messages() -> Iterator[bodies.Message]:
            nonlocal done
            for _ in turns(seconds, None if each is None else 1 / each):
                yield from bodies.mqtt_messages(fleet, chunk(units - 1, done, 1))
                done += 1

        publisher.publish(messages())
        return done

    def work() -> Soaked:
        with ThreadPoolExecutor(units) as pool:
            last = pool.submit(over_mqtt)
            found = list(pool.map(over_http, by_http))
        total = Sent()
        for sent, _ in found:
            total.add(sent)
        return Soaked(total, [*(scans for _, scans in found), last.result()])

    return work


def turns(seconds: float, every_s: float | None) -> Iterator[int]:
    """Count for so many seconds, at most one number in `every_s`; who is late is not given time to catch up."""
    begin = due = time.monotonic()
    number = 0
    while time.monotonic() < begin + seconds:
        yield number
        number += 1
        if every_s is not None:
            due = max(due + every_s, time.monotonic() - every_s)
            time.sleep(max(0.0, min(due, begin + seconds) - time.monotonic()))


def run(
    *,
    minutes: float = 10.0,
    overload: bool = False,
    rate: float | None = None,
    tags: int = 10_000,
    log_mb: int = LOG_MB,
    samples: Path = Path("soak.jsonl"),
) -> dict[str, Any]:
    """Drive it; returns what `--json` prints. `rate` in readings a second, default half of the measured maximum."""
    progress.say("starting a platform …")
    with Platform(tags=tags, log_bytes=log_mb * 2**20) as platform:
        return on(platform, minutes, overload, rate, samples)


def on(
    platform: Platform, minutes: float, overload: bool, rate: float | None, samples: Path
) -> dict[str, Any]:
    """Drive a platform of which no role runs."""
    platform.start("writer", "api", "connectors")
    path = "http_arrow" if paths.supports_arrow(platform) else "http_json_columns"
    if not overload and rate is None:
        of = platform.next_pass(max(1, 1_000_000 // platform.fleet.tags))
        rate = paths.http(path)(platform, of).rows_per_second / 2
        platform.forget(of)
    of = platform.next_pass(1, history_scans=0)
    before = ledger(platform.conn)
    ports = (platform.api_port, platform.nats.mqtt_port)
    given = (ports, platform.keys, platform.fleet, of, path, None if overload else rate, minutes * 60)
    label = "as fast as they are let" if overload else f"{rate:,.0f} rows/s"
    progress.say(f"  {label} for {minutes:g} min, a sample a second in {samples}")
    with memory.Watch(platform.pids, platform.nats.root / "jetstream", samples) as watch:
        with progress.step("soaking …"), platform.crew.prepared(prepare_soak, [given]) as workers:
            workers.begin()
            done = workers.done()[0]
        soaked: Soaked = done.result
        expected = sum(soaked.scans) * platform.fleet.machines * SIGNALS
        with progress.step("draining …"):
            drained_s = _drained(platform, expected, before.stored)
    platform.check_alive()
    with progress.step("looking up every reading …"):
        verdict = judge(platform, of, soaked.scans)
    return {
        "benchmark": "soak",
        "machine": platform.facts(),
        "minutes": round((done.ended - done.began) / 60, 2),
        "overload": overload,
        "path": path,
        "rate": None if overload else round(rate or 0),
        "rate_sent": round(expected / (done.ended - done.began)),
        "log_limit_bytes": platform.log_bytes,
        "drained_seconds": round(drained_s, 1),
        "sent": asdict(soaked.sent),
        "samples": str(samples),
        "memory": memory.summary(watch.samples),
        "acknowledged": expected,
        **asdict(verdict),
    }


def _drained(platform: Platform, expected: int, before: int) -> float:
    """Wait until all is stored, or nothing moves for a while; how long that took."""
    began = moved = time.monotonic()
    last = -1
    while (stored := ledger(platform.conn).stored - before) < expected:
        if stored != last:
            last, moved = stored, time.monotonic()
        if time.monotonic() - moved > paths.SILENCE_S or time.monotonic() - began > _DRAINED_WITHIN_S:
            break
        time.sleep(0.1)
    return time.monotonic() - began


def judge(platform: Platform, of: Pass, scans: list[int]) -> Verdict:
    """Every reading of every unit: a mark for each that was acknowledged, and one look at every row."""
    fleet = platform.fleet
    most = max(1, *scans)
    row_of = np.full(int(fleet.tag_ids.max()) + 1, -1)
    row_of[fleet.tag_ids] = np.arange(fleet.tags).reshape(fleet.tag_ids.shape)
    taken = np.repeat(scans, fleet.tag_ids.shape[1])  # by row: scans acknowledged
    times_seen = np.zeros((fleet.tags, most), np.uint8)
    stored = strange = 0
    for found in stored_in(platform.conn, platform.table_of(of)):
        tag_id, ts = found["tag_id"].astype(np.int32), found["ts"].astype(np.int64) + POSTGRES_EPOCH_US
        scan, beside = np.divmod(ts - of.begins, STEP_US)
        row = row_of[tag_id]
        sent = (row >= 0) & (beside == 0) & (scan >= 0) & (scan < taken[row])
        np.add.at(times_seen, (row[sent], scan[sent]), 1)
        stored += len(found)
        strange += int((~sent | (found["value"] != values_of(tag_id, ts))).sum())
    expected = int(taken.sum())
    return Verdict(
        expected=expected,
        stored=stored,
        lost=expected - int((times_seen > 0).sum()),
        doubled=int(np.maximum(times_seen, 1).sum(dtype=np.int64)) - times_seen.size,
        strange=strange,
    )


def show(found: dict[str, Any], console: Console) -> None:
    """The table for people."""
    how = "过载 overload" if found["overload"] else f"{found['rate']:,} 行/秒 rows/s"
    table = Table(
        title=f"浸泡 | soak: {how}, {found['minutes']:g} min, {found['rate_sent']:,} 行/秒 rows/s taken",
        caption=f"丢失 lost {found['lost']}, 重复 doubled {found['doubled']} / {found['acknowledged']:,};"
        f" {found['sent']['told_to_wait']} × 429/503",
    )
    for column in ("进程 process", "最大 max MB", "中位 median MB", "MB/min", "平稳 flat"):
        table.add_column(column, justify="left" if column.startswith("进程") else "right")
    for name, one in found["memory"].items():
        flat = "" if name == "log_bytes" else ("✓" if one["flat"] else "✗")
        table.add_row(
            name, f"{one['max_bytes'] / 2**20:.0f}", f"{one['median_bytes'] / 2**20:.0f}",
            f"{one['slope_bytes_per_minute'] / 2**20:+.2f}", flat,
        )  # fmt: skip
    console.print(table)
