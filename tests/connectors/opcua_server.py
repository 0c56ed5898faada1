"""A factory's OPC UA server for tests, as its own process: `python -m tests.connectors.opcua_server <port>`.

Machines `M1` (state and mode below the building blocks folder, `Monitoring` with a number, a text and a
nested number) and `M2` (state directly below); in namespace `urn:test:line` also plain variables. Every
100 ms `Count` grows; `Steady` gets a new time but the same value.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from asyncua import ua
from asyncua.server.server import Server
from asyncua.ua.status_codes import StatusCodes

LINE = "urn:test:line"


def node_id(name: str, index: int) -> ua.NodeId:
    return ua.NodeId(ua.String(name), ua.Int16(index))


def name_of(name: str, index: int) -> ua.QualifiedName:
    return ua.QualifiedName(name, index)


def stamped(value: float, kind: ua.VariantType, status: int = 0) -> Any:
    changed: Any = ua.DataValue(ua.Variant(value, kind), ua.StatusCode(ua.UInt32(status)))
    return dataclasses.replace(changed, SourceTimestamp=datetime.now(UTC))


async def machine(server: Server, machines, index: int, name: str, *, blocks: bool):
    node = await machines.add_object(node_id(name, index), name_of(name, index))
    below = node
    if blocks:
        below = await node.add_object(
            node_id(f"{name}.blocks", index), name_of("MachineryBuildingBlocks", index)
        )
    for block, signal, text in (
        ("MachineryItemState", "state", "Executing"),
        ("MachineryOperationMode", "mode", "Processing"),
    ):
        holder = await below.add_object(node_id(f"{name}.{block}", index), name_of(block, index))
        await holder.add_variable(
            node_id(f"{name}.{signal}", index),
            name_of("CurrentState", 0),
            ua.LocalizedText(text, "en"),
        )
    return node


async def main(port: int) -> None:
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    await server.register_namespace("urn:test:unused")
    index = await server.register_namespace(LINE)
    objects = server.nodes.objects
    machines = await objects.add_object(node_id("Machines", index), name_of("Machines", index))
    first = await machine(server, machines, index, "M1", blocks=True)
    await machine(server, machines, index, "M2", blocks=False)
    monitoring = await first.add_object(node_id("M1.Monitoring", index), name_of("Monitoring", index))
    produced = await monitoring.add_variable(
        node_id("M1.produced", index), name_of("Produced", index), 0, ua.VariantType.UInt32
    )
    await monitoring.add_variable(node_id("M1.label", index), name_of("Label", index), "no number")
    drive = await monitoring.add_object(node_id("M1.Drive", index), name_of("Drive", index))
    await drive.add_variable(node_id("M1.temp", index), name_of("Temperature", index), 41.5)
    other = await objects.add_object(node_id("Other", index), name_of("Other", index))

    async def variable(name: str, value, kind=None):
        return await other.add_variable(node_id(name, index), name_of(name, index), value, kind)

    count = await variable("Count", 0, ua.VariantType.Int64)
    steady = await variable("Steady", 7.0)
    bad = await variable("Bad", 3.0)
    await variable("Array", [1.0, 2.0])
    await variable("Flag", True)
    await server.start()
    await bad.write_value(stamped(3.0, ua.VariantType.Double, StatusCodes.BadSensorFailure))
    print("ready", flush=True)
    n = 0
    while True:
        n += 1
        await count.write_value(stamped(n, ua.VariantType.Int64))
        await produced.write_value(stamped(n, ua.VariantType.UInt32))
        await steady.write_value(stamped(7.0, ua.VariantType.Double))
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
