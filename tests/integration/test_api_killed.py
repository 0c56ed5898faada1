"""The interface killed between receiving and answering: what is sent again with its key is stored once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingest import writer
from ingest.log import Log
from qunce.process import free_port, spawn, stop, wait_ready, write_private
from qunce.settings import Settings, to_toml
from store.database import connect
from store.roles import logins
from tests.integration.test_api import KEY, go, no_report, now, platform, register_master, registered, settled

__all__ = ["registered"]
pytestmark = pytest.mark.concurrent


@pytest.fixture
def processes(
    registered: tuple[str, str], tmp_path: Path
) -> Iterator[list[tuple[str, subprocess.Popen[bytes]]]]:
    """Two processes of the interface, as they run in production: (URL, process)."""
    dsn, url = registered
    started = []
    env = {name: value for name, value in os.environ.items() if not name.startswith("QUNCE_")}
    for number in range(2):
        root = tmp_path / str(number)
        root.mkdir()
        port = free_port()
        settings = Settings.model_validate(
            {"data_dir": root, "database": {"dsn": dsn}, "log": {"url": url}, "api": {"port": port}}
        )
        write_private(root / "qunce.toml", to_toml(settings))
        command = [
            sys.executable,
            "-m",
            "qunce",
            "up",
            "--roles",
            "api",
            "--config",
            str(root / "qunce.toml"),
        ]
        with (root / "api.log").open("wb") as output:
            started.append(
                (f"http://127.0.0.1:{port}", spawn(command, output=output, env=env), root / "api.log")
            )
    for address, process, log in started:
        wait_ready(process, answers(address), timeout_s=40, log=log)
    yield [(address, process) for address, process, _ in started]
    for _, process, _ in started:
        stop(process)


def answers(address: str) -> Callable[[], bool]:
    def ready() -> bool:
        try:
            return httpx.get(f"{address}/healthz", timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    return ready


def test_killed_before_it_answered_and_sent_again_it_is_stored_once(
    registered: tuple[str, str], processes: list[tuple[str, subprocess.Popen[bytes]]]
) -> None:
    dsn, url = registered
    (first, process), (second, _) = processes
    rows = [{"tag": "M1.produced", "ts": now(-i), "value": i} for i in range(3)]
    headers = {"Authorization": f"Bearer {KEY}", "Idempotency-Key": "once"}

    def push(address: str, body: dict[str, Any]) -> httpx.Response:
        return httpx.post(
            f"{address}/api/v1/measurements", json=body, headers=headers, timeout=30, trust_env=False
        )

    async def register() -> None:
        async with platform(dsn, url) as client:
            await register_master(client)

    async def held() -> int:
        log = await Log.connect(url, name="test")
        try:
            return sum(message.rows for message in await log.waiting())
        finally:
            await log.close()

    go(register())
    broken: list[BaseException] = []

    def interrupted() -> None:
        try:
            push(first, {"records": rows})
        except httpx.HTTPError as error:
            broken.append(error)

    sender = threading.Thread(target=interrupted)
    sender.start()
    # No writer runs: the readings are durable, and their sender waits for the verdict.
    while asyncio.run(held()) < 3:
        assert sender.is_alive(), "it was answered before it could be killed"
    process.send_signal(signal.SIGKILL)
    sender.join(10)
    assert broken

    async def repeated() -> None:
        ending = asyncio.Event()
        work = asyncio.create_task(writer.run(logins(dsn).writer, url, ending, no_report))
        again = await asyncio.to_thread(push, second, {"records": rows})
        assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
        assert [one["verdict"] for one in again.json()["records"]] == ["accepted"] * 3
        other = await asyncio.to_thread(push, second, {"records": rows[:1]})
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
        await settled(dsn, lambda c: c.execute("SELECT count(*) FROM measurement").fetchone() == (3,))
        ending.set()
        await work
        with connect(dsn, application="test") as conn:
            ledger = conn.execute(
                "SELECT sum(received), sum(stored), sum(duplicates) FROM ingest_ledger"
            ).fetchone()
        assert ledger == (3, 3, 0)

    go(repeated())
