"""Sinks for tests: they keep what they are given and can be made slow or full."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from ingest.batch import Batch


class Keeping:
    """Takes everything; `open` cleared = nothing becomes durable (back-pressure)."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.open = asyncio.Event()
        self.open.set()
        self.waiting = 0

    async def put(self, batch: Batch) -> None:
        self.waiting += 1
        await self.open.wait()
        self.waiting -= 1
        self.batches.append(batch)

    def readings(self) -> list[tuple[str, int, float | str, int]]:
        rows: list[tuple[str, int, float | str, int]] = []
        for batch in self.batches:
            for i in range(len(batch)):
                text = None if batch.text is None else batch.text[i]
                value = float(batch.value[i]) if text is None else str(text)
                rows.append((batch.tags[batch.tag_index[i]], int(batch.ts[i]), value, int(batch.quality[i])))
        return rows

    async def more_than(self, readings: int, seconds: float = 10.0) -> float:
        """Wait for more than so many readings; returns how long it took."""
        return await until(lambda: len(self.readings()) > readings, seconds)

    def tags(self) -> set[str]:
        return {tag for tag, *_ in self.readings()}

    def refused(self) -> list[tuple[str, str]]:
        return [(entry.place, entry.reason) for batch in self.batches for entry in batch.refused]


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> float:
    """Wait until `condition()`; returns how long it took, fails after `seconds`."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > seconds:
            raise AssertionError("waited in vain")
        await asyncio.sleep(0.02)
    return time.monotonic() - started
