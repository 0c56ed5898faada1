"""The HTTP server of a process: the open interface, the pages, or both."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import uvicorn
from fastapi import FastAPI, Request
from pydantic import SecretStr

from ingest.api.problems import Problem
from ingest.canary import EVERY_S, UNIT, Canary, encode_canary
from ingest.log import LogUnavailable
from qunce import audit_head
from qunce.beginning import begin
from qunce.heads import BoundedProtocol
from qunce.reporter import Reporter
from qunce.roles import BEAT_S, Role, beat, needed
from qunce.settings import Settings, SettingsError
from store import audit
from store.roles import Logins
from store.sessions import Keeping, Sessions, lasts

if TYPE_CHECKING:
    from dashboard.oidc import Provider

_SWITCH_S = 0.0005


def build(settings: Settings, roles: Sequence[Role], logins: Logins, log_url: str) -> FastAPI:
    """The open interface, the pages, or both, as one application. Raises SettingsError."""
    sessions = Sessions(logins.auth, Keeping(session_s=lasts(settings.dashboard.session_hours)))
    if "api" in roles:
        from ingest.api import create_api
        from ingest.api.limits import UnitLimits
        from ingest.api.service import Addresses
        from qunce.catalogue import read_catalogue
        from qunce.codes import indicator_codes
        from qunce.toolkit import wheel

        app = create_api(
            logins,
            log_url,
            metrics_token=settings.api.metrics_token,
            sessions=sessions,
            secure=settings.dashboard.secure_cookie,
            limits=UnitLimits(
                settings.api.unit_rows_per_s,
                settings.api.unit_requests_per_s,
                settings.api.caller_reads_per_s,
            ),
            addresses=Addresses(settings.api.public_url, settings.mqtt.public_url),
            code_tables=[indicator_codes()],
            catalogue=read_catalogue(),
            window=timedelta(days=settings.correction_days),
            downloads=dict([wheel()]),
        )
    else:
        app = _pages_only()
    if "dashboard" in roles:
        from dashboard.app import attach
        from dashboard.handbook import Reached

        attach(
            app,
            dsn=logins.dashboard,
            sessions=sessions,
            secure_cookie=settings.dashboard.secure_cookie,
            zone=settings.dashboard.zone,
            provider=_provider(settings),
            reached=Reached(settings.api.public_url or settings.api.local_url, settings.mqtt.public_url),
        )
    return app


def _provider(settings: Settings) -> Provider | None:
    """The identity provider of the settings. Raises SettingsError when they are not whole."""
    from dashboard.oidc import Provider

    issuer = settings.oidc.issuer
    if issuer is None:
        return None
    secret, public = needed(settings, "oidc.client_secret"), settings.api.public_url
    if public is None:
        raise SettingsError(["api.public_url: 使用 oidc 时必须设置 / must be set when oidc.issuer is"])
    return Provider(
        issuer=issuer, client_id=settings.oidc.client_id, client_secret=SecretStr(secret), label=settings.oidc.label,
        back=f"{public.rstrip('/')}/login/oidc/back",
    )  # fmt: skip


def _pages_only() -> FastAPI:
    """A process of pages without the open interface: what is below /api is elsewhere."""
    from ingest.api.problems import install

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    install(app)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"pages": "ok"}

    @app.api_route("/api/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    async def elsewhere(request: Request) -> None:
        raise Problem("not_found", {"path": request.url.path, "method": request.method})

    return app


class _Server(uvicorn.Server):
    """uvicorn that leaves the signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    app: FastAPI, settings: Settings, roles: Sequence[Role], stop: asyncio.Event, report: Reporter
) -> None:
    """Serve until `stop` is set, then drain (at most 5 s). Raises OSError when the port cannot be had."""
    # A thread that checks a large body holds up the answers to everybody else for as long as this.
    sys.setswitchinterval(_SWITCH_S)
    names = [role for role in roles if role in ("api", "dashboard")]
    server = _Server(
        uvicorn.Config(
            app,
            host=settings.api.host,
            port=settings.api.port,
            http=BoundedProtocol,
            # Who the request before was for is nothing that the next one on its connection may know.
            reset_contextvars=True,
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
            *([begin(settings, stop)] if "dashboard" in names else []),
            *([_send_canaries(app, stop)] if "api" in names else []),
            *(
                _beat_api(app, settings.data_dir, stop, report) if name == "api" else beat(name, stop, report)
                for name in names
            ),
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


async def _beat_api(app: FastAPI, data_dir: Path, stop: asyncio.Event, report: Reporter) -> None:
    """The interface is well when it reaches the database and the log; it also tells how full log and disk are.

    It notes how far the audit log reaches.
    """
    began = time.time_ns() // 1000
    while not stop.is_set():
        detail: dict[str, Any] = {"canaries_since": began}
        try:
            health: dict[str, str] = await app.state.gate.health()
        except psycopg.Error as error:
            health = {"database": str(error).strip()}
        well = set(health.values()) == {"ok"}
        detail["health"] = health
        with contextlib.suppress(LogUnavailable):
            held, limit = await (await app.state.gate.log()).fill()
            detail["log"] = {"bytes": held, "limit_bytes": limit}
        with contextlib.suppress(OSError):
            disk = shutil.disk_usage(data_dir)
            detail["disk"] = {"free_bytes": disk.free, "total_bytes": disk.total}
        with contextlib.suppress(Problem, psycopg.Error, OSError, ValueError):
            if (head := await app.state.gate.monitoring(audit.noted_head)) is not None:
                await asyncio.to_thread(audit_head.keep, data_dir, head)
        report("api", "ok" if well else "recoverable", detail)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), BEAT_S)
    report("api", "stopped", {})


async def _send_canaries(app: FastAPI, stop: asyncio.Event) -> None:
    """Send a canary through the interface's own gate every `EVERY_S`; one that does not arrive is the alarm."""
    while not stop.is_set():
        now = time.time_ns() // 1000
        with contextlib.suppress(Problem):
            await app.state.gate.append(
                encode_canary(Canary("api", now, now)), kind="canary", lane="live", unit=UNIT, source="api",
                msg_id=f"api/{uuid.uuid4().hex}", rows=0,
            )  # fmt: skip
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), EVERY_S)
