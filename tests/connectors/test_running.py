"""Pauses, supervision and the log's sink, without any network."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any, ClassVar, cast

import numpy as np
import pytest

from connectors import supervise as supervision
from connectors.backoff import Backoff
from connectors.columns import Columns
from connectors.contract import Browse, PermanentError, Reachable, Report, Sink, Stateful, TransientError
from connectors.http_pull.connector import HttpPullConnector
from connectors.journal import Journal
from connectors.mqtt.connector import MqttConnector
from connectors.opcua.connector import OpcUaConnector
from connectors.sink import LogSink
from connectors.supervise import supervise
from ingest.batch import decode
from ingest.log import Log, LogFull, LogUnavailable
from tests.connectors.sinks import Keeping, until


def test_pauses_grow_within_bounds_and_start_again():
    backoff = Backoff()
    pauses = [backoff.next() for _ in range(50)]
    assert all(0.5 <= pause <= 15 for pause in pauses)
    assert min(pauses[10:]) >= 7.5
    assert len(set(pauses[10:])) > 10
    backoff.reset()
    assert backoff.next() == pytest.approx(0.5, abs=0.01)


class Scripted:
    """Fails as told, one entry a run; then works until cancelled."""

    can_acknowledge: ClassVar[bool] = True

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.runs: list[float] = []
        self.listening = False
        self.probes = 0

    async def check(self) -> Report:
        return Report(True, "", "", "", 0)

    async def reachable(self) -> bool:
        self.probes += 1
        return self.listening

    async def run(self, sink: Sink) -> None:
        self.runs.append(time.monotonic())
        if self.failures:
            raise self.failures.pop(0)
        await asyncio.Event().wait()


async def supervised(made: Scripted, runs: int, backoff: Backoff) -> Journal:
    journal = Journal("x", "test")
    states: list[str] = []
    journal._on_change = lambda j: states.append(f"{j.state} {j.reason}".strip())
    task = asyncio.create_task(supervise(made, Keeping(), journal, backoff))
    await until(lambda: len(made.runs) == runs)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    journal.detail = " > ".join(states)
    return journal


def test_failures_are_reported_and_run_again():
    async def go() -> None:
        made = Scripted(
            TransientError("lost", "x"), RuntimeError("defect"), PermanentError("login_refused", "x")
        )
        journal = await supervised(made, 4, Backoff(0.01, 0.02))
        assert journal.detail == "recoverable lost > recoverable defect > permanent login_refused > stopped"
        assert journal.counts["failures"] == 3

    asyncio.run(go())


def test_the_source_may_ask_for_a_longer_pause():
    async def go() -> None:
        made = Scripted(TransientError("asked_to_wait", "x", retry_after_seconds=0.3))
        await supervised(made, 2, Backoff(0.01, 0.02))
        assert made.runs[1] - made.runs[0] >= 0.29

    asyncio.run(go())


def test_the_pause_ends_when_the_port_answers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(supervision, "PROBE_SECONDS", 0.05)

    async def go() -> None:
        made = Scripted(TransientError("unreachable", "x", unreachable=True))
        asyncio.get_running_loop().call_later(0.3, lambda: setattr(made, "listening", True))
        await supervised(made, 2, Backoff(60, 60))
        assert 0.2 < made.runs[1] - made.runs[0] < 2
        assert made.probes >= 3

    asyncio.run(go())


class LogStub:
    """Raises what it is told, then keeps; stands for a log that is full, which a real one only is for a while."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.kept: dict[str, bytes] = {}
        self.asked: list[str] = []

    async def append(self, data: bytes, *, msg_id: str, **_: Any) -> int:
        self.asked.append(msg_id)
        if self.errors:
            raise self.errors.pop(0)
        self.kept[msg_id] = data
        return len(self.kept)


def test_the_sink_waits_and_tries_the_same_again():
    async def go() -> None:
        log = LogStub(LogFull("full"), LogUnavailable("away"))
        journal = Journal("x", "test")
        sink = LogSink(cast(Log, log), journal, asyncio.Semaphore(1))
        columns = Columns()
        columns.add("A.x", 1, 1.0, None, 0)
        await sink.put(columns.batch("U", "s", 1))
        assert len(set(log.asked)) == 1
        assert len(log.asked) == 3
        assert journal.counts == {"batches": 1, "readings": 1, "refused": 0, "log_waits": 2}
        await sink.put(Columns().batch("U", "s", 1))
        assert journal.counts["batches"] == 1

    asyncio.run(go())


def test_the_sink_splits_what_is_too_large():
    async def go() -> None:
        log = LogStub()
        sink = LogSink(cast(Log, log), Journal("x", "test"), asyncio.Semaphore(1))
        columns = Columns()
        for n in range(200_000):
            columns.add(f"A.{n % 50}", n, float(n), None, 0)
        await sink.put(columns.batch("U", "s", 1))
        parts = [decode(data) for data in log.kept.values()]
        assert len(parts) > 1
        assert np.concatenate([part.value for part in parts]).tolist() == list(range(200_000))

    asyncio.run(go())


def test_extra_powers():
    powers = {
        kind: {power.__name__ for power in (Reachable, Stateful, Browse) if issubclass(kind, power)}
        for kind in (OpcUaConnector, MqttConnector, HttpPullConnector)
    }
    assert powers == {
        OpcUaConnector: {"Reachable", "Browse"},
        MqttConnector: {"Reachable"},
        HttpPullConnector: {"Reachable", "Stateful"},
    }
