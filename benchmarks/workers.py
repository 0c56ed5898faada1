"""Processes that do a benchmark's work beside each other: prepared first, begun at one moment."""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

PREPARED_WITHIN_S = 600.0


class Done(NamedTuple):
    """What a worker's work gave, and when it was done, by `time.time()` (one clock for all processes)."""

    began: float
    ended: float
    result: Any


class WorkerFailed(RuntimeError):
    """A worker ended by an error; the message is its traceback."""


class Worker:
    """One process; does one work after the other, so that its imports are paid for once."""

    def __init__(self) -> None:
        # Spawned, so that it inherits no connection and no thread of ours.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid or 0

    def send(self, content: object) -> None:
        """Tell it what to prepare, and then, by anything, to begin."""
        self._pipe.send(content)

    def answered(self, within_s: float | None = 0.0) -> bool:
        """Whether it has something to say."""
        return self._pipe.poll(within_s)

    def answer(self) -> Any:
        """What it says next. Raises WorkerFailed."""
        try:
            failed, content = self._pipe.recv()
        except EOFError:
            raise WorkerFailed("ended without a word") from None
        if failed:
            raise WorkerFailed(content)
        return content

    def close(self) -> None:
        """End the process, whatever it does."""
        self._pipe.close()
        self._process.terminate()
        self._process.join()


class Prepared:
    """Workers that only wait for the word."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = workers

    @property
    def pids(self) -> dict[str, int]:
        """Process ids, by names."""
        return {f"client_{number}" if number else "client": w.pid for number, w in enumerate(self._workers)}

    def begin(self) -> float:
        """Let all begin; returns the moment."""
        now = time.time()
        for worker in self._workers:
            worker.send(None)
        return now

    def finished(self) -> bool:
        """Whether all have done their work, or one has failed: `done` will not wait for long."""
        return all(worker.answered() for worker in self._workers)

    def done(self) -> list[Done]:
        """Wait for all. Raises WorkerFailed."""
        return [worker.answer() for worker in self._workers]


class Crew:
    """Keeps processes for use after use. Use as a context manager; leaving it ends them."""

    def __init__(self) -> None:
        self._workers: list[Worker] = []

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.close()
        self._workers.clear()

    @contextmanager
    def prepared(
        self, prepare: Callable[..., Callable[[], Any]], arguments: Sequence[tuple[Any, ...]]
    ) -> Iterator[Prepared]:
        """One worker for each list of arguments of `prepare`, a module's function that returns the work.

        What `prepare` does is not timed. Work that has a `close` is closed when the block is left, which
        must not be before it is `done`. Raises WorkerFailed. A failed worker is not used again.
        """
        mine = [self._workers.pop() if self._workers else Worker() for _ in arguments]
        try:
            for worker, given in zip(mine, arguments, strict=True):
                worker.send((prepare, given))
            for worker in mine:
                if not worker.answered(PREPARED_WITHIN_S):
                    raise WorkerFailed("not prepared in time")
                worker.answer()
            yield Prepared(mine)
        except BaseException:
            for worker in mine:
                worker.close()
            raise
        for worker in mine:
            worker.send(None)
        self._workers += mine


def _serve(pipe: Connection) -> None:
    while True:
        try:
            prepare, given = pipe.recv()
            work = prepare(*given)
            pipe.send((False, None))
            pipe.recv()
            began = time.time()
            result = work()
            pipe.send((False, Done(began, time.time(), result)))
            pipe.recv()
            if (close := getattr(work, "close", None)) is not None:
                close()
            del work
        except (EOFError, KeyboardInterrupt):
            return  # whoever started us has gone, or is about to end us
        except Exception:
            pipe.send((True, traceback.format_exc()))
            return
