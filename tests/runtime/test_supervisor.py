"""Supervision of real child processes: readiness, restarts, draining, kill -9 of the supervisor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from qunce import supervisor as module
from qunce.process import ChildFailed
from qunce.supervisor import InUse, Part, Supervisor, backoff_s, end_leftovers, started_at


def program(tmp_path: Path, name: str, text: str) -> list[str]:
    file = tmp_path / f"{name}.py"
    file.write_text(textwrap.dedent(text))
    return [sys.executable, str(file)]


def sleeper(tmp_path: Path, name: str = "sleeper") -> Part:
    ready = tmp_path / f"{name}.ready"
    command = program(
        tmp_path, name,
        f"""
        import pathlib, signal, sys, time
        def end(*_):
            pathlib.Path({str(tmp_path / (name + ".drained"))!r}).touch()
            sys.exit(0)
        signal.signal(signal.SIGTERM, end)
        pathlib.Path({str(ready)!r}).touch()
        while True:
            time.sleep(0.05)
        """,
    )  # fmt: skip
    return Part(name, command, ready.exists, timeout_s=10, before=lambda: ready.unlink(missing_ok=True))


def make(tmp_path: Path) -> Supervisor:
    return Supervisor(tmp_path / "run", tmp_path / "logs")


def until(what: Callable[[], bool], timeout_s: float = 8.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def pid_of(supervisor: Supervisor, index: int = 0) -> int:
    process = supervisor.children[index].process
    assert process is not None
    return process.pid


def test_a_child_that_is_killed_is_started_again_and_it_is_shown(tmp_path: Path) -> None:
    with make(tmp_path) as supervisor:
        supervisor.start(sleeper(tmp_path))
        first = pid_of(supervisor)
        os.kill(first, signal.SIGKILL)

        def again() -> bool:
            supervisor.tick()
            return supervisor.children[0].state == "ok" and pid_of(supervisor) != first

        assert until(again)
        supervisor.write_status()
        status = json.loads((tmp_path / "run" / "status.json").read_text())["children"][0]
        assert (status["state"], status["restarts"], status["last_exit"]) == ("ok", 1, -9)


def test_children_are_drained_last_started_first(tmp_path: Path) -> None:
    with make(tmp_path) as supervisor:
        for name in ("one", "two"):
            supervisor.start(sleeper(tmp_path, name))
        pids = [pid_of(supervisor, 0), pid_of(supervisor, 1)]
    assert (tmp_path / "one.drained").stat().st_mtime >= (tmp_path / "two.drained").stat().st_mtime
    assert [started_at(pid) for pid in pids] == [None, None]


def test_a_child_that_does_not_drain_is_killed_after_its_grace(tmp_path: Path) -> None:
    command = program(
        tmp_path, "deaf", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    )
    with make(tmp_path) as supervisor:
        supervisor.start(Part("deaf", command, lambda: True, grace_s=0.3))
        time.sleep(0.3)
        assert supervisor.stop("deaf") == -signal.SIGKILL


def test_a_child_that_never_gets_ready_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    command = program(tmp_path, "broken", "raise SystemExit('no such tariff')")
    with make(tmp_path) as supervisor, pytest.raises(ChildFailed, match="no such tariff"):
        supervisor.start(Part("broken", command, lambda: False, timeout_s=1.5))


def test_one_data_directory_one_supervisor(tmp_path: Path) -> None:
    with make(tmp_path), pytest.raises(InUse, match=str(os.getpid())):
        make(tmp_path).__enter__()
    with make(tmp_path):
        pass


def test_nothing_is_left_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pids"
    text = f"""
        import sys, time, pathlib
        sys.path.insert(0, {str(Path.cwd())!r})
        from qunce.supervisor import Part, Supervisor
        with Supervisor(pathlib.Path({str(tmp_path / "run")!r}), pathlib.Path({str(tmp_path / "logs")!r})) as s:
            for name in ("a", "b"):
                s.start(Part(name, [sys.executable, "-c", "import time; time.sleep(60)"], lambda: True))
            pathlib.Path({str(pid_file)!r}).write_text(" ".join(str(c.process.pid) for c in s.children))
            while True:
                s.tick()
                time.sleep(0.05)
    """
    process = subprocess.Popen(program(tmp_path, "parent", text))
    try:
        assert until(lambda: pid_file.exists() and len(pid_file.read_text().split()) == 2)
        pids = [int(pid) for pid in pid_file.read_text().split()]
        assert all(started_at(pid) for pid in pids)
    finally:
        process.kill()
        process.wait()
    assert until(lambda: not any(started_at(pid) for pid in pids), 5)


def test_leftovers_are_ended_by_pid_and_start_time_only(tmp_path: Path) -> None:
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        noted = [
            {"name": "left", "pid": left.pid, "started": started_at(left.pid)},
            {"name": "reused", "pid": other.pid, "started": "another boot:1"},
        ]
        (tmp_path / "children.json").write_text(json.dumps(noted))
        assert end_leftovers(tmp_path / "children.json") == ["left"]
        assert left.wait(5) == -signal.SIGTERM
        assert other.poll() is None
    finally:
        for process in (left, other):
            process.kill()
            process.wait()


def test_backoff_doubles_is_bounded_and_jittered() -> None:
    plain = [backoff_s(n, jitter=lambda _low, high: high) for n in range(1, 9)]
    assert plain == [0.5, 1, 2, 4, 8, 15, 15, 15]
    assert {0.5 <= backoff_s(n) <= 15 for n in range(1, 40)} == {True}


def test_logs_stay_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOG_BYTES", 10_000)
    command = program(
        tmp_path, "chatty",
        """
        import time
        while True:
            print("x" * 1000, flush=True)
            time.sleep(0.002)
        """,
    )  # fmt: skip
    with make(tmp_path) as supervisor:
        supervisor.start(Part("chatty", command, lambda: True))
        rotated = tmp_path / "logs" / "chatty.log.1"

        def done() -> bool:
            supervisor.tick()
            return rotated.exists()

        assert until(done)
        assert rotated.stat().st_size <= 20_000


def test_a_stuck_child_is_started_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "STUCK_EVERY_S", 0.05)
    asked: list[int] = []

    def stuck(pid: int, log: Path) -> bool:
        asked.append(pid)
        return pid == asked[0] and len(asked) > 2 and log.exists()

    with make(tmp_path) as supervisor:
        supervisor.start(replace(sleeper(tmp_path), stuck=stuck))
        first = pid_of(supervisor)

        def anew() -> bool:
            supervisor.tick()
            child = supervisor.children[0]
            return child.state == "ok" and child.process is not None and child.process.pid != first

        assert until(anew)
        assert (tmp_path / "sleeper.drained").exists()  # it was asked, not killed
        assert supervisor.children[0].restarts == 1


def test_a_removed_part_is_no_longer_told_of(tmp_path: Path):
    with make(tmp_path) as supervisor:
        supervisor.start(sleeper(tmp_path))
        supervisor.remove("sleeper")
        assert (tmp_path / "sleeper.drained").exists()
        assert supervisor.children == []
