"""A verdict on every record, keys that mean one body, and what other people's clients send."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ingest.api.limits import UnitLimits
from qunce.process import free_port
from store.database import connect
from tests.integration.test_api import MASTER, go, now, platform, register_master, registered, settled

__all__ = ["registered"]
pytestmark = pytest.mark.concurrent
URL = "/api/v1/measurements"


def row(at: str, value: object, tag: str = "M1.produced") -> dict[str, Any]:
    return {"tag": tag, "ts": at, "value": value}


async def push(client: httpx.AsyncClient, *rows: object, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return await client.post(URL, json={"records": rows}, headers=named)


def verdicts(answer: httpx.Response) -> list[str]:
    body = answer.json()
    assert [one["index"] for one in body["records"]] == list(range(body["received"]))
    return [one["verdict"] for one in body["records"]]


def test_each_record_is_told_what_became_of_it(registered: tuple[str, str]) -> None:
    async def test() -> None:
        dsn, url = registered
        async with platform(dsn, url) as client:
            await register_master(client)
            one, two, three = now(-3), now(-2), now(-1)
            first = await push(client, row(one, 1), row(two, 2), row(two, "x"), row(two, 3, "M1.none"))
            assert (first.status_code, first.json()["state"]) == (200, "applied")
            assert verdicts(first) == ["accepted", "accepted", "quarantined", "quarantined"]
            assert [r.get("reason") for r in first.json()["records"]][2:] == ["wrong_type", "unknown_tag"]
            second = await push(client, row(three, 3), row(one, 1), row(two, 9), row(three, 3), {"tag": 1})
            assert verdicts(second) == ["accepted", "duplicate", "correction", "duplicate", "quarantined"]
            body = second.json()
            counts = ("received", "accepted", "duplicates", "corrections", "quarantined")
            assert [body[name] for name in counts] == [5, 4, 2, 1, 1]
            # The same at its address, and for its owner only.
            address = f"/api/v1/submissions/{body['batch']}"
            assert (await client.get(address)).json() == body
            assert (await client.get(address, headers={"Authorization": "Bearer qk_two"})).status_code == 404
            # All of it refused: that is the submission's answer, and its address tells it as any other.
            refused = await push(client, row(two, "x"))
            assert (refused.status_code, refused.json()["code"]) == (422, "all_refused")
            stored = await client.get(f"/api/v1/submissions/{refused.json()['batch']}")
            assert (stored.status_code, verdicts(stored)) == (200, ["quarantined"])
            # What the writer alone knows comes out, too, with the record's own number.
            with connect(dsn, application="test") as conn:
                conn.execute(
                    "INSERT INTO closed_period SELECT unit_id, now() - interval '1 hour', now(), 'test' FROM lead_unit"
                )
            await asyncio.sleep(2.1)
            closed = await push(client, {"tag": 1}, row(now(), 10), row(now(-7200), 4))
            assert verdicts(closed) == ["quarantined", "accepted", "quarantined"]
            assert [(e["place"], e["reason"]) for e in closed.json()["errors"]][-1] == (
                "records[2].ts", "period_closed",
            )  # fmt: skip
            # Nobody has to wait, and bulk is answered with counts; nothing is kept for it.
            quick = await push(client, row(now(), 11), Prefer="respond-async")
            assert (quick.status_code, quick.json()["state"]) == (202, "durable")
            assert quick.headers["preference-applied"] == "respond-async"
            await settled(dsn, lambda c: c.execute("SELECT count(*) FROM submission WHERE dataset = 'measurements'").fetchone() == (5,))  # fmt: skip
            told = (await client.get(quick.headers["location"])).json()
            assert [one["verdict"] for one in told["records"]] == ["accepted"]
            columns = {"tag": [0], "ts": [time.time_ns() // 1000], "value": [12]}
            bulk = await client.post(URL, json={"tags": ["M1.produced"], "columns": columns})
            assert (bulk.status_code, bulk.json()["state"], "records" in bulk.json()) == (
                200,
                "durable",
                False,
            )

    go(test())


def test_what_no_table_can_hold_is_refused_alone(registered: tuple[str, str]) -> None:
    async def test() -> None:
        dsn, url = registered
        async with platform(dsn, url) as client:
            await register_master(client)
            at = now(-3)
            wrong = (
                row(at, 1, "M1.x\0y"), row("\0", 1), row(at, "a\0b"), {**row(at, 1), "quality": "\0"},
            )  # fmt: skip
            for one in wrong:
                answer = await push(client, row(now(-2), 7), one)
                assert (answer.status_code, verdicts(answer)) == (200, ["accepted", "quarantined"]), one
                assert answer.json()["records"][1]["reason"] != "unstorable"

    go(test())


def test_a_key_means_one_body_whatever_happens_to_it(registered: tuple[str, str]) -> None:
    async def test() -> None:
        dsn, url = registered
        async with platform(dsn, url) as client:
            await register_master(client)
            at = now()
            first = await push(client, row(at, 1), row(at, 2, "M1.new"), Idempotency_Key="k")
            again = await push(client, row(at, 1), row(at, 2, "M1.new"), Idempotency_Key="k")
            assert (again.status_code, again.json()) == (200, first.json())
            assert (first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"]) == (
                None, "true",
            )  # fmt: skip
            other = await push(client, row(at, 3), Idempotency_Key="k")
            assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
            theirs = await client.post(URL, json={"records": [row(at, 3)]}, headers={
                "Authorization": "Bearer qk_two", "Idempotency-Key": "k"})  # fmt: skip
            assert theirs.json()["code"] == "all_refused"  # a key is the unit's own
            # What cannot be read takes no key.
            bad = await client.post(URL, content=b'{"records": [', headers={"Idempotency-Key": "m"})
            assert bad.status_code == 400
            assert (await push(client, row(at, 1), Idempotency_Key="m")).status_code == 200
            # msg_id does the same within the body, for each source by itself.
            said = {"records": [row(at, 1)], "msg_id": "m-1", "source_id": "gw"}
            replies = [
                await client.post(URL, json={**said, **more})
                for more in ({}, {}, {"records": [row(at, 5)]}, {"source_id": "gw2"})
            ]
            assert [r.status_code for r in replies] == [200, 200, 422, 200]
            assert [r.headers.get("idempotent-replayed") for r in replies] == [None, "true", None, None]
            # Bulk with a key: one row of counts.
            columns = {
                "tags": ["M1.produced"],
                "columns": {"tag": [0], "ts": [1780000000000000], "value": [0]},
            }
            key = {"Idempotency-Key": "bulk"}
            bulk = await client.post(URL, json=columns, headers=key)
            await settled(dsn, lambda c: c.execute("SELECT count(*) FROM submission WHERE batch = %s", (bulk.json()["batch"],)).fetchone() == (1,))  # fmt: skip
            repeat = await client.post(URL, json=columns, headers=key)
            assert repeat.headers["idempotent-replayed"] == "true"
            assert (repeat.json()["accepted"], repeat.json()["state"]) == (1, "applied")
            # Dataset records: the same rule.
            dataset, record = MASTER[0]
            report = f"/api/v1/datasets/{dataset}"
            three = [
                await client.post(report, json={"records": [{**record, **more}]}, headers=key)
                for more in ({}, {}, {"name": "another"})
            ]
            assert [r.status_code for r in three] == [200, 200, 422]
            assert three[0].json() == three[1].json()
            assert [r.headers.get("idempotent-replayed") for r in three] == [None, "true", None]
            [source] = (await client.get("/api/v1/sources")).json()["sources"]
            assert source["duplicates"] == 3  # m, m-1 of gw, m-1 of gw2: never a repeat

    go(test())


def test_without_a_writer_what_is_durable_is_said_to_be_and_a_key_still_holds(
    registered: tuple[str, str],
) -> None:
    async def test() -> None:
        dsn, url = registered
        async with platform(dsn, url) as client:
            await register_master(client)
        async with platform(dsn, url, with_writer=False) as client:
            at = now()
            first, second = [
                await push(client, row(at, 1), Idempotency_Key="k", Prefer=p)
                for p in ("respond-async", "respond-async")
            ]
            assert (first.status_code, first.json()) == (202, second.json())
            assert second.headers["idempotent-replayed"] == "true"
            other = await push(client, row(at, 2), Idempotency_Key="k")
            assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")

    go(test())


LINE = "opcua,equipment=M1,host=gw01 produced={value}i {ns}"


def test_line_protocol_lands_and_its_clients_do_the_right_thing(registered: tuple[str, str]) -> None:
    async def test() -> None:
        dsn, url = registered
        async with platform(dsn, url) as client:
            await register_master(client)
            ns = 1780000000000000000
            write = "/api/v2/write?org=o&bucket=b"
            token = {"Authorization": "Token qk_one", "Content-Type": "text/plain; charset=utf-8"}
            lines = [LINE.format(value=i, ns=ns + i * 10**9) for i in range(3)]
            body = "\n".join(lines)
            good = await client.post(write, content=body, headers=token)
            assert (good.status_code, good.content) == (204, b"")
            partly = await client.post(write, content=f"{lines[0]}\nnonsense\n{lines[1]},x=1", headers=token)
            problem = partly.json()
            assert (partly.status_code, problem["code"], problem["reason"]) == (
                422, "unprocessable entity", "partly_refused",
            )  # fmt: skip
            assert (problem["accepted"], problem["quarantined"]) == (1, 2)
            assert isinstance(problem["message"], str)
            assert [e["line"] for e in problem["errors"]] == [2, 3]
            told = await client.post(
                write, content=body, headers={**token, "Prefer": "return=representation"}
            )
            assert (told.status_code, verdicts(told)) == (200, ["duplicate"] * 3)
            for headers, query, status, code in (
                ({"Authorization": "Token no"}, "", 401, "unauthorized"),
                ({}, "&precision=h", 422, "unprocessable entity"),
                ({"Content-Encoding": "br"}, "", 415, "unsupported media type"),
            ):
                answer = await client.post(write + query, content=body, headers={**token, **headers})
                assert (answer.status_code, answer.json()["code"]) == (status, code)
            metrics = {"metrics": [{"name": "opcua", "tags": {"equipment": "M1"}, "fields": {"produced": 7},
                                    "timestamp": ns // 10**9 + 60}]}  # fmt: skip
            assert verdicts(await client.post(URL, json=metrics)) == ["accepted"]
            ndjson = "\n".join(json.dumps(row(now(), 8)) for _ in range(2)) + "\n{"
            lined = await client.post(URL, content=ndjson, headers={"Content-Type": "application/x-ndjson"})
            assert verdicts(lined)[2] == "quarantined"
            assert lined.json()["errors"][0]["line"] == 3
            # What programs on Windows put before a text is no part of it.
            mark = b"\xef\xbb\xbf"
            ndjson_row, whole = (
                json.dumps(row(now(), 9)).encode(),
                json.dumps({"records": [row(now(), 9)]}).encode(),
            )
            for target, kind, text in (
                (write, "text/plain", lines[0].encode()), (URL, "application/x-ndjson", ndjson_row),
                (URL, "application/json", whole), ("/api/v1/datasets/park", "application/json", b'{"records": []}'),
            ):  # fmt: skip
                marked = await client.post(
                    target, content=mark + text, headers={**token, "Content-Type": kind}
                )
                assert marked.status_code < 300, marked.text
            assert (await client.get("/ping")).status_code == 204
            assert (await client.head("/ping")).headers["x-influxdb-version"]
            assert (await client.get("/health")).json()["status"] == "pass"
            await settled(dsn, lambda c: c.execute("SELECT count(*) FROM measurement").fetchone()[0] >= 5)
            held = (await client.get("/api/v1/quarantine?reason=malformed_line")).json()["quarantine"]
            assert [(e["place"], e["original_text"]) for e in held] == [
                ("line 3 records[2]", f"{lines[1]},x=1"),
                ("line 2 records[1]", "nonsense"),
            ]

    go(test())


def test_clients_of_influxdb_1_write_too(registered: tuple[str, str]) -> None:
    async def test() -> None:
        dsn, url = registered
        async with platform(dsn, url, limits=UnitLimits(rows_per_s=1, requests_per_s=500)) as client:
            await register_master(client)
            del client.headers["Authorization"]
            lines = [LINE.format(value=i, ns=1780000000000 + i) for i in range(3)]
            write = "/write?db=d&rp=&precision=ms"
            basic = "Basic " + base64.b64encode(b"GD-AAA-01:qk_one").decode()
            for query, headers, status in (
                ("&u=GD-AAA-01&p=qk_one", {}, 204),
                ("", {"Authorization": basic}, 204),
                ("", {"Authorization": "Token GD-AAA-01:qk_one"}, 204),
                ("&u=GD-AAA-01&p=qk_wrong", {}, 401),
                ("", {"Authorization": "Basic %%"}, 401),
            ):
                answer = await client.post(write + query, content="\n".join(lines), headers=headers)
                assert answer.status_code == status
                assert ("error" in answer.json()) if status == 401 else answer.content == b""
            # A key in the query is read where such clients write, and nowhere else.
            assert (await client.post("/api/v2/write?p=qk_one", content=lines[0])).status_code == 401
            client.headers["Authorization"] = basic
            partly = await client.post(write, content=f"{lines[0]}\nnonsense")
            assert (partly.status_code, partly.json()["reason"]) == (422, "partly_refused")
            assert partly.json()["error"].startswith("partial write: 1 of 2 readings")
            await settled(dsn, lambda c: c.execute("SELECT count(*) FROM measurement").fetchone() == (3,))
            for precision, status in (("u", 204), ("n", 204), ("m", 422)):
                answer = await client.post(
                    f"/write?precision={precision}",
                    content=f"M1 produced=1i {time.time_ns() // 1000 ** (precision == 'u')}",
                )
                assert answer.status_code == status
            # They throw away what they sent after every 4xx, so that "later" is a 503.
            much = "\n".join(LINE.format(value=i, ns=1780000100000 + i) for i in range(200))
            assert (await client.post(write, content=much)).status_code == 204
            later = await client.post(write, content=lines[0])
            assert (later.status_code, later.json()["status"], later.json()["reason"]) == (
                503,
                503,
                "rate_limited",
            )
            assert int(later.headers["Retry-After"]) > 0
            asked = await client.post("/query", data={"q": 'CREATE DATABASE "telegraf"'})
            assert (asked.status_code, asked.json()["reason"]) == (404, "no_queries")
            assert "/api/v2/write" in asked.json()["hint"]["en"]

    go(test())


@pytest.fixture
def behind(registered: tuple[str, str], tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """(DSN through a network that can fail, the file that says how it does)."""
    dsn, port, control = registered[0], free_port(), tmp_path / "control"
    control.write_text("{}")
    target = conninfo_to_dict(dsn)["port"]
    command = [sys.executable, "-m", "tests.chaos.proxy", str(control), f"{port}:{target}"]
    child = subprocess.Popen(command)
    yield make_conninfo(dsn, host="127.0.0.1", port=port), control
    child.kill()
    child.wait()


def test_readings_are_taken_and_keys_hold_while_the_database_is_away(
    registered: tuple[str, str], behind: tuple[str, Path]
) -> None:
    async def test() -> None:
        dsn, url = registered
        async with platform(dsn, url) as client:
            await register_master(client)
        far, control = behind
        async with platform(far, url, with_writer=False) as client:
            at = now()
            warm = await push(client, row(at, 1), Prefer="respond-async")
            assert warm.status_code == 202  # whose the key is, and the unit's tags, are known from now on
            control.write_text('{"hole": true, "cuts": 1}')
            await asyncio.sleep(0.3)
            begun = time.monotonic()
            first = await push(client, row(at, 2), Idempotency_Key="k")
            again = await push(client, row(at, 2), Idempotency_Key="k")
            other = await push(client, row(at, 3), Idempotency_Key="k")
            line = await client.post("/api/v2/write", content=f"M1 produced=4i {time.time_ns()}")
            assert [r.status_code for r in (first, again, other, line)] == [202, 202, 422, 204]
            assert first.json() == again.json()
            assert again.headers["idempotent-replayed"] == "true"
            assert time.monotonic() - begun < 20
            control.write_text("{}")
        async with platform(dsn, url) as client:
            back = await push(client, row(at, 2), Idempotency_Key="k")
            assert back.headers["idempotent-replayed"] == "true"
            assert verdicts(back) == ["correction"]

    go(test())


def test_a_record_is_told_all_that_is_wrong_with_it(registered: tuple[str, str]) -> None:
    async def test() -> None:
        async with platform(*registered) as client:
            good = {"code": "P1", "name": "园", "region_code": "441900", "virtual": False}
            bad = {"code": "P 2", "region_code": 7, "virtual": "no", "colour": "red"}
            answer = await client.post("/api/v1/datasets/park", json={"records": [good, bad]})
            told = answer.json()
            assert (answer.status_code, told["received"], told["quarantined"]) == (200, 2, 1), told
            places = {(e["index"], e["place"], e["reason"]) for e in told["errors"]}
            assert places == {
                (1, "park records[1].code", "invalid_field"),
                (1, "park records[1].name", "missing_field"),
                (1, "park records[1].region_code", "invalid_field"),
                (1, "park records[1].virtual", "invalid_field"),
                (1, "park records[1].colour", "unknown_field"),
            }
            # The record has one reason: the first, which its entry in the quarantine has as well.
            reason = told["errors"][0]["reason"]
            assert told["records"][1] == {"index": 1, "verdict": "quarantined", "reason": reason}
            [held] = (await client.get("/api/v1/quarantine")).json()["quarantine"]
            assert held["reason"] == reason

    go(test())
