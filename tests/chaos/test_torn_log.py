"""What is left of the log when the power fails while it is written."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.log import Log
from qunce.embedded.nats import Nats
from qunce.process import free_port, stop
from tests.chaos.faults import torn_bytes

MESSAGES = 20


async def append(log: Log, names: list[str]) -> list[int]:
    return [
        await log.append(
            b"x" * 500, kind="batch", lane="live", unit="U", source="s", msg_id=name, rows=1
        )
        for name in names
    ]  # fmt: skip


async def read(log: Log) -> list[tuple[int, str]]:
    return [(entry.sequence, entry.msg_id) for entry in await log.fetch("live", "U", 1, 256, 2**20)]


def torn(tmp_path: Path, tear: Callable[[Path], None]) -> tuple[list[tuple[int, str]], list[int]]:
    """A log of 20 messages, killed and torn: (what it holds afterwards, sequences of 2 known and 1 new message)."""
    port = free_port()
    nats = Nats(tmp_path / "nats", port, free_port(port + 1), max_file_store=2**30)
    server = nats.start(tmp_path / "log")

    async def fill() -> None:
        log = await Log.connect(nats.url, name="test", max_bytes=2**28)
        await append(log, [f"m{n}" for n in range(1, MESSAGES + 1)])
        await log.close()

    async def look() -> tuple[list[tuple[int, str]], list[int]]:
        log = await Log.connect(nats.url, name="test", max_bytes=2**28)
        try:
            return await read(log), await append(log, ["m19", "m20", "new"])
        finally:
            await log.close()

    try:
        asyncio.run(fill())
        server.send_signal(signal.SIGKILL)
        server.wait()
        tear(next((nats.root / "jetstream").rglob("streams/QUNCE_INGEST/msgs/*.blk")))
        server = nats.start(tmp_path / "log")
        return asyncio.run(look())
    finally:
        stop(server)


def all_of_them(n: int) -> list[tuple[int, str]]:
    return [(i, f"m{i}") for i in range(1, n + 1)]


def test_a_record_half_written_takes_nothing_with_it(tmp_path: Path):
    def tear(block: Path) -> None:
        with block.open("ab") as file:
            file.write(torn_bytes(random.Random(1)))

    held, sequences = torn(tmp_path, tear)
    assert held == all_of_them(MESSAGES)
    assert sequences == [19, 20, 21]  # what was acknowledged is known; what comes goes on behind it


@pytest.mark.parametrize("cut", [1, 10, 400])
def test_a_record_cut_short_takes_only_itself(tmp_path: Path, cut: int):
    """Only a disk that lies about what it has written can do this to an acknowledged record."""
    held, sequences = torn(tmp_path, lambda block: os.truncate(block, block.stat().st_size - cut))
    assert held == all_of_them(MESSAGES - 1)
    assert sequences == [19, 20, 21]
