"""HTTP pull against a real HTTP server."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest

from connectors.http_pull.config import HttpPullConfig
from connectors.http_pull.connector import HttpPullConnector
from connectors.journal import Journal
from connectors.supervise import supervise
from tests.connectors.sinks import Keeping, until


class Platform:
    """A lead unit's platform with `records`; `fault` makes it answer something else."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.asked: list[tuple[str, int]] = []
        self.fault: tuple[int, dict[str, str], bytes] | None = None
        platform = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, headers, body = platform.answer(self.path, self.headers.get("Authorization"))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/api"
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def answer(self, path: str, authorization: str | None) -> tuple[int, dict[str, str], bytes]:
        if self.fault is not None:
            return self.fault
        if authorization != "Bearer secret":
            return 401, {}, b""
        url = urlparse(path)
        assert url.path == "/api/measurements"
        query = parse_qs(url.query)
        after, limit = query.get("after", [""])[0], int(query["limit"][0])
        self.asked.append((after, limit))
        start = int(after) if after else 0
        page = self.records[start : start + limit]
        end = start + len(page)
        body = {"records": page, "next": str(end), "more": end < len(self.records)}
        return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def platform() -> Iterator[Platform]:
    made = Platform()
    yield made
    made.close()


def record(n: int, **other: Any) -> dict[str, Any]:
    return {"tag": "A1.produced", "ts": f"2026-11-23T08:00:00.{n:06d}+08:00", "value": n} | other


def connector(platform: Platform, folder: Path, **settings) -> tuple[HttpPullConnector, Journal]:
    journal = Journal("lead", "http_pull")
    config = HttpPullConfig.model_validate(
        {
            "type": "http_pull", "name": "lead", "unit": "GD-PULL-01", "url": platform.url, "token": "secret",
            "interval_seconds": 0.2, "page_rows": 10,
        }
        | settings
    )  # fmt: skip
    made = HttpPullConnector(config, journal)
    made.keep_state_in(folder)
    return made, journal


@asynccontextmanager
async def running(made: HttpPullConnector, journal: Journal, sink: Keeping):
    task = asyncio.create_task(supervise(made, sink, journal))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_pages_in_order_and_the_cursor_survives(platform: Platform, tmp_path: Path):
    async def go() -> None:
        platform.records = [record(n) for n in range(35)]
        platform.records[7] = record(7, ts="2026-11-23T08:00:00")
        made, journal = connector(platform, tmp_path)
        report = await made.check()
        assert report.ok, report
        platform.asked.clear()
        sink = Keeping()
        async with running(made, journal, sink):
            await until(lambda: len(sink.readings()) == 34)
        assert [value for _, _, value, _ in sink.readings()] == [n for n in range(35) if n != 7]
        assert sink.refused() == [("records[7].ts", "timestamp_without_zone")]
        assert [after for after, _ in platform.asked[:4]] == ["", "10", "20", "30"]
        assert {batch.source for batch in sink.batches} == {"http_pull:lead"}
        platform.asked.clear()
        platform.records += [record(n) for n in range(35, 40)]
        made, journal = connector(platform, tmp_path)
        again = Keeping()
        async with running(made, journal, again):
            await until(lambda: len(again.readings()) == 5)
        assert platform.asked[0] == ("35", 10)

    asyncio.run(go())


def test_the_cursor_waits_for_the_log(platform: Platform, tmp_path: Path):
    async def go() -> None:
        platform.records = [record(n) for n in range(5)]
        made, journal = connector(platform, tmp_path)
        stuck = Keeping()
        stuck.open.clear()
        async with running(made, journal, stuck):
            await until(lambda: stuck.waiting == 1)
            await asyncio.sleep(0.5)
        assert len(platform.asked) == 1  # nothing further is asked meanwhile
        assert not (tmp_path / "cursor.json").exists()
        made, journal = connector(platform, tmp_path)
        sink = Keeping()
        async with running(made, journal, sink):
            await until(lambda: len(sink.readings()) == 5)

    asyncio.run(go())


def test_retry_after_is_kept(platform: Platform, tmp_path: Path):
    async def go() -> None:
        platform.fault = (503, {"Retry-After": "2"}, b"")
        made, journal = connector(platform, tmp_path)
        sink = Keeping()
        platform.records = [record(1)]
        async with running(made, journal, sink):
            await until(lambda: journal.state == "recoverable")
            assert journal.reason == "asked_to_wait"
            platform.fault = None
            started = time.monotonic()
            await until(lambda: len(sink.readings()) == 1)
            assert time.monotonic() - started > 1.5
            assert journal.state == "ok"

    asyncio.run(go())


@pytest.mark.parametrize(
    ("fault", "state", "reason"),
    [
        ((401, {}, b""), "permanent", "login_refused"),
        ((404, {}, b""), "permanent", "request_refused"),
        ((500, {}, b""), "recoverable", "server_error"),
        ((302, {"Location": "http://127.0.0.1:9/"}, b""), "permanent", "request_refused"),
        ((200, {}, b"<html>busy</html>"), "recoverable", "bad_page"),
        ((200, {}, b'{"records": 3, "next": "1", "more": false}'), "recoverable", "bad_page"),
        ((200, {}, b'{"records": [], "next": null, "more": true}'), "recoverable", "cursor_stuck"),
    ],
)
def test_faults_are_named(platform: Platform, tmp_path: Path, fault, state: str, reason: str):
    async def go() -> None:
        platform.fault = fault
        made, journal = connector(platform, tmp_path)
        sink = Keeping()
        async with running(made, journal, sink):
            await until(lambda: journal.state == state)
            assert journal.reason == reason
            if reason == "bad_page":  # kept once, however often it comes
                await until(lambda: journal.counts["pages_refused"] >= 2)
                assert sink.refused() == [("$", "wrong_shape")]
        assert not (tmp_path / "cursor.json").exists()

    asyncio.run(go())


def test_absent_platform(platform: Platform, tmp_path: Path):
    async def go() -> None:
        platform.close()
        made, journal = connector(platform, tmp_path)
        report = await made.check()
        assert (report.ok, report.reason) == (False, "unreachable")
        async with running(made, journal, Keeping()):
            await until(lambda: journal.state == "recoverable")
            assert journal.reason == "unreachable"

    asyncio.run(go())
