"""One connection to a broker: messages in, acknowledgements out, everything bounded."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections import deque
from itertools import islice
from typing import Any, TypeVar

from paho.mqtt.client import Client, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from connectors.contract import PermanentError, Sink, TransientError
from connectors.journal import Journal, now_microseconds
from connectors.mqtt import events
from connectors.mqtt.codec import Codec, Decoded, Message
from connectors.mqtt.config import MqttConfig
from connectors.mqtt.wire import Wire
from connectors.reach import require_port
from connectors.settings import secret_of

_CONNECT_SECONDS = 3.0
_ANSWER_SECONDS = 10.0
_NO_TOPIC = "qunce-nobody"
_REFUSED_LOGIN = frozenset(
    {"Bad user name or password", "Not authorized", "Banned", "Bad authentication method"}
)

_Answer = TypeVar("_Answer")


class Link:
    """One connection, from CONNECT to its end."""

    def __init__(self, config: MqttConfig, journal: Journal, codec: Codec) -> None:
        self._config = config
        self._journal = journal
        self._codec = codec
        self._client: Client | None = None
        self._wire: Wire | None = None
        loop = asyncio.get_running_loop()
        self._connected: asyncio.Future[str] = loop.create_future()
        self._subscribed: asyncio.Future[list[ReasonCode]] = loop.create_future()
        self._lost: asyncio.Future[str] = loop.create_future()
        self._waiting: deque[Message] = deque()
        self._waiting_bytes = 0
        self._in_hand = 0
        """So many of the waiting, the oldest, are being made durable."""
        self._arrived = asyncio.Event()
        self._arrived_at = 0.0
        self._stopping = False
        self._canary_seen = asyncio.Event()
        self._answered = asyncio.Event()

    async def connect(self, session: str, *, persistent: bool) -> str:
        """CONNECT and wait for CONNACK. Raises TransientError or PermanentError."""
        config = self._config
        await require_port(config.host, config.port, _CONNECT_SECONDS)
        client = self._client = self._new_client(session, persistent)
        properties = None
        if config.version == "5":
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho
            properties.ReceiveMaximum = config.in_flight_most
            if persistent:
                properties.SessionExpiryInterval = config.session_expiry_seconds
        arguments: dict[str, Any] = {"clean_start": not persistent, "properties": properties}
        if config.version != "5":
            arguments = {}
        try:
            # Only opening the socket blocks (name, TCP, TLS); all that follows is in the loop.
            await asyncio.to_thread(
                client.connect, config.host, config.port, config.keepalive_seconds, **arguments
            )
            self._wire = Wire(client)
            self._wire.open()
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await self._while_connected(self._connected)
        except ssl.SSLCertVerificationError as error:
            raise PermanentError("certificate_refused", str(error)) from error
        except TimeoutError as error:
            raise TransientError("connect_failed", "no answer to CONNECT") from error
        except OSError as error:
            raise TransientError("connect_failed", f"{type(error).__name__}: {error}") from error

    def _new_client(self, session: str, persistent: bool) -> Client:
        config = self._config
        five = config.version == "5"
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=session,
            clean_session=None if five else not persistent,
            protocol=MQTTv5 if five else MQTTv311,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = _CONNECT_SECONDS
        if config.username is not None:
            client.username_pw_set(config.username, secret_of(config.password, config.password_file))
        if config.tls == "verified":
            try:
                authorities = None if config.tls_authorities is None else str(config.tls_authorities)
                client.tls_set(ca_certs=authorities)
            except (OSError, ValueError) as error:
                raise PermanentError("certificate_unusable", str(error)) from error
        # All handlers before CONNECT: a persistent session delivers right behind CONNACK.
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = self._on_unsubscribe
        client.on_message = self._on_message
        return client

    async def subscribe(self) -> None:
        """SUBSCRIBE and wait for SUBACK. Raises PermanentError when the broker refuses a topic."""
        filters = self._codec.filters()
        if self._config.canary_topic is not None:
            filters.append(self._config.canary_topic)
        client = self._require_client()
        if self._config.version == "5":
            client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in filters])
        else:
            client.subscribe([(topic, 1) for topic in filters])
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                codes = await self._while_connected(self._subscribed)
        except TimeoutError as error:
            raise TransientError("connect_failed", "no answer to SUBSCRIBE") from error
        refused = [topic for topic, code in zip(filters, codes, strict=False) if code.is_failure]
        if refused:
            raise PermanentError("subscription_refused", ", ".join(refused))

    async def watch(self) -> None:
        """Until the connection is lost; raises TransientError then."""
        if self._wire is None:
            raise TransientError("connection_lost", "not connected")
        tick = asyncio.create_task(self._wire.tick())
        try:
            waited: list[asyncio.Future[Any]] = [tick, self._lost]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if self._lost.done():
                raise TransientError("connection_lost", self._lost.result())
            error = tick.exception()
            raise TransientError("connection_lost", str(error)) from error
        finally:
            tick.cancel()

    async def pump(self, sink: Sink) -> None:
        """Gather, make durable, acknowledge; until `stop`.

        While one lot is being made durable the next is gathered and decoded. A lot is handed over only
        when the one before is durable, so that the messages of a unit keep their order and all are
        acknowledged in the order of receipt. A unit whose share of the log is spent holds up its lot,
        and after that, once `in_flight_most` is reached, the connection: MQTT has no way to acknowledge
        later messages before earlier ones. Units that must not hold up each other need a broker session each.
        """
        handing: asyncio.Task[None] | None = None
        try:
            while True:
                if len(self._waiting) == self._in_hand:
                    if handing is None and self._stopping:
                        return
                    handing = await self._something(handing)
                    continue
                await self._gather()
                taken = list(islice(self._waiting, self._in_hand, None))
                self._in_hand += len(taken)
                decoded = self._decode(taken)
                if handing is not None:
                    await handing
                handing = asyncio.create_task(self._hand_over(sink, taken, decoded))
        finally:
            if handing is not None and not handing.done():
                handing.cancel()
                await asyncio.gather(handing, return_exceptions=True)

    async def _something(self, handing: asyncio.Task[None] | None) -> asyncio.Task[None] | None:
        """Wait for a message, or until what is being handed over is durable; returns what still is handed over."""
        self._arrived.clear()
        arrived = asyncio.create_task(self._arrived.wait())
        try:
            await asyncio.wait(
                {arrived, handing} if handing is not None else {arrived},
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            arrived.cancel()
        if handing is not None and handing.done():
            handing.result()
            return None
        return handing

    async def _hand_over(self, sink: Sink, taken: list[Message], decoded: Decoded) -> None:
        """Make durable, each unit by itself, and acknowledge."""
        puts = [asyncio.create_task(sink.put(batch)) for batch in decoded.batches]
        try:
            await asyncio.gather(*puts)
        finally:
            for put in puts:
                put.cancel()
        self._in_hand -= len(taken)
        self._acknowledge(taken)
        events.unplaced(self._journal, decoded.unplaced)

    async def _gather(self) -> None:
        """Wait a little for more, unless there is enough, nothing more comes, or we are stopping."""
        began = time.monotonic()
        quiet = self._config.quiet_milliseconds / 1000
        while (
            not self._stopping
            and not self._full()
            and time.monotonic() - began < self._config.gather_milliseconds / 1000
        ):
            await asyncio.sleep(quiet)
            if time.monotonic() - self._arrived_at >= quiet:
                return

    def _decode(self, messages: list[Message]) -> Decoded:
        try:
            return self._codec.decode(messages)
        except Exception:  # one poisonous message must not come back for ever: find it
            self._journal.log.exception("messages cannot be decoded together")
        result = Decoded([])
        for message in messages:
            try:
                one = self._codec.decode([message])
            except Exception as error:
                events.undecodable(self._journal, message, error)
                one = self._codec.refused(message, f"{type(error).__name__}: {error}")
            result.batches += one.batches
            result.unplaced += one.unplaced
        return result

    def _acknowledge(self, messages: list[Message]) -> None:
        """PUBACK in the order of receipt, as MQTT demands."""
        client = self._require_client()
        for message in messages:
            self._waiting.popleft()
            self._waiting_bytes -= len(message.payload)
            if client.is_connected():
                client.ack(message.mid, message.qos)
        events.acknowledged(self._journal, len(messages))
        if self._wire is not None and not self._full() and not self._stopping:
            events.reading_paused(self._journal, False, len(self._waiting))
            self._wire.resume()

    async def canary(self, topic: str) -> None:
        """Publish to ourselves and expect it back; raises TransientError when the broker has gone deaf."""
        while True:
            self._canary_seen.clear()
            self._require_client().publish(topic, b"{}", qos=1)
            try:
                async with asyncio.timeout(self._config.canary_seconds):
                    await self._canary_seen.wait()
            except TimeoutError as error:
                if not self._full():
                    raise TransientError("deaf", "our own message did not come back") from error
            await asyncio.sleep(self._config.canary_seconds)

    async def probe(self) -> int:
        """A round trip to the broker; µs UTC when it was back. Waits until it is.

        With a canary topic our own message comes back to us; without one, the broker confirms the end
        of a subscription that never was (MQTT 3.1.1 and 5: it always does), which changes nothing.
        """
        client, topic = self._require_client(), self._config.canary_topic
        answer = self._answered if topic is None else self._canary_seen
        answer.clear()
        if topic is None:
            client.unsubscribe(_NO_TOPIC)
        else:
            client.publish(topic, b"{}", qos=1)
        await answer.wait()
        return now_microseconds()

    def stop(self) -> None:
        """Take nothing more in; `pump` ends when what was taken is durable."""
        self._stopping = True
        if self._wire is not None:
            self._wire.pause()
        self._arrived.set()

    def close(self) -> None:
        """DISCONNECT, and close the socket."""
        if self._client is None:
            return
        self._client.disconnect()
        if self._wire is not None:
            self._wire.close()
        sock = self._client.socket()
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.close()
        for future in (self._connected, self._subscribed, self._lost):
            future.cancel()

    async def _while_connected(self, future: asyncio.Future[_Answer]) -> _Answer:
        """The result of `future`, unless the connection is lost before."""
        waited: list[asyncio.Future[Any]] = [future, self._lost]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if future.done():
            return future.result()
        raise TransientError("connection_lost", self._lost.result())

    def _full(self) -> bool:
        return (
            len(self._waiting) >= self._config.in_flight_most
            or self._waiting_bytes >= self._config.in_flight_most_bytes
        )

    def _require_client(self) -> Client:
        if self._client is None:
            raise TransientError("connection_lost", "not connected")
        return self._client

    def _on_connect(
        self, _client: Client, _user: Any, flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        if self._connected.done():
            return
        if code.is_failure:
            name = str(code)
            error: Exception = TransientError("connect_failed", name)
            if name in _REFUSED_LOGIN:
                error = PermanentError("login_refused", name)
            self._connected.set_exception(error)
        else:
            self._connected.set_result(f"session present: {bool(flags.session_present)}")

    def _on_disconnect(
        self, _client: Client, _user: Any, _flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        if not self._lost.done():
            self._lost.set_result(str(code))

    def _on_subscribe(
        self, _client: Client, _user: Any, _mid: int, codes: list[ReasonCode], _properties: Any
    ) -> None:
        if not self._subscribed.done():
            self._subscribed.set_result(codes)

    def _on_unsubscribe(self, *_: Any) -> None:
        self._answered.set()

    def _on_message(self, client: Client, _user: Any, message: MQTTMessage) -> None:
        try:
            topic: str | None = message.topic
        except UnicodeDecodeError:
            topic = None
        if topic is not None and topic == self._config.canary_topic:
            self._canary_seen.set()
            client.ack(message.mid, message.qos)
            return
        self._waiting.append(
            Message(message.mid, message.qos, topic, bytes(message.payload), now_microseconds())
        )
        self._waiting_bytes += len(message.payload)
        self._arrived_at = time.monotonic()
        self._arrived.set()
        if self._full() and self._wire is not None:
            events.reading_paused(self._journal, True, len(self._waiting))
            self._wire.pause()
