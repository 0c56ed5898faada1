"""Exports: what is read back, whose it is, one state of the database, an end when the reader goes, and the audit log."""

from __future__ import annotations

import asyncio
import io
import json
from datetime import UTC, date, datetime
from typing import Any

import httpx
import openpyxl
import pandas as pd
import pyarrow.parquet
import pytest

from ingest import tables
from ingest.api import exporting
from ingest.api.reading import exports
from store.database import connect
from tests.integration.reading import as_, ask
from tests.isolation.world import World, seed

pytestmark = pytest.mark.concurrent
A, B = "GD-AAA-01", "GD-BBB-01"
DAY = datetime(2026, 11, 21, tzinfo=UTC)
N = 2_000


@pytest.fixture(scope="module")
def world(module_dsn: str) -> tuple[str, World]:
    with connect(module_dsn, application="test") as conn:
        made = seed(conn)
        conn.execute(
            "SELECT make_day_partition('2026-11-21') WHERE EXISTS (SELECT FROM layout WHERE name = 'native')"
        )
        conn.execute(
            "INSERT INTO measurement SELECT %s, %s::timestamptz + n * interval '1 second', n / 8.0, 0 FROM generate_series(1, %s) n",
            (made.tags[A], DAY, N),
        )
        conn.execute(
            "INSERT INTO tag (unit_id, equipment_id, name, signal, data_type, unit) VALUES (%s, %s, 'M1.alarm', 'alarm', 'text', '1')",
            (made.units[A], made.equipment[A]),
        )
        conn.execute(
            "INSERT INTO reporting_schedule SELECT tag_id, %s, 1 FROM tag WHERE name = 'M1.alarm'", (DAY,)
        )
        conn.execute(
            "INSERT INTO event SELECT tag_id, %s::timestamptz + n * interval '1 second', '=HYPERLINK(' || n, -32768"
            " FROM tag, generate_series(1, 3) n WHERE name = 'M1.alarm'",
            (DAY,),
        )
    return module_dsn, made


def audited(dsn: str, action: str) -> list[tuple[str, dict[str, Any]]]:
    with connect(dsn, application="test") as conn:
        rows = conn.execute("SELECT actor, detail FROM audit_event WHERE action = %s ORDER BY seq", (action,))
        return [(actor, json.loads(detail)) for actor, detail in rows]


def test_readings_in_every_form(world: tuple[str, World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "_PAGE", 300)
    dsn, made = world

    async def test(client: httpx.AsyncClient) -> None:
        frames = {}
        for form in ("csv", "parquet", "xlsx"):
            answer = await client.get(f"/api/v1/export/readings?format={form}", headers=as_(made, "key of A"))
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-disposition"] == f'attachment; filename="readings.{form}"'
            read = {"csv": pd.read_csv, "parquet": pd.read_parquet, "xlsx": pd.read_excel}[form]
            frames[form] = read(io.BytesIO(answer.content))
        parquet = frames["parquet"]
        assert len(parquet) == N + 4  # with the one of the world, and three texts
        heat = parquet[parquet.tag == "M1.heat"]
        assert heat.ts.is_monotonic_increasing
        assert heat.value.tolist() == [1.0] + [n / 8 for n in range(1, N + 1)]
        assert parquet[parquet.tag == "M1.alarm"].text.tolist() == [f"=HYPERLINK({n}" for n in (1, 2, 3)]
        assert set(parquet.quality) == {0, 0x80000000}
        for form in ("csv", "xlsx"):
            other = frames[form]
            other["ts"] = pd.to_datetime(other["ts"], utc=True)
            assert other.value.dropna().tolist() == parquet.value.dropna().tolist()
            assert (other.ts == parquet.ts).all()
        assert frames["csv"].text.dropna().tolist() == [f"'=HYPERLINK({n}" for n in (1, 2, 3)]

    ask(dsn, test)
    done = [detail for actor, detail in audited(dsn, "export.made") if actor == f"unit:{A}"]
    assert [(d["format"], d["rows"], d["complete"]) for d in done] == [
        (form, N + 4, True) for form in ("csv", "parquet", "xlsx")
    ]
    assert len(audited(dsn, "export.begun")) >= 3


def test_whose_readings_may_be_exported(world: tuple[str, World]) -> None:
    dsn, made = world

    async def test(client: httpx.AsyncClient) -> None:
        for who, params, status, rows in (
            ("key of B", {}, 200, 1), ("key of B", {"unit": A}, 404, 0), ("key of B", {"tags": "M1.alarm"}, 404, 0),
            ("key of A", {"equipment": "M2"}, 404, 0), ("key of A", {"equipment": "M1", "to": "2026-11-21T00:00:00Z"}, 200, 1),
            ("bank", {"unit": B}, 403, 0), ("enterprise of A", {"unit": A}, 200, N + 4), ("enterprise of A", {"unit": B}, 404, 0),
            ("county 440305", {"unit": B}, 200, 1), ("province", {}, 422, 0),
        ):  # fmt: skip
            answer = await client.get("/api/v1/export/readings", params=params, headers=as_(made, who))
            assert answer.status_code == status, (who, params, answer.text[:300])
            if status == 200:
                assert len(pd.read_csv(io.BytesIO(answer.content))) == rows, (who, params)

    ask(dsn, test)


def test_indicators_are_exported_as_they_are_read(
    world: tuple[str, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "_PAGE", 3)
    dsn, made = world

    async def test(client: httpx.AsyncClient) -> None:
        for who in ("key of A", "province", "bank", "enterprise of A"):
            shown = await client.get("/api/v1/indicators?period=hour", headers=as_(made, who))
            answer = await client.get(
                "/api/v1/export/indicators?period=hour&format=parquet", headers=as_(made, who)
            )
            rows = pyarrow.parquet.read_table(io.BytesIO(answer.content)).to_pylist()
            key = ("code", "level", "value", "reason")
            assert [[row[k] for k in key] for row in rows] == [
                [one[k] for k in key] for one in shown.json()["indicators"]
            ]
            assert {row["unit"] for row in rows} == {
                one["entity"].get("unit") for one in shown.json()["indicators"]
            }
        assert rows[0]["name_zh"]

    ask(dsn, test)


def test_records_are_exported_as_they_are_read(
    world: tuple[str, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "_PAGE", 1)
    dsn, made = world

    async def test(client: httpx.AsyncClient) -> None:
        for who, dataset, n in (
            ("key of A", "tag", 2), ("province", "enterprise", 2), ("bank", "enterprise", 1), ("bank", "equipment", 0),
            ("enterprise of A", "production_order", 1), ("key of A", "shift_calendar", 1),
        ):  # fmt: skip
            shown = (await client.get(f"/api/v1/datasets/{dataset}/records", headers=as_(made, who))).json()[
                "records"
            ]
            answer = await client.get(
                f"/api/v1/export/datasets/{dataset}?format=parquet", headers=as_(made, who)
            )
            rows = pyarrow.parquet.read_table(io.BytesIO(answer.content)).to_pylist()
            assert [row["lead_unit"] for row in rows] == [one["unit"] for one in shown]
            assert len(rows) == n, (who, dataset)
            for row, one in zip(rows, shown, strict=True):
                assert set(row) == {"lead_unit", "revision", "received_at", *one["record"]}
                same = {k: v for k, v in one["record"].items() if isinstance(v, str | float | bool | int)}
                assert {
                    k: row[k] if not isinstance(row[k], datetime | date) else one["record"][k] for k in same
                } == same
        sheet = await client.get(
            "/api/v1/export/datasets/production_order?format=csv", headers=as_(made, "key of A")
        )
        assert "2026-11-20T08:00:00.000000Z" in sheet.text
        assert (
            await client.get("/api/v1/export/datasets/none", headers=as_(made, "bank"))
        ).status_code == 404
        other = await client.get(f"/api/v1/export/datasets/park?unit={B}", headers=as_(made, "key of A"))
        assert other.status_code == 404

    ask(dsn, test)


def test_excel_has_a_bound_and_says_so(world: tuple[str, World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_SHEET_ROWS", 100)

    async def test(client: httpx.AsyncClient) -> None:
        answer = await client.get("/api/v1/export/readings?format=xlsx", headers=as_(world[1], "key of A"))
        assert answer.status_code == 422
        assert "take csv or parquet" in answer.json()["detail"]
        few = "/api/v1/export/readings?format=xlsx&tags=M1.alarm"
        content = (await client.get(few, headers=as_(world[1], "key of A"))).content
        assert openpyxl.load_workbook(io.BytesIO(content))["data"].max_row == 4

    ask(world[0], test)


def test_an_export_sees_one_moment(world: tuple[str, World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "_PAGE", 500)
    dsn, made = world

    async def test(client: httpx.AsyncClient) -> None:
        url = "/api/v1/export/readings?tags=M1.heat"
        export = exporting._Export.next
        pieces = 0

        async def next_piece(self: Any) -> bytes:
            nonlocal pieces
            pieces += 1
            if pieces == 2:  # the snapshot is taken: what comes now belongs to another moment
                with connect(dsn, application="test") as conn:
                    conn.execute("UPDATE measurement SET value = -1 WHERE tag_id = %s", (made.tags[A],))
            return await export(self)

        monkeypatch.setattr(exporting._Export, "next", next_piece)
        frame = pd.read_csv(io.BytesIO((await client.get(url, headers=as_(made, "key of A"))).content))
        assert pieces > 3
        assert len(frame) == N + 1
        assert (frame.value >= 0).all()
        with connect(dsn, application="test") as conn:
            conn.execute(
                "UPDATE measurement SET value = CASE WHEN ts < %s THEN 1 ELSE extract(epoch FROM ts - %s) / 8 END WHERE tag_id = %s",
                (DAY, DAY, made.tags[A]),
            )

    ask(dsn, test)


def test_a_reader_who_leaves_ends_the_query_and_makes_room(
    world: tuple[str, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "_PAGE", 50)
    dsn, made = world

    async def test(client: httpx.AsyncClient) -> None:
        app = client._transport.app  # type: ignore[attr-defined]
        began, leave = asyncio.Event(), asyncio.Event()
        blocked = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await leave.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.body":
                began.set()
                await blocked.wait()  # a reader who does not read

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": "/api/v1/export/readings", "raw_path": b"/api/v1/export/readings", "query_string": b"",
            "root_path": "", "headers": [(b"authorization", f"Bearer {made.tokens['key of A']}".encode())],
            "client": ("127.0.0.1", 1), "server": ("qunce", 80),
        }  # fmt: skip
        first, second = (asyncio.create_task(app(scope, receive, send)) for _ in range(2))
        await asyncio.wait_for(began.wait(), 20)
        await asyncio.sleep(0.3)
        full = await client.get("/api/v1/export/readings", headers=as_(made, "key of A"))
        assert (full.status_code, full.json()["code"]) == (429, "too_many_exports")
        assert full.headers["retry-after"] == "10"
        other = await client.get("/api/v1/export/readings", headers=as_(made, "key of B"))
        assert other.status_code == 200
        leave.set()
        await asyncio.wait_for(asyncio.gather(first, second), 20)
        for _ in range(100):
            done = [
                d
                for actor, d in audited(dsn, "export.made")
                if actor == f"unit:{A}" and not d["complete"] and d["format"] == "csv"
            ]
            if len(done) == 2:
                break
            await asyncio.sleep(0.05)
        assert len(done) == 2
        assert all(0 < d["rows"] < N for d in done)
        with connect(dsn, application="test") as conn:
            open_ones = conn.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL"
                " AND pid <> pg_backend_pid() AND usename = 'qunce_api'"
            ).fetchone()
        assert open_ones == (0,)
        again = await client.get("/api/v1/export/readings?tags=M1.alarm", headers=as_(made, "key of A"))
        assert again.status_code == 200

    ask(dsn, test)
