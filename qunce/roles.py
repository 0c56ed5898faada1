"""The roles: which part of the platform runs in this process, and how it is wired."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Literal, cast, get_args

import psycopg
import structlog
import uvicorn
from fastapi import FastAPI

from qunce.reporter import Reporter
from qunce.settings import Settings, SettingsError, variable

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


def run(settings: Settings, roles: Sequence[Role]) -> int:
    """Run the roles until SIGTERM or SIGINT, then drain; returns the exit code.

    Raises SettingsError when something they need is not set. A role that fails ends the process
    (exit code 1): whoever started it starts it again.
    """
    dsn, log_url = needed(settings, "database.dsn"), needed(settings, "log.url")
    app = _web(settings, roles, dsn, log_url) if {"api", "dashboard"} & set(roles) else None
    asyncio.run(found_log(log_url, settings.log.max_bytes, attempts=3))
    reporter = Reporter(dsn, f"{socket.gethostname()}/{'+'.join(roles)}")
    try:
        return asyncio.run(_run(settings, roles, dsn, log_url, app, reporter))
    finally:
        reporter.close()


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
    settings: Settings, roles: Sequence[Role], dsn: str, log_url: str, app: FastAPI | None, report: Reporter
) -> int:
    stop = asyncio.Event()
    _stop_on_signals(stop)
    work: dict[str, Awaitable[None]] = {}
    if app is not None:
        names = [role for role in roles if role in ("api", "dashboard")]
        work["http"] = _serve(app, settings, names, stop, report)
    if "writer" in roles:
        from ingest import writer

        work["writer"] = writer.run(dsn, log_url, stop, report)
    if "connectors" in roles:
        from connectors import host

        state = settings.data_dir / "connectors"
        work["connectors"] = host.run(settings.connectors_file, log_url, state, stop, report)
        work["connectors-beat"] = _beat("connectors", stop, report)
    if "metrics" in roles:
        from metrics import scheduler

        work["metrics"] = scheduler.run(dsn, stop, report)
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


async def _beat_api(app: FastAPI, stop: asyncio.Event, report: Reporter) -> None:
    """The interface is well when it reaches the database and the log."""
    while not stop.is_set():
        try:
            health: dict[str, str] = await app.state.gate.health()
        except psycopg.Error as error:
            health = {"database": str(error).strip()}
        well = set(health.values()) == {"ok"}
        report("api", "ok" if well else "recoverable", {"health": health})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), BEAT_S)
    report("api", "stopped", {})


async def _beat(
    component: str, stop: asyncio.Event, report: Callable[[str, str, dict[str, Any]], None]
) -> None:
    while not stop.is_set():
        report(component, "ok", {})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), BEAT_S)
    report(component, "stopped", {})


def _web(settings: Settings, roles: Sequence[Role], dsn: str, log_url: str) -> FastAPI:
    """The open interface, the pages, or both, as one application."""
    from ingest.api import create_api

    app = create_api(dsn, log_url)
    if "dashboard" in roles:
        from dashboard.app import attach
        from dashboard.login import Login

        login = Login(
            user=settings.dashboard.user,
            password=cast(Any, needed(settings, "dashboard.password")),
            signing_key=cast(Any, needed(settings, "dashboard.signing_key")),
            session_hours=settings.dashboard.session_hours,
            secure_cookie=settings.dashboard.secure_cookie,
        )
        attach(app, dsn=dsn, login=login, zone=settings.dashboard.zone)
    return app


class _Server(uvicorn.Server):
    """uvicorn that leaves the signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(
    app: FastAPI, settings: Settings, names: Sequence[str], stop: asyncio.Event, report: Reporter
) -> None:
    server = _Server(
        uvicorn.Config(
            app,
            host=settings.api.host,
            port=settings.api.port,
            log_config=None,
            access_log=False,
            server_header=False,
            # Pages hold websockets open for ever; what is not done by then is cut.
            timeout_graceful_shutdown=5,
        )
    )

    async def stopping() -> None:
        while not server.started and not stop.is_set():
            await asyncio.sleep(0.05)
        await asyncio.gather(
            *(_beat_api(app, stop, report) if name == "api" else _beat(name, stop, report) for name in names)
        )
        await stop.wait()
        server.should_exit = True

    watching = asyncio.create_task(stopping())
    try:
        await server.serve()
    finally:
        watching.cancel()
    if not stop.is_set():
        raise OSError(f"the HTTP server on {settings.api.host}:{settings.api.port} ended")
