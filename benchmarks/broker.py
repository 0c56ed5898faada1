"""The broker that MQTT is measured with: Mosquitto, as units' gateways and plants run it, else the embedded one.

The embedded NATS server syncs each QoS 1 message before its PUBACK, one after the other, which bounds the
rate, not the platform. Mosquitto acknowledges from memory; towards it, as towards any broker, the connector
acknowledges only what the platform's log has on its disk.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks import progress
from deploy import programs
from qunce.process import free_port, spawn, stop, wait_ready

_CONFIG = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
# What waits is bounded by what the benchmark sends; the connector bounds what it takes in.
max_inflight_messages 0
max_queued_messages 0
{user}"""


class Mosquitto(NamedTuple):
    """A running one: its port on loopback, and its process id."""

    port: int
    pid: int


def mosquitto(root: Path, stack: ExitStack) -> Mosquitto | None:
    """Start a Mosquitto on loopback; None where there is none and none can be installed."""
    program = _program()
    if program is None:
        return None
    port = free_port()
    user = "user root\n" if os.geteuid() == 0 else ""
    (root / "mosquitto.conf").write_text(_CONFIG.format(port=port, user=user))
    log = root / "mosquitto.log"
    with log.open("wb") as output:
        child = spawn([program, "-c", str(root / "mosquitto.conf")], output=output)
    stack.callback(stop, child)

    def listening() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return False
        return True

    wait_ready(child, listening, timeout_s=10, log=log)
    return Mosquitto(port, child.pid)


def _program() -> str | None:
    if (found := programs.mosquitto()) is not None:
        return found
    if why := programs.install(["mosquitto"]):
        progress.say(f"no mosquitto ({why}): MQTT is measured with the embedded broker")
    return programs.mosquitto()
