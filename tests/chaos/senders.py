"""Senders by HTTP and MQTT: they keep to the public interface, retry as it says, and record everything."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections import deque
from typing import Any

import httpx
import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.chaos.readings import TAGS, TEXT, Ints, Record, first_tag, name_of, text_of, values_of

_TICK_US = 1000


class Clock:
    """Times no reading of the unit has had yet: live ones near now, back-filled ones from a given start."""

    def __init__(self, live_from: int, backfill_from: int) -> None:
        self._live = live_from
        self._backfill = backfill_from
        self._lock = threading.Lock()

    def take(self, ticks: int, *, live: bool) -> Ints:
        """The next `ticks` times, µs."""
        with self._lock:
            if live:
                # The newest of them is about now.
                begin = max(self._live, time.time_ns() // 1000 - ticks * _TICK_US)
                self._live = begin + ticks * _TICK_US
            else:
                begin = self._backfill
                self._backfill += ticks * _TICK_US
        return begin + np.arange(ticks, dtype=np.int64) * _TICK_US


class Sender:
    """One sender in its own thread, from `start` until `finish` has been waited for."""

    def __init__(self, unit: str, record: Record, clock: Clock, seed: str, per_second: float) -> None:
        self.unit = unit
        self.record = record
        self.rng = random.Random(seed)
        self.clock = clock
        self._per_second = per_second
        self._no_more = threading.Event()
        self.gave_up = threading.Event()
        """Set when time is up: what is not acknowledged now stays unknown."""
        self._thread = threading.Thread(target=self._run, name=f"sender-{unit}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def no_more(self) -> None:
        """Send nothing new."""
        self._no_more.set()

    @property
    def alive(self) -> bool:
        """Whether it still sends, or waits for acknowledgements."""
        return self._thread.is_alive()

    def finish(self) -> None:
        """Time is up: give up what is not acknowledged."""
        self.gave_up.set()
        self._thread.join(30)

    def _run(self) -> None:
        try:
            self.open()
            while not self._no_more.is_set():
                begun = time.monotonic()
                tags, ts, live = self.rows()
                self.send(tags, ts, live)
                pause = 1 / self._per_second - (time.monotonic() - begun)
                self._no_more.wait(max(0.0, pause) * self.rng.uniform(0.5, 1.5))
            self.drain()
        except Exception as error:  # a broken sender proves nothing: the round must not pass
            self.record.surprised(f"sender {self.unit}: {type(error).__name__}: {error}")
        finally:
            self.close()

    def rows(self) -> tuple[Ints, Ints, bool]:
        """The next readings: every tag of the unit at some times, now and then in disorder or from the past."""
        live = self.rng.random() < 0.85
        ticks = self.rng.randint(1, 12)
        ts = np.repeat(self.clock.take(ticks, live=live), TAGS)
        tags = np.tile(first_tag(self.unit) + np.arange(TAGS, dtype=np.int64), ticks)
        if self.rng.random() < 0.3:
            order = np.random.default_rng(self.rng.getrandbits(32)).permutation(len(ts))
            ts, tags = ts[order], tags[order]
        return tags, ts, live

    def open(self) -> None:
        """Before the first message."""

    def send(self, tags: Ints, ts: Ints, live: bool) -> None:
        """Hand one message over."""
        raise NotImplementedError

    def drain(self) -> None:
        """Return when everything is acknowledged, or `gave_up`."""

    def close(self) -> None:
        """After the last."""


def body_of(tags: Ints, ts: Ints, live: bool, *, columns: bool) -> bytes:
    """A body as docs/interface.md has it: rows or columns."""
    values: list[Any] = values_of(tags, ts).tolist()
    for i in np.flatnonzero(tags % TAGS == TEXT).tolist():
        values[i] = text_of(int(tags[i]), int(ts[i]))
    mode = "live" if live else "backfill"
    content: dict[str, Any]
    if columns:
        known, index = np.unique(tags, return_inverse=True)
        content = {
            "mode": mode,
            "tags": [name_of(tag) for tag in known.tolist()],
            "columns": {"tag": index.tolist(), "ts": ts.tolist(), "value": values},
        }
    else:
        times = np.datetime_as_string(ts.astype("datetime64[us]"), unit="us").tolist()
        records = [
            {"tag": name_of(tag), "ts": f"{at}Z", "value": value}
            for tag, at, value in zip(tags.tolist(), times, values, strict=True)
        ]
        content = {"mode": mode, "records": records}
    return json.dumps(content).encode()


class HttpSender(Sender):
    """Pushes; the same body with the same key again until it is taken, now and then not at all."""

    def __init__(
        self, unit: str, record: Record, clock: Clock, seed: str, per_second: float, url: str, key: str
    ) -> None:
        super().__init__(unit, record, clock, seed, per_second)
        self._url = f"{url}/api/v1/measurements"
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._client: httpx.Client | None = None
        self._patient = self.rng.random() < 0.5
        self._before: tuple[Ints, Ints, bool] | None = None

    def open(self) -> None:
        self._client = httpx.Client(timeout=httpx.Timeout(12, connect=2), trust_env=False)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def send(self, tags: Ints, ts: Ints, live: bool) -> None:
        if self._before is not None and self.rng.random() < 0.05:
            self._push(*self._before)  # a sender that forgot: the same rows as another submission
        self._push(tags, ts, live)
        self._before = (tags, ts, live)

    def _push(self, tags: Ints, ts: Ints, live: bool) -> None:
        number = self.record.sent(tags, ts)
        body = body_of(tags, ts, live, columns=self.rng.random() < 0.5)
        headers = {**self._headers, "Idempotency-Key": uuid.UUID(int=self.rng.getrandbits(128)).hex}
        abandon = self.rng.random() < 0.1
        while not self.gave_up.is_set():
            self.record.attempted(number)
            wait = self._attempt(number, body, headers, len(tags))
            if wait is None or abandon:
                return
            self.gave_up.wait(wait)

    def _attempt(self, number: int, body: bytes, headers: dict[str, str], rows: int) -> float | None:
        """One attempt; None when acknowledged, else the seconds to wait before the next."""
        assert self._client is not None
        try:
            answer = self._client.post(self._url, content=body, headers=headers)
        except httpx.HTTPError:
            return self.rng.uniform(0.1, 0.5)
        if answer.status_code in (200, 202):  # judged, or durable
            if answer.json()["accepted"] != rows:
                self.record.surprised(f"{self.unit}: {answer.text[:300]}")
            self.record.acknowledged(number, "http")
            return None
        if answer.status_code in (429, 503):
            asked = float(answer.headers.get("Retry-After", "1"))
            return asked if self._patient else min(asked, self.rng.uniform(0.2, 1.0))
        self.record.surprised(f"{self.unit}: HTTP {answer.status_code} {answer.text[:300]}")
        return 1.0


class MqttSender(Sender):
    """Publishes with QoS 1 in a persistent session; what is not acknowledged is sent again by the client."""

    OUTSTANDING = 60

    def __init__(
        self, unit: str, record: Record, clock: Clock, seed: str, per_second: float, port: int, key: str
    ) -> None:
        super().__init__(unit, record, clock, seed, per_second)
        self._port = port
        self._key = key
        self._acks: deque[int] = deque()
        self._waiting: dict[int, int] = {}
        self._client: paho.Client | None = None

    def open(self) -> None:
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=f"gateway-{self.unit}", clean_session=False
        )
        client.username_pw_set(self.unit, self._key)
        client.on_publish = self._on_publish
        client.reconnect_delay_set(1, 2)
        client.connect_timeout = 3.0
        client.connect_async("127.0.0.1", self._port, keepalive=5)
        client.loop_start()
        self._client = client

    def close(self) -> None:
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()

    def _on_publish(self, _client: paho.Client, _user: Any, mid: int, *_: Any) -> None:
        self._acks.append(mid)

    def send(self, tags: Ints, ts: Ints, live: bool) -> None:
        assert self._client is not None
        while len(self._waiting) >= self.OUTSTANDING and not self._no_more.is_set():
            self._settle()
            time.sleep(0.02)
        if self.rng.random() < 0.5:
            topic = f"qunce/v1/{self.unit}/measurements"
            body = body_of(tags, ts, live, columns=self.rng.random() < 0.5)
        else:  # one time, several signals
            one = ts == ts[0]
            tags, ts = tags[one & (tags % TAGS != TEXT)], ts[one & (tags % TAGS != TEXT)]
            topic = f"qunce/v1/{self.unit}/measurements/M1"
            at = np.datetime_as_string(ts[:1].astype("datetime64[us]"), unit="us")[0]
            signals = [f"p{tag % TAGS}" for tag in tags.tolist()]
            values = dict(zip(signals, values_of(tags, ts).tolist(), strict=True))
            body = json.dumps({"ts": f"{at}Z", "values": values}).encode()
        number = self.record.sent(tags, ts)
        info = self._client.publish(topic, body, qos=1)
        # Its acknowledgement may already lie in the queue; it is looked for only from here on.
        self._waiting[info.mid] = number
        self._settle()

    def _settle(self) -> None:
        for _ in range(len(self._acks)):
            mid = self._acks.popleft()
            if (number := self._waiting.pop(mid, None)) is not None:
                self.record.acknowledged(number, "mqtt")

    def drain(self) -> None:
        while self._waiting and not self.gave_up.is_set():
            self._settle()
            time.sleep(0.02)
