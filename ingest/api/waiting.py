"""Waiting for the writer's verdicts: one poller a process asks the store for all that are waited for."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from ingest.api.problems import Problem
from store.identity import Principal
from store.submissions import Submission

_EVERY_S = 0.05
_FIND_WITHIN_S = 1.0
_SLOW_S, _STUCK_S = 0.5, 2.0
_AWAY_S = 2.0
_LEAST_PATIENCE_S = 0.5
_KEPT = 10_000


class Asked(NamedTuple):
    """Whose submission is asked for, and on whose behalf."""

    who: Principal
    unit_id: int
    batch: str


Read = Callable[[Sequence[Asked]], Awaitable[dict[str, Submission]]]
"""What the store knows of these, each seen as its caller sees it. Raises Problem when the database is away."""


class Waiting:
    """All waiting of one process. Used in one loop only, so nothing needs a lock."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._waiting: dict[asyncio.Future[Submission | None], tuple[Asked, bool]] = {}
        self._poller: asyncio.Task[None] | None = None
        self._asking_since: float | None = None
        self._away_until = 0.0
        self._patience: dict[int, float] = {}
        self._urgent = asyncio.Event()

    async def find(self, asked: Asked) -> Submission | None:
        """What the store knows of a submission now; None when that is nothing, or the database is away."""
        if self._asked_for(_SLOW_S):
            return None
        return await self._ask(asked, False, _FIND_WITHIN_S)

    async def applied(self, asked: Asked, within_s: float) -> Submission | None:
        """A submission once it is applied; None when that takes too long, or the database is away.

        Who waited in vain waits for a shorter time next: a writer that is behind does not keep all its senders.
        """
        if self._asked_for(_STUCK_S):
            return None
        patience = min(within_s, self._patience.get(asked.unit_id, within_s))
        found = await self._ask(asked, True, patience)
        if found is not None:
            self._patience.pop(asked.unit_id, None)
        else:
            if len(self._patience) >= _KEPT:
                self._patience.clear()
            self._patience[asked.unit_id] = max(patience / 2, _LEAST_PATIENCE_S)
        return found

    async def close(self) -> None:
        """End the poller; who still waits is told nothing."""
        if self._poller is not None:
            self._poller.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._poller

    def _asked_for(self, seconds: float) -> bool:
        """Whether the store has kept the poller waiting for longer."""
        return self._asking_since is not None and time.monotonic() - self._asking_since > seconds

    async def _ask(self, asked: Asked, until_applied: bool, within_s: float) -> Submission | None:
        if time.monotonic() < self._away_until:
            return None
        mine: asyncio.Future[Submission | None] = asyncio.get_running_loop().create_future()
        self._waiting[mine] = (asked, until_applied)
        if not until_applied:  # somebody's readings wait for the answer
            self._urgent.set()
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        try:
            async with asyncio.timeout(within_s):
                return await mine
        except TimeoutError:
            return None
        finally:
            self._waiting.pop(mine, None)

    async def _poll(self) -> None:
        while self._waiting:
            self._urgent.clear()
            begun = self._asking_since = time.monotonic()
            round_ = dict(self._waiting)
            away = False
            found: dict[str, Submission] = {}
            try:
                found = await self._read([asked for asked, _ in round_.values()])
            except Problem:
                away = True
                self._away_until = time.monotonic() + _AWAY_S
            finally:
                self._asking_since = None
            for mine, (asked, until_applied) in round_.items():
                submission = found.get(asked.batch)
                if submission is not None and submission.unit_id != asked.unit_id:
                    submission = None
                told = away or not until_applied or (submission is not None and submission.is_applied)
                if told and not mine.done():
                    mine.set_result(submission)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, _EVERY_S - (time.monotonic() - begun))):
                    await self._urgent.wait()
