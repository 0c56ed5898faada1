"""Child processes under supervision: started in order, restarted with back-off, none left behind.

One thread drives everything: whoever owns a `Supervisor` calls `tick()` a few times a second.
Children die with us even when we are killed (`qunce/launch.py`); what a former run left behind
nevertheless is found by pid *and* start time and ended before anything is started.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import structlog

from qunce.process import ChildFailed, User, log_end, spawn, stop, write_private

BACKOFF_S = (0.5, 15.0)
HEALTHY_S = 30.0  # a child that lived this long starts its back-off anew
STUCK_EVERY_S = 2.0
STUCK_LOOKS = 3
LOG_BYTES = 8 * 2**20  # a child's log is kept twice at most: the current file and the one before

State = Literal["waiting", "starting", "ok", "restarting", "stopping", "stopped", "done"]

_log = structlog.get_logger("qunce.supervisor")


class InUse(Exception):
    """Another process works in this data directory."""


@dataclass(frozen=True)
class Part:
    """One program to keep running. `ready` is asked from outside and must answer within about 2 s."""

    name: str
    command: list[str]
    ready: Callable[[], bool]
    timeout_s: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    grace_s: float = 20.0
    user: User | None = None
    env: Mapping[str, str] | None = None
    before: Callable[[], None] | None = None
    """Done before each start of the process."""
    stuck: Callable[[int, Path], bool] | None = None
    """Whether the running process (its pid, its log) will not work again by itself; then it is started anew."""
    group: str | None = None
    """Neighbours (in order of start) of one group are asked to end at the same time."""


@dataclass
class Child:
    """A part and the process that runs it now."""

    part: Part
    log: Path
    process: subprocess.Popen[bytes] | None = None
    state: State = "waiting"
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    restarts: int = 0
    last_exit: int | None = None
    started: float = 0.0
    failures: int = 0
    again_at: float = 0.0
    looked_at: float = 0.0
    stuck_looks: int = 0
    told_to_end: float | None = None

    def enter(self, state: State) -> None:
        """Change the state, and remember since when it holds."""
        if state != self.state:
            self.state, self.since = state, datetime.now(UTC)


def backoff_s(failures: int, *, jitter: Callable[[float, float], float] = random.uniform) -> float:
    """Seconds to wait after so many failures in a row (≥ 1): doubling, bounded, jittered."""
    low, high = BACKOFF_S
    return max(low, min(high, low * 2.0 ** min(failures - 1, 10)) * jitter(0.75, 1.0))


class Supervisor:
    """Runs parts below `run_dir` (lock, who runs, status) and `log_dir`. Use as a context manager.

    Raises InUse on entry when another supervisor holds the directory. Leaving it stops everything.
    """

    def __init__(self, run_dir: Path, log_dir: Path) -> None:
        self._run_dir = run_dir
        self._log_dir = log_dir
        self._children: dict[str, Child] = {}
        self._lock: Any = None
        self._written = 0.0
        self._stopping = False
        self.hurry = False
        """Set (by a second Ctrl-C) to kill instead of asking."""

    def __enter__(self) -> Supervisor:
        self._run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._log_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = (self._run_dir / "lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.seek(0)
            holder = self._lock.read().strip() or "?"
            self._lock.close()
            raise InUse(
                f"{self._run_dir.parent}: 已有一个平台在使用此数据目录 / a platform (process {holder}) already uses it"
            ) from None
        self._lock.truncate(0)
        self._lock.write(f"{os.getpid()}\n")
        self._lock.flush()
        end_leftovers(self._run_dir / "children.json")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_all()
        self._lock.close()

    @property
    def children(self) -> list[Child]:
        """Every child, in order of start."""
        return list(self._children.values())

    def start(self, part: Part, *, watch: Callable[[], None] | None = None) -> None:
        """Start a part and return when it is ready; `watch` is called while waiting.

        Raises ChildFailed when it is not ready in time (it may be restarted meanwhile).
        """
        self.launch(part)
        self.wait([part.name], watch=watch)

    def launch(self, part: Part) -> None:
        """Start a part without waiting for it."""
        child = Child(part, self._log_dir / f"{part.name}.log")
        self._children[part.name] = child
        self._spawn(child)

    def wait(self, names: list[str], *, watch: Callable[[], None] | None = None) -> None:
        """Return when these parts are ready. Raises ChildFailed for the first that is not in time."""
        begun = time.monotonic()
        while True:
            self.tick()
            late = [self._children[name] for name in names if self._children[name].state != "ok"]
            if not late:
                return
            for child in late:
                if time.monotonic() - begun > child.part.timeout_s:
                    last = "" if child.last_exit is None else f", exit code {child.last_exit}"
                    raise ChildFailed(
                        f"{child.part.name}: not ready within {child.part.timeout_s:.0f} s"
                        f" ({child.restarts} restarts{last}); log {child.log}\n{log_end(child.log)}"
                    )
            if watch:
                watch()
            time.sleep(0.05)

    def tick(self) -> None:
        """See who died, who is ready, whose time to start again has come; never waits for a child."""
        now = time.monotonic()
        for child in self._children.values():
            if child.process is None:
                if child.state == "restarting" and now >= child.again_at:
                    self._spawn(child)
                continue
            code = child.process.poll()
            if code is not None:
                self._died(child, code, now)
            elif child.state == "starting" and child.part.ready():
                child.enter("ok")
            elif child.state == "ok" and child.part.stuck is not None:
                self._look_whether_stuck(child, child.process, now)
            _bound(child.log)
        if now - self._written > 1:
            self.write_status()

    def _look_whether_stuck(self, child: Child, process: subprocess.Popen[bytes], now: float) -> None:
        """End a process that runs but will not work again; then it is started as any that ended."""
        if child.told_to_end is not None:
            if now - child.told_to_end > child.part.grace_s:
                process.kill()
            return
        if child.part.stuck is None or now - child.looked_at < STUCK_EVERY_S:
            return
        child.looked_at = now
        child.stuck_looks = child.stuck_looks + 1 if child.part.stuck(process.pid, child.log) else 0
        if child.stuck_looks >= STUCK_LOOKS:  # more than a moment without an answer
            _log.warning("child is stuck and will be started anew", child=child.part.name, log=str(child.log))
            child.told_to_end = now
            process.send_signal(child.part.stop_signal)

    def _died(self, child: Child, code: int, now: float) -> None:
        child.process, child.last_exit = None, code
        child.failures = 1 if now - child.started > HEALTHY_S else child.failures + 1
        child.again_at = now + backoff_s(child.failures)
        child.restarts += 1
        child.enter("restarting")
        _log.warning(
            "child ended and will be started again",
            child=child.part.name, code=code, wait_s=round(child.again_at - now, 2), log=str(child.log),
        )  # fmt: skip

    def _spawn(self, child: Child) -> None:
        part = child.part
        child.enter("starting")
        child.started = time.monotonic()
        child.told_to_end = None
        child.stuck_looks = 0
        try:
            if part.before:
                part.before()
            child.log.parent.mkdir(exist_ok=True, mode=0o700)
            with child.log.open("ab") as output:
                child.process = spawn(
                    part.command, output=output, env=part.env, user=part.user, ending=part.stop_signal
                )
        except (OSError, ChildFailed) as error:
            _log.error("child could not be started", child=part.name, error=str(error))
            self._died(child, -1, time.monotonic())
        self._note_children()

    def stop(self, *names: str) -> int | None:
        """Stop parts for good: ask all, wait for the grace of each, kill. Returns the last one's exit code."""
        children = [self._children[name] for name in names]
        for child in children:
            child.enter("stopping")
        self.write_status()
        for child in children:
            if child.process is not None and child.process.poll() is None and not self.hurry:
                child.process.send_signal(child.part.stop_signal)
        asked = time.monotonic()
        for child in children:
            if child.process is not None:
                child.last_exit = self._end(child.process, asked + child.part.grace_s)
                child.process = None
            child.enter("stopped")
        self._note_children()
        return children[-1].last_exit

    def remove(self, name: str) -> None:
        """Stop a part and forget it."""
        self.stop(name)
        del self._children[name]

    def _end(self, process: subprocess.Popen[bytes], deadline: float) -> int:
        while process.poll() is None and time.monotonic() < deadline and not self.hurry:
            time.sleep(0.02)
        return stop(process, grace_s=0.0, how=signal.SIGKILL)

    def stop_all(self) -> None:
        """Stop everything, last started first, a group at once. Safe to repeat."""
        left = [child for child in reversed(self._children.values()) if child.state != "stopped"]
        for _, together in itertools.groupby(left, key=lambda child: child.part.group or child.part.name):
            self.stop(*(child.part.name for child in together))
        self.write_status()

    def _note_children(self) -> None:
        running = [
            {"name": child.part.name, "pid": child.process.pid, "started": started_at(child.process.pid)}
            for child in self._children.values()
            if child.process is not None
        ]
        write_private(self._run_dir / "children.json", json.dumps(running))

    def write_status(self) -> None:
        """Write status.json: who runs, since when, how often it was restarted."""
        self._written = time.monotonic()
        content = {
            "supervisor": os.getpid(),
            "at": datetime.now(UTC).isoformat(),
            "children": [
                {
                    "name": child.part.name,
                    "state": child.state,
                    "since": child.since.isoformat(),
                    "restarts": child.restarts,
                    "pid": child.process.pid if child.process else None,
                    "last_exit": child.last_exit,
                    "log": str(child.log),
                }
                for child in self._children.values()
            ],
        }
        write_private(self._run_dir / "status.json", json.dumps(content, indent=1))


def started_at(pid: int) -> str | None:
    """When a process was started, so that a reused pid is not mistaken for it; None when there is none.

    Linux: this boot's id and the clock ticks since then; they do not move when the clock is set.
    """
    try:
        # The name (2nd field) may contain blanks and brackets; what follows the last one may not.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return None
    state, ticks = fields[0], fields[19]
    return None if state in ("Z", "X") else f"{boot}:{ticks}"


def end_leftovers(file: Path, *, grace_s: float = 20.0) -> list[str]:
    """End exactly the processes that a former run noted and that still run; returns their names."""
    try:
        noted = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return []
    left = [entry for entry in noted if entry["started"] and started_at(entry["pid"]) == entry["started"]]
    for entry in left:
        _log.warning("ending a process that a former run left behind", child=entry["name"], pid=entry["pid"])
    # They got their own stop signal when their parent died; so first they are only waited for.
    for wait_s, how in ((2.0, None), (grace_s, signal.SIGTERM), (5.0, signal.SIGKILL)):
        for entry in left:
            if how is not None and started_at(entry["pid"]) == entry["started"]:
                os.kill(entry["pid"], how)
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline and any(started_at(e["pid"]) == e["started"] for e in left):
            time.sleep(0.05)
    file.unlink(missing_ok=True)
    return [entry["name"] for entry in left]


def _bound(log: Path) -> None:
    """Keep a child's log bounded: copy and truncate, because the child holds the file open for appending."""
    try:
        if log.stat().st_size <= LOG_BYTES:
            return
        with log.open("r+b") as file:
            log.with_suffix(".log.1").write_bytes(file.read(2 * LOG_BYTES))
            file.truncate(0)
    except OSError as error:
        _log.warning("log could not be rotated", log=str(log), error=str(error))
