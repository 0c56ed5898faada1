"""The ingest log: NATS JetStream, durable before it is acknowledged, bounded, replayable.

Messages are partitioned by unit, so that everything of one unit keeps its order and several
writers can share the work, and go in two lanes, so that a back-fill never holds up live data:
subject `qunce-ingest.<lane>.<partition>.<unit>.<kind>`. The writer keeps its own position in the
database; the log forgets what the writer has stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import zlib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast
from urllib.parse import quote, unquote

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    PubAck,
    RetentionPolicy,
    StorageType,
    StreamConfig,
    StreamInfo,
)
from nats.js.errors import APIError, NotFoundError

from ingest.budget import Budget

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
_APPEND_WITHIN_S = 4.0
"""Less than a process has for its drain: a request that still waits then is told to come again."""
_PREFIX = "qunce-ingest"
_ROWS = "Qunce-Rows"
_SOURCE = "Qunce-Source"
_CONTENT = "Qunce-Content"
_WAITING = "qunce-ingest-waiting"
_BEAT_S = 1.0
_SILENT_S = 4.0
_ARRIVED_MOST = 50_000
_TOLD_FROM_BYTES = 2**20
_UNIT_MESSAGES = 200_000
"""Messages of one unit, lane and kind that the log holds at most: what waits is known one by one."""
_STREAM_FULL = frozenset(
    {10023, 10047, 10077}
)  # insufficient resources; store failed; maximum bytes exceeded


class LogUnavailable(Exception):
    """The log did not take the message: it cannot be reached or did not answer. Try the same again."""


class LogFull(LogUnavailable):
    """The log has reached its byte limit: slow down, try the same again later."""


class UnitShareSpent(LogFull):
    """One unit has taken its share of the log: it has to slow down, nobody else has."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of the log. `sequence` grows along the whole log; `rows` counts refused rows too."""

    lane: Lane
    kind: Kind
    unit: str
    source: str
    partition: int
    sequence: int
    msg_id: str
    rows: int
    data: bytes


class Taken(NamedTuple):
    """What became of a message that is to be the first of its name.

    `content` of the message that has the name: this one's when it is `new`, else None when that is not known.
    """

    new: bool
    content: str | None


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

    def __init__(self, client: Client, stream: JetStreamContext, identity: str, budget: Budget) -> None:
        self._client = client
        self._stream = stream
        self.identity = identity
        """Name and creation time of the stream: positions in another stream mean nothing here."""
        self._budget = budget

    @classmethod
    async def connect(cls, url: str, *, name: str, max_bytes: int | None = None) -> Log:
        """Connect and make sure the stream exists, with this byte limit where one is given.

        Raises LogUnavailable when the server is not there.
        """
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
            info = await _ensure_stream(stream, max_bytes)
            log = cls(client, stream, _identity(info.created), Budget(info.config.max_bytes or 0))
            await client.subscribe(_WAITING, cb=log._hear)
        except (nats.errors.Error, OSError) as error:
            await client.close()
            raise LogUnavailable(str(error) or f"no answer from the log: {type(error).__name__}") from error
        return log

    async def append(
        self, data: bytes, *, kind: Kind, lane: Lane, unit: str, source: str, msg_id: str, rows: int
    ) -> int:
        """Append one message; returns its sequence once it is durable on the log's disk.

        `source` and `rows` travel outside of the data, so that what waits can be counted unread. The
        same `msg_id` again within two hours is not appended twice (the first sequence is returned). Raises UnitShareSpent, LogFull or LogUnavailable; then nothing may be acknowledged.
        """
        headers = {_ROWS: str(rows), _SOURCE: quote(source)}
        return (await self._publish(_subject(lane, unit, kind), data, unit, msg_id, headers)).seq

    async def append_once(
        self,
        data: bytes,
        *,
        kind: Kind,
        lane: Lane,
        unit: str,
        source: str,
        msg_id: str,
        rows: int,
        content: str,
    ) -> Taken:
        """As `append`, of a message that is the first under its `msg_id` or is not taken.

        `content`: what identifies what it says; of one that was there before, it is told as long as the
        log still has the message.
        """
        headers = {_ROWS: str(rows), _SOURCE: quote(source), _CONTENT: content}
        ack = await self._publish(_subject(lane, unit, kind), data, unit, msg_id, headers)
        if not ack.duplicate:
            return Taken(True, content)
        try:
            before = await self._stream.get_msg(STREAM, seq=ack.seq, direct=True)
        except NotFoundError:
            return Taken(False, None)
        except (nats.errors.Error, OSError) as error:
            raise LogUnavailable(str(error) or type(error).__name__) from error
        return Taken(False, (before.headers or {}).get(_CONTENT))

    async def _publish(
        self, subject: str, data: bytes, unit: str, msg_id: str, headers: dict[str, str]
    ) -> PubAck:
        headers["Nats-Msg-Id"] = f"{unit}/{msg_id}"
        if not self._client.is_connected:
            # The client would buffer in memory, and a full buffer is not a durable log.
            raise LogUnavailable("no connection to the log")
        if not self._budget.has_room(unit, len(data)):
            raise UnitShareSpent(f"unit {unit} has taken its share of the ingest log")
        try:
            ack = await self._stream.publish(subject, data, timeout=_APPEND_WITHIN_S, headers=headers)
        except APIError as error:
            if error.err_code in _STREAM_FULL:
                if "per subject" in (error.description or ""):
                    raise UnitShareSpent(
                        f"too many messages of unit {unit} wait in the ingest log"
                    ) from error
                raise LogFull("the ingest log is full") from error
            raise LogUnavailable(str(error)) from error
        except (nats.errors.Error, OSError) as error:
            raise LogUnavailable(str(error) or type(error).__name__) from error
        self._budget.appended(unit, len(data))
        return ack

    def index(self, partitions: Iterable[int]) -> Index:
        """Follow what is appended to some partitions, in both lanes and without content, from the oldest on."""
        return Index(self._client, self._stream, list(partitions))

    async def fetch(self, lane: Lane, unit: str, first: int, messages: int, most_bytes: int) -> list[Entry]:
        """The content of a unit's messages of one lane from sequence `first` on, in order.

        At most `messages`, and no more once `most_bytes` are reached, but at least one when there is
        one. Raises LogUnavailable.
        """
        asked = {
            "seq": first,
            "next_by_subj": _subject(lane, unit, "*"),
            "batch": messages,
            "max_bytes": most_bytes,
        }
        inbox = self._client.new_inbox()
        entries: list[Entry] = []
        try:
            answers = await self._client.subscribe(inbox)
            try:
                await self._client.publish(f"$JS.API.DIRECT.GET.{STREAM}", json.dumps(asked).encode(), inbox)
                while True:
                    message = await answers.next_msg(timeout=_TIMEOUT_S)
                    headers = message.headers or {}
                    if headers.get("Status") in ("204", "404"):  # end of batch; nothing (more)
                        return entries
                    if "Status" in headers:
                        raise LogUnavailable(f"{headers['Status']} {headers.get('Description', '')}".strip())
                    entries.append(_entry(headers, message.data))
            finally:
                await answers.unsubscribe()
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise LogUnavailable(str(error) or type(error).__name__) from error

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
            info = await subscription.consumer_info()
            try:
                # What is deleted meanwhile will not come: only the server knows how much is left.
                while silent < _TIMEOUT_S and info.num_pending:
                    try:
                        messages = await subscription.fetch(1000, timeout=1)
                    except TimeoutError:
                        silent += 1
                    else:
                        silent = 0
                        found += [_waiting(message, message.metadata.sequence.stream) for message in messages]
                        if found[-1].sequence >= last:
                            break
                    info = await subscription.consumer_info()
            finally:
                # The server would keep it for half a minute, and has room for so many only.
                await subscription.unsubscribe()
                await self._stream.delete_consumer(STREAM, info.name)
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

    async def tell_waiting(self, partitions: Iterable[int], n_bytes: Mapping[str, int]) -> None:
        """Tell all who append how much of each unit waits in these partitions: their shares are measured by it."""
        much = {unit: n for unit, n in n_bytes.items() if n > _TOLD_FROM_BYTES}
        data = json.dumps({"partitions": list(partitions), "waiting": much}).encode()
        with contextlib.suppress(nats.errors.Error):  # it is told again in a moment
            await self._client.publish(_WAITING, data)

    async def _hear(self, message: Msg) -> None:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            told = json.loads(message.data)
            partitions = set(told["partitions"])
            self._budget.heard(told["waiting"], lambda unit: partition_of(unit) in partitions)

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


class Index:
    """What the log holds, message by message without the content, in log order and without gaps.

    The server pushes, and beats when it has nothing to push. It keeps no acknowledgements: the position
    lies with the reader. A hole in the delivery sequence (a lost connection), a beat that knows of
    more than arrived, or silence makes it start again after what it reached.
    """

    def __init__(self, client: Client, stream: JetStreamContext, partitions: list[int]) -> None:
        self._client = client
        self._stream = stream
        self._partitions = partitions
        self._subscription: Subscription | None = None
        self._arrived: deque[Msg] = deque()
        self._news = asyncio.Event()
        self._heard = 0.0
        self._delivered = 0
        self.reached = 0
        """Sequence up to which the index is complete for its partitions."""

    async def next(self, messages: int, timeout_s: float) -> list[Waiting]:
        """Up to `messages` in order; an empty list when none came within `timeout_s`.

        Raises LogUnavailable when the log cannot be reached. Never called twice at once.
        """
        if self._subscription is None:
            await self._subscribe()
        if not self._arrived:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), timeout_s)
        found: list[Waiting] = []
        while self._arrived and len(found) < messages:
            message = self._arrived.popleft()
            headers = message.headers or {}
            if "Status" in headers:  # a beat
                if int(headers.get("Nats-Last-Consumer", self._delivered)) != self._delivered:
                    await self._leave()
                    break
                continue
            sequence = message.metadata.sequence
            if sequence.consumer != self._delivered + 1:
                await self._leave()
                break
            self._delivered = sequence.consumer
            self.reached = sequence.stream
            found.append(_waiting(message, sequence.stream))
        if time.monotonic() - self._heard > _SILENT_S:
            await self._leave()
        return found

    async def _subscribe(self) -> None:
        self._arrived.clear()
        self._delivered = 0
        self._heard = time.monotonic()
        inbox = self._client.new_inbox()
        try:
            self._subscription = await self._client.subscribe(inbox, cb=self._hear)
            await self._stream.add_consumer(
                STREAM,
                ConsumerConfig(
                    deliver_subject=inbox,
                    filter_subjects=[f"{_PREFIX}.*.{p}.>" for p in self._partitions],
                    ack_policy=AckPolicy.NONE,
                    deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                    opt_start_seq=self.reached + 1,
                    headers_only=True,
                    idle_heartbeat=_BEAT_S,
                    mem_storage=True,
                    inactive_threshold=30.0,
                ),
            )
        except (nats.errors.Error, OSError, TimeoutError) as error:
            await self._leave()
            raise LogUnavailable(str(error) or type(error).__name__) from error

    async def _hear(self, message: Msg) -> None:
        self._heard = time.monotonic()
        # Bounded: what is left out here shows as a hole, and comes again.
        if len(self._arrived) < _ARRIVED_MOST:
            self._arrived.append(message)
            self._news.set()

    async def _leave(self) -> None:
        if self._subscription is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._subscription.unsubscribe()
        self._subscription = None


def all_partitions() -> Iterable[int]:
    """Every partition of the log."""
    return range(PARTITIONS)


def _subject(lane: Lane, unit: str, kind: str) -> str:
    return f"{_PREFIX}.{lane}.{partition_of(unit)}.{unit}.{kind}"


def _entry(headers: Mapping[str, str], data: bytes) -> Entry:
    """A message as the server gives it out directly: its subject and sequence are headers."""
    _, lane, partition, unit, kind = headers["Nats-Subject"].split(".")
    sequence = int(headers["Nats-Sequence"])
    return Entry(
        lane=cast(Lane, lane),
        kind=cast(Kind, kind),
        unit=unit,
        source=unquote(headers.get(_SOURCE, "")),
        partition=int(partition),
        sequence=sequence,
        msg_id=headers.get("Nats-Msg-Id", f"{unit}/{sequence}").partition("/")[2],
        rows=int(headers.get(_ROWS, "0")),
        data=data,
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


async def _ensure_stream(stream: JetStreamContext, max_bytes: int | None) -> StreamInfo:
    try:
        info = await stream.stream_info(STREAM)
    except NotFoundError:
        return await stream.add_stream(_config(max_bytes or DEFAULT_MAX_BYTES))
    wanted = _config(max_bytes or info.config.max_bytes or DEFAULT_MAX_BYTES)
    kept = (info.config.max_bytes, info.config.max_msgs_per_subject, info.config.discard_new_per_subject)
    if kept != (wanted.max_bytes, wanted.max_msgs_per_subject, wanted.discard_new_per_subject):
        info = await stream.update_stream(wanted)
    return info


def _config(max_bytes: int) -> StreamConfig:
    return StreamConfig(
        name=STREAM,
        subjects=[f"{_PREFIX}.>"],
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.NEW,
        discard_new_per_subject=True,
        storage=StorageType.FILE,
        max_bytes=max_bytes,
        max_msgs_per_subject=_UNIT_MESSAGES,
        max_msg_size=MAX_MESSAGE_BYTES + 64 * 2**10,
        duplicate_window=DUPLICATE_WINDOW_S,
        allow_direct=True,
    )


def _identity(created: object) -> str:
    return f"{STREAM}@{created}"


async def _quiet(_: Exception) -> None:
    """Connection errors are reported by whoever uses the log, with what they cost."""
