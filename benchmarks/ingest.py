"""`qunce bench ingest`: how close each way in comes to what the database itself can take.

In every round the bare COPY is measured again before and after each path, and a path's ratio is that
to its neighbours: a machine that is slow for a while slows both. All figures are medians of the
rounds. Every pass is verified: each acknowledged reading is in the table, once, with its value.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import paths, progress
from benchmarks.cpu import Seconds, us_per_row
from benchmarks.limit import Limit, raw_copy
from benchmarks.paths import Path, Run
from benchmarks.platform import Platform

TRANSACTIONS = (50_000, 200_000, 400_000)
"""Rows of one transaction of the bare COPY: all are tried, the fastest one is the limit."""

PATHS: dict[str, tuple[Path, int]] = {
    "log_to_store": (paths.log_to_store(1), 1),
    "log_to_store_2": (paths.log_to_store(2), 2),
    "http_arrow": (paths.http("http_arrow"), 1),
    "http_json_columns": (paths.http("http_json_columns"), 1),
    "http_json_rows": (paths.http("http_json_rows"), 1),
    "mqtt_json": (paths.mqtt, 1),
}
"""Every path, and how many connections of the bare COPY are its limit."""


@dataclass
class Measured:
    """One path, in order or with late and repeated rows: its runs, and the limit beside each."""

    runs: list[Run] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)

    @property
    def rows_per_second(self) -> float:
        """Median of the rounds."""
        return statistics.median(run.rows_per_second for run in self.runs)

    @property
    def ratio(self) -> float:
        """Median over the rounds of the ratio to the limit beside."""
        return statistics.median(
            run.rows_per_second / limit for run, limit in zip(self.runs, self.limits, strict=True)
        )


class Bench:
    """One run of the benchmark on a platform."""

    def __init__(self, platform: Platform, scans: int) -> None:
        self._platform = platform
        self._scans = scans
        self.limits: dict[int, list[Limit]] = {}
        self.tried: dict[int, float] = {}
        self.found: dict[str, Measured] = {}
        self.skipped: dict[str, str] = {}

    def calibrate(self) -> int:
        """Try all sizes of a transaction, twice, in turns; returns the fastest one."""
        rates: dict[int, list[float]] = {size: [] for size in TRANSACTIONS}
        for _ in range(2):
            for size in TRANSACTIONS:
                rates[size].append(self._raw(1, size).rows_per_second)
        self.tried = {size: max(found) for size, found in rates.items()}
        self.rows_a_transaction = max(self.tried, key=self.tried.__getitem__)
        return self.rows_a_transaction

    def _raw(self, connections: int, rows_a_transaction: int) -> Limit:
        platform = self._platform
        of = platform.next_pass(self._scans)
        with progress.step(f"bare COPY, {connections} connection(s) …"):
            limit = raw_copy(platform, of, connections=connections, rows_a_transaction=rows_a_transaction)
        platform.forget(of)
        return limit

    def _limit(self, connections: int) -> float:
        limit = self._raw(connections, self.rows_a_transaction)
        self.limits.setdefault(connections, []).append(limit)
        progress.say(f"  raw_copy ×{connections:<18}{limit.rows_per_second:>10,.0f} rows/s")
        return limit.rows_per_second

    def warm_up(self, names: Sequence[str]) -> None:
        """A short pass over each path that is not measured: roles that have just begun load what they need."""
        for name in names:
            of = self._platform.next_pass(max(1, self._scans // 10))
            with progress.step(f"{name}, first requests …"):
                PATHS[name][0](self._platform, of)
            self._platform.forget(of)

    def measure(self, names: Sequence[str]) -> None:
        """One round: each path in order and with late rows, the limit before and after."""
        before, connections = 0.0, 0
        for name in names:
            path, wanted = PATHS[name]
            if wanted != connections:
                before, connections = self._limit(wanted), wanted
            runs = {suffix: self._run(name + suffix, path, bool(suffix)) for suffix in ("", "_late")}
            after = self._limit(wanted)
            for suffix, run in runs.items():
                measured = self.found.setdefault(name + suffix, Measured())
                measured.runs.append(run)
                measured.limits.append((before + after) / 2)
            before = after

    def _run(self, name: str, path: Path, late: bool) -> Run:
        of = self._platform.next_pass(self._scans, late=late)
        with progress.step(f"{name} …"):
            run = path(self._platform, of)
        self._platform.forget(of)
        verdict = run.verdict
        progress.say(
            f"  {name:<28}{run.rows_per_second:>10,.0f} rows/s   lost {verdict.lost}  doubled {verdict.doubled}"
        )
        return run


def run(
    *, rows: int = 2_000_000, tags: int = 10_000, rounds: int = 3, only: Sequence[str] = ()
) -> dict[str, Any]:
    """Measure; returns what `--json` prints. Raises ValueError for a path that there is not."""
    names = list(only) or list(PATHS)
    if unknown := [name for name in names if name not in PATHS]:
        raise ValueError(f"no such path: {', '.join(unknown)}; there are {', '.join(PATHS)}")
    progress.say("starting a platform …")
    with Platform(tags=tags, mqtt=any(name.startswith("mqtt_") for name in names)) as platform:
        return on(platform, rows, rounds, names)


def on(platform: Platform, rows: int, rounds: int, names: Sequence[str]) -> dict[str, Any]:
    """Measure on a platform of which no role runs."""
    scans = max(1, round(rows / platform.fleet.tags))
    bench = Bench(platform, scans)
    progress.say(f"{scans * platform.fleet.tags:,} rows a pass, {platform.fleet.tags:,} tags")
    bench.calibrate()
    from_log = [name for name in names if name.startswith("log_")]
    over_http = [name for name in names if name.startswith("http_")]
    over_mqtt = [name for name in names if name.startswith("mqtt_")]
    for number in range(rounds):
        progress.say(f"round {number + 1} of {rounds}")
        bench.measure(from_log)
        if over_http:
            platform.start("writer", "api")
            if not paths.supports_arrow(platform):
                bench.skipped["http_arrow"] = "the interface does not take Arrow"
            bench.warm_up([name for name in over_http if name not in bench.skipped])
            bench.measure([name for name in over_http if name not in bench.skipped])
            platform.stop("api")
        if over_mqtt:
            platform.start("writer", "api", "connectors")  # the interface answers for the units' logins
            bench.warm_up(over_mqtt)
            bench.measure(over_mqtt)
            platform.stop("connectors")
        platform.stop("writer")
    return result(bench, platform, scans * platform.fleet.tags, rounds)


def result(bench: Bench, platform: Platform, rows: int, rounds: int) -> dict[str, Any]:
    """All figures as plain values."""
    found: dict[str, Any] = {
        "benchmark": "ingest",
        "machine": platform.facts(),
        "rows": rows,
        "tags": platform.fleet.tags,
        "units": len(platform.fleet.units),
        "rounds": rounds,
    }
    for connections, limits in sorted(bench.limits.items()):
        rates = [limit.rows_per_second for limit in limits]
        used = medians([limit.cpu_seconds for limit in limits])
        found["raw_copy" if connections == 1 else f"raw_copy_{connections}"] = {
            "rows_per_second": round(statistics.median(rates)),
            "connections": connections,
            "rows_per_transaction": bench.rows_a_transaction,
            "tried": {str(size): round(rate) for size, rate in bench.tried.items()},
            "cpu_seconds": used,
            "cpu_us_per_row": us_per_row(used, rows),
            "rounds": [round(rate) for rate in rates],
        }
    for name, measured in bench.found.items():
        found[name] = _figures(name, measured, bench.found, platform.broker)
    if "log_to_store" in found and (beside := bench.limits.get(2)):
        # One writer may store over two connections: what it has of two bare ones.
        rate = statistics.median(limit.rows_per_second for limit in beside)
        found["log_to_store"]["ratio_to_raw_copy_2"] = round(
            found["log_to_store"]["rows_per_second"] / rate, 3
        )
    for name, reason in bench.skipped.items():
        found[name] = {"skipped": reason}
    found["lost"] = sum(run.verdict.lost for one in bench.found.values() for run in one.runs)
    found["doubled"] = sum(run.verdict.doubled for one in bench.found.values() for run in one.runs)
    found["strange"] = sum(run.verdict.strange for one in bench.found.values() for run in one.runs)
    return found


def _figures(name: str, measured: Measured, others: dict[str, Measured], broker: str) -> dict[str, Any]:
    rate, ratio = round(measured.rows_per_second), round(measured.ratio, 3)
    figures: dict[str, Any] = {"rows_per_second": rate, "ratio_to_raw_copy": ratio, "ratio": ratio}
    if name.startswith("mqtt_"):
        figures["points_per_second"] = rate
        figures["broker"] = broker
    if name.endswith("_late"):
        in_order = others[name.removesuffix("_late")]
        figures["slowdown"] = round(
            statistics.median(
                1 - late.rows_per_second / ordered.rows_per_second
                for late, ordered in zip(measured.runs, in_order.runs, strict=True)
            ),
            3,
        )
    figures["cpu_seconds"] = medians([run.cpu_seconds for run in measured.runs])
    figures["cpu_us_per_row"] = us_per_row(figures["cpu_seconds"], measured.runs[0].rows)
    verdicts = [run.verdict for run in measured.runs]
    figures |= {
        "acknowledged": sum(run.rows for run in measured.runs),
        "distinct": sum(verdict.expected for verdict in verdicts),
        "stored": sum(verdict.stored for verdict in verdicts),
        "lost": sum(verdict.lost for verdict in verdicts),
        "doubled": sum(verdict.doubled for verdict in verdicts),
        "strange": sum(verdict.strange for verdict in verdicts),
        "rounds": [
            {
                "rows_per_second": round(run.rows_per_second),
                "limit": round(limit),
                "ratio": round(run.rows_per_second / limit, 3),
                "seconds": round(run.seconds, 3),
                "cpu_seconds": run.cpu_seconds,
                "booked": asdict(run.booked),
                "sent": asdict(run.sent),
            }
            for run, limit in zip(measured.runs, measured.limits, strict=True)
        ],
    }
    return figures


def medians(rounds: Sequence[Seconds]) -> Seconds:
    """Median of the rounds, process by process; one that a round has not got had nothing."""
    names = {name: None for one in rounds for name in one}
    return {name: round(statistics.median(one.get(name, 0.0) for one in rounds), 2) for name in names}


_COLUMNS = (
    "路径\npath", "行/秒\nrows/s", "占极限\nof limit", "迟到\nlate", "慢\nslower", "CPU µs\na row", "丢失\nlost",
    "重复\ndoubled",
)  # fmt: skip


def show(found: dict[str, Any], console: Console) -> None:
    """The table for people, 80 characters wide."""
    machine = found["machine"]
    size = found[next(name for name in ("raw_copy", "raw_copy_2") if name in found)]["rows_per_transaction"]
    table = Table(
        title=f"接入 | ingest: {found['rows']:,} 行/轮 rows a pass, {found['tags']:,} 标签 tags, {found['rounds']} 轮 rounds",
        caption=f"{machine['cores']} × {machine['cpu']}, PostgreSQL {machine['postgresql']} ({machine['layout']}), "
        f"{size:,} 行/事务 rows a transaction of raw_copy, {machine['date']}",
        box=box.SIMPLE,
        pad_edge=False,
        collapse_padding=True,
    )
    for number, column in enumerate(_COLUMNS):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for name in ("raw_copy", "raw_copy_2"):
        if name in found:
            one = found[name]
            table.add_row(
                name, f"{one['rows_per_second']:,}", "1.00", "", "", f"{one['cpu_us_per_row']:.1f}", "", ""
            )
    for name in PATHS:
        if name not in found:
            continue
        one = found[name]
        if "skipped" in one:
            table.add_row(name, "–")
            console.print(f"{name}: {one['skipped']}")
            continue
        late = found[f"{name}_late"]
        table.add_row(
            name, f"{one['rows_per_second']:,}", f"{one['ratio']:.2f}", f"{late['rows_per_second']:,}",
            f"{late['slowdown']:.0%}", f"{one['cpu_us_per_row']:.1f}", str(one["lost"] + late["lost"]),
            str(one["doubled"] + late["doubled"]),
        )  # fmt: skip
    console.print(table)
