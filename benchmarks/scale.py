"""`qunce bench scale`: several writers, each with its part of the log, and many registered tags.

For every number of tags the bare COPY with as many connections as there are writers is the limit; each
tag gets the same number of readings. `start_seconds`: from the start of the writer's process to its first
committed row, with a full log waiting and nothing cached.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import paths, progress
from benchmarks.limit import raw_copy
from benchmarks.paths import Run
from benchmarks.platform import Platform

TAGS = (10_000, 100_000, 1_000_000)
WRITERS = (1, 2, 4)
ROWS_A_TRANSACTION = 200_000


def run(
    *,
    rows: int = 2_000_000,
    tags: Sequence[int] = TAGS,
    writers: Sequence[int] = WRITERS,
    rounds: int = 2,
) -> dict[str, Any]:
    """Measure; returns what `--json` prints. `rows` a pass, at least one reading of every tag."""
    found: dict[str, Any] = {"benchmark": "scale", "rounds": rounds, "results": []}
    for count in tags:
        progress.say(f"starting a platform with {count:,} tags …")
        with Platform(tags=count) as platform:
            found["machine"] = platform.facts()
            scans = max(1, round(rows / platform.fleet.tags))
            for some in writers:
                found["results"].append(on(platform, scans, some, rounds))
    found["lost"] = sum(one["lost"] for one in found["results"])
    found["doubled"] = sum(one["doubled"] for one in found["results"])
    return found


def on(platform: Platform, scans: int, writers: int, rounds: int) -> dict[str, Any]:
    """Measure one number of writers on a platform of which no role runs."""
    limits: list[float] = []
    runs: list[Run] = []
    most = 0
    for _ in range(rounds):
        of = platform.next_pass(scans, history_scans=1)
        limits.append(
            raw_copy(platform, of, connections=writers, rows_a_transaction=ROWS_A_TRANSACTION).rows_per_second
        )
        platform.forget(of)
        of = platform.next_pass(scans, history_scans=1)
        with progress.step(f"{writers} writer(s) …"):
            run = paths.cold_start(writers)(platform, of)
        runs.append(run)
        most = max(most, run.writer_bytes)
        platform.forget(of)
        progress.say(
            f"  {platform.fleet.tags:>9,} tags, {writers} writer(s)  {run.rows_per_second:>10,.0f} rows/s"
            f"  of {limits[-1]:>10,.0f}   first row after {run.start_seconds or 0:.1f} s"
        )
    return {
        "tags": platform.fleet.tags,
        "writers": writers,
        "rows": runs[0].rows,
        "rows_per_second": round(statistics.median(run.rows_per_second for run in runs)),
        "raw_copy_rows_per_second": round(statistics.median(limits)),
        "ratio_to_raw_copy": round(
            statistics.median(run.rows_per_second / limit for run, limit in zip(runs, limits, strict=True)), 3
        ),
        "start_seconds": round(max(run.start_seconds or 0.0 for run in runs), 2),
        "writer_max_rss_bytes": most,
        "lost": sum(run.verdict.lost for run in runs),
        "doubled": sum(run.verdict.doubled for run in runs),
    }


def show(found: dict[str, Any], console: Console) -> None:
    """The table for people."""
    table = Table(title=f"规模 | scale: 丢失 lost {found['lost']}, 重复 doubled {found['doubled']}")
    for column in (
        "标签 tags",
        "写入进程 writers",
        "行/秒 rows/s",
        "占极限 of limit",
        "首行 first row s",
        "RSS MB",
    ):
        table.add_column(column, justify="right")
    for one in found["results"]:
        table.add_row(
            f"{one['tags']:,}", str(one["writers"]), f"{one['rows_per_second']:,}",
            f"{one['ratio_to_raw_copy']:.2f}", f"{one['start_seconds']:.1f}",
            f"{one['writer_max_rss_bytes'] / 2**20:.0f}",
        )  # fmt: skip
    console.print(table)
