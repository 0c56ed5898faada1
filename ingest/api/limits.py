"""What one sender may cost the others: meters of what is refused, and turns at what takes long.

Used in one loop only, so nothing needs a lock.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from ingest.api.problems import Problem

_KEPT = 10_000
_HALF_LIFE_S = 10.0


class UnitLimits(NamedTuple):
    """What one unit may do for ever: send rows and requests a second, a minute of it at once; read, ten seconds at once."""

    rows_per_s: float = 500_000.0
    requests_per_s: float = 500.0
    reads_per_s: float = 200.0


UNIT_LIMITS = UnitLimits()


class Meter:
    """So much a second for each key, and `burst` at once; who spends more has to wait.

    One number a key: the moment at which all it has spent will be paid off.
    """

    def __init__(self, per_s: float, burst: float, longest_s: float) -> None:
        self._per_s = per_s
        self._burst_s = burst / per_s
        self._longest_s = longest_s
        self._paid_at: dict[str, float] = {}

    def spend(self, key: str, amount: float = 1.0) -> None:
        """Count `amount` against `key`; nobody gets further into debt than `longest_s`."""
        now = time.monotonic()
        if len(self._paid_at) >= _KEPT:
            self._paid_at = {k: at for k, at in self._paid_at.items() if at > now}
        paid_at = max(now, self._paid_at.get(key, now)) + amount / self._per_s
        self._paid_at[key] = min(paid_at, now + self._burst_s + self._longest_s)

    def wait_s(self, key: str) -> float:
        """How long `key` has to wait now; 0 when it may go on."""
        return max(0.0, self._paid_at.get(key, 0.0) - time.monotonic() - self._burst_s)


class Turns:
    """Turns at something that takes long: `at_once` in all, one for each unit.

    Who waits comes in the order of what its unit has cost lately, the cheapest first: a unit with
    large bodies waits for one with small ones, not the other way round.
    """

    def __init__(self, at_once: int, longest_s: float) -> None:
        self._free = at_once
        self._longest_s = longest_s
        self._busy: set[str] = set()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._spent: dict[str, tuple[float, float]] = {}

    @asynccontextmanager
    async def turn(self, unit: str) -> AsyncIterator[None]:
        """Wait for a turn and have it. Raises Problem when it does not come in time."""
        await self._take(unit)
        begun = time.monotonic()
        try:
            yield
        finally:
            self._busy.discard(unit)
            self._free += 1
            self._spend(unit, time.monotonic() - begun)
            self._next()

    async def _take(self, unit: str) -> None:
        if self._free and unit not in self._busy and not self._waiting.get(unit):
            self._start(unit)
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(unit, deque()).append(mine)
        try:
            async with asyncio.timeout(self._longest_s):
                await mine
        except BaseException as error:
            if mine.done() and not mine.cancelled():  # it came, and nobody is there to have it
                self._busy.discard(unit)
                self._free += 1
                self._next()
            elif mine in (queue := self._waiting.get(unit, deque())):
                queue.remove(mine)
            if isinstance(error, TimeoutError):
                raise Problem("busy", retry_after_s=5) from error
            raise

    def _start(self, unit: str) -> None:
        self._free -= 1
        self._busy.add(unit)

    def _next(self) -> None:
        for unit in [unit for unit, queue in self._waiting.items() if not queue]:
            del self._waiting[unit]
        while self._free:
            ready = [unit for unit, queue in self._waiting.items() if queue and unit not in self._busy]
            if not ready:
                return
            unit = min(ready, key=self._cost)
            first = self._waiting[unit].popleft()
            if not first.done():  # else it went away a moment ago
                self._start(unit)
                first.set_result(None)

    def _cost(self, unit: str) -> float:
        seconds, at = self._spent.get(unit, (0.0, 0.0))
        return float(seconds * 0.5 ** ((time.monotonic() - at) / _HALF_LIFE_S))

    def _spend(self, unit: str, seconds: float) -> None:
        self._spent[unit] = (self._cost(unit) + seconds, time.monotonic())
        if len(self._spent) >= _KEPT:
            self._spent = {unit: spent for unit, spent in self._spent.items() if self._cost(unit) > 0.001}
