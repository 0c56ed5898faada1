"""`qunce bench …`: the command line of the benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

app = typer.Typer(
    help="性能测试：数据库自身的极限在同一次运行中测得 | benchmarks; the physical limit is measured in the same run",
    no_args_is_help=True,
)
JsonOption = Annotated[bool, typer.Option("--json", help="输出 JSON | as JSON")]
TagsOption = Annotated[int, typer.Option(help="标签数 | tags in all", min=1)]


@app.command()
def ingest(
    as_json: JsonOption = False,
    rows: Annotated[int, typer.Option(help="每轮每条路径的行数 | rows a pass", min=1000)] = 2_000_000,
    tags: TagsOption = 10_000,
    rounds: Annotated[int, typer.Option(help="轮数，取中位数 | rounds; medians are taken", min=1)] = 3,
    only: Annotated[
        str, typer.Option(help="只测这些路径，逗号分隔 | these paths only, comma-separated")
    ] = "",
) -> None:
    """每条接入路径的吞吐、占数据库极限的比例、丢失与重复 | throughput of every way in, and its loss count."""
    from benchmarks import ingest as benchmark

    names = [name.strip() for name in only.split(",") if name.strip()]
    if unknown := [name for name in names if name not in benchmark.PATHS]:
        known = ", ".join(benchmark.PATHS)
        raise typer.BadParameter(f"{', '.join(unknown)}: 没有 / no such path; {known}", param_hint="--only")
    found = benchmark.run(rows=rows, tags=tags, rounds=rounds, only=names)
    _give(found, as_json, benchmark.show)


@app.command()
def freshness(
    as_json: JsonOption = False,
    rate: Annotated[
        float | None,
        typer.Option(
            help="行/秒，默认为实测最大值的一半 | rows/s; default: half of the measured maximum", min=1
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(help="时长（秒）| how long", min=1)] = 30.0,
    rows: Annotated[
        int, typer.Option(help="测最大值用的行数 | rows to find the maximum with", min=1000)
    ] = 1_000_000,
    tags: TagsOption = 20_000,
    every: Annotated[
        float, typer.Option(help="每单位两批之间的秒数 | seconds between two batches of a unit", min=0.05)
    ] = 1.0,
) -> None:
    """从源时间到可查询的时延 | how long from source time to queryable, at half of the maximum rate."""
    from benchmarks import freshness as benchmark

    found = benchmark.run(rate=rate, seconds=seconds, rows=rows, tags=tags, every_s=every)
    _give(found, as_json, benchmark.show)


@app.command()
def soak(
    as_json: JsonOption = False,
    minutes: Annotated[float, typer.Option(help="时长（分钟）| how long", min=0.05)] = 10.0,
    overload: Annotated[
        bool, typer.Option("--overload", help="尽快发送，直到被要求放慢 | send as fast as one is let")
    ] = False,
    rate: Annotated[
        float | None,
        typer.Option(
            help="行/秒，默认为实测最大值的一半 | rows/s; default: half of the measured maximum", min=1
        ),
    ] = None,
    tags: TagsOption = 10_000,
    log_mb: Annotated[int, typer.Option(help="接入日志上限（MB）| limit of the ingest log", min=64)] = 512,
    samples: Annotated[
        Path, typer.Option(help="逐秒样本（JSON 行）| a sample a second, as JSON lines")
    ] = Path("soak.jsonl"),
) -> None:
    """内存是否平稳，是否丢失 | does memory stay flat, and is nothing lost, for as long as asked?"""
    from benchmarks import soak as benchmark

    found = benchmark.run(
        minutes=minutes, overload=overload, rate=rate, tags=tags, log_mb=log_mb, samples=samples
    )
    _give(found, as_json, benchmark.show)


@app.command()
def scale(
    as_json: JsonOption = False,
    rows: Annotated[int, typer.Option(help="每轮行数 | rows a pass", min=1000)] = 2_000_000,
    tags: Annotated[str, typer.Option(help="标签数，逗号分隔 | numbers of tags")] = "10000,100000,1000000",
    writers: Annotated[str, typer.Option(help="写入进程数：1、2、4、8 | numbers of writers")] = "1,2,4",
    rounds: Annotated[int, typer.Option(help="轮数，取中位数 | rounds; medians are taken", min=1)] = 2,
) -> None:
    """多个写入进程与百万标签 | several writers, and up to a million tags."""
    from benchmarks import scale as benchmark

    found = benchmark.run(
        rows=rows, tags=_numbers(tags, "--tags"), writers=_numbers(writers, "--writers"), rounds=rounds
    )
    _give(found, as_json, benchmark.show)


def _numbers(text: str, option: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1 or (option == "--writers" and not {1, 2, 4, 8}.issuperset(numbers)):
        raise typer.BadParameter(f"{text!r}", param_hint=option)
    return numbers


def _give(found: dict[str, Any], as_json: bool, show: Any) -> None:
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1))
    else:
        show(found, Console())
