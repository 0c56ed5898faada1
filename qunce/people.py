"""`qunce people`: accounts of people, for whoever has the database's owner."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qunce.options import ConfigOption, DataDirOption, JsonOption, settings_of

if TYPE_CHECKING:
    from store.database import Connection

app = typer.Typer(help="人员账号 | accounts of people", no_args_is_help=True)
NameArgument = Annotated[str, typer.Argument(help="用户名 | login name")]
StdinOption = Annotated[
    bool, typer.Option("--password-stdin", help="从标准输入读取密码 | read the password from standard input")
]


@app.command("list")
def show(as_json: JsonOption = False, config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """全部账号 | all accounts."""
    from store import people

    with _connected(config, data_dir) as conn:
        found = people.listed(conn)
    if as_json:
        typer.echo(json.dumps([one._asdict() for one in found], ensure_ascii=False, indent=1, default=str))
        return
    table = Table(title="人员 | people")
    for column in ("用户名 name", "姓名 display", "角色 role", "范围 scope", "状态 state"):
        table.add_column(column, overflow="fold")
    for one in found:
        scope = one.region or one.unit or one.uscc or ", ".join(one.pilots or ())
        state = "停用 disabled" if one.disabled_at else "锁定 locked" if one.locked_until else "启用 active"
        table.add_row(*map(Text, (one.name, one.display_name, one.role, scope, state)))
    Console().print(table)


@app.command()
def add(
    name: NameArgument,
    role: Annotated[
        str, typer.Option(help="province, city, county, lead_unit, enterprise, think_tank, bank, operator")
    ],
    display: Annotated[str | None, typer.Option("--display-name", help="姓名 | name as shown")] = None,
    region: Annotated[str | None, typer.Option(help="city、county 的行政区划代码 | region code")] = None,
    unit: Annotated[str | None, typer.Option(help="lead_unit 的单位代码 | code of the lead unit")] = None,
    uscc: Annotated[str | None, typer.Option(help="enterprise、bank 的统一社会信用代码")] = None,
    pilot: Annotated[
        list[str] | None, typer.Option(help="think_tank 的试点,可重复 | pilots, may be repeated")
    ] = None,
    oidc_subject: Annotated[
        str | None, typer.Option(help="OIDC:签发者与主体,空格分隔 | issuer and subject, joined by a blank")
    ] = None,
    password_stdin: StdinOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """添加账号;未给密码时生成并只显示这一次 | add an account; a password is made, and shown this once, if none is given."""
    from store import passwords, people
    from store.identity import ROLES

    if role not in ROLES:
        raise typer.BadParameter(f"{role}: {', '.join(ROLES)}", param_hint="--role")
    given = _from_stdin() if password_stdin else None
    made = passwords.generated() if given is None and oidc_subject is None else None
    wanted = people.Wanted(name, display or name, role, region, pilot, unit, uscc, oidc_subject)
    with _connected(config, data_dir) as conn, _explained():
        people.add(conn, wanted, given or made)
    typer.echo(f"已添加 | added: {name} ({role})" + (f"\n密码 | password: {made}" if made else ""))


@app.command()
def disable(name: NameArgument, config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """停用并结束其全部会话 | shut somebody out; all his sessions end."""
    _change(name, disabled=True, config=config, data_dir=data_dir)
    typer.echo(f"已停用 | disabled: {name}")


@app.command()
def enable(name: NameArgument, config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """重新启用 | let somebody in again."""
    _change(name, disabled=False, config=config, data_dir=data_dir)
    typer.echo(f"已启用 | enabled: {name}")


@app.command("set-password")
def set_password(
    name: NameArgument,
    password_stdin: StdinOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """重置密码并结束其全部会话 | another password; all sessions end. Made and shown this once if none is given."""
    from store import passwords, people

    given = _from_stdin() if password_stdin else None
    secret = given or passwords.generated()
    with _connected(config, data_dir) as conn, _explained():
        ended = people.set_password(conn, name, secret)
    shown = "" if given else f"\n密码 | password: {secret}"
    typer.echo(f"已重置,结束 {ended} 个会话 | password set, {ended} sessions ended: {name}{shown}")


def _change(name: str, *, disabled: bool, config: Path | None, data_dir: Path | None) -> None:
    from store import people

    with _connected(config, data_dir) as conn, _explained():
        people.change(conn, name, disabled=disabled)


def _from_stdin() -> str:
    return sys.stdin.readline().rstrip("\r\n")


@contextmanager
def _connected(config: Path | None, data_dir: Path | None) -> Iterator[Connection]:
    from qunce.demo.servers import awake
    from qunce.roles import needed
    from store.database import connect

    with (
        awake(settings_of(config, data_dir)) as settings,
        connect(needed(settings, "database.dsn"), application="people") as conn,
    ):
        yield conn


@contextmanager
def _explained() -> Iterator[None]:
    from store.passwords import Weak
    from store.people import NameTaken, WrongScope

    try:
        yield
    except LookupError as unknown:
        raise typer.BadParameter(f"没有该账号 | there is no account {unknown}") from None
    except NameTaken as taken:
        raise typer.BadParameter(f"已有该账号 | there is one already: {taken}") from None
    except (Weak, WrongScope) as wrong:
        raise typer.BadParameter(str(wrong)) from None
