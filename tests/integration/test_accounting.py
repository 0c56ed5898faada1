"""The account balances at every moment, while messages come, are stored, and are deleted."""

from __future__ import annotations

import asyncio
import random

import pytest

from ingest import accounting
from ingest.log import Log
from store.database import Connection, connect
from store.registry import NewUnit, register_unit, source_id
from tests.browser.seed import uscc

pytestmark = pytest.mark.concurrent
UNITS = ("GD-ACC-01", "GD-ACC-02", "GD-ACC-03")


def store(conn: Connection, log: Log, unit: str, source: int, sequence: int, rows: int) -> None:
    """What a writer does with a message, as far as the account goes."""
    with conn.transaction():
        conn.execute(
            "UPDATE ingest_ledger SET received = received + %s, stored = stored + %s WHERE source_id = %s",
            (rows, rows, source),
        )
        conn.execute(
            "INSERT INTO unit_position VALUES (%s, 'live', %s, %s)"
            " ON CONFLICT (stream, lane, unit) DO UPDATE SET sequence = excluded.sequence",
            (log.identity, unit, sequence),
        )


def test_at_every_moment(nats_fresh: str, dsn: str, conn: Connection) -> None:
    sources = {}
    with conn.transaction():
        for n, unit in enumerate(UNITS):
            unit_id = register_unit(conn, NewUnit(unit, "单位", "Unit", 1, uscc(n + 1)))
            sources[unit] = source_id(conn, unit_id, f"mqtt:{unit}")
    handed: dict[str, int] = dict.fromkeys(UNITS, 0)
    appended: dict[str, int] = dict.fromkeys(UNITS, 0)
    chance = random.Random(5)

    async def go() -> None:
        log = await Log.connect(nats_fresh, name="test")
        queue: asyncio.Queue[tuple[str, int, int]] = asyncio.Queue()
        over = asyncio.Event()

        async def send() -> None:
            for n in range(300):
                unit, rows = chance.choice(UNITS), chance.randrange(1, 9)
                handed[unit] += rows
                sequence = await log.append(
                    b"x",
                    kind="batch",
                    lane="live",
                    unit=unit,
                    source=f"mqtt:{unit}",
                    msg_id=str(n),
                    rows=rows,
                )
                appended[unit] += rows
                await queue.put((unit, sequence, rows))
            over.set()

        async def write() -> None:
            with connect(dsn, application="test", autocommit=True) as mine:
                while not (over.is_set() and queue.empty()):
                    if queue.empty():
                        await asyncio.sleep(0.001)
                        continue
                    unit, sequence, rows = queue.get_nowait()
                    await asyncio.to_thread(store, mine, log, unit, sources[unit], sequence, rows)
                    if chance.random() < 0.2:
                        # All before it is stored: the partition may forget it.
                        await log._stream.purge_stream(
                            "QUNCE_INGEST", seq=sequence + 1, subject=f"qunce-ingest.live.*.{unit}.>"
                        )

        work = [asyncio.create_task(send()), asyncio.create_task(write())]
        watcher = await Log.connect(nats_fresh, name="watcher")
        moments = 0
        with connect(dsn, application="test", autocommit=True) as reading:
            while not all(task.done() for task in work):
                least = dict(appended)
                found = {a.unit: a for a in await accounting.take(watcher, reading)}
                for unit, account in found.items():
                    assert account.balanced
                    # All that was durable before is there, and nothing twice.
                    assert least[unit] <= account.received <= handed[unit]
                moments += 1
            await asyncio.gather(*work)
            found = {a.unit: a for a in await accounting.take(watcher, reading)}
        assert moments > 5
        assert {unit: a.received for unit, a in found.items()} == appended
        assert {a.pending for a in found.values()} == {0}
        await log.close()
        await watcher.close()

    asyncio.run(go())
