"""A factory's edge gateway: one MQTT 3.1.1 client that publishes its journal with QoS 1."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Final

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from simulators.context import RunContext
from simulators.live import Encode, Encoded, Lane, Reading, encode_columns, encode_rows, rfc3339
from simulators.outbox import Message
from simulators.province import MqttBroker

log = logging.getLogger("simulators.mqtt")

MAX_OUTSTANDING: Final = 64


def by_machine(unit: str) -> Encode:
    """One message for each machine and time, on the machine's own topic."""

    def encode(readings: list[Reading], backfill: bool) -> Iterable[Encoded]:
        grouped: dict[tuple[int, str], dict[str, Any]] = {}
        for reading in readings:
            grouped.setdefault((reading.ts, reading.code), {})[reading.signal] = reading.value
        for (ts, code), values in grouped.items():
            body = msgspec.json.encode({"ts": rfc3339(ts), "values": values, "quality": "good"})
            yield Encoded(f"qunce/v1/{unit}/measurements/{code}", body, len(values))

    return encode


def by_gateway(unit: str, *, columns: bool) -> Encode:
    """One message for all machines of the gateway, as rows or as columns."""
    encode_body = encode_columns if columns else encode_rows

    def encode(readings: list[Reading], backfill: bool) -> Iterable[Encoded]:
        yield Encoded(f"qunce/v1/{unit}/measurements", encode_body(readings, backfill), len(readings))

    return encode


class MqttGateway:
    """Publishes what its lane journals. Runs in the event loop; paho's thread does the network."""

    def __init__(self, context: RunContext, lane: Lane, broker: MqttBroker, password: str) -> None:
        self.lane = lane
        self._broker = broker
        self._outbox = context.outbox
        self._faults = context.faults
        self._outstanding: dict[int, Message] = {}
        self._is_connected = False
        self._is_up = False
        self._has_trouble = False
        self._loop = asyncio.get_running_loop()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=lane.name, clean_session=True, protocol=mqtt.MQTTv311
        )
        self._client.username_pw_set(lane.source.unit, password)
        self._client.max_inflight_messages_set(MAX_OUTSTANDING)
        self._client.reconnect_delay_set(1, 10)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._loop.call_soon_threadsafe(self._connected, bool(reason.is_failure), str(reason))

    def _on_connect_fail(self, _client: Any, _data: Any) -> None:
        self._loop.call_soon_threadsafe(self._trouble, "no connection")

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._loop.call_soon_threadsafe(self._disconnected, str(reason))

    def _on_publish(self, _client: Any, _data: Any, mid: int, _reason: Any, _properties: Any) -> None:
        self._loop.call_soon_threadsafe(self._published, mid)

    def _connected(self, failed: bool, reason: str) -> None:
        if failed:
            self._trouble(reason)
            return
        if self._has_trouble:
            log.info("%s: the broker answers", self.lane.name)
        self._is_connected, self._has_trouble = True, False
        # paho publishes again what was not acknowledged on the connection before
        for message in self._outstanding.values():
            self._outbox.count(message.source, "resent", message.rows)

    def _disconnected(self, reason: str) -> None:
        if self._is_connected and self._is_up:
            self._trouble(reason)
        self._is_connected = False

    def _trouble(self, reason: str) -> None:
        """Say it once, when it begins."""
        if not self._has_trouble:
            log.warning("%s cannot publish: %s", self.lane.name, reason)
        self._has_trouble = True

    def _published(self, mid: int) -> None:
        message = self._outstanding.pop(mid, None)
        if message is not None:
            self._outbox.acknowledge([message])

    async def run(self) -> None:
        """Publish until cancelled; offline while a drop-out lasts."""
        try:
            while True:
                dropped = self._faults.is_dropped(self.lane.source)
                if dropped and self._is_up:
                    await self._close()
                elif not dropped and not self._is_up:
                    self._client.connect_async(self._broker.host, self._broker.port, keepalive=30)
                    self._client.loop_start()
                    self._is_up = True
                if self._is_connected and self._is_up:
                    self._publish()
                await asyncio.sleep(0.2)
        finally:
            await self._close()

    async def _close(self) -> None:
        if not self._is_up:
            return
        self._is_up = False
        for _ in range(10):
            if not self._outstanding or not self._is_connected:
                break
            await asyncio.sleep(0.1)
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    def _publish(self) -> None:
        room = MAX_OUTSTANDING - len(self._outstanding)
        if room <= 0:
            return
        sending = self._outbox.due(
            self.lane.name, room, {message.id for message in self._outstanding.values()}
        )
        if not sending:
            return
        self._outbox.attempt(sending)
        for message in sending:
            info = self._client.publish(message.topic, message.body, qos=1)
            self._outstanding[info.mid] = message
