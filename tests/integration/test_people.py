"""Logins, accounts and the audit log over HTTP, and accounts from the command line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from ingest.api import create_api
from qunce.cli import app as cli
from qunce.process import write_private
from qunce.settings import Settings, to_toml
from store import people
from store.database import connect
from store.registry import NewUnit, add_key, register_unit
from store.roles import logins

pytestmark = pytest.mark.concurrent
PASSWORD, OTHER = "correct horse", "battery staple"
HERE = {"origin": "http://qunce"}


@pytest.fixture(scope="module")
def dsn(module_dsn: str) -> str:
    with connect(module_dsn, application="test") as conn:
        people.ensure_operator(conn, "op", PASSWORD)
        register_unit(conn, NewUnit("GD-PPL-01", "单位", "Unit", 1, "91440300MA5EXAMP0C"))
        add_key(conn, "GD-PPL-01", "qk_people")
    return module_dsn


@asynccontextmanager
async def interface(dsn: str) -> AsyncIterator[httpx.AsyncClient]:
    api = create_api(logins(dsn), "nats://127.0.0.1:1", secure=True)
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    async with (
        api.router.lifespan_context(api),
        httpx.AsyncClient(transport=transport, base_url="http://qunce") as client,
    ):
        yield client


async def log_in(client: httpx.AsyncClient, name: str, password: str) -> dict[str, Any]:
    answer = await client.post("/api/v1/session", json={"user": name, "password": password})
    return {"status": answer.status_code, **answer.json()}


def bearer(session: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {session['token']}"}


def run(dsn: str, test: Any) -> None:
    async def whole() -> None:
        async with interface(dsn) as client:
            await test(client)

    asyncio.run(whole())


def test_a_login_gives_a_session_that_ends(dsn: str) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        wrong = await log_in(client, "op", OTHER)
        unknown = await log_in(client, "nobody", OTHER)
        assert (
            (wrong["status"], wrong["code"]) == (unknown["status"], unknown["code"]) == (401, "wrong_login")
        )
        session = await log_in(client, "op", PASSWORD)
        assert (session["status"], session["role"], session["name"]) == (201, "operator", "op")
        me = await client.get("/api/v1/me", headers=bearer(session))
        assert (me.json()["kind"], me.json()["role"]) == ("person", "operator")
        assert me.headers["cache-control"] == "no-store"
        assert me.headers["x-content-type-options"] == "nosniff"
        assert "max-age" in me.headers["strict-transport-security"]
        client.cookies.set("qunce_session", session["token"])
        for headers in ({}, {"origin": "http://evil"}):
            refused = await client.delete("/api/v1/session", headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (403, "cross_site")
        assert (await client.delete("/api/v1/session", headers=HERE)).status_code == 204
        client.cookies.clear()
        after = await client.get("/api/v1/me", headers=bearer(session))
        assert (after.status_code, after.json()["code"]) == (401, "no_session")
        assert (
            await client.delete("/api/v1/session", headers={"Authorization": "Bearer qk_people"})
        ).status_code == 401

    run(dsn, test)


def test_an_operator_keeps_accounts(dsn: str) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        op = bearer(await log_in(client, "op", PASSWORD))
        added = await client.post(
            "/api/v1/people", headers=op,
            json={"name": "city-dg", "display_name": "东莞市工信局", "role": "city", "region": "441900"},
        )  # fmt: skip
        assert added.status_code == 201
        made = added.json()["password"]
        assert made not in (await client.get("/api/v1/people", headers=op)).text
        city = await log_in(client, "city-dg", made)
        for refused, code in (
            ({"name": "city-dg", "display_name": "x", "role": "province"}, "name_taken"),
            ({"name": "x", "display_name": "x", "role": "city"}, "wrong_scope"),
            ({"name": "x", "display_name": "x", "role": "province", "password": "short"}, "weak_password"),
            ({"name": "x", "display_name": "x", "role": "king"}, "bad_parameter"),
        ):
            answer = await client.post("/api/v1/people", headers=op, json=refused)
            assert answer.json()["code"] == code
        widened = await client.patch("/api/v1/people/city-dg", headers=op, json={"role": "province"})
        assert widened.status_code == 422
        own = await client.patch("/api/v1/people/op", headers=op, json={"disabled": True})
        assert (own.status_code, own.json()["code"]) == (409, "own_account")
        nobody = await client.patch("/api/v1/people/none", headers=op, json={"disabled": True})
        assert nobody.status_code == 404
        assert (await client.get("/api/v1/people", headers=bearer(city))).status_code == 403
        disabled = await client.patch("/api/v1/people/city-dg", headers=op, json={"disabled": True})
        assert disabled.json()["disabled_at"] is not None
        assert (await client.get("/api/v1/me", headers=bearer(city))).status_code == 401
        assert (await log_in(client, "city-dg", made))["code"] == "wrong_login"

    run(dsn, test)


def test_everybody_changes_his_own_password(dsn: str) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        op = bearer(await log_in(client, "op", PASSWORD))
        new = {"name": "prov", "display_name": "省厅", "role": "province", "password": PASSWORD}
        assert (await client.post("/api/v1/people", headers=op, json=new)).json()["password"] is None
        mine = bearer(await log_in(client, "prov", PASSWORD))
        for old, fresh, status in ((OTHER, OTHER, 401), (PASSWORD, "short", 422), (PASSWORD, OTHER, 204)):
            answer = await client.post("/api/v1/me/password", headers=mine, json={"old": old, "new": fresh})
            assert answer.status_code == status
        assert (await client.get("/api/v1/me", headers=mine)).status_code == 401
        assert (await log_in(client, "prov", OTHER))["status"] == 201
        key = await client.post(
            "/api/v1/me/password",
            headers={"Authorization": "Bearer qk_people"},
            json={"old": "x", "new": "y"},
        )
        assert key.status_code == 401

    run(dsn, test)


def test_an_account_is_locked_after_ten_wrong_passwords(dsn: str) -> None:
    with connect(dsn, application="test") as conn:
        people.add(conn, people.Wanted("locked", "x", "province"), PASSWORD)
        conn.execute("UPDATE person SET failures = 9 WHERE name = 'locked'")

    async def test(client: httpx.AsyncClient) -> None:
        assert (await log_in(client, "locked", OTHER))["code"] == "wrong_login"
        answer = await client.post("/api/v1/session", json={"user": "locked", "password": PASSWORD})
        assert (answer.status_code, answer.json()["code"]) == (429, "locked")
        assert int(answer.headers["retry-after"]) > 200
        op = bearer(await log_in(client, "op", PASSWORD))
        await client.patch("/api/v1/people/locked", headers=op, json={"password": OTHER})
        assert (await log_in(client, "locked", OTHER))["status"] == 201

    run(dsn, test)


def test_the_audit_log_page_by_page_and_each_his_own(dsn: str) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        op = bearer(await log_in(client, "op", PASSWORD))
        first = (await client.get("/api/v1/audit?limit=2", headers=op)).json()
        rest = (await client.get(f"/api/v1/audit?limit=1000&cursor={first['next']}", headers=op)).json()
        numbers = [e["seq"] for e in first["events"] + rest["events"]]
        assert numbers == list(range(numbers[0], 0, -1))
        opened = (await client.get("/api/v1/audit?action=session.opened&limit=1", headers=op)).json()[
            "events"
        ][0]
        assert (opened["actor"], opened["object"]) == ("person:op", "op")
        assert set(opened["detail"]) == {"address", "way"}
        unit = (await client.get("/api/v1/audit", headers={"Authorization": "Bearer qk_people"})).json()
        assert [event["action"] for event in unit["events"]] == ["key.issued"]

    run(dsn, test)


def test_accounts_from_the_command_line(dsn: str, tmp_path: Path) -> None:
    settings = Settings.model_validate({"data_dir": tmp_path, "database": {"dsn": dsn}})
    write_private(tmp_path / "own.toml", to_toml(settings))

    def call(*words: str, given: str | None = None) -> tuple[int, str]:
        where = ["--config", str(tmp_path / "own.toml"), "--data-dir", str(tmp_path)]
        done = CliRunner().invoke(cli, ["people", *words, *where], input=given)
        return done.exit_code, done.output

    code, told = call("add", "from-cli", "--role", "think_tank")
    assert (code, "password: " in told) == (0, True)
    made = told.rpartition("password: ")[2].strip()
    assert call("add", "from-cli", "--role", "think_tank")[0] == 2
    assert call("add", "another", "--role", "city")[0] == 2
    assert "from-cli" in call("list", "--json")[1]
    assert made not in call("list", "--json")[1]

    async def test(client: httpx.AsyncClient) -> None:
        assert (await log_in(client, "from-cli", made))["status"] == 201
        assert call("set-password", "from-cli", "--password-stdin", given=f"{OTHER}\n")[0] == 0
        assert (await log_in(client, "from-cli", OTHER))["status"] == 201
        assert call("disable", "from-cli")[0] == 0
        assert (await log_in(client, "from-cli", OTHER))["code"] == "wrong_login"
        assert call("enable", "from-cli")[0] == 0
        assert call("disable", "nobody")[0] == 2

    run(dsn, test)
