"""The command line. Imports of the rooms are inside the commands, so that `qunce --help` is quick."""

from __future__ import annotations

import json
import logging
import sys
from importlib.metadata import version as installed
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.commands import app as bench
from qunce import audit, keys, people, periods, quarantine
from qunce.failures import explain
from qunce.options import ConfigOption, DataDirOption, JsonOption, settings_of
from qunce.push.commands import pull_template, push
from qunce.settings import SettingsError, default_data_dir

app = typer.Typer(
    name="qunce",
    help="群策：产业集群数字化转型试点的实时监管平台 | live supervision of industrial-cluster pilots",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
db = typer.Typer(help="数据库 | the database", no_args_is_help=True)
app.add_typer(db, name="db")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(periods.app, name="periods")
app.add_typer(people.app, name="people")
app.add_typer(audit.app, name="audit")
app.add_typer(keys.app, name="keys")
app.add_typer(bench, name="bench")
app.command()(push)
app.command("pull-template")(pull_template)


def main() -> None:
    """Entry point: what the person at the keyboard can mend ends with a message and exit code 2, no traceback."""
    try:
        app()
    except SettingsError as error:
        for problem in error.problems:
            print(f"设置错误 | settings: {problem}", file=sys.stderr)  # noqa: T201 before any log exists
        sys.exit(2)
    except Exception as error:
        if (message := explain(error)) is None:
            raise
        print(f"qunce: {message}", file=sys.stderr)  # noqa: T201
        sys.exit(2)


@app.command()
def demo(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="清空重来 | delete the demo's data and begin anew")
    ] = False,
    history: Annotated[
        str, typer.Option(help="回填多久的历史，如 14d、6h | how much of the past to fill; 0 for none")
    ] = "14d",
    faults: Annotated[
        str,
        typer.Option(
            help="模拟故障：none、all 或逗号分隔 | simulated faults: none, all, or a comma-separated list"
        ),
    ] = "none",
    seed: Annotated[int, typer.Option(help="模拟省份的种子 | seed of the simulated province")] = 7,
    speed: Annotated[
        float, typer.Option(help="模拟时间倍速 | how fast simulated time runs until it is now", min=1)
    ] = 1,
    exit_after: Annotated[
        float | None,
        typer.Option(help="就绪后运行多少秒即停止 | stop this many seconds after being ready", min=0),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="把运行结果写成 JSON | write an account of the run as JSON")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="网页端口 | port of the pages and the interface", min=1, max=65535)
    ] = None,
) -> None:
    """一条命令启动全平台与模拟省份 | the whole platform with a simulated province, on this machine only."""
    from qunce.demo.ground import Refused
    from qunce.demo.parts import SimulatorOptions
    from qunce.demo.run import Demo, DemoOptions
    from qunce.supervisor import InUse

    settings = settings_of(config, data_dir, generated=False)
    logging.getLogger("qunce").setLevel(max(logging.WARNING, logging.getLogger().level))
    if port is not None:
        settings = settings.model_copy(update={"api": settings.api.model_copy(update={"port": port})})
    options = DemoOptions(fresh, seed, SimulatorOptions(history, faults, speed), exit_after, report)
    try:
        code = Demo(settings, options).run()
    except (Refused, InUse) as error:
        print(f"qunce demo: {error}", file=sys.stderr)  # noqa: T201
        code = 2
    raise typer.Exit(code)


@app.command()
def up(
    roles: Annotated[
        str,
        typer.Option(
            help="在此进程中运行的角色 | roles of this process: api,writer,connectors,metrics,dashboard"
        ),
    ] = "api,writer,connectors,metrics,dashboard",
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """在前台运行所给角色 | run the given roles in the foreground until Ctrl-C."""
    from qunce.roles import parse, run

    settings = settings_of(config, data_dir)
    try:
        wanted = parse(roles)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--roles") from None
    raise typer.Exit(run(settings, wanted))


@app.command()
def status(as_json: JsonOption = False, config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """各部分的状态 | what runs, and what each part says of itself; exit code 1 if something is not well."""
    from qunce.status import gather, show

    found = gather(settings_of(config, data_dir))
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1, default=str))
    else:
        show(found, Console())
    raise typer.Exit(0 if found["well"] else 1)


@app.command()
def check(as_json: JsonOption = False, config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """检查设置与每个后端 | are the settings right and is every back end reachable?; exit code 1 if not."""
    from qunce.checks import run_checks

    checks = run_checks(settings_of(config, data_dir))
    if as_json:
        typer.echo(json.dumps([check._asdict() for check in checks], ensure_ascii=False, indent=1))
    else:
        table = Table(title="群策检查 | qunce check")
        for column in ("", "对象 what", "地址 target", "毫秒 ms", "说明 detail"):
            table.add_column(column, overflow="fold")
        for one in checks:
            sign = {True: "[green]✓[/green]", False: "[red]✗[/red]", None: "[dim]–[/dim]"}[one.ok]
            table.add_row(sign, one.name, one.target, f"{one.milliseconds:.0f}", one.detail)
        Console().print(table)
    raise typer.Exit(1 if any(one.ok is False for one in checks) else 0)


@app.command()
def verify(as_json: JsonOption = False, config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """逐源对账：发送 = 入库 + 重复 + 隔离 + 在途 | does every source's account balance?; exit code 1 if not."""
    from qunce.verify import run

    raise typer.Exit(run(settings_of(config, data_dir), as_json=as_json))


@app.command()
def provision(
    pilots: Annotated[
        Path,
        typer.Argument(
            help='试点清单 JSON | the pilots: {"pilots": [{…, "unit": {…}}]}; see docs/running.md'
        ),
    ],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """登记试点与牵头单位,签发密钥 | register pilots and lead units, and issue their keys."""
    from qunce.provision import provision as register
    from qunce.provision import read_pilots
    from qunce.roles import needed

    settings = settings_of(config, data_dir)
    dsn, keys_file = needed(settings, "database.dsn"), settings.data_dir / "keys.json"
    keys = register(dsn, read_pilots(pilots), keys_file)
    typer.echo(f"已登记 {len(keys)} 个牵头单位 | {len(keys)} lead units registered; keys in {keys_file}")


@app.command()
def nats_users(
    file: Annotated[
        Path, typer.Argument(help="写到哪里 | the file to write, to be included by the server's")
    ],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """写出作为代理的 NATS 的用户配置 | write the users' part of the configuration of a NATS server that is your broker."""
    from qunce.provision import write_nats_users
    from qunce.roles import needed

    settings = settings_of(config, data_dir)
    write_nats_users(needed(settings, "mqtt.url"), needed(settings, "mqtt.callout_url"), file)
    typer.echo(f"已写出，请重启 NATS | written to {file}; restart the server")


@app.command()
def version() -> None:
    """版本 | the version."""
    typer.echo(f"qunce {installed('qunce')} (Python {sys.version.split()[0]})")


@db.command()
def migrate(config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """升级数据库结构 | bring the database's schema up to date."""
    from qunce.roles import needed
    from store.database import connect
    from store.layout import current
    from store.migrate import migrate as apply

    settings = settings_of(config, data_dir)
    with connect(needed(settings, "database.dsn"), application="migrate") as conn:
        applied: list[Any] = apply(conn)
        layout = current(conn)
    for name in applied:
        typer.echo(f"已应用 applied {name}")
    typer.echo(f"数据库结构为最新 | the schema is up to date; layout {layout}")


__all__ = ["app", "default_data_dir", "main"]
