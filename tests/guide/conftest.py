"""A platform as a lead unit meets it: its own processes, an address, a unit, a key."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from qunce.embedded.nats import Nats
from qunce.process import free_port, stop
from store.database import connect
from store.identity import new_key
from store.registry import NewPilot, NewUnit, add_key, register_pilot, register_unit

UNIT = "GD-SANDBOX"
_USCC = "91440300MA5EXAMP0C"


@dataclass(frozen=True)
class Platform:
    """What a unit's engineer is given."""

    url: str
    unit: str
    key: str
    mqtt_port: int

    @property
    def environment(self) -> dict[str, str]:
        """As the guide has the reader set it."""
        return {
            "QUNCE_URL": self.url,
            "QUNCE_UNIT": self.unit,
            "QUNCE_KEY": self.key,
            "QUNCE_MQTT_HOST": "127.0.0.1",
            "QUNCE_MQTT_PORT": str(self.mqtt_port),
        }


@pytest.fixture(scope="module")
def platform(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The platform's roles in a process of their own, with a broker of their own."""
    folder: Path = tmp_path_factory.mktemp("platform")
    key = new_key()
    with connect(module_dsn, application="test") as conn:
        register_unit(conn, NewUnit(UNIT, "沙箱单位", "Sandbox", 1, _USCC))
        today = datetime.now(UTC).date()
        register_pilot(
            conn, NewPilot("P-SANDBOX", "沙箱", "Sandbox", "new-it", "441900", UNIT, "piloting", today)
        )
        add_key(conn, UNIT, key)
    nats = Nats(folder / "nats", free_port(), free_port(), max_file_store=2**30)
    broker = nats.start(folder / "nats.log")
    port = free_port()
    settings = {
        "QUNCE_DATA_DIR": str(folder / "data"),
        "QUNCE_DATABASE__DSN": module_dsn,
        "QUNCE_LOG__URL": nats.url,
        "QUNCE_LOG__MAX_BYTES": str(2**28),
        "QUNCE_MQTT__URL": nats.mqtt_url,
        "QUNCE_MQTT__CALLOUT_URL": nats.callout_url,
        "QUNCE_API__PORT": str(port),
    }
    command = [sys.executable, "-m", "qunce", "up", "--roles", "api,writer,connectors,metrics"]
    with (folder / "platform.log").open("wb") as log:
        roles = subprocess.Popen(
            command, env={**os.environ, **settings, "PYTHONPATH": str(Path(__file__).parents[2])},
            cwd=folder, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        _wait(f"http://127.0.0.1:{port}/healthz", roles, folder / "platform.log")
        yield Platform(f"http://127.0.0.1:{port}", UNIT, key, nats.mqtt_port)
    finally:
        stop(roles)
        stop(broker)


def _wait(url: str, roles: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        assert roles.poll() is None, log.read_text("utf-8")[-4000:]
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError(log.read_text("utf-8")[-4000:])
