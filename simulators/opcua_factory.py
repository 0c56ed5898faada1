"""Factories as OPC UA servers: real asyncua servers, machines modelled on OPC 40001-1.

All servers of a run share one event loop in one thread. What goes out is counted where asyncua builds a publish
response: in flight when it is handed to the connection, sent when the client acknowledged it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC
from typing import Any, Final

from asyncua import ua
from asyncua.common.node import Node
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.server import Server
from asyncua.server.subscription_service import SubscriptionService
from asyncua.ua.status_codes import StatusCodes

from simulators.context import RunContext
from simulators.live import Reading, sample
from simulators.opcua_nodes import SharedServer, StandardNodes
from simulators.outbox import Outbox
from simulators.province import Source
from simulators.signals import Machine

log = logging.getLogger("simulators.opcua")

MACHINERY: Final = "http://opcfoundation.org/UA/Machinery/"

UNCERTAIN_SHARE: Final = 400
"""One process sample in so many is Uncertain (sensor not accurate); every 25th of those is Bad without a value."""

_TYPES: Final = {
    "produced": ua.VariantType.UInt32,
    "good": ua.VariantType.UInt32,
    "scrap": ua.VariantType.UInt32,
    "state": ua.VariantType.String,
    "mode": ua.VariantType.String,
}


class Meter:
    """Counts the data change notifications of one source."""

    def __init__(self, outbox: Outbox, source: str) -> None:
        self._outbox = outbox
        self._source = source
        self.on_first: Callable[[], None] | None = None
        outbox.abandon_in_flight(source)

    def published(self, rows: int) -> None:
        """Rows were handed to the connection."""
        if rows:
            self._outbox.count(self._source, "in_flight", rows)
            if self.on_first is not None:
                first, self.on_first = self.on_first, None
                first()

    def acknowledged(self, rows: int) -> None:
        """The client acknowledged rows."""
        if rows:
            with self._outbox.transaction():
                self._outbox.count(self._source, "sent", rows)
                self._outbox.count(self._source, "in_flight", -rows)

    def given_up(self, rows: int) -> None:
        """The subscription ended before the client acknowledged rows."""
        if rows:
            with self._outbox.transaction():
                self._outbox.count(self._source, "unconfirmed", rows)
                self._outbox.count(self._source, "in_flight", -rows)


def rows_in(result: ua.PublishResult) -> int:
    """Data change notifications in a publish response, those with a bad status included."""
    return sum(
        len(data.MonitoredItems)
        for data in result.NotificationMessage.NotificationData or []
        if isinstance(data, ua.DataChangeNotification)
    )


def _meter_subscription(subscription: InternalSubscription, meter: Meter) -> None:
    """Count at the two places where asyncua hands a response out and takes an acknowledgement in."""
    pop, publish = subscription._pop_publish_result, subscription.publish
    waiting = subscription._not_acknowledged_results

    def pop_publish_result() -> ua.PublishResult:
        result = pop()
        meter.published(rows_in(result))
        return result

    def acknowledge(acks: Any) -> None:
        numbers = list(acks)
        meter.acknowledged(sum(rows_in(waiting[number]) for number in numbers if number in waiting))
        publish(numbers)

    subscription._pop_publish_result = pop_publish_result  # type: ignore[method-assign]  # asyncua has no hook
    subscription.publish = acknowledge  # type: ignore[method-assign]


class MeteredSubscriptions(SubscriptionService):
    """asyncua's subscription service that counts what goes out to clients."""

    meter: Meter

    async def create_subscription(
        self, params: Any, callback: Any, session_id: Any, request_callback: Any = None
    ) -> Any:
        """Create a subscription and meter it; see the base class."""
        result = await super().create_subscription(params, callback, session_id, request_callback)
        if request_callback is not None:
            _meter_subscription(self.subscriptions[result.SubscriptionId], self.meter)
        return result

    async def delete_subscriptions(self, ids: list[int]) -> list[ua.StatusCode]:
        """Delete subscriptions; what was not acknowledged is counted as unconfirmed."""
        for number in ids:
            subscription = self.subscriptions.get(number)
            if subscription is not None:
                left = sum(rows_in(result) for result in subscription._not_acknowledged_results.values())
                self.meter.given_up(left)
        return await super().delete_subscriptions(ids)


class OpcuaFactory:
    """One factory's server. ``start`` builds the address space once; listening can be switched off and on."""

    def __init__(self, context: RunContext, source: Source, standard: StandardNodes) -> None:
        self.source = source
        port = context.options.base_port + (source.port_offset or 0)
        self.endpoint = f"opc.tcp://127.0.0.1:{port}/qunce-sim"
        self._machines = context.works.machines(source.unit, source.equipment)
        self._outbox = context.outbox
        self._faults = context.faults
        self._clock = context.clock
        self._nodes: dict[tuple[str, str], ua.NodeId] = {}
        self._server = Server(iserver=SharedServer(standard))
        service = MeteredSubscriptions(self._server.iserver.aspace, iserver=self._server.iserver)
        service.meter = self._meter = Meter(context.outbox, source.key)
        self._server.iserver.subscription_service = service
        self._server.iserver.isession.subscription_service = service
        self._is_up = False

    async def build(self, on_first: Callable[[], None]) -> None:
        """Build the address space: the standard nodes and the machines.

        ``on_first`` is called once, when the first notification of this run goes out to a client.
        """
        self._meter.on_first = on_first
        server = self._server
        await server.init()
        server.set_endpoint(self.endpoint)
        server.set_server_name(self.source.name)
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        machinery = await server.register_namespace(MACHINERY)
        own = await server.register_namespace(f"urn:qunce:sim:{self.source.name}")
        root = await server.nodes.objects.add_object(
            node_id("Machines", own), ua.QualifiedName("Machines", machinery)
        )
        now = self._clock.now()
        first = {
            (one.code, one.signal): one for one in sample(self._machines, now - 60_000, now)
        }  # the latest of each wins
        for machine in self._machines:
            await self._add_machine(root, machine, machinery, own, first)
        self._outbox.set_cursor(self.source.key, now)

    async def _add_machine(
        self, root: Node, machine: Machine, machinery: int, own: int, first: dict[tuple[str, str], Reading]
    ) -> None:
        code = machine.code
        top = await root.add_object(node_id(code, own), ua.QualifiedName(code, own))
        parents: dict[str, Node] = {}
        for name in ("MachineryItemState", "MachineryOperationMode", "Monitoring"):
            parents[name] = await top.add_object(
                node_id(f"{code}/{name}", own), ua.QualifiedName(name, machinery)
            )
        for signal in machine.signals:
            address = node_id(f"{code}.{signal}", own)
            if signal == "state":
                parent, browse = parents["MachineryItemState"], ua.QualifiedName("CurrentState", 0)
            elif signal == "mode":
                parent, browse = parents["MachineryOperationMode"], ua.QualifiedName("CurrentState", 0)
            else:
                name = signal.title()
                parent, browse = parents["Monitoring"], ua.QualifiedName(name, own)
            known = first.get((code, signal))
            kind = _TYPES.get(signal, ua.VariantType.Double)
            value = known.value if known else ("" if kind == ua.VariantType.String else 0)
            variant = ua.Variant(value if kind != ua.VariantType.Double else float(value), kind)
            node = await parent.add_variable(address, browse, variant)
            self._nodes[code, signal] = node.nodeid
            if known:
                await self._write(known)

    async def _write(self, reading: Reading) -> None:
        kind = _TYPES.get(reading.signal, ua.VariantType.Double)
        code = StatusCodes.Good
        if kind == ua.VariantType.Double and reading.signal != "energy":
            drawn = (reading.ts // 1000 * 2_654_435_761 + hash_of(reading.code, reading.signal)) % (
                UNCERTAIN_SHARE * 25
            )
            if drawn == 0:
                code = StatusCodes.BadSensorFailure
            elif drawn % UNCERTAIN_SHARE == 0:
                code = StatusCodes.UncertainSensorNotAccurate
        value = reading.value if kind != ua.VariantType.Double else float(reading.value)
        source_time = ua.DateTime.fromtimestamp(reading.ts / 1000, UTC)
        await self._server.write_attribute_value(
            self._nodes[reading.code, reading.signal],
            ua.DataValue(
                ua.Variant(value, kind),
                StatusCode=ua.StatusCode(ua.UInt32(code)),
                SourceTimestamp=source_time,
                ServerTimestamp=ua.DateTime.now(UTC),
            ),
        )

    async def run(self) -> None:
        """Write samples as they fall due, until cancelled. A server that is down loses what fell due meanwhile."""
        cursor = self._outbox.cursor(self.source.key) or self._clock.now()
        saved = cursor
        try:
            while True:
                dropped = self._faults.is_dropped(self.source)
                if dropped and self._is_up:
                    self._is_up = False
                    await self._server.stop()
                elif not dropped and not self._is_up:
                    await self._server.start()
                    self._is_up = True
                end = min(self._clock.now() + 1, cursor + 60_000)
                for reading in sample(self._machines, cursor, end) if end > cursor else ():
                    await self._write(reading)
                cursor = max(cursor, end)
                if cursor - saved > 2000:
                    self._outbox.set_cursor(self.source.key, cursor)
                    saved = cursor
                await asyncio.sleep(0.25)
        finally:
            self._outbox.set_cursor(self.source.key, cursor)
            if self._is_up:
                self._is_up = False
                await self._server.stop()


def node_id(name: str, namespace: int) -> ua.NodeId:
    """A string node id."""
    return ua.NodeId(ua.String(name), ua.Int16(namespace))


def hash_of(*parts: str) -> int:
    """A small repeatable number from words."""
    value = 0
    for character in "/".join(parts):
        value = (value * 31 + ord(character)) % 1_000_003
    return value
