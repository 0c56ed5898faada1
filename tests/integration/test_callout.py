"""MQTT logins by the keys of the database: a real broker, a real database, paho and mosquitto_pub."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nats.errors
import paho.mqtt.client as mqtt
import pytest
from nats.aio.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from ingest.callout import broker, service
from qunce.embedded.nats import PLATFORM_USER, Nats
from qunce.process import free_port, stop
from store.database import Connection, connect
from store.identity import digest, new_key
from store.registry import NewUnit, register_unit
from store.roles import logins
from tests.foreign import cannot_run

pytestmark = pytest.mark.concurrent
USCC = "91440300MA5EXAMP0C"
ONE, TWO = "GD-CAL-01", "GD-CAL-02"


class Platform:
    """A broker, a database, and what answers for logins, in a thread."""

    def __init__(self, dsn: str, server: Nats) -> None:
        self.server = server
        self.words: list[tuple[str, dict[str, Any]]] = []
        self.dsn = dsn
        self.conn: Connection = connect(dsn, application="test", autocommit=True)
        for code in (ONE, TWO):
            register_unit(self.conn, NewUnit(code, "单位", "Unit", 1, USCC))

    def start(self) -> None:
        loop_ready = threading.Event()

        async def work() -> None:
            self._stop = asyncio.Event()
            self._loop = asyncio.get_running_loop()
            loop_ready.set()
            url = self.server.callout_url
            await service.run(logins(self.dsn).auth, url, self._stop, self._report)

        self._thread = threading.Thread(target=lambda: asyncio.run(work()))
        self._thread.start()
        loop_ready.wait()
        assert until(lambda: bool(self.words) and self.words[-1][0] == "ok", 10)

    def _report(self, component: str, status: str, detail: dict[str, Any]) -> None:
        self.words.append((status, detail))

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()
        self.words.clear()

    def issue(self, code: str, scopes: list[str] | None = None, expires_at: datetime | None = None) -> str:
        key = new_key()
        self.conn.execute(
            "INSERT INTO api_key (unit_id, digest, scopes, expires_at)"
            " SELECT unit_id, %s, %s, %s FROM lead_unit WHERE code = %s",
            (digest(key), scopes, expires_at, code),
        )
        return key

    def revoke(self, key: str) -> None:
        self.conn.execute("UPDATE api_key SET revoked_at = now() WHERE digest = %s", (digest(key),))


@pytest.fixture(scope="module")
def platform(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder: Path = tmp_path_factory.mktemp("callout")
    server = Nats(folder / "nats", free_port(), free_port(), max_file_store=256 * 2**20)
    child = server.start(folder / "nats.log")
    made = Platform(module_dsn, server)
    made.start()
    yield made
    made.end()
    made.conn.close()
    stop(child)


def until(what: Callable[[], bool], timeout_s: float = 5.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class Device:
    """A client that says what happened to it."""

    def __init__(
        self, platform: Platform, user: str, password: str, client_id: str = "", *, clean: bool = True
    ) -> None:
        self.connected: list[bool] = []
        self.lost = 0
        self.acknowledged: set[int] = set()
        self.granted: list[bool] = []
        self.received: list[str] = []
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=clean)
        self.client.username_pw_set(user, password)
        self.client.on_connect = lambda _c, _u, _f, code, _p: self.connected.append(not code.is_failure)
        self.client.on_disconnect = self._lost
        self.client.on_publish = lambda _c, _u, mid, _r, _p: self.acknowledged.add(mid)
        self.client.on_subscribe = lambda _c, _u, _m, codes, _p: self.granted.extend(
            not code.is_failure for code in codes
        )
        self.client.on_message = lambda _c, _u, message: self.received.append(message.topic)
        self.client.connect("127.0.0.1", platform.server.mqtt_port)
        self.client.loop_start()
        assert until(lambda: bool(self.connected))

    def _lost(self, *_: object) -> None:
        self.lost += 1

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def publish(self, topic: str) -> bool:
        mid = self.client.publish(topic, b"{}", qos=1).mid
        return until(lambda: mid in self.acknowledged, 3)

    def subscribe(self, *topics: str) -> list[bool]:
        self.granted.clear()
        self.client.subscribe([(topic, 1) for topic in topics])
        assert until(lambda: len(self.granted) == len(topics))
        return list(self.granted)


def connack(platform: Platform, user: str, password: str, client_id: str) -> str:
    """What a client is told that logs in once."""
    told: list[str] = []
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id)
    client.username_pw_set(user, password)
    client.on_connect = lambda _c, _u, _f, code, _p: told.append(str(code))
    client.connect("127.0.0.1", platform.server.mqtt_port)
    while not told:
        client.loop(1)
    client.disconnect()
    return told[0]


def test_a_unit_is_confined_to_its_branch_with_either_of_its_keys(platform: Platform) -> None:
    first, second, other = platform.issue(ONE), platform.issue(ONE), platform.issue(TWO)
    with (
        Device(platform, PLATFORM_USER, platform.server.password) as own,
        Device(platform, ONE, first) as one,
        Device(platform, ONE, second) as two,
        Device(platform, TWO, other) as spy,
    ):
        assert own.subscribe("qunce/#") == [True]
        assert one.connected == two.connected == spy.connected == [True]
        assert one.subscribe(f"qunce/v1/{ONE}/#", f"qunce/v1/{ONE}/commands/+") == [True, True]
        elsewhere = [
            "#", "qunce/#", f"qunce/v1/{ONE}/#", "qunce/v1/+/measurements", "$JS/#", "$SYS/#", "_INBOX/#", "$MQTT/#",
        ]  # fmt: skip
        assert spy.subscribe(*elsewhere) == [False] * len(elsewhere)
        assert one.publish(f"qunce/v1/{ONE}/measurements")
        assert two.publish(f"qunce/v1/{ONE}/measurements/CNC-1")
        for topic in (f"qunce/v1/{TWO}/measurements", "$JS/API/STREAM/NAMES", "$SYS/REQ/USER/AUTH"):
            one.publish(topic)
        assert spy.publish(f"qunce/v1/{TWO}/measurements")
        wanted = {
            f"qunce/v1/{ONE}/measurements", f"qunce/v1/{ONE}/measurements/CNC-1", f"qunce/v1/{TWO}/measurements",
        }  # fmt: skip
        assert until(lambda: set(own.received) == wanted)
        assert len(own.received) == 3  # what `one` sent to the other's branch is not among them
        assert until(lambda: len(one.received) >= 2)
        assert set(one.received) == {f"qunce/v1/{ONE}/measurements", f"qunce/v1/{ONE}/measurements/CNC-1"}
        assert spy.received == []


def test_who_stays_outside(platform: Platform) -> None:
    good, reading = platform.issue(ONE), platform.issue(ONE, ["telemetry:read"])
    expired = platform.issue(ONE, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    for user, password, client_id in [
        (ONE, "qk_wrong", ""),
        (TWO, good, ""),
        (ONE, reading, ""),
        (ONE, expired, ""),
        (ONE, good, "qunce-platform-broker"),
        (ONE, good, f"{TWO}:gateway"),
        (PLATFORM_USER, "wrong", ""),
        ("qunce-callout", "wrong", ""),
    ]:
        assert connack(platform, user, password, client_id) == "Not authorized", (user, client_id)
    assert connack(platform, ONE, good, f"{ONE}:gateway") == "Success"


def test_a_key_that_is_only_for_writing_hears_nothing(platform: Platform) -> None:
    with Device(platform, ONE, platform.issue(ONE, ["measurements:write"])) as device:
        assert device.publish(f"qunce/v1/{ONE}/measurements")
        assert device.subscribe(f"qunce/v1/{ONE}/#") == [False]


def test_a_unit_gets_nowhere_over_nats_itself(platform: Platform) -> None:
    key = platform.issue(ONE)

    async def go() -> None:
        client = Client()
        with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
            await client.connect(
                f"nats://{ONE}:{key}@127.0.0.1:{platform.server.port}",
                allow_reconnect=False,
                error_cb=_quiet,
            )
        await client.close()
        await client.connect(platform.server.callout_url, error_cb=_quiet)
        with pytest.raises(nats.errors.Error):  # whoever answers for logins may read no data
            await client.jetstream(timeout=0.3).streams_info()
        await client.close()

    asyncio.run(go())


async def _quiet(_: Exception) -> None:
    return


def test_a_revoked_key_ends_its_connections_and_no_other(platform: Platform) -> None:
    old, new = platform.issue(ONE), platform.issue(ONE)
    with (
        Device(platform, ONE, old, f"{ONE}:a", clean=False) as device,
        Device(platform, ONE, new) as other,
    ):
        assert device.subscribe(f"qunce/v1/{ONE}/commands") == [True]
        platform.revoke(old)
        begun = time.monotonic()
        assert until(lambda: device.lost > 0, 8)
        assert time.monotonic() - begun < 5
        assert until(lambda: len(device.connected) > 1, 5)
        assert device.connected[1] is False
        assert other.lost == 0
        assert other.publish(f"qunce/v1/{ONE}/measurements")
        # The new key goes on with the session, and with what came meanwhile.
        assert other.publish(f"qunce/v1/{ONE}/commands")
    with Device(platform, ONE, new, f"{ONE}:a", clean=False) as device:
        assert until(lambda: device.received == [f"qunce/v1/{ONE}/commands"])


def test_an_expiring_key_ends_its_connection_at_that_second(platform: Platform) -> None:
    expires_at = datetime.now(UTC) + timedelta(seconds=2)
    with Device(platform, ONE, platform.issue(ONE, expires_at=expires_at)) as device:
        assert device.connected == [True]
        assert until(lambda: device.lost > 0, 6)
        assert abs((datetime.now(UTC) - expires_at).total_seconds()) < 1.5
        assert until(lambda: len(device.connected) > 1, 5)
        assert device.connected[1] is False


def test_a_key_revoked_while_nobody_watched(platform: Platform) -> None:
    old, new = platform.issue(ONE), platform.issue(ONE)
    with Device(platform, ONE, old) as device, Device(platform, ONE, new) as other:
        platform.end()
        platform.revoke(old)
        assert device.lost == 0
        platform.start()  # looks at every connection first
        assert until(lambda: device.lost > 0, 5)
        assert other.lost == 0
        assert other.publish(f"qunce/v1/{ONE}/measurements")


def test_a_key_that_was_given_an_end_and_many_connections(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "_PAGE", 2)
    key = platform.issue(ONE)
    devices = [Device(platform, ONE, key) for _ in range(5)]
    try:
        # A rotation sets the end of the old key, of which their logins knew nothing.
        platform.conn.execute("UPDATE api_key SET expires_at = now() WHERE digest = %s", (digest(key),))
        assert until(lambda: all(device.lost for device in devices), 8)
    finally:
        for device in devices:
            device.__exit__()


def test_mosquitto_pub_is_told_why_not(platform: Platform) -> None:
    program = shutil.which("mosquitto_pub") or cannot_run(
        "no mosquitto_pub; `make test` installs it where it can"
    )
    key, other = platform.issue(ONE), platform.issue(ONE)

    def publish(password: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *(program, "-h", "127.0.0.1", "-p", str(platform.server.mqtt_port), "-V", "311"),
                *("-u", ONE, "-P", password, "-q", "1", "-t", f"qunce/v1/{ONE}/measurements", "-m", "{}"),
            ],
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip

    assert [publish(key).returncode, publish(other).returncode] == [0, 0]
    platform.revoke(key)
    assert until(lambda: publish(key).returncode != 0, 5)
    refused = publish(key)
    assert refused.returncode == 5
    assert "not authorised" in refused.stderr
    assert publish(other).returncode == 0


def test_a_broker_that_does_not_know_the_platform_is_told(platform: Platform) -> None:
    url = f"nats://qunce-callout:{'x' * 32}@127.0.0.1:{platform.server.port}"
    told: list[tuple[str, dict[str, Any]]] = []

    async def go() -> None:
        stop = asyncio.Event()

        def report(_: str, status: str, detail: dict[str, Any]) -> None:
            told.append((status, detail))
            stop.set()

        await service.run(logins(platform.dsn).auth, url, stop, report)

    asyncio.run(go())
    assert told[0][0] == "recoverable"
    assert "Authorization" in told[0][1]["error"]
