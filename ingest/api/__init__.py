"""The open interface over HTTP: `create_api` builds it, docs/interface.md describes it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import SecretStr

from ingest.api import (
    account,
    auditing,
    codes,
    datasets,
    definitions,
    files,
    influx,
    influx1,
    keys,
    measurements,
    metrics,
    openapi,
    people,
    quality,
    quarantine,
    reading,
    service,
    stoppages,
    submissions,
)
from ingest.api.doors import OPEN, methods_at, require_declared
from ingest.api.exporting import Exports
from ingest.api.filing import Filing
from ingest.api.gate import Gate
from ingest.api.headers import Headers
from ingest.api.limits import UNIT_LIMITS, UnitLimits
from ingest.api.problems import Problem, install
from ingest.api.reading import NO_CATALOGUE, Catalogue
from ingest.api.service import Addresses
from ingest.api.unread import Unread
from ingest.codes import Table
from ingest.datasets.rules import CORRECTION_WINDOW
from store.roles import Logins
from store.sessions import Sessions

Report = Callable[[str, str, dict[str, Any]], None]


def create_api(
    logins: Logins,
    log_url: str,
    *,
    pool_size: int = 4,
    metrics_token: SecretStr | None = None,
    limits: UnitLimits = UNIT_LIMITS,
    addresses: Addresses | None = None,
    code_tables: Sequence[Table] = (),
    catalogue: Catalogue = NO_CATALOGUE,
    sessions: Sessions | None = None,
    window: timedelta = CORRECTION_WINDOW,
    secure: bool = False,
    downloads: Mapping[str, bytes] = MappingProxyType({}),
) -> FastAPI:
    """The FastAPI application of the open interface. `metrics_token`: see `ingest.api.metrics`;
    `catalogue`: what indicators mean; `sessions`: shared with the pages of this process;
    `secure`: reached by HTTPS only.

    `addresses`: where units reach the platform, as they are told; `code_tables`: published beside our own;
    `window`: how long reports can be corrected, as the writer has it; `downloads`: files for whoever wants
    to connect, by their names.

    Unknown paths below /api are answered here, before any catch-all that pages may bring.
    `app.state.gate` holds what the routes share. Raises RuntimeError when a route declares no permission.
    """
    gate = Gate(logins, log_url, pool_size=pool_size, limits=limits, sessions=sessions)
    filing = Filing(gate, window)
    exports = Exports(logins.api)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # What computes in a thread gives way to the event loop after 1 ms instead of 5.
        sys.setswitchinterval(0.001)
        gate.decoders.start()
        yield
        await filing.close()
        await exports.close()
        await gate.close()

    app = FastAPI(
        title="群策 Qunce open interface",
        version="1",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.gate = gate
    app.add_middleware(Unread)
    app.add_middleware(Headers, secure=secure)
    install(app)
    tables = codes.Codes(gate, code_tables)
    app.include_router(measurements.router(gate))
    app.include_router(influx.router(gate))
    app.include_router(influx1.router(gate))
    app.include_router(definitions.router(gate))
    app.include_router(datasets.router(gate))
    app.include_router(files.router(gate, filing, tables))
    app.include_router(submissions.router(gate))
    app.include_router(reading.router(gate, exports, catalogue))
    app.include_router(quarantine.router(gate))
    app.include_router(keys.router(gate))
    app.include_router(stoppages.router(gate))
    app.include_router(quality.router(gate))
    app.include_router(codes.router(gate, tables))
    app.include_router(service.router(gate, tables, addresses or Addresses()))
    app.include_router(account.router(gate))
    app.include_router(people.router(gate))
    app.include_router(auditing.router(gate))
    app.include_router(metrics.router(gate, metrics_token))

    @app.get("/healthz", include_in_schema=False, dependencies=[OPEN])
    async def healthz() -> JSONResponse:
        health = await gate.health()
        return JSONResponse(health, 200 if set(health.values()) == {"ok"} else 503)

    @app.get("/api/client/{name}", include_in_schema=False, dependencies=[OPEN])
    async def download(name: str, request: Request) -> Response:
        if name not in downloads:
            raise Problem("not_found", {"path": request.url.path, "method": "GET"})
        return Response(downloads[name], media_type="application/octet-stream")

    async def nothing_here(request: Request) -> None:
        # A catch-all takes every method, so it must tell a wrong method from a wrong path itself.
        allowed = methods_at(app, request.scope)
        code = "method_not_allowed" if allowed else "not_found"
        where = {"path": request.url.path, "method": request.method, "allow": ", ".join(allowed)}
        raise Problem(code, where)

    for path in ("/api", "/api/{rest:path}"):
        app.add_api_route(
            path,
            nothing_here,
            methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"],
            include_in_schema=False,
            dependencies=[OPEN],
        )
    require_declared(app)
    openapi.install(app)
    return app
