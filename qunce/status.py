"""`qunce status`: the processes of a demo, and what each part says of itself."""

from __future__ import annotations

import json
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table

from qunce.logging import redact
from qunce.settings import Settings
from qunce.supervisor import started_at
from store.database import connect
from store.status import components

STALE_S = 15.0


def gather(settings: Settings) -> dict[str, Any]:
    """Processes (of a demo in this data directory), components, and whether all is well."""
    found: dict[str, Any] = {"data_dir": str(settings.data_dir), "supervisor": None, "processes": []}
    try:
        noted = json.loads((settings.data_dir / "run" / "status.json").read_text("utf-8"))
    except (OSError, ValueError):
        noted = None
    if noted and started_at(noted["supervisor"]) is not None:
        found["supervisor"], found["processes"] = noted["supervisor"], noted["children"]
    found["components"], found["error"] = [], None
    if settings.database.dsn is None:
        found["error"] = "database.dsn: 未设置 / not set"
    else:
        try:
            with connect(settings.database.dsn.get_secret_value(), application="status") as conn:
                found["components"] = [
                    {**word._asdict(), "stale": word.age_s > STALE_S} for word in components(conn)
                ]
        except psycopg.Error as error:
            found["error"] = redact(str(error).strip())
    found["well"] = (
        found["error"] is None
        and bool(found["components"])
        and all(word["status"] == "ok" and not word["stale"] for word in found["components"])
        and all(process["state"] == "ok" for process in found["processes"])
    )
    return found


def show(found: dict[str, Any], console: Console) -> None:
    """For people."""
    if found["processes"]:
        table = Table(title=f"进程 processes · {found['data_dir']}")
        for column in ("名称 name", "状态 state", "自 since", "重启 restarts", "pid"):
            table.add_column(column)
        for process in found["processes"]:
            table.add_row(
                process["name"],
                _coloured(process["state"]),
                process["since"][:19],
                str(process["restarts"]),
                str(process["pid"] or ""),
            )
        console.print(table)
    table = Table(title="各部分 parts")
    for column in ("部分 part", "实例 instance", "状态 status", "多久前 age", "说明 detail"):
        table.add_column(column, overflow="fold")
    for word in found["components"]:
        state = "失联 stale" if word["stale"] else word["status"]
        table.add_row(
            word["component"],
            word["instance"],
            _coloured(state),
            f"{word['age_s']:.0f} s",
            redact(_brief(word["detail"])),
        )
    console.print(table)
    if found["error"]:
        console.print(f"[red]{found['error']}[/red]")


def _brief(detail: dict[str, Any]) -> str:
    """What fits into a line: errors first, then plain figures; everything is in `--json`."""
    words = [str(detail[key]) for key in ("error", "reason", "detail") if detail.get(key)]
    figures = {**detail, **(detail.get("counts") or {})}
    named = (("rows", "行 rows"), ("readings", "读数 readings"), ("refused", "拒收 refused"))
    words += [f"{label} {figures[key]:,}" for key, label in named if figures.get(key)]
    if (age := detail.get("last_data_age_seconds")) is not None:
        words.append(f"最近数据 last data {age:.0f} s")
    return ", ".join(words)


def _coloured(state: str) -> str:
    return f"[green]{state}[/green]" if state == "ok" else f"[yellow]{state}[/yellow]"
