"""A factory's OPC UA server for tests, as its own process: `python -m tests.connectors.opcua_server <port>`.

Machines `M1` (state and mode below the building blocks folder, `Monitoring` with a number, a text and a
nested number) and `M2` (state directly below); in namespace `urn:test:line` also plain variables. Every
100 ms `Count` grows; `Steady` gets a new time but the same value.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from datetime import UTC, datetime

from asyncua import Server, ua

LINE = "urn:test:line"


async def machine(server: Server, machines, index: int, name: str, *, blocks: bool):
    node = await machines.add_object(ua.NodeId(name, index), ua.QualifiedName(name, index))
    below = node
    if blocks:
        below = await node.add_object(
            ua.NodeId(f"{name}.blocks", index), ua.QualifiedName("MachineryBuildingBlocks", index)
        )
    for block, signal, text in (
        ("MachineryItemState", "state", "Executing"),
        ("MachineryOperationMode", "mode", "Processing"),
    ):
        holder = await below.add_object(
            ua.NodeId(f"{name}.{block}", index), ua.QualifiedName(block, index)
        )
        await holder.add_variable(
            ua.NodeId(f"{name}.{signal}", index), ua.QualifiedName("CurrentState", 0), ua.LocalizedText(text, "en")
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
    machines = await objects.add_object(ua.NodeId("Machines", index), ua.QualifiedName("Machines", index))
    first = await machine(server, machines, index, "M1", blocks=True)
    await machine(server, machines, index, "M2", blocks=False)
    monitoring = await first.add_object(
        ua.NodeId("M1.Monitoring", index), ua.QualifiedName("Monitoring", index)
    )
    produced = await monitoring.add_variable(
        ua.NodeId("M1.produced", index), ua.QualifiedName("Produced", index), 0, ua.VariantType.UInt32
    )
    await monitoring.add_variable(ua.NodeId("M1.label", index), ua.QualifiedName("Label", index), "no number")
    drive = await monitoring.add_object(ua.NodeId("M1.Drive", index), ua.QualifiedName("Drive", index))
    await drive.add_variable(ua.NodeId("M1.temp", index), ua.QualifiedName("Temperature", index), 41.5)
    other = await objects.add_object(ua.NodeId("Other", index), ua.QualifiedName("Other", index))

    async def variable(name: str, value, kind=None):
        return await other.add_variable(ua.NodeId(name, index), ua.QualifiedName(name, index), value, kind)

    count = await variable("Count", 0, ua.VariantType.Int64)
    steady = await variable("Steady", 7.0)
    bad = await variable("Bad", 3.0)
    await variable("Array", [1.0, 2.0])
    await variable("Flag", True)
    await server.start()
    await bad.write_value(
        ua.DataValue(
            ua.Variant(3.0, ua.VariantType.Double),
            ua.StatusCode(ua.UInt32(ua.StatusCodes.BadSensorFailure)),
            datetime.now(UTC),
        )
    )
    print("ready", flush=True)
    n = 0
    while True:
        n += 1
        now = datetime.now(UTC)
        await count.write_value(ua.DataValue(ua.Variant(n, ua.VariantType.Int64), SourceTimestamp=now))
        await produced.write_value(ua.DataValue(ua.Variant(n, ua.VariantType.UInt32), SourceTimestamp=now))
        await steady.write_value(ua.DataValue(ua.Variant(7.0, ua.VariantType.Double), SourceTimestamp=now))
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
