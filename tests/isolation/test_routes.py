"""Every route x every kind of caller: who may not gets 401 or 403, and nobody's answer tells of another's rows."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from ingest.api import create_api
from ingest.api.doors import Route, routes_of
from store.database import connect
from store.roles import logins
from tests.isolation.world import FIRMS, MARKS, SCOPES, World, seed

pytestmark = pytest.mark.concurrent


@pytest.fixture(scope="module")
def world(module_dsn: str) -> tuple[str, World]:
    with connect(module_dsn, application="test") as conn:
        made = seed(conn)
    return module_dsn, made


@asynccontextmanager
async def interface(dsn: str, nats_url: str) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    app = create_api(logins(dsn), nats_url, pool_size=8)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://qunce",
            timeout=60,
        ) as client,
    ):
        yield app, client


def theirs(dsn: str, made: World) -> dict[str, str]:
    """Path parameter → something of unit B, which A must not find."""
    unit = made.units["GD-BBB-01"]
    with connect(dsn, application="test") as conn:

        def one(statement: str) -> str:
            row = conn.execute(statement, (unit,)).fetchone()  # type: ignore[arg-type]
            return str(row[0]) if row else "1"

        return {
            "quarantine_id": one("SELECT quarantine_id FROM quarantine WHERE unit_id = %s"),
            "batch": one("SELECT batch FROM submission WHERE unit_id = %s"),
            "stoppage_id": one("SELECT stoppage_id FROM stoppage WHERE unit_id = %s"),
            "key_id": one("SELECT key_id FROM api_key WHERE unit_id = %s"),
            "upload_id": one("SELECT upload_id FROM file_upload WHERE unit_id = %s"),
            "name": "enterprise",
            "person_id": one("SELECT max(person_id) FROM person WHERE unit_id IS DISTINCT FROM %s"),
        }


def may(made: World, who: str, route: Route) -> bool:
    return route.permission in ("open", "known") or route.permission in made.principals[who].permissions


def foreign(who: str) -> list[str]:
    """What no answer to this caller may hold."""
    scope = SCOPES[who]
    known = scope.units | scope.firms | scope.pool
    return [x for unit, mark in MARKS.items() if unit not in known for x in (mark, unit, FIRMS[unit])]


def test_every_route_by_every_caller(world: tuple[str, World], nats_fresh: str) -> None:
    dsn, made = world
    wrong: list[tuple[str, str, str, object]] = []

    async def test() -> None:
        async with interface(dsn, nats_fresh) as (app, client):
            values = theirs(dsn, made)
            for route in routes_of(app):
                if "{rest:path}" in route.path or route.path == "/metrics":
                    continue
                path = re.sub(r"\{(\w+)(:\w+)?\}", lambda m: values.get(m[1], "1"), route.path)
                for method in route.methods:
                    if method in ("DELETE", "PATCH") and "session" in path:
                        continue  # it would end the caller's own session
                    for who in SCOPES:
                        headers = (
                            {"Authorization": f"Bearer {made.tokens[who]}"} if who in made.tokens else {}
                        )
                        answer = await client.request(method, path, headers=headers)
                        status, told = answer.status_code, answer.text
                        if route.permission != "open" and who == "nobody":
                            good = status == 401
                        elif not may(made, who, route):
                            good = status == 403 and "problem+json" in answer.headers["content-type"]
                        else:
                            good = (status < 500 and status != 403) or '"no_unit"' in told
                        if not good:
                            wrong.append((f"{method} {path}", who, str(status), told[:200]))
                        if found := [text for text in foreign(who) if text in told.replace(path, "")]:
                            wrong.append((f"{method} {path}", who, str(status), ("tells", found)))

    asyncio.run(test())
    assert wrong == []


def test_what_is_anothers_does_not_exist(world: tuple[str, World], nats_fresh: str) -> None:
    dsn, made = world

    async def test() -> None:
        async with interface(dsn, nats_fresh) as (_, client):
            values = theirs(dsn, made)
            headers = {"Authorization": f"Bearer {made.tokens['key of A']}"}
            for path in (
                f"/api/v1/quarantine/{values['quarantine_id']}",
                f"/api/v1/submissions/{values['batch']}",
                f"/api/v1/files/{values['upload_id']}",
                f"/api/v1/files/{values['upload_id']}/marked",
            ):
                answer = await client.get(path, headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path

    asyncio.run(test())


def test_an_interface_with_an_undeclared_route_does_not_start() -> None:
    from ingest.api.doors import require_declared

    app = FastAPI(docs_url=None, redoc_url=None)

    @app.get("/api/v1/forgotten")
    def forgotten() -> str:
        return "everything"

    with pytest.raises(RuntimeError, match="GET /api/v1/forgotten"):
        require_declared(app)
