"""The log on a real NATS server: durable appends, one effect per identity, order, refusal when full."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ingest.log import (
    STREAM,
    Index,
    Log,
    LogFull,
    LogUnavailable,
    UnitShareSpent,
    Waiting,
    all_partitions,
    partition_of,
)

pytestmark = pytest.mark.concurrent


def with_log(url: str, test: Callable[[Log], Awaitable[None]]) -> None:
    async def run() -> None:
        log = await Log.connect(url, name="test")
        try:
            await test(log)
        finally:
            await log.close()

    asyncio.run(run())


async def told(index: Index) -> list[Waiting]:
    """All that an index tells: what has arrived is given out at once, so it is asked until nothing more comes."""
    found: list[Waiting] = []
    while some := await index.next(1000, 0.5):
        found += some
    return found


async def held(log: Log) -> list[int]:
    """Sequences that the log holds."""
    return [entry.sequence for entry in await told(log.index(all_partitions()))]


async def append(log: Log, unit: str, i: int, size: int = 10) -> int:
    return await log.append(
        b"x" * size, kind="batch", lane="live", unit=unit, source="mqtt:x", msg_id=str(i), rows=3
    )


def test_the_index_tells_all_in_order_and_a_unit_is_fetched_from_any_place(nats_fresh: str) -> None:
    async def test(log: Log) -> None:
        sequences = [await append(log, f"U{i % 5}", i) for i in range(40)]
        index = log.index(all_partitions())
        found = await told(index)
        assert [e.sequence for e in found] == sequences
        assert index.reached == sequences[-1]
        assert (found[0].unit, found[0].rows, found[0].kind, found[0].source) == ("U0", 3, "batch", "mqtt:x")
        assert found[0].n_bytes >= 10
        mine = sequences[3::5]
        entries = await log.fetch("live", "U3", mine[2], 100, 2**20)
        assert [e.sequence for e in entries] == mine[2:]
        assert (entries[0].unit, entries[0].rows, entries[0].data) == ("U3", 3, b"x" * 10)
        assert [e.sequence for e in await log.fetch("live", "U3", mine[0], 2, 2**20)] == mine[:2]
        assert [e.sequence for e in await log.fetch("live", "U3", mine[0], 9, 1)] == mine[:1]
        assert await log.fetch("backfill", "U3", 1, 10, 2**20) == []

    with_log(nats_fresh, test)


def test_the_index_of_some_partitions_tells_only_theirs(nats_fresh: str) -> None:
    async def test(log: Log) -> None:
        for i in range(20):
            await append(log, f"U{i}", i)
        mine = partition_of("U3")
        found = await told(log.index([mine]))
        assert found
        assert {partition_of(e.unit) for e in found} == {mine}

    with_log(nats_fresh, test)


def test_what_waits_is_listed_without_its_content(nats_fresh: str) -> None:
    async def test(log: Log) -> None:
        assert await log.waiting() == []
        assert await log._stream.consumers_info(STREAM) == []  # it leaves nothing behind
        sequences = [await append(log, "U1", i) for i in range(5)]
        assert [(w.sequence, w.rows, w.lane) for w in await log.waiting()] == [
            (s, 3, "live") for s in sequences
        ]

    with_log(nats_fresh, test)


def test_a_unit_has_its_share_and_the_others_have_theirs(nats_fresh: str) -> None:
    async def test(log: Log) -> None:
        async def flood() -> None:
            for i in range(400):
                await append(log, "U1", i, 2**20)

        with pytest.raises(UnitShareSpent):
            await flood()
        assert await append(log, "U2", 1000, 2**20) > 0
        await log.tell_waiting(all_partitions(), {"U2": 2**21})
        await asyncio.sleep(0.2)
        assert await append(log, "U1", 1001, 2**20) > 0

    with_log(nats_fresh, test)


def test_the_same_identity_is_appended_once(nats_fresh: str) -> None:
    async def test(log: Log) -> None:
        assert await append(log, "U1", 1) == await append(log, "U1", 1)
        assert await append(log, "U2", 1) != await append(log, "U1", 1)
        assert len(await held(log)) == 2

    with_log(nats_fresh, test)


def test_what_is_stored_is_forgotten_and_the_rest_is_kept(nats_fresh: str) -> None:
    async def test(log: Log) -> None:
        sequences = [await append(log, f"U{i}", i) for i in range(10)]
        await log.forget("live", dict.fromkeys(all_partitions(), sequences[5]))
        assert await held(log) == sequences[6:]

    with_log(nats_fresh, test)


def test_a_full_log_refuses_and_says_so(nats_fresh: str) -> None:
    async def test(log: Log) -> None:
        async def flood() -> None:
            for i in range(400):
                await append(log, f"U{i % 16}", i, 2**20)

        with pytest.raises(LogFull, match="log is full"):
            await flood()
        await log.forget("live", dict.fromkeys(all_partitions(), 2**40))
        assert await append(log, "U1", 1000) > 0

    with_log(nats_fresh, test)


def test_an_absent_server_is_an_error_not_a_wait() -> None:
    with pytest.raises(LogUnavailable):
        asyncio.run(Log.connect("nats://127.0.0.1:1", name="test"))
