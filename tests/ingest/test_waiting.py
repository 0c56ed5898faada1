"""Waiting for verdicts: one question for all, and nobody waits for a database that is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from ingest.api.problems import Problem
from ingest.api.waiting import Asked, Waiting
from store.identity import Principal
from store.submissions import Submission

WHO = Principal("unit", 1, "U", "lead_unit", 1, "U")


def submission(name: str, accepted: int, unit_id: int = 1) -> Submission:
    return Submission(name, unit_id, "measurements", 2, accepted, 0, 0, 0, [], None, None)


class Store:
    """What a store says: each submission is half stored first, whole from the third question on."""

    def __init__(self) -> None:
        self.questions: list[set[str]] = []
        self.away = False
        self.slow_s = 0.0

    async def read(self, asked: Sequence[Asked]) -> dict[str, Submission]:
        self.questions.append({one.batch for one in asked})
        await asyncio.sleep(self.slow_s)
        if self.away:
            raise Problem("unavailable")
        whole = 2 if len(self.questions) > 2 else 1
        return {one.batch: submission(one.batch, whole) for one in asked if one.batch != "none"}


def test_all_that_wait_are_asked_for_together_until_all_of_it_is_stored() -> None:
    async def test() -> None:
        store = Store()
        waiting = Waiting(store.read)
        found = await asyncio.gather(*(waiting.applied(Asked(WHO, 1, f"b{i}"), 5) for i in range(50)))
        assert all(one is not None and one.is_applied for one in found)
        assert [len(names) for names in store.questions] == [50, 50, 50]
        assert await waiting.find(Asked(WHO, 1, "none")) is None
        assert await waiting.find(Asked(WHO, 2, "b1")) is None  # another unit's
        await waiting.close()

    asyncio.run(test())


def test_who_looks_something_up_does_not_wait_for_those_who_wait() -> None:
    async def test() -> None:
        store = Store()
        waiting = Waiting(store.read)
        others = asyncio.create_task(waiting.applied(Asked(WHO, 1, "none"), 1))
        await asyncio.sleep(0.01)
        begun = time.monotonic()
        assert await waiting.find(Asked(WHO, 1, "b")) is not None
        assert time.monotonic() - begun < 0.04
        assert await others is None
        await waiting.close()

    asyncio.run(test())


def test_nobody_waits_while_the_database_is_away_and_less_where_the_writer_is_behind() -> None:
    async def test() -> None:
        store = Store()
        waiting = Waiting(store.read)
        assert await waiting.applied(Asked(WHO, 1, "none"), 0.2) is None
        begun = time.monotonic()
        store.away = True
        assert await waiting.applied(Asked(WHO, 1, "b"), 5) is None
        assert await waiting.find(Asked(WHO, 1, "b")) is None
        assert time.monotonic() - begun < 0.2
        waiting = Waiting(store.read)
        store.slow_s = 3
        patient = asyncio.create_task(waiting.applied(Asked(WHO, 1, "b"), 1.0))
        await asyncio.sleep(0.6)
        begun = time.monotonic()
        assert await waiting.find(Asked(WHO, 1, "b")) is None  # the question before is not answered yet
        assert time.monotonic() - begun < 0.1
        assert await patient is None
        await waiting.close()

    asyncio.run(test())
