"""What a unit does for itself over HTTP: keys, code tables, heartbeat, stoppages, its own data quality."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from typer.testing import CliRunner, Result

from ingest.api import create_api
from ingest.api.service import Addresses
from ingest.codes import Table
from qunce.cli import app
from store import audit
from store.database import connect
from store.identity import NewPerson, add_person, open_session
from store.registry import NewUnit, add_key, register_unit, source_id
from store.roles import logins

pytestmark = pytest.mark.concurrent
A, B = "qk_service_a", "qk_service_b"
USCC = "91440300MA5EXAMP0C"
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def operator(module_dsn: str) -> str:
    with connect(module_dsn, application="test") as conn:
        for code, key in (("GD-SVC-A", A), ("GD-SVC-B", B)):
            unit = register_unit(conn, NewUnit(code, "单位", "Unit", 1, USCC))
            add_key(conn, code, key)
            conn.execute(
                "WITH e AS (INSERT INTO enterprise (unit_id, uscc, name, region_code, registered_on)"
                " VALUES (%s, %s, '某厂', '441900', '2026-01-01') RETURNING enterprise_id)"
                " INSERT INTO equipment (unit_id, enterprise_id, code, name, kind, digital, networked)"
                " SELECT %s, enterprise_id, c, c, 'CNC', true, true FROM e, unnest(ARRAY['M1', 'M2']) c",
                (unit, USCC, unit),
            )
            source_id(conn, unit, f"http_push:{code}")
        person = add_person(conn, NewPerson("svc-operator", "运维", "operator"))
        return open_session(conn, person, 3600, "127.0.0.1")


@asynccontextmanager
async def service(dsn: str, key: str) -> AsyncIterator[httpx.AsyncClient]:
    api = create_api(
        logins(dsn),
        "nats://127.0.0.1:1",  # nothing here reaches the log
        addresses=Addresses("https://qunce.example/", "mqtts://qunce.example:8883"),
        code_tables=[Table("indicator", "指标", "Indicators", "-", [{"code": "equip.oee"}])],
    )
    async with (
        api.router.lifespan_context(api),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(api, raise_app_exceptions=False),
            base_url="http://qunce",
            headers=bearer(key),
            timeout=30,
        ) as client,
    ):
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def go(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def test_a_unit_keeps_its_own_keys(module_dsn: str, operator: str) -> None:
    async def test() -> None:
        async with service(module_dsn, A) as client:
            wanted = {"name": "MES", "scopes": ["measurements:write", "keys:write"], "expires_in_days": 30}
            made = await client.post("/api/v1/keys", json=wanted)
            assert made.status_code == 201, made.text
            assert made.headers["cache-control"] == "no-store"
            secret, key_id = made.json()["key"], made.json()["issued"]["key_id"]
            listed = (await client.get("/api/v1/keys")).json()
            assert secret not in str(listed)
            assert [k["name"] for k in listed["keys"]] == ["MES", ""]
            me = (await client.get("/api/v1/me", headers=bearer(secret))).json()
            assert (me["unit"], me["permissions"]) == ("GD-SVC-A", ["keys:write", "measurements:write"])

            # A key gives out no more than it carries itself, neither by issuing nor by rotating.
            for more in ("people:write", "operations:read"):
                never = await client.post("/api/v1/keys", json={"name": "x", "scopes": [more, "codes:read"]})
                assert (never.status_code, never.json()["parameters"]["scopes"]) == (403, more)
            narrow = bearer(secret)
            beyond = await client.post(
                "/api/v1/keys", json={"name": "x", "scopes": ["datasets:read"]}, headers=narrow
            )
            assert (beyond.status_code, beyond.json()["code"]) == (403, "scope_exceeds")
            first = listed["keys"][1]["key_id"]
            grown = await client.post(f"/api/v1/keys/{first}/rotate", json={}, headers=narrow)
            assert (grown.status_code, grown.json()["code"]) == (403, "scope_exceeds")
            own = await client.post("/api/v1/keys", json={"name": "same"}, headers=narrow)
            assert own.json()["issued"]["scopes"] == ["keys:write", "measurements:write"]

            # Nor for longer than it lives itself; its own successor has its lifetime anew.
            brief = await client.post("/api/v1/keys", json={"name": "brief", "expires_in_days": 1})
            long = await client.post("/api/v1/keys", json={"name": "long"})
            ends = brief.json()["issued"]["expires_at"]
            path = f"/api/v1/keys/{long.json()['issued']['key_id']}/rotate"
            capped = await client.post(path, json={}, headers=bearer(brief.json()["key"]))
            assert (capped.status_code, capped.json()["issued"]["expires_at"]) == (201, ends)

            # A request that is sent again makes no second key, neither by issuing nor by rotating.
            once = {"Idempotency-Key": "once"}
            one = await client.post("/api/v1/keys", json={"name": "once"}, headers=once)
            first_id = one.json()["issued"]["key_id"]
            for path in ("/api/v1/keys", f"/api/v1/keys/{first_id}/rotate"):
                again = await client.post(
                    path, json={"name": "once"} if path.endswith("keys") else {}, headers=once
                )
                assert (again.status_code, again.json()["code"]) == (409, "key_told")
                assert again.json()["parameters"]["key"] == str(first_id)

            rotated = await client.post(f"/api/v1/keys/{key_id}/rotate", json={"overlap_hours": 1})
            assert rotated.status_code == 201
            new, old = rotated.json()["issued"], rotated.json()["old"]
            assert (new["scopes"], new["name"]) == (["keys:write", "measurements:write"], "MES")
            left = datetime.fromisoformat(old["expires_at"]) - datetime.now(UTC)
            assert timedelta(minutes=59) < left <= HOUR
            assert datetime.fromisoformat(new["expires_at"]) > datetime.now(UTC) + timedelta(days=29)
            for key in (secret, rotated.json()["key"]):
                assert (await client.get("/api/v1/me", headers=bearer(key))).status_code == 200
            at_once = await client.post(f"/api/v1/keys/{new['key_id']}/rotate", json={"overlap_hours": 0})
            assert at_once.status_code == 201
            ended = await client.get("/api/v1/me", headers=bearer(rotated.json()["key"]))
            assert (ended.status_code, ended.json()["code"]) == (401, "wrong_key")

            assert (await client.delete(f"/api/v1/keys/{key_id}")).status_code == 200
            assert (await client.get("/api/v1/me", headers=bearer(secret))).status_code == 401
            again = await client.delete(f"/api/v1/keys/{key_id}")
            assert (again.status_code, again.json()["code"]) == (404, "key_not_valid")

            # Another unit's are not there; an operator keeps any unit's.
            foreign = await client.delete(f"/api/v1/keys/{first}", headers=bearer(B))
            assert foreign.status_code == 404
            assert (await client.get("/api/v1/keys?unit=GD-SVC-B")).status_code == 404
            theirs = (await client.get("/api/v1/keys?unit=GD-SVC-B", headers=bearer(operator))).json()
            [only] = theirs["keys"]
            last = await client.delete(f"/api/v1/keys/{only['key_id']}", headers=bearer(B))
            assert (last.status_code, last.json()["code"]) == (409, "last_key")
            unit_b = {"unit": "GD-SVC-B"}
            helped = await client.post(
                "/api/v1/keys", json={"name": "by operator"}, params=unit_b, headers=bearer(operator)
            )
            assert helped.json()["issued"]["created_by"] == "person:svc-operator"
            assert (await client.get("/api/v1/me", headers=bearer(helped.json()["key"]))).json()[
                "unit"
            ] == "GD-SVC-B"
            forced = await client.delete(
                f"/api/v1/keys/{only['key_id']}?force=true", params=None, headers=bearer(B)
            )
            assert forced.status_code == 200
            assert (
                await client.get("/api/v1/keys?unit=NO-SUCH", headers=bearer(operator))
            ).status_code == 404
            assert (await client.get("/api/v1/keys", headers=bearer(operator))).status_code == 422

        with connect(module_dsn, application="test") as conn:
            told = [e for e in audit.events(conn, limit=50) if e.action.startswith("key.")]
            assert {e.action for e in told} == {"key.issued", "key.rotated", "key.revoked"}
            assert "qk_" not in str(told)
            assert {e.actor for e in told if not e.actor.startswith("role:")} == {
                "unit:GD-SVC-A",
                "unit:GD-SVC-B",
                "person:svc-operator",
            }
            # give B back the key that the other tests use
            with pytest.raises(psycopg.errors.InsufficientPrivilege), conn.transaction():
                conn.execute("UPDATE api_key SET revoked_at = NULL WHERE key_id = %s", (only["key_id"],))
            conn.execute("DELETE FROM api_key WHERE key_id = %s", (only["key_id"],))
            add_key(conn, "GD-SVC-B", B)

    go(test())


def test_code_tables_change_their_version_with_their_content(module_dsn: str, operator: str) -> None:
    async def test() -> None:
        async with service(module_dsn, A) as client:
            answer = await client.get("/api/v1/codes")
            tables = {t["name"]: t for t in answer.json()["tables"]}
            assert set(tables) >= {"region", "cluster", "state", "quality_flag", "reason", "indicator"}
            tag = answer.headers["etag"]
            unchanged = await client.get("/api/v1/codes", headers={"If-None-Match": f'W/{tag}, "x"'})
            assert (unchanged.status_code, unchanged.content) == (304, b"")
            regions = await client.get("/api/v1/codes/region")
            assert regions.headers["etag"] == f'"{tables["region"]["version"]}"'
            assert {"code": "441900", "zh": "东莞市", "level": "city", "parent": "440000"} in regions.json()[
                "codes"
            ]
            states = (await client.get("/api/v1/codes/state")).json()["codes"]
            assert {"code": "Executing", "zh": "执行中", "en": "executing", "value": 3} in states
            assert (await client.get("/api/v1/codes/none")).status_code == 404
            registered = (await client.get("/api/v1/registration")).json()
            assert registered["codes_version"] == answer.json()["version"]
            assert registered["http"]["measurements"] == "https://qunce.example/api/v1/measurements"
            assert registered["mqtt"]["topic"] == "qunce/v1/GD-SVC-A/measurements"
        with connect(module_dsn, application="test") as conn:
            conn.execute("INSERT INTO region VALUES ('441999', '新区', 'district', '441900')")
        async with service(module_dsn, A) as client:
            changed = await client.get("/api/v1/codes", headers={"If-None-Match": tag})
            assert changed.status_code == 200
            after = {t["name"]: t for t in changed.json()["tables"]}
            assert {n for n in tables if after[n]["version"] != tables[n]["version"]} == {"region"}

    go(test())


def test_heartbeats_tell_the_time_and_are_remembered(module_dsn: str, operator: str) -> None:
    async def test() -> None:
        async with service(module_dsn, A) as client:
            ahead = (datetime.now(UTC) + timedelta(seconds=42)).isoformat()
            beat = {"source": "gateway-1", "clock": ahead, "queue_depth": 7, "version": "1.2"}
            answer = (await client.post("/api/v1/heartbeat", json=beat)).json()
            assert answer["skew_s"] == pytest.approx(42, abs=1)
            assert answer["flagged"]
            assert answer["next_s"] == 60
            behind = (datetime.now(UTC) - timedelta(seconds=4)).isoformat()
            answer = (
                await client.post(
                    "/api/v1/heartbeat", json=beat | {"source": "x", "clock": behind, "round_trip_s": 8}
                )
            ).json()
            assert answer["skew_s"] == pytest.approx(0, abs=1)
            assert not answer["flagged"]
            zoneless = await client.post("/api/v1/heartbeat", json=beat | {"clock": "2026-11-26T08:00:00"})
            assert (zoneless.status_code, zoneless.json()["parameters"]["field"]) == (422, "clock")
            kept = (await client.get("/api/v1/sources")).json()["heartbeats"]
            assert [(b["source"], b["queue_depth"]) for b in kept] == [("gateway-1", 7), ("x", 7)]
            theirs = (await client.get("/api/v1/sources", headers=bearer(B))).json()["heartbeats"]
            assert theirs == []
            shares = (await client.get("/api/v1/quality")).json()["heartbeats"]
            assert 0 < shares[0]["minutes_share"] < 0.01

    go(test())


def test_stoppages_are_declared_changed_and_withdrawn(module_dsn: str, operator: str) -> None:
    async def test() -> None:
        now = datetime.now(UTC)
        async with service(module_dsn, A) as client:
            new = {"kind": "power", "from": now.isoformat(), "reason": "限电", "equipment_codes": ["M1"]}
            once = {"Idempotency-Key": "s-1"}
            made = await client.post("/api/v1/stoppages", json=new, headers=once)
            assert made.status_code == 201, made.text
            again = await client.post("/api/v1/stoppages", json=new, headers=once)
            assert again.json() == made.json()
            path = f"/api/v1/stoppages/{made.json()['stoppage_id']}"
            ended = await client.patch(path, json={"to": (now + HOUR).isoformat()})
            assert datetime.fromisoformat(ended.json()["to"]) == now + HOUR
            for wrong, status, code in (
                (new | {"equipment_codes": ["M9"]}, 422, "stoppage_of_unknown"),
                (new | {"from": (now - timedelta(days=11)).isoformat()}, 422, "stoppage_too_old"),
                (new | {"all": True}, 422, "bad_parameter"),
                (new | {"kind": "tired"}, 422, "bad_parameter"),
            ):
                refused = await client.post("/api/v1/stoppages", json=wrong)
                assert (refused.status_code, refused.json()["code"]) == (status, code)
                assert set(refused.json()["hint"]) == {"zh", "en"}
            # Another unit neither sees nor changes it; who supervises sees it.
            other = bearer(B)
            assert (await client.get("/api/v1/stoppages", headers=other)).json()["stoppages"] == []
            assert (await client.patch(path, json={"reason": "x"}, headers=other)).status_code == 404
            assert (await client.delete(path, headers=other)).status_code == 404
            seen = (await client.get("/api/v1/stoppages", headers=bearer(operator))).json()["stoppages"]
            assert [s["unit"] for s in seen] == ["GD-SVC-A"]
            assert (
                await client.post("/api/v1/stoppages", json=new, headers=bearer(operator))
            ).status_code == 403
            assert (await client.delete(path)).json()["withdrawn_at"]
            assert (await client.delete(path)).status_code == 404

    go(test())


def test_own_quality_and_submissions(module_dsn: str, operator: str) -> None:
    now = datetime.now(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0) - HOUR
    with connect(module_dsn, application="test") as conn:
        [unit, machine, source] = conn.execute(
            "SELECT u.unit_id, q.equipment_id, s.source_id FROM lead_unit u JOIN equipment q USING (unit_id)"
            " JOIN source s USING (unit_id) WHERE u.code = 'GD-SVC-A' AND q.code = 'M1'"
        ).fetchone() or (0, 0, 0)
        conn.execute(
            "INSERT INTO equipment_hour (equipment_id, hour, observed_s, known_s, state_known_s, online_s, due,"
            " filled, readings, valid, flags, provisional, computed_at, stopped_s)"
            " VALUES (%s, %s, 3600, 0, 0, 0, 60, 45, 48, 40, 0, false, now(), 900)",
            (machine, hour),
        )
        conn.execute("INSERT INTO supply_hour VALUES (%s, %s, %s, 48, 40, 30, 0, 2)", (machine, source, hour))
        for code, numerator, denominator in (("transmission", 45, 60), ("validity", 40, 50)):
            conn.execute(
                "INSERT INTO indicator_value VALUES (%s, 1, 'source', %s, 'hour', %s, 1, %s, %s, 1, 1,"
                " 'observed', NULL, false, now(), NULL)",
                (f"dq.{code}_rate", source, hour, numerator, denominator),
            )
        conn.execute("INSERT INTO latency_bucket VALUES (%s, %s, 30, 40)", (source, hour))
        conn.execute(
            "INSERT INTO quarantine (unit_id, source_id, batch, place, reason, parameters, original, received_at)"
            " SELECT %s, %s, 'b', '$', 'unknown_tag', jsonb_build_object('tag', 'M' || n), '', now()"
            " FROM generate_series(1, 3) n",
            (unit, source),
        )
        conn.execute(
            "INSERT INTO submission (batch, unit_id, dataset, received, accepted, duplicates, corrections,"
            " quarantined, errors, applied_at) SELECT 'b' || n, %s, 'park', 2, 2 - n %% 2, 0, 0, n %% 2, '[]',"
            " now() - n / 2 * interval '1 minute' FROM generate_series(0, 4) n",
            (unit,),
        )

    async def test() -> None:
        async with service(module_dsn, A) as client:
            found = (await client.get("/api/v1/quality")).json()
            [mine] = found["sources"]
            assert (mine["received"], mine["quarantined"], mine["due"]) == (50, 2, 60)
            rates = ("transmission_rate", "validity_rate", "effective_rate", "timeliness")
            assert [mine[name] for name in rates] == [0.75, 0.8, 0.6, 0.75]
            assert 0.01 * 1.1**30 < mine["latency_p95_s"] < 0.01 * 1.1**31
            machine, idle = found["equipment"]
            assert [machine[name] for name in rates] == [0.75, 0.8, 0.6, 0.75]
            assert machine["stopped_s"] == 900
            assert [idle[name] for name in rates] == [None] * 4
            [refused] = found["refused"]
            assert (refused["reason"], refused["open"]) == ("unknown_tag", 3)
            assert refused["message"]["en"] == "tag M3 is not registered"
            page = (await client.get("/api/v1/quality?limit=1")).json()
            rest = (await client.get(f"/api/v1/quality?limit=1&cursor={page['next']}")).json()
            assert [q["equipment"] for p in (page, rest) for q in p["equipment"]] == ["M1", "M2"]
            assert rest["next"] is None
            for wrong in (
                "since=2026-01-01T00:00:00Z",
                "until=0001-01-01T00:00:00%2B08:00",
                "since=9999-12-31T23:59:59Z",
            ):
                assert (await client.get(f"/api/v1/quality?{wrong}")).status_code == 422, wrong

            seen, cursor = [], ""
            while True:
                part = (await client.get(f"/api/v1/submissions?limit=2{cursor}")).json()
                seen += [s["batch"] for s in part["submissions"]]
                if part["next"] is None:
                    break
                cursor = f"&cursor={part['next']}"
            assert seen == ["b1", "b0", "b3", "b2", "b4"]
            refused = (await client.get("/api/v1/submissions?refused=true")).json()["submissions"]
            assert [s["batch"] for s in refused] == ["b1", "b3"]
            assert (await client.get("/api/v1/submissions?cursor=nonsense")).status_code == 422
            assert (await client.get("/api/v1/submissions", headers=bearer(B))).json()["submissions"] == []
            by_unit = await client.get("/api/v1/submissions?unit=GD-SVC-A", headers=bearer(operator))
            assert len(by_unit.json()["submissions"]) == 5

    go(test())


def test_keys_on_the_command_line(
    module_dsn: str, operator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUNCE_DATABASE__DSN", module_dsn)

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, ["keys", *words, "--unit", "GD-SVC-B", "--data-dir", str(tmp_path)])

    issued = run("issue", "--name", "网关", "--scope", "measurements:write", "--days", "7", "--json")
    assert issued.exit_code == 0, issued.output
    made = json.loads(issued.stdout)
    assert made["scopes"] == ["measurements:write"]
    assert made["key"].startswith("qk_")
    rotated = run("rotate", str(made["key_id"]), "--overlap", "0", "--json")
    assert rotated.exit_code == 0, rotated.output
    assert run("revoke", str(made["key_id"])).exit_code == 0
    assert run("revoke", str(made["key_id"])).exit_code == 1
    listed = json.loads(run("list", "--json").stdout)
    assert made["key"] not in str(listed)
    assert [k["valid"] for k in listed if k["name"] == "网关"] == [True, False]
    assert run("issue", "--name", "x", "--scope", "people:write").exit_code == 2
