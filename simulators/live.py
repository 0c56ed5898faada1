"""Live sampling of one client's machines and its journaling: common to MQTT, HTTP push and HTTP pull."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import msgspec

from simulators.context import RunContext
from simulators.outbox import NewMessage
from simulators.province import Source
from simulators.signals import Machine

SHANGHAI: Final = timezone(timedelta(hours=8))

MAX_WINDOW_MS: Final = 60_000
"""Longest stretch of simulated time sampled at once, so that catching up never holds everything up."""

BACKFILL_AFTER_MS: Final = 120_000
"""Messages whose samples are older than this say ``backfill``."""

SKEW_MS: Final = 600_000 + 137


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading: ``ts`` in ms since the Unix epoch, source time."""

    code: str
    signal: str
    ts: int
    value: Any


@dataclass(frozen=True, slots=True)
class Encoded:
    """A message body ready for delivery, and how many readings it holds."""

    topic: str
    body: bytes
    rows: int


Encode = Callable[[list[Reading], bool], Iterable[Encoded]]
"""Readings in time order, and whether they are backfill -> message bodies."""


def rfc3339(ts: int) -> str:
    """ms since the Unix epoch as local time with zone, to the millisecond."""
    return datetime.fromtimestamp(ts / 1000, SHANGHAI).isoformat(timespec="milliseconds")


def record(reading: Reading) -> dict[str, Any]:
    """A reading as a row of the open interface."""
    return {"tag": f"{reading.code}.{reading.signal}", "ts": rfc3339(reading.ts), "value": reading.value}


def encode_rows(readings: list[Reading], backfill: bool) -> bytes:
    """The body of rows of the open interface."""
    return msgspec.json.encode(
        {"mode": "backfill" if backfill else "live", "records": [record(reading) for reading in readings]}
    )


def encode_columns(readings: list[Reading], backfill: bool) -> bytes:
    """The body of columns of the open interface."""
    names: dict[str, int] = {}
    tag = [names.setdefault(f"{reading.code}.{reading.signal}", len(names)) for reading in readings]
    return msgspec.json.encode(
        {
            "mode": "backfill" if backfill else "live",
            "tags": list(names),
            "columns": {
                "tag": tag,
                "ts": [reading.ts * 1000 for reading in readings],
                "value": [reading.value for reading in readings],
            },
        }
    )


def sample(machines: list[Machine], start: int, end: int) -> list[Reading]:
    """All readings of the live grids and changes with start <= ts < end, in time order."""
    readings = []
    for machine in machines:
        fastest = min(machine.live_ms.values())
        next_due = -(-start // fastest) * fastest
        # a change exactly at ``start`` counts, hence the millisecond before it
        if next_due >= end and machine.next_change(start - 1) >= end:
            continue
        for signal, times, values in machine.window(start, end, machine.live_ms):
            readings += [
                Reading(machine.code, signal, ts, value)
                for ts, value in zip(times.tolist(), values, strict=True)
            ]
    readings.sort(key=lambda reading: reading.ts)
    return readings


class Lane:
    """One client's way to the platform: samples its machines and journals the messages."""

    def __init__(
        self, context: RunContext, name: str, source: Source, machines: list[Machine], encode: Encode
    ) -> None:
        self.name = name
        self.source = source
        self._machines = machines
        self._outbox = context.outbox
        self._faults = context.faults
        self._encode = encode
        self._codes = [machine.code for machine in machines]
        self._extra = 0

    def flush(self, now: int) -> bool:
        """Journal what is due up to ``now`` (ms); True if there is more to catch up with."""
        cursor = self._outbox.cursor(self.name)
        if cursor is None:
            raise RuntimeError(f"lane {self.name} was never started")
        end = min(now + 1, cursor + MAX_WINDOW_MS)
        if end <= cursor:
            return False
        readings = sample(self._machines, cursor, end)
        backfill = time.time() * 1000 - end > BACKFILL_AFTER_MS
        with self._outbox.transaction():
            self._outbox.set_cursor(self.name, end)
            self._outbox.journal(
                message
                for encoded in self._encode(readings, backfill)
                if readings
                for message in self._deliver(encoded)
            )
            self._strike(readings, end)
        return end <= now

    def _deliver(self, encoded: Encoded) -> list[NewMessage]:
        delay = self._faults.delay()
        not_before = time.time() + delay.after_s if delay.fault else 0.0
        message = NewMessage(
            self.source.key, self.name, encoded.topic, encoded.body, encoded.rows, not_before
        )
        if delay.fault:
            self._outbox.count_fault(self.source.key, delay.fault, encoded.rows)
        if self._faults.duplicates():
            self._outbox.count_fault(self.source.key, "duplicate", encoded.rows)
            return [message, message]
        return [message]

    def _strike(self, readings: list[Reading], end: int) -> None:
        """Journal the extra rows of the faults that strike now. None of them has a time of a true sample."""
        for kind in ("wrong_type", "unknown_tag"):
            if self._faults.strikes(kind, self.source):
                code = self._faults.choice(self._codes)
                self._extra = (self._extra + 1) % 900
                ts = end // 1000 * 1000 - 900 + self._extra % 800 + 1
                signal, value = ("produced", "ERR-7") if kind == "wrong_type" else ("vibration_rms", 4.25)
                self._journal_extra([Reading(code, signal, ts, value)], kind)
        if self._faults.is_skewed(self.source):
            ahead = [
                Reading(one.code, one.signal, one.ts + SKEW_MS, one.value)
                for one in readings
                if one.signal == "temperature"
            ]
            if ahead:
                self._journal_extra(ahead, "clock_skew")
        if self.source.protocol != "http_pull" and self._faults.strikes("malformed", self.source):
            topic = next(iter(self._encode([Reading(self._codes[0], "produced", end, 0)], False))).topic
            body = b'{"mode": "live", "records": [{"tag": "' + self._codes[0].encode() + b'.produced", "ts": '
            self._outbox.journal([NewMessage(self.source.key, self.name, topic, body, 1)])
            self._outbox.count_fault(self.source.key, "malformed", 1)

    def _journal_extra(self, readings: list[Reading], kind: str) -> None:
        messages = [
            NewMessage(self.source.key, self.name, encoded.topic, encoded.body, encoded.rows)
            for encoded in self._encode(readings, False)
        ]
        self._outbox.journal(messages)
        self._outbox.count_fault(self.source.key, kind, sum(message.rows for message in messages))
