"""Child processes: start one so that it never outlives us, stop one so that it can finish."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

_LAUNCH = Path(__file__).with_name("launch.py")


class ChildFailed(RuntimeError):
    """A child process ended, or did not become ready in time; the message holds the end of its log."""


class User(NamedTuple):
    """Whom a child runs as; `override`: it may reach files below directories that only root may enter."""

    uid: int
    gid: int
    override: bool


def spawn(
    command: Sequence[str | Path],
    *,
    output: IO[bytes] | int,
    env: Mapping[str, str] | None = None,
    user: User | None = None,
    cwd: Path | None = None,
    ending: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a child in its own session; on Linux it gets `ending` when the calling *thread* ends.

    stdout and stderr go to `output`. The own session keeps a terminal's Ctrl-C to ourselves: we
    stop children in order. Call it from a thread that lives as long as the child should.
    """
    options = ["--parent", str(os.getpid()), "--signal", str(int(ending))]
    if user:
        options += ["--user", f"{user.uid}:{user.gid}"]
        if user.override:
            options.append("--override")
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(_LAUNCH), *options, "--", *map(str, command)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=None if env is None else dict(env),
        cwd=cwd,
        start_new_session=True,
    )


def stop(
    child: subprocess.Popen[bytes], *, grace_s: float = 20.0, how: signal.Signals = signal.SIGTERM
) -> int:
    """Ask a child to end, wait `grace_s` seconds, then kill it; returns its exit code. Safe to repeat."""
    if child.poll() is None:
        child.send_signal(how)
        try:
            child.wait(grace_s)
        except subprocess.TimeoutExpired:
            child.kill()
    return child.wait()


def wait_ready(
    child: subprocess.Popen[bytes], ready: Callable[[], bool], *, timeout_s: float, log: Path | None = None
) -> None:
    """Return when `ready()` says so. Raises ChildFailed when the child ends or time is up."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        code = child.poll()
        if code is not None:
            raise ChildFailed(f"ended with code {code} before it was ready\n{log_end(log)}")
        if time.monotonic() > deadline:
            raise ChildFailed(f"not ready within {timeout_s:.0f} s\n{log_end(log)}")
        time.sleep(0.05)


def log_end(log: Path | None, lines: int = 15) -> str:
    """The last lines of a log file; empty when there is none."""
    if log is None or not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 8192))
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])


def free_port(preferred: int | None = None) -> int:
    """A TCP port of 127.0.0.1 that is free now: the preferred one if possible, else one the system picks."""
    for wanted in (preferred, 0):
        if wanted is None:
            continue
        with socket.socket() as probe:
            # As servers do: a port in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free TCP port on 127.0.0.1")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    draft = path.with_name(f".{path.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
