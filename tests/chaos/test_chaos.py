"""A short run of the chaos suite; the long one is `make chaos ROUNDS=50`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import EXTERNAL

pytestmark = pytest.mark.skipif(bool(EXTERNAL), reason="kills its own embedded servers, not the one given")


def command(*more: str) -> list[str]:
    return [sys.executable, "-m", "tests.chaos", *more]


@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost_or_doubled(tmp_path: Path):
    report = tmp_path / "report.json"
    # Round 1 tears the last record of the log, round 2 takes the database away for some seconds; both kill.
    done = subprocess.run(
        command("--first", "1", "--rounds", "2", "--seed", "7", "--load", "0.4", "--report", str(report)),
        capture_output=True, text=True, timeout=280, check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rounds: list[dict[str, Any]] = json.loads(report.read_text())["rounds"]
    assert [(r["lost"], r["doubled"], r["wrong_values"], r["unsent"]) for r in rounds] == [(0, 0, 0, 0)] * 2
    assert all(r["acknowledged"] > 1000 for r in rounds)
    assert done.stdout.splitlines()[-1].startswith("rounds=2 acknowledged=")


@pytest.mark.timeout(120)
def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path):
    run = subprocess.Popen(
        command("--rounds", "9", "--load", "0.2"), stdout=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert run.stdout
    run.stdout.readline()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(tmp_path.glob("*/data/run/status.json")):
        time.sleep(0.1)
    time.sleep(1)
    run.send_signal(signal.SIGTERM)
    out = run.stdout.read()
    assert run.wait(60) == 130, out
    run.stdout.close()
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    commands = [file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if file.exists()]
    assert not [one for one in commands if str(tmp_path).encode() in one]
