"""The log on a real NATS server: durable appends, one effect per identity, order, refusal when full."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ingest.log import Log, LogFull, LogUnavailable, all_partitions, partition_of

pytestmark = pytest.mark.concurrent
START = dict.fromkeys(all_partitions(), 0)


def with_log(url: str, test: Callable[[Log], Awaitable[None]]) -> None:
    async def run() -> None:
        log = await Log.connect(url, name="test")
        try:
            await test(log)
        finally:
            await log.close()

    asyncio.run(run())


async def append(log: Log, unit: str, i: int, size: int = 10) -> int:
    return await log.append(
        b"x" * size, kind="batch", lane="live", unit=unit, source="mqtt:x", msg_id=str(i), rows=3
    )


def test_entries_come_back_in_order_after_the_position(nats_fresh: str) -> None:
    async def test(log: Log) -> None:
        sequences = [await append(log, f"U{i % 5}", i) for i in range(40)]
        entries = await log.read("live", START).next(100, 2)
        assert [e.sequence for e in entries] == sequences
        assert (entries[0].unit, entries[0].rows, entries[0].kind) == ("U0", 3, "batch")
        later = await log.read("live", dict.fromkeys(all_partitions(), sequences[29])).next(100, 2)
        assert [e.sequence for e in later] == sequences[30:]
        assert await log.read("backfill", START).next(10, 0.2) == []

    with_log(nats_fresh, test)


def test_a_reader_of_some_partitions_sees_only_theirs(nats_fresh: str) -> None:
    async def test(log: Log) -> None:
        for i in range(20):
            await append(log, f"U{i}", i)
        mine = partition_of("U3")
        entries = await log.read("live", {mine: 0}).next(100, 2)
        assert entries
        assert {e.partition for e in entries} == {mine}

    with_log(nats_fresh, test)


def test_the_same_identity_is_appended_once(nats_fresh: str) -> None:
    async def test(log: Log) -> None:
        assert await append(log, "U1", 1) == await append(log, "U1", 1)
        assert await append(log, "U2", 1) != await append(log, "U1", 1)
        assert len(await log.read("live", START).next(10, 1)) == 2

    with_log(nats_fresh, test)


def test_what_is_stored_is_forgotten_and_the_rest_is_kept(nats_fresh: str) -> None:
    async def test(log: Log) -> None:
        sequences = [await append(log, f"U{i}", i) for i in range(10)]
        await log.forget("live", dict.fromkeys(all_partitions(), sequences[5]))
        entries = await log.read("live", START).next(100, 1)
        assert [e.sequence for e in entries] == sequences[6:]

    with_log(nats_fresh, test)


def test_a_full_log_refuses_and_says_so(nats_fresh: str) -> None:
    async def test(log: Log) -> None:
        async def flood() -> None:
            for i in range(400):
                await append(log, "U1", i, 2**20)

        with pytest.raises(LogFull):
            await flood()
        await log.forget("live", dict.fromkeys(all_partitions(), 2**40))
        assert await append(log, "U1", 1000) > 0

    with_log(nats_fresh, test)


def test_an_absent_server_is_an_error_not_a_wait() -> None:
    with pytest.raises(LogUnavailable):
        asyncio.run(Log.connect("nats://127.0.0.1:1", name="test"))
