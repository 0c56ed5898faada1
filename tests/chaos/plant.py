"""A factory's OPC UA server: `python -m tests.chaos.plant <port> <record> <pause>`.

Publishes OPCUA_TAGS variables ten times a second while the file `pause` does not exist. Each reading that
leaves in an answer, and each whose answer the client acknowledged, is appended to `record`: (kind, tag,
time in µs), see ENTRY.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from asyncua import ua
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.server import Server

from tests.chaos.readings import OPCUA_TAGS, OPCUA_UNIT, Ints, first_tag, values_of

ENTRY = np.dtype([("kind", "<i4"), ("tag", "<i4"), ("ts", "<i8")])
SENT, ACKNOWLEDGED = 1, 2
NAMESPACE = "urn:chaos:plant"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def node_of(tag: int) -> str:
    """Node id of a tag's variable, with its namespace URI."""
    return f"nsu={NAMESPACE};s=p{tag}"


def read_record(file: Path) -> np.ndarray[Any, Any]:
    """What the plant has recorded so far, whole entries only."""
    data = file.read_bytes() if file.exists() else b""
    return np.frombuffer(data[: len(data) // ENTRY.itemsize * ENTRY.itemsize], ENTRY)


def micros(moment: datetime) -> int:
    """µs since 1970."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    elapsed = aware - _EPOCH
    return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds


def record_answers(file: Path, tags: Ints) -> None:
    """Have the server note what it publishes and what is acknowledged."""
    output = file.open("ab", buffering=0)
    pop, publish = InternalSubscription._pop_publish_result, InternalSubscription.publish

    def note(kind: int, result: ua.PublishResult) -> None:
        entries = [
            (kind, *reading)
            for notification in result.NotificationMessage.NotificationData or []
            if isinstance(notification, ua.DataChangeNotification)
            for item in notification.MonitoredItems
            if (reading := _reading(item.Value, tags)) is not None
        ]
        if entries:
            output.write(np.array(entries, ENTRY).tobytes())

    def popped(self: InternalSubscription) -> ua.PublishResult:
        result = pop(self)
        note(SENT, result)
        return result

    def acknowledged(self: InternalSubscription, acks: Iterable[int]) -> None:
        numbers = list(acks)
        for number in numbers:
            if (result := self._not_acknowledged_results.get(number)) is not None:
                note(ACKNOWLEDGED, result)
        publish(self, numbers)

    InternalSubscription._pop_publish_result = popped  # type: ignore[method-assign]
    InternalSubscription.publish = acknowledged  # type: ignore[method-assign]


def _reading(value: Any, tags: Ints) -> tuple[int, int] | None:
    """(tag, µs) of a published value: the time is in it, and at that time only one tag has this value."""
    if value.SourceTimestamp is None or value.Value is None:
        return None
    ts = micros(value.SourceTimestamp)
    found = tags[values_of(tags, np.full(len(tags), ts, np.int64)) == value.Value.Value]
    return (int(found[0]), ts) if len(found) else None


async def main(port: int, record: Path, pause: Path) -> None:
    """Serve until killed."""
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    tags = first_tag(OPCUA_UNIT) + np.arange(OPCUA_TAGS, dtype=np.int64)
    record_answers(record, tags)
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(NAMESPACE)
    line = await server.nodes.objects.add_object(
        ua.NodeId(ua.String("line"), ua.Int16(index)), ua.QualifiedName("Line", index)
    )
    nodes = [
        await line.add_variable(
            ua.NodeId(ua.String(f"p{tag}"), ua.Int16(index)), ua.QualifiedName(f"P{tag}", index), 0.0
        )
        for tag in tags.tolist()
    ]
    await _change(nodes, tags)
    await server.start()
    while True:
        if not pause.exists():
            await _change(nodes, tags)
        await asyncio.sleep(0.1)


async def _change(nodes: list[Any], tags: Ints) -> None:
    """New readings of all variables, of this moment."""
    now = datetime.now(UTC)
    values = values_of(tags, np.full(len(tags), micros(now), np.int64)).tolist()
    for node, value in zip(nodes, values, strict=True):
        changed: Any = ua.DataValue(ua.Variant(value, ua.VariantType.Double))
        await node.write_value(dataclasses.replace(changed, SourceTimestamp=now))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])))
