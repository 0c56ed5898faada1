"""The roles: which part of the platform runs in this process, and how it is wired."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import structlog

from qunce.reporter import Reporter
from qunce.settings import PARTITIONS, Settings, SettingsError, partitions, variable
from store.roles import DATABASE_ROLES, Logins, logins

if TYPE_CHECKING:
    from fastapi import FastAPI

Role = Literal["api", "writer", "connectors", "metrics", "dashboard"]
ROLES: tuple[Role, ...] = get_args(Role)
BEAT_S = 2.0
_log = structlog.get_logger("qunce.roles")


def parse(text: str) -> list[Role]:
    """Comma-separated roles. Raises ValueError naming the one that is none."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in ROLES:
            raise ValueError(f"{name!r}: 没有这个角色 / no such role; roles are {', '.join(ROLES)}")
    if not names:
        raise ValueError(f"至少一个角色 / at least one role of {', '.join(ROLES)}")
    return cast(list[Role], sorted(set(names), key=ROLES.index))


def needed(settings: Settings, key: str) -> str:
    """The value of a setting that these roles cannot do without. Raises SettingsError."""
    section, _, name = key.partition(".")
    value = getattr(getattr(settings, section), name)
    if value is None:
        raise SettingsError([f"{key}: 必须设置 / must be set: in the settings file, or as {variable(key)}"])
    return str(value.get_secret_value())


def logins_of(settings: Settings) -> Logins:
    """How each part logs in to the database: as set, else derived from the owner's DSN. Raises SettingsError."""
    given: dict[str, str] = {
        role: dsn.get_secret_value()
        for role in DATABASE_ROLES
        if (dsn := getattr(settings.database, f"{role}_dsn")) is not None
    }
    if len(given) < len(DATABASE_ROLES):
        given = logins(needed(settings, "database.dsn"))._asdict() | given
    return Logins(**given)


def run(settings: Settings, roles: Sequence[Role]) -> int:
    """Run the roles until SIGTERM or SIGINT, then drain; returns the exit code.

    Raises SettingsError when something they need is not set, ConfigError when the connectors' file is
    wrong. A role that fails ends the process
    (exit code 1): whoever started it starts it again.
    """
    logins, log_url = logins_of(settings), needed(settings, "log.url")
    sources = _sources(settings) if "connectors" in roles else None
    app = None
    if {"api", "dashboard"} & set(roles):
        from qunce import web

        app = web.build(settings, roles, logins, log_url)
    asyncio.run(found_log(log_url, settings.log.max_bytes, attempts=3))
    reporter = Reporter(logins.monitor, f"{socket.gethostname()}/{'+'.join(roles)}{_share(settings, roles)}")
    try:
        return asyncio.run(_run(settings, roles, logins, log_url, app, sources, reporter))
    finally:
        reporter.close()


def _share(settings: Settings, roles: Sequence[Role]) -> str:
    """What tells writers of one machine apart, where each has its part of the log."""
    owned = settings.writer.partitions
    shared = "writer" in roles and len(partitions(owned)) < PARTITIONS
    return f":{owned}" if shared else ""


def _sources(settings: Settings) -> Path:
    """The connectors' file in force. Raises ConfigError or SettingsError."""
    from connectors.config import load_config
    from qunce import broker

    if not broker.configured(settings):
        raise SettingsError(
            [
                f"没有可运行的连接器 / no connectors to run: neither mqtt.url is set ({variable('mqtt.url')})"
                f" nor is there {settings.connectors_file}"
            ]
        )
    file = broker.write_connectors(settings, settings.data_dir / "connectors" / "in-force.toml")
    load_config(file)
    return file


async def found_log(url: str, max_bytes: int, *, attempts: int) -> bool:
    """Create the ingest log with its byte limit if there is none yet; False when it cannot be reached.

    Whoever connects first creates it; the roles know nothing of limits, so it is done before them.
    """
    from ingest.log import Log, LogUnavailable

    for attempt in range(attempts):
        try:
            await (await Log.connect(url, name="setup", max_bytes=max_bytes)).close()
        except LogUnavailable as error:
            _log.warning("the log cannot be reached yet", error=str(error), attempt=attempt + 1)
            await asyncio.sleep(0.5)
        else:
            return True
    return False


async def _run(
    settings: Settings,
    roles: Sequence[Role],
    logins: Logins,
    log_url: str,
    app: FastAPI | None,
    sources: Path | None,
    report: Reporter,
) -> int:
    stop = asyncio.Event()
    _stop_on_signals(stop)
    work: dict[str, Awaitable[None]] = {}
    if app is not None:
        from qunce import web

        work["http"] = web.serve(app, settings, roles, stop, report)
    if "api" in roles and settings.mqtt.callout_url is not None:
        from ingest.callout import service

        url = settings.mqtt.callout_url.get_secret_value()
        work["mqtt-logins"] = service.run(logins.auth, url, stop, report)
    if "writer" in roles:
        from ingest import writer

        work["writer"] = writer.run(
            logins.writer,
            log_url,
            stop,
            report,
            partitions(settings.writer.partitions),
            window=timedelta(days=settings.correction_days),
        )
    if sources is not None:
        from connectors import host

        work["connectors"] = host.run(sources, log_url, settings.data_dir / "connectors", stop, report)
        work["connectors-beat"] = beat("connectors", stop, report)
    if "metrics" in roles:
        from metrics import scheduler

        work["metrics"] = scheduler.run(logins.metrics, stop, report)
    tasks = {asyncio.ensure_future(job): name for name, job in work.items()}
    _log.info("started", roles=list(roles), pid=os.getpid())
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    failed = 0 if stop.is_set() else 1
    for task in done:
        if (error := task.exception()) is not None:
            failed = 1
            _log.error("role failed", role=tasks[task], error=str(error), exc_info=error)
        elif not stop.is_set():
            _log.error("role ended by itself", role=tasks[task])
    stop.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for name, result in zip(tasks.values(), results, strict=True):
        if isinstance(result, BaseException) and not failed:
            failed = 1
            _log.error("role failed while stopping", role=name, error=str(result), exc_info=result)
    _log.info("stopped", roles=list(roles))
    return failed


def _stop_on_signals(stop: asyncio.Event) -> None:
    def on_signal() -> None:
        if stop.is_set():  # asked twice: at once
            os._exit(130)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)


async def beat(
    component: str, stop: asyncio.Event, report: Callable[[str, str, dict[str, Any]], None]
) -> None:
    """Say `ok` for a component that has no status of its own, as long as this process lives."""
    while not stop.is_set():
        report(component, "ok", {})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), BEAT_S)
    report(component, "stopped", {})
