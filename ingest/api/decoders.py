"""Decoding off the event loop: the processes that do it, and who has his turn at them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, cast

import structlog

from ingest.api.limits import Turns
from ingest.api.problems import Problem
from ingest.decoder import Job, Outcome, ask, decode_body

AT_ONCE = max(1, min(4, (os.cpu_count() or 1) // 2))
"""Processes; each takes some 100 MB, and up to 400 MB while it decodes the worst of bodies."""
INLINE_BYTES = 32 * 2**10
"""What is not larger is decoded at once, in about a millisecond."""
_WAIT_S = 20.0
_HANGS_S = 60.0
_log = structlog.get_logger("ingest.api")


class Decoders:
    """The decoding processes of one interface; started again when they die."""

    def __init__(self) -> None:
        self.turns = Turns(AT_ONCE, _WAIT_S)
        self._threads = ThreadPoolExecutor(AT_ONCE, "decoders")
        self._idle = [_Process() for _ in range(AT_ONCE)]
        self._all = tuple(self._idle)

    def start(self) -> None:
        """Start the processes; they take a while until they can decode, which nobody has to wait for."""
        for process in self._all:
            process.start()

    async def decode(self, job: Job, body: bytes) -> Outcome:
        """Decode a body; a large one, a packed one and Arrow in a process, when it is the unit's turn.

        Raises Problem: too much to do, or the process died of it.
        """
        if len(body) <= INLINE_BYTES and not (job.form == "arrow" or job.coding):
            return decode_body(job, body)
        async with self.turns.turn(job.unit):
            process = self._idle.pop()
            try:
                async with asyncio.timeout(_HANGS_S):
                    return await self._in(process, job, body)
            except (EOFError, OSError) as error:  # TimeoutError is an OSError
                _log.error("a decoder died", unit=job.unit, bytes=len(body), error=str(error) or "it hung")
                raise Problem("failed") from error
            finally:
                self._idle.append(process)

    async def _in(self, process: _Process, job: Job, body: bytes) -> Outcome:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, process.ask, job, body)
        except BaseException:
            process.kill()  # its next word would answer a question that nobody asks any more
            raise

    def close(self) -> None:
        """End the processes. Blocks until they have ended."""
        for process in self._all:
            process.kill()
        self._threads.shutdown()
        for process in self._all:
            process.kill()


class _Process:
    """One decoder; asked by one thread at a time."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def start(self) -> subprocess.Popen[bytes]:
        """The running process, started if there is none."""
        with self._lock:
            if self._child is None or self._child.poll() is not None:
                self._end()
                self._child = subprocess.Popen(
                    [sys.executable, "-m", "ingest.decoder"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
            return self._child

    def ask(self, job: Job, body: bytes) -> Outcome:
        """Raises EOFError or OSError when it died; the next question finds a new one."""
        child = self.start()
        return ask(cast(BinaryIO, child.stdin), cast(BinaryIO, child.stdout), job, body)

    def kill(self) -> None:
        """End it now, whatever it is doing."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._child is None:
            return
        child, self._child = self._child, None
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            with contextlib.suppress(OSError, ValueError):
                if pipe is not None:
                    pipe.close()
