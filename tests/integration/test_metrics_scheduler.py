"""The scheduler on a real database: it does the work, one process at a time, and stops cleanly."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from metrics import scheduler
from store.database import connect
from tests.metrics.province import load

pytestmark = pytest.mark.concurrent


class Reports(list[tuple[str, dict[str, Any]]]):
    def __call__(self, component: str, status: str, detail: dict[str, Any]) -> None:
        assert component == "metrics"
        self.append((status, detail))


async def until(reports: Reports, condition: Any) -> None:
    async with asyncio.timeout(40):
        while not any(condition(status, detail) for status, detail in reports):
            await asyncio.sleep(0.05)


def test_work_is_done_by_one_leader(dsn: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scheduler, "REPORT_S", 0.2)
    monkeypatch.setattr(scheduler, "ROLLUP_S", 1)
    yesterday = int(datetime.now(UTC).timestamp()) // 86400 - 1
    with connect(dsn, application="test") as conn:
        load(conn, yesterday, 1, machines_per_unit=1)

    async def main() -> None:
        first, second, stop, stop_second = Reports(), Reports(), asyncio.Event(), asyncio.Event()
        one = asyncio.create_task(scheduler.run(dsn, stop, first))
        await until(first, lambda status, detail: detail.get("leader"))
        two = asyncio.create_task(scheduler.run(dsn, stop_second, second))
        await until(first, lambda status, detail: detail.get("backlog") == 0 and detail["periods"] > 0)
        await until(second, lambda status, detail: detail.get("leader") is False)
        assert not any(detail.get("leader") for _, detail in second)
        stop.set()
        await one
        await until(second, lambda status, detail: detail.get("leader") is True)
        stop_second.set()
        await two
        for reports in (first, second):
            assert reports[0][0] == "starting"
            assert reports[-1][0] == "stopped"
            assert {status for status, _ in reports} == {"starting", "ok", "stopped"}

    asyncio.run(main())
    with connect(dsn, application="test") as conn:
        row = conn.execute(
            "SELECT count(DISTINCT code) FROM indicator_value WHERE level = 'province'"
        ).fetchone()
        assert row == (15,)
        # The server takes a moment to notice that a client has gone; it serves other tests' databases, too.
        query = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name LIKE 'qunce-metrics%' AND datname = current_database()"
        )
        until_gone = time.monotonic() + 5
        while conn.execute(query).fetchone() != (0,):
            assert time.monotonic() < until_gone
            time.sleep(0.05)


def test_a_run_that_takes_long_is_told_once_and_once_when_it_is_done(
    dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def slow(*_: object, **__: object) -> int:
        time.sleep(2.5)
        return 0

    monkeypatch.setattr(scheduler, "ROLLUP_S", 0.2)
    monkeypatch.setattr(scheduler, "REPORT_S", 0.1)
    monkeypatch.setattr(scheduler.engine, "rollup", slow)

    async def main() -> None:
        reports, stop = Reports(), asyncio.Event()
        task = asyncio.create_task(scheduler.run(dsn, stop, reports))
        await until(reports, lambda status, detail: "rollup_at" in detail)
        stop.set()
        await task

    with caplog.at_level(logging.INFO), capture_logs() as told:
        asyncio.run(main())
    events = [entry["event"] for entry in told if entry.get("job") == "rollup"]
    assert events[:2] == ["metrics job works on", "metrics job is done"]
    assert not [record for record in caplog.records if "maximum number" in record.getMessage()]


def test_a_database_that_is_away_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scheduler, "REPORT_S", 0.05)

    async def main() -> None:
        reports, stop = Reports(), asyncio.Event()
        task = asyncio.create_task(scheduler.run("postgresql://nobody@127.0.0.1:1/none", stop, reports))
        await until(reports, lambda status, detail: status == "recoverable" and detail["error"])
        stop.set()
        await task

    asyncio.run(main())
