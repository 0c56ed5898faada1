"""`qunce periods`: until when a unit's readings are closed."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qunce.options import ConfigOption, DataDirOption, JsonOption, moment, settings_of

if TYPE_CHECKING:
    from store.database import Connection

app = typer.Typer(
    help="结账时段 | closed periods: readings before them are refused (period_closed)", no_args_is_help=True
)

UnitOption = Annotated[str, typer.Option("--unit", help="牵头单位代码 | code of the lead unit")]
ByOption = Annotated[
    str | None, typer.Option("--by", help="操作人 | who does it; default: the user logged in")
]


@app.command()
def close(
    unit: UnitOption,
    until: Annotated[
        datetime,
        typer.Option(
            parser=moment, help="此源时间之前的数据不再接收 | readings before this source time are closed"
        ),
    ],
    by: ByOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """结账 | close a unit's readings before a time; what arrives for it afterwards goes into the quarantine."""
    from store import periods

    if until > datetime.now(UTC):
        raise typer.BadParameter(
            "不能在将来 | must not lie in the future: live data would be refused", param_hint="--until"
        )
    with _connected(config, data_dir) as conn, _explained():
        periods.close(conn, unit, until, by or getpass.getuser())
    typer.echo(f"已结账 | closed: {unit} < {until.isoformat()}")


@app.command()
def reopen(
    unit: UnitOption,
    until: Annotated[
        datetime | None,
        typer.Option(
            parser=moment, help="仍保持结账到此时间 | stays closed until this time; default: all is opened"
        ),
    ] = None,
    by: ByOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """重新开放 | open again; then `qunce quarantine replay --unit … --reason period_closed` brings in what was refused."""
    from store import periods

    with _connected(config, data_dir) as conn, _explained():
        periods.reopen(conn, unit, until, by or getpass.getuser())
    left = "" if until is None else f"; 仍结账 | still closed: < {until.isoformat()}"
    typer.echo(f"已重新开放 | opened again: {unit}{left}")


@app.command("list")
def show(as_json: JsonOption = False, config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """各单位的结账时段 | every unit's closed period."""
    from store import periods

    with _connected(config, data_dir) as conn:
        found = periods.closed(conn)
    if as_json:
        typer.echo(json.dumps([one._asdict() for one in found], ensure_ascii=False, indent=1, default=str))
        return
    table = Table(title="结账时段 | closed periods")
    for column in ("单位 unit", "名称 name", "结账至 until", "操作时间 at", "操作人 by"):
        table.add_column(column, overflow="fold")
    for one in found:
        until, at = (time.astimezone().isoformat(timespec="minutes") for time in (one.until, one.closed_at))
        table.add_row(*map(Text, (one.unit, one.name_zh, until, at, one.closed_by)))
    Console().print(table)


@contextmanager
def _connected(config: Path | None, data_dir: Path | None) -> Iterator[Connection]:
    from qunce.demo.servers import awake
    from qunce.roles import needed
    from store.database import connect

    with (
        awake(settings_of(config, data_dir)) as settings,
        connect(needed(settings, "database.dsn"), application="periods") as conn,
    ):
        yield conn


@contextmanager
def _explained() -> Iterator[None]:
    from store.periods import Backwards, UnknownUnit

    try:
        yield
    except UnknownUnit as unknown:
        raise typer.BadParameter(f"没有该单位 | there is no unit {unknown}", param_hint="--unit") from None
    except Backwards as backwards:
        now = "未结账 | nothing" if backwards.until is None else backwards.until.isoformat()
        text = f"现已结账至 | closed now until: {now}; close 只能向后 | only moves on, reopen 只能向前 | only moves back"
        raise typer.BadParameter(text, param_hint="--until") from None
