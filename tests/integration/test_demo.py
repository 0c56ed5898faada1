"""`qunce demo`, whole: ready, killed without warning, continued, balanced, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qunce.supervisor import started_at

PROTOCOLS = {"opcua", "mqtt", "http_push", "http_pull"}


def until(what: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def command(data: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "qunce", "demo", "--data-dir", str(data), "--history", "0", *more]


def children(data: Path) -> dict[str, Any]:
    noted = json.loads((data / "run" / "children.json").read_text())
    return {entry["name"]: entry for entry in noted}


@pytest.mark.timeout(400)
@pytest.mark.concurrent
def test_a_demo_survives_being_killed_and_loses_nothing(tmp_path: Path) -> None:
    data, out, report = tmp_path / "data", tmp_path / "out", tmp_path / "report.json"
    env = {name: value for name, value in os.environ.items() if not name.startswith("QUNCE_")}
    with out.open("wb") as output:
        first = subprocess.Popen(command(data), stdout=output, stderr=subprocess.STDOUT, env=env)
        try:
            assert until(lambda: "已就绪" in out.read_text() or first.poll() is not None, 200), (
                out.read_text()
            )
            assert first.poll() is None, out.read_text()
            left = children(data)
            assert {
                "postgres",
                "nats",
                "writer",
                "api+dashboard",
                "metrics",
                "connectors",
                "simulators",
            } == set(left)
            # Another demo may not use the same data.
            other = subprocess.run(command(data), capture_output=True, text=True, env=env, check=False)
            assert other.returncode == 2
            assert str(first.pid) in other.stderr
        finally:
            first.send_signal(signal.SIGKILL)
            first.wait()
    assert until(lambda: not any(started_at(e["pid"]) == e["started"] for e in left.values()), 40)

    second = subprocess.run(
        command(data, "--exit-after", "5", "--report", str(report)),
        capture_output=True, text=True, env=env, timeout=300, check=False,
    )  # fmt: skip
    assert second.returncode == 0, second.stdout + second.stderr
    found = json.loads(report.read_text())
    assert set(found["points"]) == PROTOCOLS
    assert all(count > 0 for count in found["points"].values()), found
    assert found["rows_stored"] == sum(found["points"].values())
    assert set(found["pages"].values()) == {200}
    assert found["indicators"]
    assert found["ready_seconds"] < 200
    assert not any(started_at(e["pid"]) for e in children(data).values())
    for secret in ("qunce.toml", "login.txt", "keys.json", "credentials.json", "connectors.toml"):
        assert (data / secret).stat().st_mode & 0o077 == 0


def test_what_is_no_demo_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.odt").write_text("years of work")
    done = subprocess.run(command(tmp_path, "--fresh"), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.odt"]


def test_a_demo_refuses_to_listen_elsewhere(tmp_path: Path) -> None:
    env = {**os.environ, "QUNCE_API__HOST": "0.0.0.0"}
    done = subprocess.run(command(tmp_path / "d"), capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 2
    assert "api.host" in done.stderr
    assert "Traceback" not in done.stderr
