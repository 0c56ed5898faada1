"""What the open interface does with much, slow, odd and repeated input; over HTTP, with a real log and database."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
import uvicorn

from ingest.api import body, create_api
from ingest.api.limits import UnitLimits
from qunce.process import free_port
from store.database import connect
from store.roles import logins
from tests.integration.test_api import KEY, OTHER, go, now, platform, register_master, registered, settled

pytestmark = pytest.mark.concurrent
__all__ = ["registered"]

HEAD = (
    "POST /api/v1/measurements HTTP/1.1\r\nHost: qunce\r\n"
    f"Authorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
)
NEW_TAG = {"name": "M1.new", "equipment_code": "M1", "signal": "new", "data_type": "float", "unit": "1",
           "interval_s": 60, "valid_from": "2026-01-01T00:00:00Z"}  # fmt: skip


@asynccontextmanager
async def served(registered: tuple[str, str]) -> AsyncIterator[int]:
    """The interface on a port of its own."""
    port = free_port()
    app = create_api(logins(registered[0]), registered[1])
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, timeout_graceful_shutdown=1)
    )
    work = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.02)
    try:
        yield port
    finally:
        server.should_exit = True
        await work


async def told(port: int, head: str, pieces: list[bytes]) -> tuple[str, int]:
    """Send pieces of a body until the connection closes → (code of the answer, pieces sent)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    reading = asyncio.create_task(reader.read(2**16))
    writer.write(f"{head}\r\n\r\n".encode())
    sent = 0
    with suppress(OSError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            sent += 1
    answer = await reading
    writer.close()
    assert b"connection: close" in answer
    return json.loads(answer.rpartition(b"\r\n")[2])["code"], sent


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_who_is_not_known_yet_takes_no_room(registered: tuple[str, str]) -> None:
    """A login is short; nobody holds memory with one that says it is long, nor is kept in mind for ever."""

    async def test() -> None:
        app = create_api(logins(registered[0]), registered[1])
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://qunce") as client,
        ):
            answer = await client.post("/api/v1/session", content=b" " * (8 * 2**10 + 1))
            assert (answer.status_code, answer.json()["parameters"]["limit_bytes"]) == (413, "8192")
            answer = await client.post("/api/v1/session", json={"user": "nobody", "password": "wrong"})
            assert answer.json()["code"] == "wrong_login"
            answer = await client.post(
                "/api/v1/keys", content=b" " * (2**20), headers={"Authorization": f"Bearer {KEY}"}
            )
            assert (answer.status_code, answer.json()["parameters"]["limit_bytes"]) == (413, str(2**19))
            rooms = app.state.gate.rooms
            assert (rooms.held_bytes, rooms.bytes_of_unit, rooms.requests_of_unit) == (0, {}, {})

    go(test())


def test_unfinished_bodies_do_not_fill_the_memory_and_end(
    registered: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "SILENCE_S", 1.0)

    async def test() -> None:
        chunk = b" " * 2**20
        async with served(registered) as port:
            before = resident_mib()

            async def unfinished() -> str:
                return (await told(port, f"{HEAD}Content-Length: {16 * 2**20}", [chunk] * 15))[0]

            answers = asyncio.gather(*(unfinished() for _ in range(40)))
            highest = before
            while not answers.done():
                highest = max(highest, resident_mib())
                await asyncio.sleep(0.02)
            assert highest - before < 250
            codes = await answers
            # Those that found room, and those that did not and were told at once.
            assert (codes.count("body_incomplete"), codes.count("busy")) == (3, 37)
            # And all the room is there again.
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                good = await client.post(
                    "/api/v1/measurements",
                    content=b'{"records":[' + b" " * (15 * 2**20) + b"]}",
                    headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
                    timeout=30,
                )
                assert good.status_code == 200

    go(test())


def test_who_finds_no_room_is_told_so(registered: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.api.rooms.MOST_BYTES_OF_UNIT", 4 * 2**20)

    async def test() -> None:
        async with served(registered) as port, httpx.AsyncClient(timeout=30) as client:
            answer = await client.post(
                f"http://127.0.0.1:{port}/api/v1/measurements",
                content=b" " * (6 * 2**20),
                headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
            )
            assert (answer.status_code, answer.json()["code"]) == (429, "busy")
            assert answer.headers["retry-after"] == "1"

    go(test())


@pytest.mark.parametrize(
    ("key", "length", "code"),
    [(KEY, "Content-Length: 2147483648", "body_too_large"), (KEY, "Transfer-Encoding: chunked", "body_too_large"),
     ("nobody", "Content-Length: 2147483648", "wrong_key"), (KEY, "Content-Length: 16777217", "body_too_large")],
)  # fmt: skip
def test_a_body_that_nobody_wants_is_answered_at_once_and_hardly_read(
    registered: tuple[str, str], key: str, length: str, code: str
) -> None:
    async def test() -> None:
        async with served(registered) as port:
            piece = b" " * 2**20
            if "chunked" in length:
                piece = b"100000\r\n" + piece + b"\r\n"
            answer, sent = await told(port, f"{HEAD.replace(KEY, key)}{length}", [piece] * 400)
            assert answer == code
            assert sent < 200

    go(test())


@pytest.mark.parametrize("content", [b'{"records":[', gzip.compress(b"{")], ids=["json", "gzip"])
def test_whoever_sends_rubbish_is_answered_slower_and_slower_and_nobody_else(
    registered: tuple[str, str], monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr("ingest.api.gate._REFUSALS_AT_ONCE", 5)
    monkeypatch.setattr("ingest.api.gate._REFUSALS_PER_S", 20)
    monkeypatch.setattr("ingest.api.gate._REFUSED_ROWS_AT_ONCE", 1000)
    monkeypatch.setattr("ingest.api.gate._REFUSED_ROWS_PER_S", 100)

    async def test() -> None:
        async with platform(*registered, with_writer=False) as client:
            headers = {"Content-Type": "application/json"} | (
                {"Content-Encoding": "gzip"} if content[:1] == b"\x1f" else {}
            )
            clock = asyncio.get_running_loop().time
            begun = clock()
            answers = [
                await client.post("/api/v1/measurements", content=content, headers=headers) for _ in range(25)
            ]
            took = clock() - begun
            codes = [answer.json()["code"] for answer in answers]
            assert set(codes) == {"malformed_json", "too_much_refused"}
            assert codes[0] == "malformed_json"
            assert codes[-1] == "too_much_refused"
            assert int(answers[-1].headers["retry-after"]) > 0
            assert took > 0.9  # twenty of them beyond the five, at twenty a second
            begun = clock()
            other = await client.post(
                "/api/v1/measurements", json={"records": []}, headers={"Authorization": f"Bearer {OTHER}"}
            )
            assert other.status_code == 200
            assert clock() - begun < 0.5

    go(test())


def test_a_repeat_is_told_the_same_and_what_can_be_taken_now_goes_with_a_new_key(
    registered: tuple[str, str],
) -> None:
    async def test() -> None:
        dsn, url = registered
        async with platform(dsn, url) as client:
            await register_master(client)
            at = now()
            content = json.dumps({"records": [{"tag": "M1.produced", "ts": at, "value": 7},
                                              {"tag": "M1.new", "ts": at, "value": 8}]})  # fmt: skip
            headers = {"Idempotency-Key": "k1", "Content-Type": "application/json"}
            first = (await client.post("/api/v1/measurements", content=content, headers=headers)).json()
            assert (first["accepted"], first["quarantined"]) == (1, 1)
            # The same again before anything has changed: no second effect.
            assert (
                await client.post("/api/v1/measurements", content=content, headers=headers)
            ).json() == first
            await client.post("/api/v1/datasets/tag", json={"records": [NEW_TAG]})
            assert (
                await client.post("/api/v1/measurements", content=content, headers=headers)
            ).json() == first
            anew = {**headers, "Idempotency-Key": "k2"}
            again = (await client.post("/api/v1/measurements", content=content, headers=anew)).json()
            assert (again["accepted"], again["duplicates"], again["quarantined"]) == (2, 1, 0)
            await settled(
                dsn,
                lambda c: c.execute("SELECT name, value FROM measurement JOIN tag USING (tag_id) ORDER BY name")
                .fetchall() == [("M1.new", 8.0), ("M1.produced", 7.0)],
            )  # fmt: skip
            with connect(dsn, application="test") as conn:
                assert conn.execute("SELECT count(*) FROM quarantine").fetchone() == (1,)

    go(test())


@pytest.mark.parametrize("limits", [UnitLimits(1e6, 1 / 60), UnitLimits(8 / 60, 1e6)])
def test_a_unit_that_sends_too_fast_is_told_when_to_come_again(
    registered: tuple[str, str], limits: UnitLimits
) -> None:
    async def test() -> None:
        async with platform(*registered, with_writer=False, limits=limits) as client:
            columns = {"tag": [0] * 6, "ts": [1] * 6, "value": [1] * 6}
            push = {"tags": ["M1.x"], "columns": columns}
            answers = [await client.post("/api/v1/measurements", json=push) for _ in range(3)]
            assert [a.status_code for a in answers] == [422, 422, 429]
            assert answers[2].json()["code"] == "rate_limited"
            assert 0 < int(answers[2].headers["Retry-After"]) <= 61
            other = {"Authorization": f"Bearer {OTHER}"}
            assert (await client.post("/api/v1/measurements", json=push, headers=other)).status_code == 422

    go(test())


def test_a_tag_can_be_used_as_soon_as_it_is_applied(registered: tuple[str, str]) -> None:
    async def test() -> None:
        async with platform(*registered) as client:
            await register_master(client)
            push = {"tags": ["M1.new"], "columns": {"tag": [0], "ts": [1], "value": [1]}}
            refused = await client.post("/api/v1/measurements", json=push)
            assert refused.json()["errors"][0]["reason"] == "unknown_tag"
            applied = await client.post("/api/v1/datasets/tag", json={"records": [NEW_TAG]})
            assert applied.json()["state"] == "applied"
            row = {"tag": "M1.new", "ts": now(), "value": 1}
            taken = await client.post("/api/v1/measurements", json={"records": [row]})
            assert (taken.status_code, taken.json()["accepted"]) == (200, 1)

    go(test())


@pytest.mark.parametrize("path", ["measurements", "datasets/enterprise"])
def test_json_nested_too_deeply_is_malformed_and_kept(registered: tuple[str, str], path: str) -> None:
    async def test() -> None:
        dsn, url = registered
        async with platform(dsn, url) as client:
            deep = b'{"records":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
            answer = await client.post(
                f"/api/v1/{path}", content=deep, headers={"Content-Type": "application/json"}
            )
            assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")
            await settled(
                dsn,
                lambda c: (
                    c.execute("SELECT reason, original FROM quarantine").fetchall()
                    == [("malformed_json", deep)]
                ),
            )

    go(test())


@pytest.mark.parametrize("batch", ["%00", "x", "A" * 32, "0" * 31, "0" * 32])
def test_a_submission_that_never_was_is_not_found(registered: tuple[str, str], batch: str) -> None:
    async def test() -> None:
        async with platform(*registered, with_writer=False) as client:
            answer = await client.get(f"/api/v1/submissions/{batch}")
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")

    go(test())


@pytest.mark.parametrize(
    ("path", "field", "said"),
    [
        ("/api/v1/series?tags=M1.produced&form=2026-01-01", "form", "from"),
        ("/api/v1/quality?before=x", "before", "cursor"),
        ("/api/v1/latest?tags=a&tags=b", "tags", "once"),
        ("/api/v1/me?unit=GD-BBB-01", "unit", "none"),
        ("/api/v1/stoppages?=", "", "cursor"),
    ],
)
def test_a_parameter_that_is_not_known_is_not_passed_over(
    registered: tuple[str, str], path: str, field: str, said: str
) -> None:
    async def test() -> None:
        async with platform(*registered, with_writer=False) as client:
            answer = await client.get(path)
            told = answer.json()
            assert (answer.status_code, told["code"]) == (422, "bad_parameter"), told
            assert told["parameters"]["field"] == field
            assert said in told["detail"]
            # Not before it is known who asks, and not where clients have parameters of their own.
            assert (await client.get(path, headers={"Authorization": "Bearer qk_none"})).status_code == 401
            line = f"M1 produced=1i {time.time_ns()}".encode()
            written = await client.post("/api/v2/write?consistency=one&_=1", content=line)
            assert written.json()["errors"][0]["reason"] == "unknown_tag", written.text

    go(test())
