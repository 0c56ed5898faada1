"""Every route x every kind of caller: who may not gets 401 or 403, and nobody's answer tells of another's rows."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote

import httpx
import pytest
from fastapi import FastAPI

from ingest.api import create_api
from ingest.api.doors import Route, routes_of
from ingest.datasets import DATASETS
from store.database import connect
from store.roles import logins
from tests.isolation.world import FIRMS, MARKS, SCOPES, UNITS, World, seed

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


def asked_of(values: dict[str, str], unit: str) -> list[tuple[str, str, object]]:
    """Every request that names something, of B's things or of nobody's: method, path with query, body."""
    v = values
    return [
        ("GET", f"/api/v1/quarantine/{v['quarantine_id']}", None),
        ("GET", f"/api/v1/submissions/{v['batch']}", None),
        ("GET", f"/api/v1/files/{v['upload_id']}", None),
        ("GET", f"/api/v1/files/{v['upload_id']}/marked", None),
        ("PATCH", f"/api/v1/stoppages/{v['stoppage_id']}", {"reason": "x"}),
        ("DELETE", f"/api/v1/stoppages/{v['stoppage_id']}", None),
        ("POST", f"/api/v1/keys/{v['key_id']}/rotate", {"overlap_hours": 0}),
        ("DELETE", f"/api/v1/keys/{v['key_id']}?force=true", None),
        ("POST", f"/api/v1/keys/{v['key_id']}/rotate?unit={unit}", {"overlap_hours": 0}),
        ("DELETE", f"/api/v1/keys/{v['key_id']}?force=true&unit={unit}", None),
        ("POST", f"/api/v1/keys?unit={unit}", {"name": "x"}),
        ("GET", f"/api/v1/keys?unit={unit}", None),
        ("GET", f"/api/v1/quality?unit={unit}", None),
        ("GET", f"/api/v1/sources?unit={unit}", None),
        ("GET", f"/api/v1/quarantine?unit={unit}", None),
        ("GET", f"/api/v1/quarantine/export?unit={unit}", None),
        ("GET", f"/api/v1/quarantine/{v['quarantine_id']}?unit={unit}", None),
        ("GET", f"/api/v1/submissions/{v['batch']}?unit={unit}", None),
        ("GET", f"/api/v1/submissions?unit={unit}", None),
        ("GET", f"/api/v1/latest?unit={unit}", None),
        ("GET", f"/api/v1/series?tags=M1.heat&unit={unit}", None),
        ("GET", f"/api/v1/export/readings?unit={unit}", None),
        *(("GET", f"/api/v1/indicators?{level}={v[level]}", None) for level in ("unit", "pilot", "source")),
        *(("GET", f"/api/v1/export/indicators?{level}={v[level]}", None) for level in ("unit", "pilot", "source")),
        ("GET", f"/api/v1/indicators?unit={unit}&equipment=M1", None),
        *(("GET", f"/api/v1/datasets/{name}/records?unit={unit}", None) for name in DATASETS),
        *(("GET", f"/api/v1/export/datasets/{name}?unit={unit}", None) for name in DATASETS),
        ("GET", f"/api/v1/datasets/park/revisions?key=P1&unit={unit}", None),
    ]  # fmt: skip


SEARCHED = (
    "/api/v1/stoppages?unit={unit}", "/api/v1/audit?unit={unit}", "/api/v1/audit?actor=unit:{unit}",
    "/api/v1/quarantine?source=http_push:{mark}", "/api/v1/quarantine?batch={batch}",
    "/api/v1/quarantine/export?batch={batch}", "/api/v1/datasets/enterprise/records?key={firm}",
    "/api/v1/indicators?enterprise={firm}", "/api/v1/latest?tags={mark}", "/api/v1/sources", "/api/v1/people",
    "/api/v1/export/indicators", "/api/v1/codes", "/api/v1/registration",
)  # fmt: skip
"""Lists that are asked for what is B's: nothing of it is in them."""


@pytest.mark.parametrize("who", ["key of A", "lead unit A"])
def test_what_is_anothers_does_not_exist(world: tuple[str, World], nats_fresh: str, who: str) -> None:
    """The same answer, but for the names that were asked for, as of what there is not at all; and nothing changes."""
    dsn, made = world
    b = "GD-BBB-01"
    wrong: list[object] = []
    nothing = {
        "quarantine_id": "999999", "batch": "f" * 32, "upload_id": "e" * 32, "stoppage_id": "999999",
        "key_id": "999999", "unit": "GD-CCC-01", "pilot": "P-GD-CCC-01", "source": "nowhere",
    }  # fmt: skip

    def state() -> object:
        with connect(dsn, application="test") as conn:
            return [
                conn.execute(f"SELECT * FROM {table} WHERE unit_id = %s ORDER BY 1", (made.units[b],)).fetchall()  # type: ignore[arg-type]
                for table in ("stoppage", "file_upload", "quarantine", "closed_period")
            ] + [
                conn.execute(
                    "SELECT key_id, expires_at, revoked_at FROM api_key WHERE unit_id = %s ORDER BY 1",
                    (made.units[b],),
                ).fetchall()
            ]  # fmt: skip

    async def test() -> None:
        async with interface(dsn, nats_fresh) as (app, client):
            values = theirs(dsn, made) | {"unit": b, "pilot": f"P-{b}", "source": f"http_push:{MARKS[b]}"}
            headers = {"Authorization": f"Bearer {made.tokens[who]}"}

            async def told(one: tuple[str, str, object], named: dict[str, str]) -> tuple[int, str]:
                method, path, body = one
                answer = await client.request(method, path, headers=headers, json=body)
                text = answer.text
                for name in sorted((unquote(n) for n in named.values()), key=len, reverse=True):
                    text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "?", text)
                return answer.status_code, text

            asked = [(method, path.partition("?")[0]) for method, path, _ in asked_of(values, b)]
            for route in routes_of(app):
                if re.search(r"\{(?!name\}|rest)", route.path):
                    pattern = re.sub(r"\{\w+\}", "[^/]+", route.path)
                    left = (
                        set(route.methods)
                        - {m for m, path in asked if re.fullmatch(pattern, path)}
                        - {"HEAD"}
                    )
                    assert left == set(), f"{route.path} names something and is not tried with another's"
            before = state()
            for real, unreal in zip(
                asked_of(values, b), asked_of({**values, **nothing}, nothing["unit"]), strict=True
            ):
                named = {key: values[key] for key in nothing}
                found, absent = await told(real, named), await told(unreal, nothing)
                if found != absent or (found[0] != 404 and "indicators" not in real[1]):
                    wrong.append((real[:2], found, absent))
                if any(mark in found[1] for mark in (MARKS[b], FIRMS[b])):
                    wrong.append((real[:2], found))
            for searched in SEARCHED:
                path = searched.format(unit=b, mark=MARKS[b], batch="b", firm=FIRMS[b])
                answer = await client.get(path, headers=headers)
                echo = answer.status_code >= 400  # what was asked for is named in a refusal
                if answer.status_code >= 500 or (
                    not echo and any(x in answer.text for x in (MARKS[b], FIRMS[b], b))
                ):
                    wrong.append((path, answer.status_code, answer.text[:300]))
            if state() != before:
                wrong.append("changed")

    asyncio.run(test())
    assert wrong == []


@pytest.mark.parametrize("who", ["province", "operator", "city 441900"])
def test_who_supervises_a_unit_reads_what_was_refused_of_it(
    world: tuple[str, World], nats_fresh: str, who: str
) -> None:
    dsn, made = world
    a, b = UNITS

    async def test() -> None:
        async with interface(dsn, nats_fresh) as (_, client):
            values = theirs(dsn, made)

            async def told(path: str) -> httpx.Response:
                return await client.get(
                    f"/api/v1/{path}", headers={"Cookie": f"qunce_session={made.tokens[who]}"}
                )

            [held] = (await told(f"quarantine?unit={a}")).json()["quarantine"]
            assert held["unit"] == a
            assert (await told(f"quarantine/{held['id']}?unit={a}")).json() == held
            assert json.loads((await told(f"quarantine/export?unit={a}")).text)["id"] == held["id"]
            assert (await told(f"sources?unit={a}")).json()["sources"] != []
            assert (await told("quarantine")).json()["code"] == "bad_parameter"
            for path in ("quarantine/{quarantine_id}", "submissions/{batch}", "quarantine", "sources"):
                answer = await told(f"{path.format_map(values)}?unit={b}")
                assert answer.status_code == (404 if who.startswith("city") else 200), path

    asyncio.run(test())


def test_an_interface_with_an_undeclared_route_does_not_start() -> None:
    from ingest.api.doors import require_declared

    app = FastAPI(docs_url=None, redoc_url=None)

    @app.get("/api/v1/forgotten")
    def forgotten() -> str:
        return "everything"

    with pytest.raises(RuntimeError, match="GET /api/v1/forgotten"):
        require_declared(app)
