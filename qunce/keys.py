"""`qunce keys`: the API keys of a unit, for whoever administers the platform."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from qunce.options import ConfigOption, DataDirOption, JsonOption, settings_of

if TYPE_CHECKING:
    from store.database import Connection
    from store.keys import Key

app = typer.Typer(help="单位的 API 密钥 | API keys of a unit", no_args_is_help=True)

UnitOption = Annotated[str, typer.Option("--unit", help="牵头单位代码 | code of the lead unit")]
KeyArgument = Annotated[int, typer.Argument(metavar="KEY_ID", help="密钥编号 | id of the key")]


@app.command("list")
def list_keys(
    unit: UnitOption,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """列出,不含密钥本身 | list them, without the secrets."""
    from store import keys

    with _unit(config, data_dir, unit) as (conn, unit_id):
        found = keys.keys(conn, unit_id)
    if as_json:
        typer.echo(json.dumps([_as_dict(key) for key in found], ensure_ascii=False, indent=1))
        return
    table = Table(title=f"密钥 | keys: {unit}")
    for column in (
        "编号 id",
        "名称 name",
        "权限 scopes",
        "签发 issued",
        "到期 expires",
        "最近使用 used",
        "有效 valid",
    ):
        table.add_column(column, overflow="fold")
    for key in found:
        table.add_row(
            str(key.key_id), key.name, "*" if key.scopes is None else " ".join(key.scopes),
            f"{_time(key.created_at)}\n{key.created_by}", _time(key.expires_at), _time(key.last_used_at),
            "✓" if key.valid else "✗",
        )  # fmt: skip
    Console().print(table)


@app.command()
def issue(
    unit: UnitOption,
    name: Annotated[str, typer.Option(help="名称 | what it is for")],
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="权限,可重复;缺省为全部 | permission, may be repeated; default: all"),
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=3650, help="有效天数 | valid for so many days")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """签发;密钥只显示这一次 | issue a key, shown this once."""
    from store import keys
    from store.identity import GRANTED, new_key

    if unknown := sorted(set(scope or ()) - GRANTED["lead_unit"]):
        known = ", ".join(sorted(GRANTED["lead_unit"]))
        raise typer.BadParameter(f"{', '.join(unknown)}: {known}", param_hint="--scope")
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    secret = new_key()
    with _unit(config, data_dir, unit) as (conn, unit_id):
        made = keys.issue(
            conn, unit_id, secret, name=name, scopes=scope or None, expires_at=expires_at, by=_by(),
            within=GRANTED["lead_unit"],
        )  # fmt: skip
    _show(secret, made, as_json=as_json)


@app.command()
def rotate(
    unit: UnitOption,
    key_id: KeyArgument,
    overlap: Annotated[
        float, typer.Option(min=0, max=720, help="旧密钥继续有效的小时数 | hours the old one goes on")
    ] = 24,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """轮换:新旧密钥在重叠期内都有效 | a successor; both are valid during the overlap."""
    from store import keys
    from store.identity import GRANTED, new_key

    secret = new_key()
    with _unit(config, data_dir, unit) as (conn, unit_id):
        found = keys.rotate(
            conn, unit_id, key_id, secret, overlap=timedelta(hours=overlap), by=_by(),
            within=GRANTED["lead_unit"],
        )  # fmt: skip
    if found is None:
        _none(key_id)
    else:
        _show(secret, found[0], as_json=as_json)


@app.command()
def revoke(
    unit: UnitOption,
    key_id: KeyArgument,
    force: Annotated[
        bool, typer.Option("--force", help="即使是最后一个 | even the last that can manage keys")
    ] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """立即吊销 | end a key at once."""
    from store import keys

    with _unit(config, data_dir, unit) as (conn, unit_id):
        ended = keys.revoke(conn, unit_id, key_id, forced=force)
    if ended is None:
        _none(key_id)
    typer.echo(f"已吊销 | revoked: {key_id}")


@contextmanager
def _unit(config: Path | None, data_dir: Path | None, code: str) -> Iterator[tuple[Connection, int]]:
    from qunce.roles import needed
    from store import keys, scope
    from store.database import connect

    settings = settings_of(config, data_dir)
    with connect(needed(settings, "database.dsn"), application="keys") as conn:
        unit_id = scope.unit_id(conn, code)
        if unit_id is None:
            raise typer.BadParameter(f"没有牵头单位 | no such lead unit: {code}", param_hint="--unit")
        try:
            yield conn, unit_id
        except keys.Refused as refused:
            conn.rollback()
            from ingest.api.problems import message_of

            text = message_of(refused.reason, refused.parameters)
            typer.echo(f"{text['zh']} | {text['en']}", err=True)
            raise typer.Exit(1) from None


def _none(key_id: int) -> None:
    typer.echo(f"没有有效的密钥 | there is no valid key {key_id}", err=True)
    raise typer.Exit(1)


def _show(secret: str, made: Key, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"key": secret, **_as_dict(made)}, ensure_ascii=False, indent=1))
        return
    typer.echo(secret)
    typer.echo(
        f"编号 {made.key_id};请妥善保存,不会再次显示 | id {made.key_id}; keep it, it is not shown again",
        err=True,
    )


def _as_dict(key: Key) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in key._asdict().items()
    }


def _time(moment: datetime | None) -> str:
    return "–" if moment is None else moment.astimezone().isoformat(" ", "minutes")


def _by() -> str:
    return f"cli:{getpass.getuser()}"
