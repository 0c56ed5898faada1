"""`qunce audit`: is the audit log whole, how far does it reach, what is in it?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from qunce.options import ConfigOption, DataDirOption, JsonOption, settings_of

if TYPE_CHECKING:
    from store.audit import Head
    from store.database import Connection

app = typer.Typer(help="审计日志 | the audit log: append-only, hash-chained", no_args_is_help=True)
_HOW = {
    "missing": "缺失 | is missing",
    "before": "在第一条之前，不属于此链 | stands before the first: it is not of this chain",
    "altered": "被改动 | was altered",
    "rewritten": "与先前核验的不同 | is not what was verified before",
    "cut": "及以后被删去 | and what came after it were cut off",
}


@app.command()
def verify(
    expect: Annotated[
        str | None,
        typer.Option(
            help="已知的 序号:哈希,须仍在链上 | SEQ:HASH noted earlier that the log must still lead to;"
            " default: what the running platform, or the last verification, noted in the data directory"
        ),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """逐条重算哈希链 | recompute every seal; exit code 1 and the place when something was changed."""
    from qunce import audit_head
    from store import audit

    with _connected(config, data_dir) as (conn, root):
        known = _parsed(expect) if expect is not None else _noted(root)
        total = audit.head(conn).seq
        with Progress(
            TextColumn("核验 verifying"), BarColumn(), MofNCompleteColumn(), console=Console(stderr=True),
            transient=True, disable=as_json,
        ) as bar:  # fmt: skip
            task = bar.add_task("", total=max(total, 1))
            found = audit.verify(conn, known, lambda seq: bar.update(task, completed=seq))
        if isinstance(found, audit.Head):
            audit_head.keep(root, found)
    broken = isinstance(found, audit.Broken)
    if as_json:
        told: dict[str, object] = {"whole": not broken, "seq": found.seq}
        told |= {"how": found.how} if isinstance(found, audit.Broken) else {"hash": found.hash.hex()}
        typer.echo(json.dumps(told))
    elif isinstance(found, audit.Broken):
        typer.echo(
            f"审计日志不完整 | the audit log is NOT whole: 第 {found.seq} 条 | event {found.seq} {_HOW[found.how]}"
        )
    else:
        typer.echo(f"完整 | whole: {found.seq} 条 events; {found.seq}:{found.hash.hex()}")
    raise typer.Exit(1 if broken else 0)


@app.command()
def head(config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """最新一条的 序号:哈希 | SEQ:HASH of the newest event, to be noted elsewhere."""
    from store import audit

    with _connected(config, data_dir) as (conn, _):
        found = audit.head(conn)
    typer.echo(f"{found.seq}:{found.hash.hex()}")


@app.command("list")
def show(
    action: Annotated[str | None, typer.Option(help="如 session.refused | such as session.refused")] = None,
    actor: Annotated[str | None, typer.Option(help="如 person:admin | such as person:admin")] = None,
    unit: Annotated[str | None, typer.Option(help="牵头单位代码 | code of the lead unit")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """最近的事件 | the newest events."""
    from store import audit

    with _connected(config, data_dir) as (conn, _):
        found = audit.events(conn, limit=limit, wanted=audit.Wanted(action, actor, unit))
    if as_json:
        for event in found:
            typer.echo(
                json.dumps(
                    {**event._asdict(), "detail": json.loads(event.detail)}, default=str, ensure_ascii=False
                )
            )
        return
    table = Table(title="审计 | audit")
    for column in ("序号 seq", "时间 at", "操作人 actor", "动作 action", "对象 object", "内容 detail"):
        table.add_column(column, overflow="fold")
    for event in found:
        at = event.at.astimezone().isoformat(timespec="seconds")
        table.add_row(*map(Text, (str(event.seq), at, event.actor, event.action, event.object, event.detail)))
    Console().print(table)


def _parsed(text: str) -> Head:
    from store.audit import Head

    seq, _, seal = text.partition(":")
    if not (seq.isdecimal() and len(seal) == 64 and set(seal.lower()) <= set("0123456789abcdef")):
        raise typer.BadParameter(
            "须为 序号:哈希 | must be SEQ:HASH as `qunce audit head` says", param_hint="--expect"
        )
    return Head(int(seq), bytes.fromhex(seal))


def _noted(root: Path) -> Head | None:
    from qunce import audit_head

    try:
        return audit_head.read(root)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


@contextmanager
def _connected(config: Path | None, data_dir: Path | None) -> Iterator[tuple[Connection, Path]]:
    from qunce.demo.servers import awake
    from qunce.roles import needed
    from store.database import connect

    with (
        awake(settings_of(config, data_dir)) as settings,
        connect(needed(settings, "database.dsn"), application="audit") as conn,
    ):
        yield conn, settings.data_dir
