"""The simulated province against a platform that only counts: nothing lost by kill -9, and the ledger is right."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from qunce.process import free_port
from simulators.plan import plan_province
from simulators.province import Province
from tests.simulators.platform import TOKEN, CountingPlatform

PROVINCE = plan_province(7, pilots=3, enterprises=15, equipment=15, as_of=date(2026, 11, 23))


def free_base(province: Province) -> int:
    """A base from which every offset of the province is free."""
    offsets = [source.port_offset for source in province.sources if source.port_offset is not None]
    return next(
        base
        for base in range(27_000, 31_000, 100)
        if all(free_port(base + offset) == base + offset for offset in offsets)
    )


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


class Run:
    """The simulators as a process."""

    def __init__(self, folder: Path, base_port: int, faults: str) -> None:
        self.state = folder / "state"
        self._command = [
            *(sys.executable, "-m", "simulators", "run", "--history", "1h", "--faults", faults),
            *("--province", str(folder / "province.json"), "--credentials", str(folder / "credentials.json")),
            *("--state-dir", str(self.state), "--base-port", str(base_port)),
        ]
        self.child = subprocess.Popen(self._command)

    def again(self) -> None:
        self.child = subprocess.Popen(self._command)

    def read(self, name: str) -> dict[str, Any]:
        path = self.state / name
        content: dict[str, Any] = msgspec.json.decode(path.read_bytes()) if path.exists() else {}
        return content

    def phase(self) -> str:
        progress = self.read("progress.json")
        return progress.get("phase", "") if progress.get("live") else ""


@pytest.fixture
def platform(nats_server: Any, tmp_path: Path) -> Iterator[CountingPlatform]:
    units = {pilot.unit.code: f"key-{pilot.unit.code}" for pilot in PROVINCE.pilots}
    nats_server.units(units)
    base = free_base(PROVINCE)
    counting = CountingPlatform(PROVINCE, base)
    counting.start(nats_server.mqtt_url)
    credentials = {
        "api_url": counting.url,
        "mqtt": {"host": "127.0.0.1", "port": nats_server.mqtt_port},
        "units": {unit: {"api_key": key} for unit, key in units.items()},
        "pull_token": TOKEN,
    }
    (tmp_path / "province.json").write_bytes(msgspec.json.encode(PROVINCE))
    (tmp_path / "credentials.json").write_bytes(msgspec.json.encode(credentials))
    yield counting
    counting.stop()


def test_every_row_is_accounted_for_over_kill_9(platform: CountingPlatform, tmp_path: Path):
    run = Run(tmp_path, platform._base_port, "duplicate,out_of_order,wrong_type,unknown_tag,malformed")
    keys = {source.key for source in PROVINCE.sources}
    try:
        until(lambda: run.phase() == "live" and keys <= set(platform.received))
        time.sleep(3)
        os.kill(run.child.pid, signal.SIGKILL)
        run.child.wait()
        (run.state / "progress.json").unlink()
        before = dict(platform.received)
        run.again()
        until(lambda: all(platform.received[key] > before[key] for key in keys) and run.phase() == "live")
        time.sleep(9)
        began = time.monotonic()
        run.child.terminate()
        assert run.child.wait(10) == 0
        assert time.monotonic() - began < 5
    finally:
        run.child.kill()
        run.child.wait()
    time.sleep(0.5)
    ledger = run.read("ledger.json")["sources"]
    for key in keys | {f"http_push:{pilot.unit.code}" for pilot in PROVINCE.pilots}:
        account = ledger[key]
        most = account["sent"] + account["in_flight"] + account["resent"]
        assert account["sent"] <= platform.received[key] <= most, (key, platform.received[key], account)
    struck = {kind for account in ledger.values() for kind in account["faults"]}
    assert "malformed" in struck
    assert platform.datasets["enterprise"] == 15
    assert platform.datasets["equipment"] == 15
    assert platform.datasets["tag"] == 2 * sum(len(one.tags) for one in PROVINCE.equipment)
    assert platform.datasets["shift_calendar"] > 100
    files = (run.state / "truth").glob("*.csv")
    truth = [row for path in files for row in csv.DictReader(path.read_text("utf-8").splitlines())]
    hours = {row["hour"] for row in truth}
    assert len(truth) == 15 * len(hours) >= 15
