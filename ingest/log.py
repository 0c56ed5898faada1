"""The ingest log: NATS JetStream, durable before it is acknowledged, bounded, replayable.

Messages are partitioned by unit, so that everything of one unit keeps its order and several
writers can share the work, and go in two lanes, so that a back-fill never holds up live data:
subject `qunce-ingest.<lane>.<partition>.<unit>.<kind>`. The writer keeps its own position in the
database; the log forgets what the writer has stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast
from urllib.parse import quote, unquote

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import APIError, NotFoundError

STREAM = "QUNCE_INGEST"
PARTITIONS = 8
DUPLICATE_WINDOW_S = 2 * 3600.0
MAX_MESSAGE_BYTES = 2 * 2**20
DEFAULT_MAX_BYTES = 8 * 2**30

Kind = Literal["batch", "records", "canary"]
Lane = Literal["live", "backfill"]
LANES: tuple[Lane, ...] = ("live", "backfill")

_CONNECT_WITHIN_S = 5.0
_TIMEOUT_S = 10.0
_PREFIX = "qunce-ingest"
_ROWS = "Qunce-Rows"
_SOURCE = "Qunce-Source"
_STREAM_FULL = frozenset(
    {10023, 10047, 10077}
)  # insufficient resources; store failed; maximum bytes exceeded


class LogUnavailable(Exception):
    """The log did not take the message: it cannot be reached or did not answer. Try the same again."""


class LogFull(LogUnavailable):
    """The log has reached its byte limit: slow down, try the same again later."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of the log. `sequence` grows along the whole log; `rows` counts refused rows too."""

    kind: Kind
    unit: str
    source: str
    partition: int
    sequence: int
    msg_id: str
    rows: int
    data: bytes


class Waiting(NamedTuple):
    """One message of the log without its content: what it takes to account for it."""

    lane: Lane
    unit: str
    source: str
    kind: Kind
    sequence: int
    rows: int
    n_bytes: int


def partition_of(unit: str) -> int:
    """The partition a unit's messages go to: stable for ever, it is part of the stored position."""
    return zlib.crc32(unit.encode()) % PARTITIONS


class Log:
    """A connection to the log. Reconnects by itself for ever; safe for concurrent use in one loop."""

    def __init__(self, client: Client, stream: JetStreamContext, identity: str) -> None:
        self._client = client
        self._stream = stream
        self.identity = identity
        """Name and creation time of the stream: positions in another stream mean nothing here."""

    @classmethod
    async def connect(cls, url: str, *, name: str, max_bytes: int = DEFAULT_MAX_BYTES) -> Log:
        """Connect and make sure the stream exists. Raises LogUnavailable when the server is not there."""
        client = Client()
        try:
            # The client tries for ever, at first too; at first, the caller wants to know.
            connected = client.connect(
                url,
                name=f"qunce-{name}",
                max_reconnect_attempts=-1,
                reconnect_time_wait=1,
                connect_timeout=5,
                error_cb=_quiet,
                pending_size=64 * 2**20,
            )
            await asyncio.wait_for(connected, _CONNECT_WITHIN_S)
            stream = client.jetstream(timeout=_TIMEOUT_S)
            identity = await _ensure_stream(stream, max_bytes)
        except (nats.errors.Error, OSError) as error:
            await client.close()
            raise LogUnavailable(str(error) or f"no answer from the log: {type(error).__name__}") from error
        return cls(client, stream, identity)

    async def append(
        self, data: bytes, *, kind: Kind, lane: Lane, unit: str, source: str, msg_id: str, rows: int
    ) -> int:
        """Append one message; returns its sequence once it is durable on the log's disk.

        `source` and `rows` travel outside of the data, so that what waits can be counted unread. The same `msg_id` again within two hours is not appended twice (the first sequence is
        returned). Raises LogFull or LogUnavailable; then nothing may be acknowledged.
        """
        subject = f"{_PREFIX}.{lane}.{partition_of(unit)}.{unit}.{kind}"
        headers = {"Nats-Msg-Id": f"{unit}/{msg_id}", _ROWS: str(rows), _SOURCE: quote(source)}
        if not self._client.is_connected:
            # The client would buffer in memory, and a full buffer is not a durable log.
            raise LogUnavailable("no connection to the log")
        try:
            ack = await self._stream.publish(subject, data, timeout=_TIMEOUT_S, headers=headers)
        except APIError as error:
            if error.err_code in _STREAM_FULL:
                raise LogFull("the ingest log is full") from error
            raise LogUnavailable(str(error)) from error
        except (nats.errors.Error, OSError) as error:
            raise LogUnavailable(str(error) or type(error).__name__) from error
        return int(ack.seq)

    def read(self, lane: Lane, positions: dict[int, int]) -> Reader:
        """Read a lane's partitions in order, each after its position (partition → last sequence stored)."""
        return Reader(self._stream, lane, positions)

    async def waiting(self) -> list[Waiting]:
        """Everything the log holds now, in its order, without the content. Raises LogUnavailable.

        What is stored already may still be among it: compare with the writer's positions.
        """
        try:
            last = (await self._stream.stream_info(STREAM)).state.last_seq
            subscription = await self._stream.pull_subscribe(
                "",
                stream=STREAM,
                config=ConsumerConfig(
                    ack_policy=AckPolicy.NONE,
                    deliver_policy=DeliverPolicy.ALL,
                    headers_only=True,
                    mem_storage=True,
                    inactive_threshold=30.0,
                ),
            )
            found: list[Waiting] = []
            silent = 0
            # What is deleted meanwhile will not come: only the server knows how much is left.
            while silent < _TIMEOUT_S and (await subscription.consumer_info()).num_pending:
                try:
                    messages = await subscription.fetch(1000, timeout=1)
                except TimeoutError:
                    silent += 1
                    continue
                silent = 0
                found += [_waiting(message, message.metadata.sequence.stream) for message in messages]
                if found[-1].sequence >= last:
                    break
            await subscription.unsubscribe()
            if silent >= _TIMEOUT_S:
                raise LogUnavailable("the log does not say what it holds")
            found = [message for message in found if message.sequence <= last]
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise LogUnavailable(str(error) or type(error).__name__) from error
        return found

    async def forget(self, lane: Lane, positions: dict[int, int]) -> None:
        """Delete what is stored: everything up to and including each partition's position.

        Raises LogUnavailable when the stream is not the one it was: positions in another mean nothing.
        """
        await self.confirm()
        for partition, sequence in positions.items():
            with contextlib.suppress(nats.errors.Error):  # the next round deletes it
                await self._stream.purge_stream(
                    STREAM, seq=sequence + 1, subject=f"{_PREFIX}.{lane}.{partition}.>"
                )

    async def confirm(self) -> None:
        """Make sure that the stream still is the one of `identity`. Raises LogUnavailable."""
        try:
            created = (await self._stream.stream_info(STREAM)).created
        except (nats.errors.Error, OSError) as error:
            raise LogUnavailable(str(error) or type(error).__name__) from error
        if _identity(created) != self.identity:
            raise LogUnavailable("the log was made anew")

    async def fill(self) -> tuple[int, int]:
        """(bytes the log holds now, bytes it may hold). Raises LogUnavailable."""
        try:
            info = await self._stream.stream_info(STREAM)
            return int(info.state.bytes), int(info.config.max_bytes or 0)
        except (nats.errors.Error, OSError) as error:
            raise LogUnavailable(str(error) or type(error).__name__) from error

    async def flush(self) -> None:
        """One round trip to the server. Raises LogUnavailable."""
        try:
            await self._client.flush(timeout=5)
        except (nats.errors.Error, OSError) as error:
            raise LogUnavailable(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Close the connection; what was appended is already durable."""
        await self._client.close()


class Reader:
    """Reads one lane in log order, without gaps.

    The server keeps no acknowledgements: the position lies with the reader. A hole in the
    delivery sequence (a lost connection) makes the reader start again after its position.
    """

    def __init__(self, stream: JetStreamContext, lane: Lane, positions: dict[int, int]) -> None:
        self._stream = stream
        self._lane = lane
        self._positions = dict(positions)
        self._subscription: JetStreamContext.PullSubscription | None = None
        self._delivered = 0
        self._reached = min(positions.values(), default=0)

    async def next(self, messages: int, timeout_s: float) -> list[Entry]:
        """Up to `messages` entries, in order; an empty list when none came within `timeout_s`.

        Raises LogUnavailable when the log cannot be reached. Never called twice at once.
        """
        try:
            subscription = await self._subscribed()
        except (nats.errors.Error, OSError) as error:
            raise LogUnavailable(str(error) or type(error).__name__) from error
        try:
            received = await subscription.fetch(messages, timeout=timeout_s)
        except TimeoutError:  # the client's own, or asyncio's, which for short waits comes through
            return []
        except (nats.errors.Error, OSError) as error:
            self._subscription = None
            raise LogUnavailable(str(error) or type(error).__name__) from error
        entries = []
        for message in received:
            sequence = message.metadata.sequence
            if sequence.consumer != self._delivered + 1:
                await self._restart()
                break
            self._delivered = sequence.consumer
            self._reached = sequence.stream
            entry = _entry(message, sequence.stream)
            if entry.sequence > self._positions.get(entry.partition, 0):
                entries.append(entry)
        return entries

    async def _subscribed(self) -> JetStreamContext.PullSubscription:
        if self._subscription is None:
            self._delivered = 0
            self._subscription = await self._stream.pull_subscribe(
                "",
                stream=STREAM,
                config=ConsumerConfig(
                    filter_subjects=[f"{_PREFIX}.{self._lane}.{p}.>" for p in self._positions],
                    ack_policy=AckPolicy.NONE,
                    deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                    opt_start_seq=self._reached + 1,
                    mem_storage=True,
                    inactive_threshold=60.0,
                ),
            )
        return self._subscription

    async def _restart(self) -> None:
        if self._subscription is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._subscription.unsubscribe()
        self._subscription = None


def all_partitions() -> Iterable[int]:
    """Every partition of the log."""
    return range(PARTITIONS)


def _entry(message: Msg, sequence: int) -> Entry:
    _, _, partition, unit, kind = message.subject.split(".")
    headers = message.headers or {}
    return Entry(
        kind=cast(Kind, kind),
        unit=unit,
        source=unquote(headers.get(_SOURCE, "")),
        partition=int(partition),
        sequence=sequence,
        msg_id=headers.get("Nats-Msg-Id", f"{unit}/{sequence}").partition("/")[2],
        rows=int(headers.get(_ROWS, "0")),
        data=message.data,
    )


def _waiting(message: Msg, sequence: int) -> Waiting:
    _, lane, _, unit, kind = message.subject.split(".")
    headers = message.headers or {}
    return Waiting(
        lane=cast(Lane, lane),
        unit=unit,
        source=unquote(headers.get(_SOURCE, "")),
        kind=cast(Kind, kind),
        sequence=sequence,
        rows=int(headers.get(_ROWS, "0")),
        n_bytes=int(headers.get("Nats-Msg-Size", "0")),
    )


async def _ensure_stream(stream: JetStreamContext, max_bytes: int) -> str:
    try:
        info = await stream.stream_info(STREAM)
    except NotFoundError:
        info = await stream.add_stream(
            StreamConfig(
                name=STREAM,
                subjects=[f"{_PREFIX}.>"],
                retention=RetentionPolicy.LIMITS,
                discard=DiscardPolicy.NEW,
                storage=StorageType.FILE,
                max_bytes=max_bytes,
                max_msg_size=MAX_MESSAGE_BYTES + 64 * 2**10,
                duplicate_window=DUPLICATE_WINDOW_S,
                allow_direct=True,
            )
        )
    return _identity(info.created)


def _identity(created: object) -> str:
    return f"{STREAM}@{created}"


async def _quiet(_: Exception) -> None:
    """Connection errors are reported by whoever uses the log, with what they cost."""
