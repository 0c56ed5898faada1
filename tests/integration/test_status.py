"""`qunce status`: accounts, log, canaries and alarms, and what it says of what it cannot know."""

from __future__ import annotations

import asyncio
import io
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ingest.log import Log
from qunce.process import free_port
from qunce.settings import Settings
from qunce.status import gather, show
from store import canary
from store.database import Connection, connect
from store.registry import NewUnit, register_unit, source_id
from store.status import beat
from tests.browser.seed import uscc

pytestmark = pytest.mark.concurrent
UNIT = "GD-STA-01"


def settings(folder: Path, dsn: str, log_url: str) -> Settings:
    return Settings(data_dir=folder, database={"dsn": dsn}, log={"url": log_url})


@pytest.fixture
def running(nats_fresh: str, dsn: str, conn: Connection) -> tuple[str, str]:
    """A source with 10 rows booked and 8 waiting, one canary, and an interface that is well."""
    now = time.time_ns() // 1000
    with conn.transaction():
        unit = register_unit(conn, NewUnit(UNIT, "单位", "Unit", 1, uscc(7)))
        source = source_id(conn, unit, "mqtt:x")
        conn.execute(
            "UPDATE ingest_ledger SET received = 10, stored = 6, duplicates = 2, corrections = 1, quarantined = 1"
            " WHERE source_id = %s",
            (source,),
        )
        conn.execute("INSERT INTO clock_skew VALUES (%s, 1.5, 9, now())", (source,))
        canary.keep(conn, [canary.Canary("opcua-1", now, now)])
        disk = {"free_bytes": 50, "total_bytes": 51}
        beat(conn, "api", "here", "ok", {"disk": {key: n * 2**30 for key, n in disk.items()}})
        beat(conn, "opcua-1", "here", "ok", {"canaries_since": now - 3_600_000_000})
    conn.commit()

    async def append() -> None:
        log = await Log.connect(nats_fresh, name="test")
        for n in range(2):
            await log.append(
                b"x", kind="batch", lane="live", unit=UNIT, source="mqtt:x", msg_id=str(n), rows=4
            )
        await log.close()

    asyncio.run(append())
    return dsn, nats_fresh


def text(found: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=160)
    show(found, console)
    return console.file.getvalue()


def test_all_is_well(running: tuple[str, str], tmp_path: Path) -> None:
    found = gather(settings(tmp_path, *running))
    assert found["accounts"] == [
        {
            "unit": UNIT, "source": "mqtt:x", "received": 18, "stored": 6, "duplicates": 2, "corrections": 1,
            "quarantined": 1, "pending": 8, "balanced": True,
        }
    ]  # fmt: skip
    assert found["accounts_balance"] is True
    assert found["log"]["limit_bytes"] == 2**28
    assert 0 < found["log"]["fill"] < 0.01
    assert found["canaries"][0]["connector"] == "opcua-1"
    assert found["clock_skew"][0]["ahead_s"] == 1.5
    assert found["alarms"] == []
    assert found["well"] is True
    assert "mqtt:x" in text(found)


def test_a_canary_that_does_not_come_is_not_well(running: tuple[str, str], tmp_path: Path) -> None:
    with connect(running[0], application="test", autocommit=True) as conn:
        conn.execute("UPDATE canary SET stored_at = now() - interval '2 minutes'")
    found = gather(settings(tmp_path, *running))
    [alarm] = found["alarms"]
    assert (alarm["kind"], alarm["evidence"]["connector"]) == ("canary_silent", "opcua-1")
    assert found["well"] is False
    assert "canary_silent" in text(found)


def test_without_the_log_what_waits_is_not_known(running: tuple[str, str], tmp_path: Path) -> None:
    away = settings(tmp_path, running[0], f"nats://127.0.0.1:{free_port()}")
    found = gather(away)
    assert found["log_error"]
    assert found["accounts"][0]["pending"] is None
    assert found["accounts"][0]["stored"] == 6
    assert found["accounts_balance"] is None
    assert found["well"] is False
    assert "?" in text(found)
    with connect(running[0], application="test", autocommit=True) as conn:
        detail = {"pending": [[UNIT, "mqtt:x", 8]], "log": {"bytes": 85, "limit_bytes": 100}}
        beat(conn, "writer", "here", "ok", detail)
    found = gather(away)
    assert found["accounts"][0]["pending"] == 8
    assert [alarm["kind"] for alarm in found["alarms"]] == ["log_filling"]


def test_without_the_database_the_log_is_shown(running: tuple[str, str], tmp_path: Path) -> None:
    found = gather(settings(tmp_path, f"postgresql://u:p@127.0.0.1:{free_port()}/d", running[1]))
    assert found["error"]
    assert found["log"]["bytes"] > 0
    assert found["accounts_balance"] is None
    assert found["well"] is False
    assert text(found)
