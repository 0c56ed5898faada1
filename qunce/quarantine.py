"""`qunce quarantine`: what was refused: to read, to export, and to replay once the cause is mended."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from qunce.options import ConfigOption, DataDirOption, JsonOption, moment, settings_of

if TYPE_CHECKING:
    from ingest.replay import Outcome, Replay
    from store.database import Connection
    from store.quarantine import Filter, Held

app = typer.Typer(help="隔离区:被拒收的数据 | the quarantine: what was refused", no_args_is_help=True)

UnitOption = Annotated[str | None, typer.Option("--unit", help="牵头单位代码 | code of the lead unit")]
SourceOption = Annotated[str | None, typer.Option("--source", help="来源,如 mqtt:… | source")]
ReasonOption = Annotated[
    str | None, typer.Option("--reason", help="原因代码,见 docs/reasons.md | code of the reason")
]
TagOption = Annotated[str | None, typer.Option("--tag", help="标签名 | name of the tag")]
BatchOption = Annotated[str | None, typer.Option("--batch", help="批次 | batch, as the sender was told")]
SinceOption = Annotated[
    datetime | None, typer.Option("--since", parser=moment, help="到达时间起(含) | arrived from (inclusive)")
]
UntilOption = Annotated[
    datetime | None, typer.Option("--until", parser=moment, help="到达时间止(不含) | arrived before")
]
OpenOption = Annotated[
    bool | None, typer.Option("--open/--replayed", help="未重放 / 已重放 | not replayed yet / replayed")
]

_COUNTED_MOST = 1_000_000
_PAGE = 500
_LEFT_SHOWN = 100
_FULL_PATIENCE_S = 60.0
_FULL_PAUSE_S = 2.0


class ExportFormat(StrEnum):
    """What an export is written as."""

    ndjson = "ndjson"
    csv = "csv"


@app.command("list")
def list_entries(
    unit: UnitOption = None,
    source: SourceOption = None,
    reason: ReasonOption = None,
    tag: TagOption = None,
    batch: BatchOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    open_: OpenOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="最多条数 | at most so many")] = 50,
    after: Annotated[
        int | None, typer.Option(min=1, help="从此编号之后继续 | go on after this id (`next`)")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """列出,新的在前 | list entries, newest first."""
    from ingest.held import as_dict
    from store import quarantine

    wanted = _filter(unit, source, reason, tag, batch, since, until, open_)
    with _connected(config, data_dir) as (conn, _):
        page = quarantine.page(conn, wanted, limit=limit, after=after)
    following = page.entries[-1].quarantine_id if page.more else None
    if as_json:
        found = {"entries": [as_dict(entry) for entry in page.entries], "next": following}
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1))
        return
    table = Table(title="隔离区 | quarantine", caption="详情 | details: qunce quarantine show <编号 id>")
    for column in ("编号 id", "到达 arrived", "单位 unit", "来源 source", "标签 tag", "原因 reason", ""):
        table.add_column(column, overflow="fold")
    for entry in page.entries:
        message = as_dict(entry)["message"]
        table.add_row(
            str(entry.quarantine_id), entry.received_at.astimezone().isoformat(" ", "seconds"),
            _cell(entry.unit), _cell(entry.source), _cell(entry.tag or ""),
            _cell(f"{entry.reason}\n{message['zh']}\n{message['en']}"),
            "○" if entry.replayed_at is None else "✓",
        )  # fmt: skip
    Console().print(table)
    typer.echo("○ 未重放 | open   ✓ 已重放 | replayed")
    if following is not None:
        typer.echo(f"还有更多 | there are more: --after {following}")


@app.command()
def show(
    quarantine_id: Annotated[int, typer.Argument(metavar="ID", help="编号 | id of the entry")],
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """一条的全部,含原始字节 | all of one entry, with the original bytes; exit code 1 if there is none."""
    from ingest.held import as_dict, printable
    from store import quarantine

    with _connected(config, data_dir) as (conn, _):
        entry = quarantine.one(conn, quarantine_id)
    if entry is None:
        typer.echo(f"没有这一条 | there is no entry {quarantine_id}", err=True)
        raise typer.Exit(1)
    if as_json:
        typer.echo(json.dumps(as_dict(entry), ensure_ascii=False, indent=1))
    else:
        typer.echo(printable("\n".join(_description(entry))))


@app.command()
def replay(
    ids: Annotated[
        list[int] | None, typer.Argument(metavar="[ID]…", help="编号 | ids; without: what the filters choose")
    ] = None,
    unit: UnitOption = None,
    source: SourceOption = None,
    reason: ReasonOption = None,
    tag: TagOption = None,
    batch: BatchOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="全部未重放的 | all that is open, of all units")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """重放:现在能通过校验的再次入库,可重复执行 | put what would be taken now into the log again; twice doubles nothing."""
    from store import quarantine
    from store.quarantine import Filter

    wanted = _filter(unit, source, reason, tag, batch, since, until, True)
    if ids:
        wanted = replace(wanted, ids=ids)
    if wanted == Filter(is_open=True) and not everything:
        raise typer.BadParameter("请给出编号、筛选条件或 --all | give ids, filters, or --all")
    tally = _Tally()
    with _connected(config, data_dir) as (conn, log_url), _bar("重放 | replaying") as advance:
        expected = quarantine.count(conn, wanted, _COUNTED_MOST)
        conn.rollback()

        def take(outcome: Outcome) -> None:
            tally.add(outcome)
            advance(outcome.looked, expected)

        asyncio.run(_replay_all(conn, log_url, wanted, take))
    if as_json:
        typer.echo(json.dumps(asdict(tally), ensure_ascii=False, indent=1))
        return
    typer.echo(
        f"查看 {tally.looked_at:,} 条,重放 {tally.replayed:,} 条(读数 {tally.readings:,} 个),"
        f"仍未重放 {tally.still_open:,} 条 | {tally.looked_at:,} looked at, {tally.replayed:,} replayed"
        f" ({tally.readings:,} readings), {tally.still_open:,} still open"
    )
    _show_reasons(tally)


@dataclass(slots=True)
class _Tally:
    """What a whole run did; `left`: the first entries that stay open, `reasons`: how many by reason."""

    looked_at: int = 0
    replayed: int = 0
    readings: int = 0
    still_open: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    left: list[dict[str, Any]] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.looked_at += outcome.looked
        self.replayed += outcome.replayed
        self.readings += outcome.readings
        self.still_open += len(outcome.left)
        for one in outcome.left:
            if one.reason not in self.reasons or len(self.left) < _LEFT_SHOWN:
                self.left.append(one._asdict())
            self.reasons[one.reason] = self.reasons.get(one.reason, 0) + 1


@app.command()
def export(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="写到文件,默认标准输出 | to this file; default stdout"),
    ] = None,
    form: Annotated[ExportFormat, typer.Option("--format", help="格式 | format")] = ExportFormat.ndjson,
    unit: UnitOption = None,
    source: SourceOption = None,
    reason: ReasonOption = None,
    tag: TagOption = None,
    batch: BatchOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    open_: OpenOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """导出,旧的在前,不限大小 | export, oldest first, of any size; the file is there only when it is complete."""
    from ingest.held import lines

    wanted = _filter(unit, source, reason, tag, batch, since, until, open_)
    with (
        _connected(config, data_dir) as (conn, _),
        _sink(output) as sink,
        _bar("导出 | exporting") as advance,
    ):
        for done, expected, entries in _pages(conn, wanted):
            sink.writelines(lines(entries, form.value, head=done == 0))
            advance(len(entries), expected)


def _filter(
    unit: str | None, source: str | None, reason: str | None, tag: str | None, batch: str | None,
    since: datetime | None, until: datetime | None, is_open: bool | None,
) -> Filter:  # fmt: skip
    from store.quarantine import Filter
    from store.reasons import REASONS

    if reason is not None and reason not in REASONS:
        raise typer.BadParameter(
            f"没有该原因 | there is no reason {reason}; see docs/reasons.md", param_hint="--reason"
        )
    return Filter(
        unit=unit, source=source, reason=reason, tag=tag, batch=batch, since=since, until=until,
        is_open=is_open,
    )  # fmt: skip


@contextmanager
def _connected(config: Path | None, data_dir: Path | None) -> Iterator[tuple[Connection, str]]:
    """A connection to the database, and where the log is."""
    from qunce.demo.servers import awake
    from qunce.roles import needed
    from store.database import connect

    with (
        awake(settings_of(config, data_dir)) as settings,
        connect(needed(settings, "database.dsn"), application="quarantine") as conn,
    ):
        yield conn, needed(settings, "log.url")


async def _replay_all(
    conn: Connection, log_url: str, wanted: Filter, take: Callable[[Outcome], None]
) -> None:
    from ingest.log import Log
    from ingest.replay import Replay

    log, loop = await Log.connect(log_url, name="replay"), asyncio.get_running_loop()

    def append(data: bytes, **where: Any) -> None:
        asyncio.run_coroutine_threadsafe(log.append(data, **where), loop).result()

    try:
        await asyncio.to_thread(_all_pages, Replay(append), conn, wanted, take)
    finally:
        await log.close()


def _all_pages(run: Replay, conn: Connection, wanted: Filter, take: Callable[[Outcome], None]) -> None:
    from ingest.log import LogFull

    after, more, full_since = None, True, None
    while more:
        try:
            outcome = run.page(conn, wanted, after=after)
        except LogFull:
            # The writer makes room; whoever sends live data comes first.
            full_since = full_since or time.monotonic()
            if time.monotonic() - full_since > _FULL_PATIENCE_S:
                raise
            time.sleep(_FULL_PAUSE_S)
            continue
        full_since, after, more = None, outcome.after, outcome.more
        take(outcome)


def _pages(conn: Connection, wanted: Filter) -> Iterator[tuple[int, int, Sequence[Held]]]:
    """(entries before, entries in all as far as counted, entries), oldest first."""
    from store import quarantine

    expected = quarantine.count(conn, wanted, _COUNTED_MOST)
    done, after, more = 0, None, True
    while more:
        entries, more = quarantine.page(conn, wanted, limit=_PAGE, after=after, newest_first=False)
        conn.rollback()  # no snapshot is held while the file is written
        yield done, expected, entries
        done, after = done + len(entries), entries[-1].quarantine_id if entries else None


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on the terminal, if standard error is one: call it with (entries more, entries in all)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(title, total=None)

        def advance(more: int, total: int) -> None:
            progress.update(task, advance=more, total=total if total < _COUNTED_MOST else None)

        yield advance


@contextmanager
def _sink(output: Path | None) -> Iterator[BinaryIO]:
    """Where the export goes; a file gets its name when it is complete."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = output.with_name(output.name + ".part")
    with ExitStack() as stack:
        stack.callback(part.unlink, missing_ok=True)
        with part.open("wb") as file:
            yield file
        part.replace(output)


def _description(entry: Held) -> Iterator[str]:
    from ingest.held import as_dict

    shown = as_dict(entry)
    yield f"编号 id:       {entry.quarantine_id}"
    yield f"单位 unit:     {entry.unit}"
    yield f"来源 source:   {entry.source}"
    yield f"批次 batch:    {entry.batch}"
    yield f"位置 place:    {entry.place}"
    yield f"标签 tag:      {entry.tag or '–'}"
    yield f"源时间 ts:     {shown['ts'] or '–'}"
    yield f"到达 received: {shown['received_at']}"
    replayed = "–" if entry.replayed_at is None else f"{shown['replayed_at']} ({entry.replay_batch})"
    yield f"重放 replayed: {replayed}"
    yield f"原因 reason:   {entry.reason}"
    yield f"  {shown['message']['zh']}\n  {shown['message']['en']}"
    yield f"处理 hint:     {shown['hint']['zh']}\n               {shown['hint']['en']}"
    kept = len(entry.original)
    cut = f", 仅保留前 | only the first {kept:,} are kept" if entry.is_cut else ""
    yield f"原文 original: {shown['original_bytes']:,} 字节 | bytes{cut}"
    text = shown["original_text"]
    yield text if text is not None else "\n".join(_hex_lines(entry.original))


def _cell(text: str) -> Text:
    """What came from outside, in a table: neither markup nor the terminal's own signs."""
    from ingest.held import printable

    return Text(printable(text))


def _hex_lines(data: bytes) -> Iterator[str]:
    for start in range(0, len(data), 16):
        part = data[start : start + 16]
        letters = "".join(chr(b) if 32 <= b < 127 else "." for b in part)
        yield f"{start:08x}  {part.hex(' '):<47}  {letters}"


def _show_reasons(tally: _Tally) -> None:
    from ingest.replay import HINDRANCES
    from store.reasons import reason_of

    if not tally.reasons:
        return
    table = Table(title="仍未重放的原因 | why they are still open")
    for column in ("条数 entries", "原因 reason", "例 example", "处理 hint"):
        table.add_column(column, overflow="fold")
    examples = {one["reason"]: one for one in reversed(tally.left)}
    for code, n in sorted(tally.reasons.items(), key=lambda item: -item[1]):
        reason, one = HINDRANCES.get(code) or reason_of(code), examples[code]
        message, hint = reason.message(one["parameters"]), reason.hint(one["parameters"])
        table.add_row(
            f"{n:,}", code, _cell(f"{one['quarantine_id']}: {message['zh']}\n{message['en']}"),
            _cell(f"{hint['zh']}\n{hint['en']}"),
        )  # fmt: skip
    Console().print(table)
