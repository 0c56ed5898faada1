"""`qunce status`: the processes of a demo, what each part says of itself, and whether the accounts balance."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import psycopg
from rich import box
from rich.console import Console
from rich.table import Table

from ingest.accounting import Account, Pending, draw_up, pending, read_booked
from ingest.log import Log, LogUnavailable, Waiting
from qunce.logging import redact
from qunce.settings import Settings
from qunce.supervisor import started_at
from store import operations
from store.canary import Arrived, arrived
from store.database import Connection, connect
from store.overview import clock
from store.status import Component, components, told_pending
from supervision.operations import canary_facts, disk_facts, log_fact
from supervision.problems import Facts, LogFact, open_problems

STALE_S = 15.0
_LIST_S = 60.0
_UNWELL = ("canary_silent", "canaries_silent", "log_filling")
"""Alarms with which not all is well; a disk that fills up is said, yet all may still be well."""
_WORD_S = 10.0


def gather(settings: Settings) -> dict[str, Any]:
    """Processes (of a demo in this data directory), components, accounts, log, canaries, clocks, alarms, and
    whether all is well. What cannot be known is empty or None, and `error` (the database) or `log_error` says why.

    `accounts_balance` None: not known. An account's `pending` None: the log was away, and neither does any
    writer say what waits.
    """
    found: dict[str, Any] = {"data_dir": str(settings.data_dir), "supervisor": None, "processes": []}
    try:
        noted = json.loads((settings.data_dir / "run" / "status.json").read_text("utf-8"))
    except (OSError, ValueError):
        noted = None
    if noted and started_at(noted["supervisor"]) is not None:
        found["supervisor"], found["processes"] = noted["supervisor"], noted["children"]
    found |= {
        "components": [], "error": None, "log": None, "log_error": None, "accounts": [], "accounts_balance": None,
        "canaries": [], "clock_skew": [], "alarms": [],
    }  # fmt: skip
    # The log's list first, the database's snapshot after: see ingest.accounting.
    identity, waiting = asyncio.run(_look_into_log(settings, found))
    if settings.database.dsn is None:
        found["error"] = "database.dsn: 未设置 / not set"
    else:
        try:
            with connect(
                settings.database.dsn.get_secret_value(), application="status", autocommit=True
            ) as conn:
                _look_into_store(conn, identity, waiting, found)
        except psycopg.Error as error:
            found["error"] = redact(str(error).strip())
    found["well"] = (
        found["error"] is None
        and found["log_error"] is None
        and bool(found["components"])
        and all(word["status"] == "ok" and not word["stale"] for word in found["components"])
        and all(process["state"] == "ok" for process in found["processes"])
        and found["accounts_balance"] is True
        and not any(alarm["kind"] in _UNWELL for alarm in found["alarms"])
    )
    return found


async def _look_into_log(settings: Settings, found: dict[str, Any]) -> tuple[str, list[Waiting] | None]:
    """The log's identity and what it holds; None when that cannot be known."""
    if settings.log.url is None:
        found["log_error"] = "log.url: 未设置 / not set"
        return "", None
    try:
        log = await Log.connect(settings.log.url.get_secret_value(), name="status")
        try:
            held, limit = await log.fill()
            found["log"] = {"bytes": held, "limit_bytes": limit, "fill": held / limit if limit > 0 else None}
            async with asyncio.timeout(_LIST_S):
                return log.identity, await log.waiting()
        finally:
            await log.close()
    except TimeoutError:
        found["log_error"] = (
            f"{_LIST_S:.0f} s 内未能列出日志 / the log could not be listed within {_LIST_S:.0f} s"
        )
    except LogUnavailable as error:
        found["log_error"] = redact(str(error))
    return "", None


def _look_into_store(
    conn: Connection, identity: str, waiting: list[Waiting] | None, found: dict[str, Any]
) -> None:
    booked, words, canaries = read_booked(conn, identity), components(conn), arrived(conn)
    waits: Pending | None
    if waiting is None:
        told = told_pending(words, _WORD_S)
        waits = None if told is None else told.by_source
    else:
        waits = pending(waiting, booked.positions, booked.floors)
    accounts = draw_up(booked, waits)
    found["components"] = [{**word._asdict(), "stale": word.age_s > STALE_S} for word in words]
    found["accounts"] = [{**asdict(account), "balanced": account.balanced} for account in accounts]
    found["accounts_balance"] = _verdict(accounts, known=waits is not None)
    found["canaries"] = [canary._asdict() for canary in canaries]
    found["clock_skew"] = [skew._asdict() for skew in operations.skews(conn)]
    found["alarms"] = _alarms(words, canaries, found["log"], clock(conn))


def _verdict(accounts: list[Account], *, known: bool) -> bool | None:
    """None: what waits is not known, so whether they balance is not; but what does not already, does not."""
    if not all(account.balanced for account in accounts):
        return False
    return True if known else None


def _alarms(
    words: list[Component], canaries: list[Arrived], log: Mapping[str, Any] | None, now: datetime
) -> list[dict[str, Any]]:
    facts = Facts(
        canaries=canary_facts(words, canaries),
        log=LogFact(log["bytes"], log["limit_bytes"]) if log else log_fact(words, now),
        disks=disk_facts(words, now),
    )
    return [
        {
            "key": p.key, "kind": p.kind, "severity": p.severity, "since": p.since, "evidence": dict(p.evidence),
        }
        for p in open_problems(facts, now)
    ]  # fmt: skip


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
    _show_accounts(found, console)
    _show_canaries(found, console)
    if (log := found["log"]) is not None:
        share = "" if log["fill"] is None else f" = {log['fill']:.1%}"
        console.print(
            f"接入日志 ingest log: {log['bytes'] / 2**20:,.1f} MiB / {log['limit_bytes'] / 2**20:,.0f} MiB{share}"
        )
    for alarm in found["alarms"]:
        said = ", ".join(f"{key} {_plain(value)}" for key, value in alarm["evidence"].items())
        console.print(f"[red]告警 alarm[/red] {alarm['kind']}: {said}")
    for text in (found["error"], found["log_error"]):
        if text:
            console.print(f"[red]{text}[/red]")


def _show_accounts(found: dict[str, Any], console: Console) -> None:
    columns = ("received", "stored", "duplicates", "corrections", "quarantined", "pending")
    if not found["accounts"]:
        return
    table = Table(
        title="账目(行)| accounts, in rows", box=box.SIMPLE, padding=0,
        caption="接收 received = 入库 stored + 重复 duplicates + 更正 corrections + 隔离 quarantined + 在途 pending",
    )  # fmt: skip
    table.add_column("  ")
    table.add_column("单位 unit", overflow="fold")
    table.add_column(" 来源 source", overflow="fold")
    for column in ("接收", "入库", "重复", "更正", "隔离", "在途"):
        table.add_column(f" {column}", justify="right", no_wrap=True)
    for account in found["accounts"]:
        table.add_row(
            "[green]✓[/green]" if account["balanced"] else "[red]✗[/red]",
            account["unit"] or "?",
            f" {account['source'] or '未登记 not registered'}",
            *("?" if account[column] is None else f"{account[column]:,}" for column in columns),
        )
    console.print(table)


def _show_canaries(found: dict[str, Any], console: Console) -> None:
    if not found["canaries"]:
        return
    table = Table(title="探测读数 canaries", box=box.SIMPLE, padding=0)
    for column in ("连接器 connector", " 最近入库 stored", " 用时 took", " 次数 times"):
        table.add_column(column, overflow="fold")
    for canary in found["canaries"]:
        took = (canary["stored_at"] - canary["sent_at"]).total_seconds()
        table.add_row(
            canary["connector"], f" {canary['age_s']:.0f} s", f" {took:.2f} s", f" {canary['times']:,}"
        )
    console.print(table)


def _plain(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:,.3g}"


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
