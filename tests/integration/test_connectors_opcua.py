"""OPC UA against a real server in a process of its own, which is killed, frozen and started again."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import asynccontextmanager

import pytest

from connectors.journal import Journal
from connectors.opcua.config import OpcUaConfig
from connectors.opcua.connector import OpcUaConnector
from connectors.supervise import supervise
from qunce.process import free_port
from tests.connectors.sinks import Keeping, until

ITEMS = [
    {"node": f"nsu=urn:test:line;s={name}", "tag": f"X.{name.lower()}"}
    for name in ("Count", "Steady", "Bad", "Array", "Flag", "Nope")
]


class Factory:
    """The test server; can be killed and started again on its port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", "tests.connectors.opcua_server", str(self.port)], stdout=subprocess.PIPE
        )
        assert self.child.stdout
        assert self.child.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            assert self.child.stdout
            self.child.stdout.close()
            self.child = None


@pytest.fixture
def factory() -> Iterator[Factory]:
    made = Factory()
    yield made
    made.kill()


@pytest.fixture(scope="module")
def line() -> Iterator[Factory]:
    """A server that is left in peace, for all tests that only read."""
    made = Factory()
    made.start()
    yield made
    made.kill()


def connector(factory: Factory, **settings) -> tuple[OpcUaConnector, Journal]:
    journal = Journal("line", "opcua")
    config = OpcUaConfig.model_validate(
        {
            "type": "opcua",
            "name": "line",
            "unit": "GD-UA-01",
            "url": f"opc.tcp://127.0.0.1:{factory.port}",
            "publish_interval_milliseconds": 100,
            "sampling_interval_milliseconds": 50,
            "silence_seconds": 3,
        }
        | settings
    )
    return OpcUaConnector(config, journal), journal


@asynccontextmanager
async def running(made: OpcUaConnector, journal: Journal, sink: Keeping):
    task = asyncio.create_task(supervise(made, sink, journal))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def of(sink: Keeping, tag: str):
    return [row for row in sink.readings() if row[0] == tag]


def test_machines_are_found_and_items_read(line: Factory):
    async def go() -> None:
        made, journal = connector(line, items=ITEMS, signal_names={"drive_temperature": "temperature"})
        assert (await made.check()).ok
        offered = {entry["tag"]: entry["address"] for entry in await made.browse()}
        assert offered["X.count"].endswith("s=Count")
        sink = Keeping()
        async with running(made, journal, sink):
            await until(lambda: len(of(sink, "X.steady")) > 10 and len(of(sink, "X.count")) > 10)
        assert sink.tags() == {
            "M1.state", "M1.mode", "M1.produced", "M1.temperature", "M2.state", "M2.mode",
            "X.count", "X.steady", "X.flag",
        }  # fmt: skip
        assert of(sink, "M1.state")[0][2] == "Executing"
        assert of(sink, "X.flag")[0][2] == 1.0
        counts = [value for _, _, value, _ in of(sink, "X.count")]
        assert counts == list(range(int(counts[0]), int(counts[0]) + len(counts)))
        steady = [ts for _, ts, _, _ in of(sink, "X.steady")]
        assert len(set(steady)) == len(steady)  # equal values, new times: keep-alives arrive
        assert dict(sink.refused()) == {"X.bad": "bad_status_no_value", "X.array": "unsupported_value"}
        assert journal.counts["items_refused"] == 1
        assert {batch.source for batch in sink.batches} == {"opcua:line"}

    asyncio.run(go())


def test_a_full_log_slows_the_server_down_and_loses_nothing(line: Factory):
    async def go() -> None:
        made, journal = connector(line, items=ITEMS[:1], machines="none", queue_size=100)
        sink = Keeping()
        async with running(made, journal, sink):
            await until(lambda: len(of(sink, "X.count")) > 3)
            sink.open.clear()
            await asyncio.sleep(4)  # longer than silence_seconds
            assert sink.waiting == 1
            assert journal.state == "ok"
            sink.open.set()
            before = len(of(sink, "X.count"))
            await until(lambda: len(of(sink, "X.count")) > before + 35)
        counts = [value for _, _, value, _ in of(sink, "X.count")]
        assert counts == list(range(int(counts[0]), int(counts[0]) + len(counts)))
        assert journal.counts["subscriptions"] == 1

    asyncio.run(go())


def test_values_that_waited_too_long_in_the_server_are_counted(line: Factory):
    async def go() -> None:
        made, journal = connector(line, items=ITEMS[:1], machines="none", queue_size=2)
        sink = Keeping()
        async with running(made, journal, sink):
            await until(lambda: len(of(sink, "X.count")) > 3)
            sink.open.clear()
            await asyncio.sleep(2)
            sink.open.set()
            before = len(of(sink, "X.count"))
            await until(lambda: len(of(sink, "X.count")) > before + 5)
        counts = [value for _, _, value, _ in of(sink, "X.count")]
        assert counts != list(range(int(counts[0]), int(counts[0]) + len(counts)))
        assert journal.counts["held_back"] == 1  # asyncua's server itself does not mark an overflow

    asyncio.run(go())


def test_absent_killed_and_started_again(factory: Factory):
    async def go() -> None:
        made, journal = connector(factory)
        report = await made.check()
        assert (report.ok, report.reason) == (False, "unreachable")
        sink = Keeping()
        async with running(made, journal, sink):
            await until(lambda: journal.state == "recoverable")
            for _ in range(2):
                await asyncio.sleep(3)  # long enough for the pauses to have grown
                before = len(sink.readings())
                await asyncio.to_thread(factory.start)
                assert await sink.more_than(before, 15) < 5
                await until(lambda: journal.state == "ok")  # said once the readings are through
                factory.kill()
                await until(lambda: journal.state == "recoverable")

    asyncio.run(go())


def test_a_frozen_server_is_noticed(factory: Factory):
    async def go() -> None:
        factory.start()
        made, journal = connector(factory, request_timeout_seconds=2)
        sink = Keeping()
        async with running(made, journal, sink):
            await until(lambda: journal.state == "ok" and len(sink.readings()) > 0)
            assert factory.child
            factory.child.send_signal(signal.SIGSTOP)
            await until(lambda: journal.state == "recoverable", 15)
            factory.child.send_signal(signal.SIGCONT)
            before = len(sink.readings())
            await until(lambda: journal.state == "ok" and len(sink.readings()) > before, 15)

    asyncio.run(go())


def test_what_is_being_made_durable_is_finished_when_stopped(line: Factory):
    async def go() -> None:
        made, journal = connector(line)
        sink = Keeping()
        task = asyncio.create_task(supervise(made, sink, journal))
        await until(lambda: len(sink.readings()) > 0)
        sink.open.clear()
        await until(lambda: sink.waiting == 1)
        before = len(sink.batches)
        task.cancel()
        await asyncio.sleep(0.3)
        sink.open.set()
        await asyncio.gather(task, return_exceptions=True)
        assert len(sink.batches) == before + 1
        assert journal.state == "stopped"

    asyncio.run(go())


def test_unknown_namespace_is_said(line: Factory):
    async def go() -> None:
        made, journal = connector(line, items=[{"node": "nsu=urn:not:there;s=A", "tag": "X.a"}])
        async with running(made, journal, Keeping()):
            await until(lambda: journal.state == "permanent")
            assert journal.reason == "unknown_namespace"

    asyncio.run(go())
