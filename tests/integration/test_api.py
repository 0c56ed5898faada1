"""The open interface over HTTP, with a real log, a real writer and a real database behind it."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import nats
import pyarrow as pa
import pytest

from ingest import writer
from ingest.api import create_api
from ingest.api.limits import UNIT_LIMITS, UnitLimits
from ingest.arrow import CONTENT_TYPE as ARROW
from ingest.log import STREAM, Log
from store.database import Connection, connect
from store.registry import NewPilot, NewUnit, add_key, register_pilot, register_unit
from store.roles import logins

pytestmark = pytest.mark.concurrent
KEY, OTHER = "qk_one", "qk_two"
USCC = "91440300MA5EXAMP0C"


def no_report(component: str, status: str, detail: dict[str, Any]) -> None:
    """Status goes nowhere in this test."""


@asynccontextmanager
async def platform(
    dsn: str, nats_url: str, *, with_writer: bool = True, limits: UnitLimits = UNIT_LIMITS
) -> AsyncIterator[httpx.AsyncClient]:
    app = create_api(logins(dsn), nats_url, limits=limits)
    stop = asyncio.Event()
    work = (
        asyncio.create_task(writer.run(logins(dsn).writer, nats_url, stop, no_report))
        if with_writer
        else None
    )
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://qunce",
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=30,
        ) as client,
    ):
        yield client
        stop.set()
        if work is not None:
            await asyncio.wait_for(work, 15)


@pytest.fixture
def registered(dsn: str, nats_fresh: str) -> tuple[str, str]:
    with connect(dsn, application="test") as conn:
        for code, key in (("GD-AAA-01", KEY), ("GD-BBB-01", OTHER)):
            register_unit(conn, NewUnit(code, "单位", "Unit", 1, USCC))
            register_pilot(
                conn,
                NewPilot(f"P-{code}", "试点", "Pilot", "new-it", "441900", code, "piloting",
                         datetime.now(UTC).date()),
            )  # fmt: skip
            add_key(conn, code, key)
    return dsn, nats_fresh


MASTER: list[tuple[str, dict[str, Any]]] = [
    ("enterprise", {"uscc": USCC, "name": "东莞某厂", "region_code": "441900", "registered_on": "2026-01-01"}),
    ("equipment", {"code": "M1", "enterprise_uscc": USCC, "name": "一号机", "kind": "CNC", "digital": True,
                   "networked": True}),
    ("tag", {"name": "M1.produced", "equipment_code": "M1", "signal": "produced", "data_type": "counter",
             "unit": "1", "interval_s": 10, "valid_from": "2026-01-01T00:00:00+08:00"}),
]  # fmt: skip


async def register_master(client: httpx.AsyncClient) -> None:
    for dataset, record in MASTER:
        answer = await client.post(f"/api/v1/datasets/{dataset}", json={"records": [record]})
        assert answer.status_code == 200, answer.text
        assert answer.json()["accepted"] == 1


def now(ahead_s: float = -1) -> str:
    return (datetime.now(UTC) + timedelta(seconds=ahead_s)).isoformat()


async def settled(dsn: str, check: Callable[[Connection], bool]) -> None:
    for _ in range(200):
        with connect(dsn, application="test") as conn:
            if check(conn):
                return
        await asyncio.sleep(0.1)
    raise AssertionError("not stored in time")


def go(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def test_readings_are_accepted_row_by_row_and_stored(registered: tuple[str, str]) -> None:
    async def test() -> None:
        dsn, url = registered
        async with platform(dsn, url) as client:
            await register_master(client)
            rows = [
                {"tag": "M1.produced", "ts": now(), "value": 7},
                {"tag": "M1.none", "ts": now(), "value": 7},
                {"tag": "M1.produced", "ts": now(900), "value": 8},
                {"tag": "M1.produced", "ts": now(), "value": "9"},
                {"tag": "M1.produced", "ts": "2026-11-23T08:00:00", "value": 9},
            ]
            answer = await client.post("/api/v1/measurements", json={"records": rows})
            body = answer.json()
            assert (answer.status_code, body["accepted"], body["quarantined"]) == (200, 1, 4)
            assert {(e["place"], e["reason"]) for e in body["errors"]} == {
                ("records[1].tag", "unknown_tag"),
                ("records[2].ts", "clock_ahead"),
                ("records[3].value", "wrong_type"),
                ("records[4].ts", "timestamp_without_zone"),
            }
            assert [e["message"]["en"] for e in body["errors"] if e["reason"] == "unknown_tag"] == [
                "tag M1.none is not registered"
            ]
            await settled(dsn, lambda c: c.execute("SELECT count(*) FROM quarantine").fetchone() == (4,))
            await settled(dsn, lambda c: c.execute("SELECT count(*) FROM measurement").fetchone() == (1,))
            held = (await client.get("/api/v1/quarantine")).json()["quarantine"]
            assert len(held) == 4
            other = await client.get("/api/v1/quarantine", headers={"Authorization": f"Bearer {OTHER}"})
            assert other.json()["quarantine"] == []
            [source] = (await client.get("/api/v1/sources")).json()["sources"]
            assert (source["received"], source["stored"], source["quarantined"]) == (5, 1, 4)

    go(test())


@pytest.mark.parametrize("form", ["arrow", "columns", "rows", "packed"])
def test_much_at_once_is_stored_whatever_its_form(registered: tuple[str, str], form: str) -> None:
    n = 3000

    async def test() -> None:
        dsn, url = registered
        async with platform(dsn, url) as client:
            await register_master(client)
            first = int(datetime.now(UTC).timestamp()) * 1_000_000 - 10_000_000_000
            ts = [first + i * 1000 for i in range(n)]
            headers = {"Content-Type": "application/json"}
            if form == "arrow":
                table = pa.table(
                    {"tag": pa.array(["M1.produced"] * n), "ts": pa.array(ts, pa.timestamp("us", "UTC")),
                     "value": pa.array(range(n))}
                )  # fmt: skip
                sink = pa.BufferOutputStream()
                with pa.ipc.new_stream(sink, table.schema) as writing:
                    writing.write_table(table, max_chunksize=1000)
                content, headers = sink.getvalue().to_pybytes(), {"Content-Type": ARROW}
            elif form == "rows":
                times = [datetime.fromtimestamp(t / 1e6, UTC).isoformat() for t in ts]
                records = [{"tag": "M1.produced", "ts": t, "value": i} for i, t in enumerate(times)]
                content = json.dumps({"records": records}).encode()
            else:
                columns = {"tag": [0] * n, "ts": ts, "value": list(range(n))}
                content = json.dumps({"tags": ["M1.produced"], "columns": columns}).encode()
            if form == "packed":
                content, headers = gzip.compress(content), {**headers, "Content-Encoding": "gzip"}
            answer = await client.post("/api/v1/measurements?mode=backfill", content=content, headers=headers)
            assert (answer.status_code, answer.json()["accepted"]) == (200, n), answer.text
            await settled(
                dsn,
                lambda c: c.execute("SELECT count(*), sum(value) FROM measurement").fetchone()
                == (n, n * (n - 1) / 2),
            )  # fmt: skip

    go(test())


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b'{"records": [', {}, 400, "malformed_json"),
        (b"{}", {}, 400, "wrong_shape"),
        (b'{"records": []}', {"Authorization": "Bearer nonsense"}, 401, "wrong_key"),
        (b'{"records": []}', {"Authorization": ""}, 401, "no_key"),
        (b"x" * (17 * 2**20), {}, 413, "body_too_large"),
        (gzip.compress(b" " * (17 * 2**20)), {"Content-Encoding": "gzip"}, 413, "body_too_large"),
        (b"not gzip", {"Content-Encoding": "gzip"}, 400, "bad_gzip"),
        (b"ARROW1", {"Content-Type": ARROW}, 400, "malformed_arrow"),
        (b"a,b", {"Content-Type": "text/csv"}, 415, "unsupported_media_type"),
        (b'{"records":[{"tag":"M9.x","ts":"2026-11-01T00:00:00Z","value":1}]}', {}, 422, "all_refused"),
    ],
)  # fmt: skip
def test_every_error_is_a_problem_document(
    registered: tuple[str, str], body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    async def test() -> None:
        dsn, url = registered
        async with platform(dsn, url, with_writer=False) as client:
            answer = await client.post(
                "/api/v1/measurements", content=body, headers={"Content-Type": "application/json", **headers}
            )
            problem = answer.json()
            assert (answer.status_code, problem["code"]) == (status, code)
            assert answer.headers["content-type"] == "application/problem+json"
            assert problem["status"] == status
            assert problem["message"]["zh"]
            assert problem["hint"]["en"]

    go(test())


def test_unknown_paths_and_methods_are_problems_too(registered: tuple[str, str]) -> None:
    async def test() -> None:
        async with platform(*registered, with_writer=False) as client:
            for method, path, status in (
                ("GET", "/api/v1/none", 404),
                ("DELETE", "/api/v1/measurements", 405),
            ):
                answer = await client.request(method, path)
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.status_code == status

    go(test())


def test_the_same_idempotency_key_has_one_effect(registered: tuple[str, str]) -> None:
    async def test() -> None:
        dsn, url = registered
        async with platform(dsn, url) as client:
            await register_master(client)
            body = json.dumps({"records": [{"tag": "M1.produced", "ts": now(), "value": 7}]})
            headers = {"Idempotency-Key": "once", "Content-Type": "application/json"}
            first = await client.post("/api/v1/measurements", content=body, headers=headers)
            again = await client.post("/api/v1/measurements", content=body, headers=headers)
            assert first.json() == again.json()
            await settled(dsn, lambda c: c.execute("SELECT count(*) FROM measurement").fetchone() == (1,))
            [source] = (await client.get("/api/v1/sources")).json()["sources"]
            assert (source["received"], source["duplicates"]) == (1, 0)

    go(test())


def test_dataset_records_are_judged_one_by_one(registered: tuple[str, str]) -> None:
    async def test() -> None:
        async with platform(*registered) as client:
            good = {"uscc": USCC, "name": "厂", "region_code": "441900", "registered_on": "2026-01-01"}
            bad = [
                {**good, "uscc": USCC[:-1] + "X"},
                {**good, "registered_on": "yesterday"},
                {**good, "colour": "red"},
                {**good, "region_code": "999999"},
                {"name": "厂"},
            ]
            answer = await client.post("/api/v1/datasets/enterprise", json={"records": [good, *bad]})
            body = answer.json()
            assert (answer.status_code, body["accepted"], body["quarantined"]) == (200, 1, 5)
            assert {e["index"]: e["reason"] for e in body["errors"]} == {
                1: "invalid_field", 2: "invalid_field", 3: "unknown_field", 4: "unknown_reference",
                5: "missing_field",
            }  # fmt: skip
            again = await client.post("/api/v1/datasets/enterprise", json={"records": [good]})
            assert (again.json()["accepted"], again.json()["duplicates"]) == (0, 1)
            unknown = await client.post("/api/v1/datasets/nothing", json={"records": []})
            assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_dataset")
            malformed = await client.post("/api/v1/datasets/enterprise", content=b"{")
            assert (malformed.status_code, malformed.json()["code"]) == (400, "malformed_json")

    go(test())


def test_a_correction_gives_its_reason_and_every_dataset_is_documented(registered: tuple[str, str]) -> None:
    async def test() -> None:
        dsn, url = registered
        async with platform(dsn, url) as client:
            listed = (await client.get("/api/v1/datasets")).json()["datasets"]
            paths = (await client.get("/api/openapi.json")).json()["paths"]
            for one in listed:
                told = (await client.get(one["schema"])).json()
                assert (told["title"], told["x-key"]) == (one["title"]["zh"], one["key"])
                assert "post" in paths[f"/api/v1/datasets/{one['name']}"], one["name"]
            gone = await client.get("/api/v1/datasets/nothing/schema")
            assert (gone.status_code, gone.json()["code"]) == (404, "unknown_dataset")

            async def send(record: dict[str, Any], **said: str) -> dict[str, Any]:
                body = {"records": [record], **said}
                answer = await client.post("/api/v1/datasets/training_session", json=body)
                found: dict[str, Any] = answer.json()["records"][0]
                return found

            session = {"code": "T1", "subject": "实务", "held_on": "2026-08-12", "ended_on": "2026-08-12", "hours": 6,
                       "attendees": 20, "qualified": 20, "certified": 5, "enterprises": 9}  # fmt: skip
            assert await send(session) == {"index": 0, "verdict": "accepted"}
            assert await send(session) == {"index": 0, "verdict": "duplicate"}
            changed = {**session, "certified": 6}
            refused = {"index": 0, "verdict": "quarantined", "reason": "correction_needs_reason"}
            assert await send(changed, reason="  ") == refused
            assert await send(changed, reason="漏计一人", voucher="GZ-1") == {
                "index": 0,
                "verdict": "correction",
            }
            assert (await send({"code": "T1", "withdrawn": True}, reason="取消"))["verdict"] == "correction"
            wrong = await client.post(
                "/api/v1/datasets/training_session", json={"records": [], "reason": "a\0"}
            )
            assert (wrong.status_code, wrong.json()["code"]) == (400, "wrong_shape")
            misspelt = await client.post(
                "/api/v1/datasets/training_session", json={"records": [session], "vouchr": "GZ-2"}
            )
            assert (misspelt.status_code, misspelt.json()["code"]) == (400, "unknown_field")
            assert misspelt.json()["parameters"]["field"] == "vouchr"
        with connect(dsn, application="test") as conn:
            assert conn.execute(
                "SELECT revision, reason, voucher, reported_by FROM dataset_revision ORDER BY revision"
            ).fetchall() == [
                (1, None, None, "unit:GD-AAA-01"), (2, "漏计一人", "GZ-1", "unit:GD-AAA-01"),
                (3, "取消", None, "unit:GD-AAA-01"),
            ]  # fmt: skip

    go(test())


def test_a_log_made_anew_is_read_from_its_start(registered: tuple[str, str]) -> None:
    async def test() -> None:
        dsn, url = registered
        async with platform(dsn, url) as client:
            await register_master(client)
            rows = [{"tag": "M1.produced", "ts": now(-i), "value": i} for i in range(1, 6)]
            await client.post("/api/v1/measurements", json={"records": rows})
            await settled(dsn, lambda c: c.execute("SELECT count(*) FROM measurement").fetchone() == (5,))
            raw = await nats.connect(url)
            await raw.jetstream().delete_stream(STREAM)
            await raw.close()
            await (await Log.connect(url, name="test", max_bytes=2**28)).close()
            rows = [{"tag": "M1.produced", "ts": now(-i), "value": i} for i in range(11, 14)]
            answer = await client.post("/api/v1/measurements", json={"records": rows})
            assert answer.status_code in (200, 202)
            await settled(dsn, lambda c: c.execute("SELECT count(*) FROM measurement").fetchone() == (8,))

    go(test())
