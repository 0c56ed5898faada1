"""The quarantine over HTTP: reading, exporting, replaying, with a real log, writer and database."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pytest

from ingest import replay as replaying
from ingest.api.quarantine import ReplayBody
from ingest.batch import Batch, encode
from ingest.log import Log
from ingest.replay import Replay
from store import periods, quarantine, registry
from store.database import Connection, connect
from store.quarantine import Filter, Refused
from tests.integration.test_api import (
    MASTER,
    OTHER,
    go,
    now,
    platform,
    register_master,
    registered,
    settled,
)

pytestmark = pytest.mark.concurrent
__all__ = ["registered"]

THEIRS = {"Authorization": f"Bearer {OTHER}"}
LATER: tuple[str, dict[str, Any]] = (
    "tag",
    {"name": "M1.energy", "equipment_code": "M1", "signal": "energy", "data_type": "counter", "unit": "kWh",
     "interval_s": 10, "valid_from": "2026-01-01T00:00:00+08:00"},
)  # fmt: skip


async def report(client: httpx.AsyncClient, dataset: str, record: dict[str, Any]) -> None:
    answer = await client.post(f"/api/v1/datasets/{dataset}", json={"records": [record]})
    assert answer.status_code == 200, answer.text


def one(dsn: str, query: str) -> Any:
    with connect(dsn, application="test") as conn:
        return conn.execute(query).fetchone()[0]


async def replay(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post("/api/v1/quarantine/replay", json=body or {"filter": {}})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_what_was_refused_is_replayed_once_its_tag_is_registered(registered: tuple[str, str]) -> None:
    async def test() -> None:
        dsn, url = registered
        async with platform(dsn, url) as client:
            await register_master(client)
            at = now(-60)
            rows = [
                {"tag": "M1.energy", "ts": at, "value": 7.25, "quality": "uncertain"},
                {"tag": "M1.energy", "ts": now(-50), "value": "seven"},
                {"tag": "M1.energy", "ts": "2026-11-23T08:00:00", "value": 9},
                {"tag": "M1.energy", "ts": now(-40)},
                {"tag": "M1.produced", "ts": now(), "value": 1},
            ]
            await client.post("/api/v1/measurements", json={"records": rows})
            columns = {"tag": [0, 1], "ts": [1_790_000_000_000_000, 1_795_000_000_000_000], "value": [1, 2]}
            await client.post(
                "/api/v1/measurements", json={"tags": ["M1.energy"], "columns": columns, "mode": "backfill"}
            )
            await client.post("/api/v1/measurements", content=b'{"records": [')
            await settled(dsn, lambda c: c.execute("SELECT count(*) FROM quarantine").fetchone() == (7,))

            before = await replay(client)
            assert (before["looked_at"], before["replayed"], before["still_open"]) == (7, 0, 7)
            await report(client, *LATER)
            [theirs, ours] = [
                (await client.post("/api/v1/quarantine/replay", json={"filter": {}}, headers=h)).json()
                for h in (THEIRS, {})
            ]
            assert (theirs["looked_at"], theirs["replayed"]) == (0, 0)
            assert (ours["looked_at"], ours["replayed"], ours["readings"], ours["next"]) == (7, 2, 2, None)
            assert sorted((left["state"], left["reason"]) for left in ours["left"]) == [
                ("not_replayable", "not_readable"), ("not_replayable", "not_readings"),
                ("refused", "missing_value"), ("refused", "timestamp_without_zone"), ("refused", "wrong_type"),
            ]  # fmt: skip
            await settled(dsn, lambda c: c.execute("SELECT count(*) FROM measurement").fetchone() == (3,))
            row = "SELECT m.value, m.quality FROM measurement m WHERE value = 7.25"
            with connect(dsn, application="test") as conn:
                assert conn.execute(row).fetchone() == (7.25, 0x4000)
            again = await replay(client)
            assert (again["looked_at"], again["replayed"]) == (5, 0)
            [source] = (await client.get("/api/v1/sources")).json()["sources"]
            figures = [source[k] for k in ("received", "stored", "duplicates", "corrections", "quarantined")]
            assert figures == [10, 3, 0, 0, 7]
            assert one(dsn, "SELECT original_bytes FROM quarantine_kept") == one(
                dsn, "SELECT sum(octet_length(original)) FROM quarantine WHERE replayed_at IS NULL"
            )

    go(test())


def test_killed_between_log_and_mark_nothing_is_doubled(registered: tuple[str, str]) -> None:
    async def test() -> None:
        dsn, url = registered
        async with platform(dsn, url) as client:
            await register_master(client)
            rows = [{"tag": "M1.energy", "ts": now(-i), "value": i} for i in range(1, 6)]
            await client.post("/api/v1/measurements", json={"records": rows})
            await settled(dsn, lambda c: c.execute("SELECT count(*) FROM quarantine").fetchone() == (5,))
            await report(client, *LATER)
            log, loop = await Log.connect(url, name="test"), asyncio.get_running_loop()

            class Killed(Exception):
                """The process ends when the log has the message and the database does not know."""

            def run(*, killed: bool, distinct: str = "") -> None:
                def append(data: bytes, *, msg_id: str, **where: Any) -> None:
                    appending = log.append(data, msg_id=msg_id + distinct, **where)
                    asyncio.run_coroutine_threadsafe(appending, loop).result()
                    if killed:
                        raise Killed

                with connect(dsn, application="test") as conn:
                    Replay(append).page(conn, Filter())

            for distinct in (
                "",
                "",
                "later",
            ):  # within two hours the log drops it, after that it is duplicates
                with pytest.raises(Killed):
                    await asyncio.to_thread(run, killed=True, distinct=distinct)
            assert one(dsn, "SELECT count(*) FROM quarantine WHERE replayed_at IS NULL") == 5
            outcomes = await asyncio.gather(*(asyncio.to_thread(run, killed=False) for _ in range(3)))
            assert len(outcomes) == 3
            await settled(
                dsn, lambda c: c.execute("SELECT stored + duplicates FROM ingest_ledger").fetchone() == (10,)
            )
            assert one(dsn, "SELECT count(*) FROM measurement") == 5
            assert one(dsn, "SELECT count(*) FROM quarantine WHERE replayed_at IS NOT NULL") == 5
            assert one(dsn, "SELECT count(DISTINCT replay_batch) FROM quarantine") == 1
            await log.close()

    go(test())


def test_a_batch_of_a_unit_nobody_knew_is_replayed_whole(dsn: str, nats_fresh: str) -> None:
    async def test() -> None:
        async with platform(dsn, nats_fresh):
            with connect(dsn, application="test") as conn:
                at = 1_795_000_000_000_000
                batch = Batch(
                    unit="GD-NEW-01", source="mqtt:new", tags=("M1.produced", "M1.none"),
                    tag_index=np.array([0, 0, 1], np.int32), ts=np.array([at, at + 1, at], np.int64),
                    value=np.array([1.0, 2.0, 3.0]), quality=np.zeros(3, np.int16), received_at=at,
                )  # fmt: skip
                whole = [
                    Refused(0, 0, None, "b", f"row {i} of batch" if i else "$", "unknown_unit",
                            {"unit": "GD-NEW-01"}, None, None, b"" if i else encode(batch), at)
                    for i in range(3)
                ]  # fmt: skip
                quarantine.keep(conn, whole)
            log, loop = await Log.connect(nats_fresh, name="test"), asyncio.get_running_loop()

            def run() -> replaying.Outcome:
                def append(data: bytes, **where: Any) -> None:
                    asyncio.run_coroutine_threadsafe(log.append(data, **where), loop).result()

                with connect(dsn, application="test") as conn:
                    return Replay(append).page(conn, Filter(unit="GD-NEW-01"))

            assert [left.reason for left in (await asyncio.to_thread(run)).left] == [
                "part_of_whole", "part_of_whole", "unknown_unit",
            ]  # fmt: skip
            with connect(dsn, application="test") as conn:
                unit_id = registry.register_unit(
                    conn, registry.NewUnit("GD-NEW-01", "新", "New", 1, MASTER[0][1]["uscc"])
                )
                _machine(conn, unit_id)
            done = await asyncio.to_thread(run)
            assert (done.replayed, done.readings) == (3, 2)
            await settled(dsn, lambda c: c.execute("SELECT count(*) FROM measurement").fetchone() == (2,))
            await log.close()
        assert (
            one(dsn, "SELECT count(*) FROM quarantine WHERE replayed_at IS NULL AND reason = 'unknown_tag'")
            == 1
        )
        assert one(dsn, "SELECT key FROM source") == "mqtt:new"

    go(test())


def _machine(conn: Connection, unit_id: int) -> None:
    conn.execute(
        "WITH e AS (INSERT INTO enterprise (unit_id, uscc, name, region_code, registered_on)"
        "  VALUES (%(u)s, %(c)s, 'e', '441900', '2026-01-01') RETURNING enterprise_id),"
        " q AS (INSERT INTO equipment (unit_id, enterprise_id, code, name, kind, digital, networked)"
        "  SELECT %(u)s, enterprise_id, 'M1', 'm', 'CNC', true, true FROM e RETURNING equipment_id)"
        " INSERT INTO tag (unit_id, equipment_id, name, signal, data_type, unit)"
        " SELECT %(u)s, equipment_id, 'M1.produced', 'produced', 'counter', '1' FROM q",
        {"u": unit_id, "c": MASTER[0][1]["uscc"]},
    )


def test_records_of_datasets_are_replayed_unless_reported_again(registered: tuple[str, str]) -> None:
    async def test() -> None:
        dsn, url = registered
        async with platform(dsn, url) as client:
            machine = {"code": "M9", "enterprise_uscc": MASTER[0][1]["uscc"], "name": "九号", "kind": "CNC",
                       "digital": True, "networked": True}  # fmt: skip
            old = machine | {"code": "M8", "name": "旧"}
            answer = await client.post("/api/v1/datasets/equipment", json={"records": [machine, old]})
            assert answer.status_code == 422
            await report(client, *MASTER[0])
            await report(client, "equipment", old | {"name": "新"})
            done = await replay(client)
            assert (done["replayed"], done["left"][0]["reason"]) == (1, "superseded")
            await settled(dsn, lambda c: c.execute("SELECT count(*) FROM equipment").fetchone() == (2,))
            assert one(dsn, "SELECT name FROM equipment WHERE code = 'M8'") == "新"
            assert (await replay(client))["replayed"] == 0

    go(test())


def test_what_a_closed_period_refuses_stays_until_it_is_opened(registered: tuple[str, str]) -> None:
    async def test() -> None:
        dsn, url = registered
        async with platform(dsn, url) as client:
            await register_master(client)
            rows = [{"tag": "M1.energy", "ts": now(-s), "value": s} for s in (7200, 60)]
            await client.post("/api/v1/measurements", json={"records": rows})
            await settled(dsn, lambda c: c.execute("SELECT count(*) FROM quarantine").fetchone() == (2,))
            await report(client, *LATER)
            with connect(dsn, application="test") as conn:
                periods.close(conn, "GD-AAA-01", datetime.now(UTC) - timedelta(hours=1), "test")
            done = await replay(client)
            assert (done["replayed"], [left["reason"] for left in done["left"]]) == (1, ["period_closed"])
            with connect(dsn, application="test") as conn:
                periods.reopen(conn, "GD-AAA-01", None, "test")
            assert (await replay(client))["replayed"] == 1
            await settled(dsn, lambda c: c.execute("SELECT count(*) FROM measurement").fetchone() == (2,))

    go(test())


def test_reading_filters_pages_and_export(registered: tuple[str, str]) -> None:
    async def test() -> None:
        dsn, url = registered
        async with platform(dsn, url) as client:
            await register_master(client)
            rows = [{"tag": f"=M.x{i}", "ts": now(), "value": i} for i in range(5)]
            name = (await client.post("/api/v1/measurements", json={"records": rows})).json()["batch"]
            await client.post(
                "/api/v1/measurements", json={"records": [{"tag": "M1.x", "ts": "?", "value": 1}]}
            )
            await settled(dsn, lambda c: c.execute("SELECT count(*) FROM quarantine").fetchone() == (6,))
            seen, cursor = [], None
            while True:
                given = {"limit": 4} | ({} if cursor is None else {"cursor": cursor})
                page = (await client.get("/api/v1/quarantine", params=given)).json()
                seen += [entry["id"] for entry in page["quarantine"]]
                if (cursor := page["next"]) is None:
                    break
            assert seen == sorted(seen, reverse=True)
            assert len(seen) == 6
            for given, expected in (
                ({"batch": name}, 5), ({"tag": "=M.x3"}, 1), ({"reason": "timestamp_malformed"}, 1),
                ({"open": False}, 0), ({"since": datetime.now(UTC).isoformat()}, 0), ({"source": "no"}, 0),
            ):  # fmt: skip
                page = (await client.get("/api/v1/quarantine", params=given)).json()
                assert len(page["quarantine"]) == expected, given
            entry = (await client.get(f"/api/v1/quarantine/{seen[-1]}")).json()
            assert json.loads(entry["original_text"])["tag"] == "=M.x0"
            assert (await client.get(f"/api/v1/quarantine/{seen[-1]}", headers=THEIRS)).status_code == 404
            assert (await client.get("/api/v1/quarantine", headers=THEIRS)).json()["quarantine"] == []
            assert (await client.get("/api/v1/quarantine/export", headers=THEIRS)).content == b""

            exported = await client.get("/api/v1/quarantine/export")
            objects = list(map(json.loads, exported.text.splitlines()))
            assert [o["id"] for o in objects] == sorted(seen)
            assert json.loads(base64.b64decode(objects[0]["original_base64"]))["tag"] == "=M.x0"
            exported = await client.get("/api/v1/quarantine/export", params={"format": "csv"})
            table = list(csv.DictReader(io.StringIO(exported.content.decode("utf-8-sig"), newline="")))
            assert [row["tag"] for row in table][:2] == ["'=M.x0", "'=M.x1"]

            for path, given in (
                ("", {"since": "2026-11-01"}),
                ("", {"tag": "a\0"}),
                ("/export", {"format": "xls"}),
            ):
                answer = await client.get(f"/api/v1/quarantine{path}", params=given)
                assert (answer.status_code, answer.json()["code"]) == (422, "bad_parameter")
            for body in ({}, {"ids": [1], "filter": {}}, {"ids": [0]}, {"filter": {"unit": "GD-BBB-01"}}):
                answer = await client.post("/api/v1/quarantine/replay", json=body)
                assert (answer.status_code, answer.json()["code"]) == (422, "bad_parameter")
            theirs = await client.post("/api/v1/quarantine/replay", json={"ids": seen}, headers=THEIRS)
            assert theirs.json()["looked_at"] == 0

    go(test())


def test_the_filter_of_a_unit_is_its_own() -> None:
    body = ReplayBody.model_validate({"filter": {"tag": "A.x"}})
    assert body.of(registry.Unit(7, "GD-A")) == Filter(unit_id=7, tag="A.x")
