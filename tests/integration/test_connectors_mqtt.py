"""MQTT against real brokers: the embedded NATS listener (3.1.1), and Mosquitto (3.1.1 and 5) where installed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from connectors.journal import Journal
from connectors.mqtt.config import MqttConfig
from connectors.mqtt.connector import MqttConnector
from connectors.supervise import supervise
from deploy import programs
from ingest.batch import decode
from qunce.embedded.nats import PLATFORM_USER, binary
from qunce.process import free_port
from tests.connectors.sinks import Keeping, until
from tests.foreign import cannot_run

MOSQUITTO = programs.mosquitto()
UNIT = "GD-MQT-01"
NOW = "2026-11-23T08:00:00+08:00"


@dataclass
class Broker:
    port: int
    platform: dict[str, str]
    unit: dict[str, str]
    version: str


def wait_for_port(port: int) -> None:
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)


class Mosquitto:
    """A Mosquitto that can be killed and started again on the same port."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self.config = folder / "mosquitto.conf"
        self.config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n")
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert MOSQUITTO
        self.child = subprocess.Popen([MOSQUITTO, "-c", str(self.config)], stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            self.child = None


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    if MOSQUITTO is None:
        cannot_run("no mosquitto; `make test` installs it where it can")
    broker = Mosquitto(tmp_path, free_port())
    broker.start()
    wait_for_port(broker.port)
    yield broker
    broker.kill()


NATS_CONFIG = """
server_name: test
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{folder}" }}
# a session's unacknowledged messages come again this much later, also after a new CONNECT
mqtt {{ host: "127.0.0.1", port: {mqtt_port}, ack_wait: "2s", max_ack_pending: 1000 }}
"""


@pytest.fixture(scope="module")
def quick_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A NATS server that redelivers soon; gives its MQTT port."""
    folder = tmp_path_factory.mktemp("nats-mqtt")
    port, mqtt_port = free_port(), free_port()
    (folder / "nats.conf").write_text(
        NATS_CONFIG.format(port=port, mqtt_port=mqtt_port, folder=folder / "js")
    )
    log = (folder / "nats.log").open("wb")
    child = subprocess.Popen([str(binary()), "-c", str(folder / "nats.conf")], stderr=log)
    wait_for_port(mqtt_port)
    yield mqtt_port
    child.terminate()
    child.wait()
    log.close()


@pytest.fixture(params=["nats", "mosquitto-3.1.1", "mosquitto-5"])
def broker(request: pytest.FixtureRequest) -> Broker:
    if request.param == "nats":
        return Broker(request.getfixturevalue("quick_nats"), {}, {}, "3.1.1")
    mosquitto = request.getfixturevalue("mosquitto")
    return Broker(mosquitto.port, {}, {}, request.param.removeprefix("mosquitto-"))


@pytest.fixture
def own_broker(nats_server) -> Broker:
    """The platform's own, with users."""
    nats_server.units({UNIT: "key"})
    platform = {"username": PLATFORM_USER, "password": nats_server.password}
    return Broker(nats_server.mqtt_port, platform, {"username": UNIT, "password": "key"}, "3.1.1")


def test_platforms_own_broker(own_broker: Broker):
    async def go() -> None:
        made, _ = connector(own_broker, "wrong", password="wrong")
        assert (await made.check()).reason == "login_refused"
        made, journal = connector(own_broker, "own", source_named_by="unit")
        assert (await made.check()).ok
        sink = Keeping()
        async with running(made, journal, sink):
            unit = Publisher(own_broker)
            await asyncio.to_thread(unit.send, f"qunce/v1/{UNIT}/measurements/A1", values(7))
            await until(lambda: len(sink.readings()) == 2)
            # Acknowledged by the broker, so it must be somewhere.
            await asyncio.to_thread(unit.send, f"qunce/v1/{UNIT}/nothing/x/y", "{}")
            await until(lambda: len(sink.refused()) == 1)
            await asyncio.sleep(0.3)  # a message that came twice would come now
            unit.close()
        assert {batch.source for batch in sink.batches} == {f"mqtt:{UNIT}"}
        assert sink.refused() == [(f"qunce/v1/{UNIT}/nothing/x/y: $", "unknown_topic")]
        assert len(sink.readings()) == 2
        assert journal.counts["messages"] == 2

    asyncio.run(go())


def connector(broker: Broker, name: str, **settings) -> tuple[MqttConnector, Journal]:
    journal = Journal(name, "mqtt")
    config = MqttConfig.model_validate(
        {"type": "mqtt", "name": name, "host": "127.0.0.1", "port": broker.port, "version": broker.version}
        | broker.platform
        | settings
    )
    return MqttConnector(config, journal), journal


class Publisher:
    """A unit's own client: QoS 1, waits for the broker's acknowledgement."""

    def __init__(self, broker: Broker) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"publisher-{time.time_ns()}")
        if broker.unit:
            self.client.username_pw_set(broker.unit["username"], broker.unit["password"])
        for _ in range(100):
            try:
                self.client.connect("127.0.0.1", broker.port)
                break
            except OSError:
                time.sleep(0.05)
        self.client.loop_start()

    def send(self, topic: str, *payloads: str) -> None:
        sent = [self.client.publish(topic, payload, qos=1) for payload in payloads]
        for info in sent:
            info.wait_for_publish(10)
            assert info.is_published()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@asynccontextmanager
async def running(made: MqttConnector, journal: Journal, sink: Keeping):
    task = asyncio.create_task(supervise(made, sink, journal))
    try:
        await until(lambda: journal.state == "ok", 15)
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def values(n: int) -> str:
    return (
        f'{{"ts": "2026-11-23T08:00:00.{n:06d}+08:00", "values": {{"produced": {n}, "state": "Executing"}}}}'
    )


def test_both_topics_arrive_and_poison_is_refused(broker: Broker):
    async def go() -> None:
        made, journal = connector(broker, f"both-{time.time_ns()}", source_named_by="unit")
        report = await made.check()
        assert report.ok, report
        sink = Keeping()
        async with running(made, journal, sink):
            unit = Publisher(broker)
            rows = f'{{"records": [{{"tag": "A1.energy", "ts": "{NOW}", "value": 2.5}}]}}'
            await asyncio.to_thread(unit.send, f"qunce/v1/{UNIT}/measurements", rows, "{not json")
            await asyncio.to_thread(unit.send, f"qunce/v1/{UNIT}/measurements/A1", values(7), '{"ts": 1}')
            await until(lambda: len(sink.readings()) == 3 and len(sink.refused()) == 2)
            unit.close()
        assert sink.tags() == {"A1.energy", "A1.produced", "A1.state"}
        assert {batch.source for batch in sink.batches} == {f"mqtt:{UNIT}"}
        assert {batch.unit for batch in sink.batches} == {UNIT}
        places = dict(sink.refused())
        assert places == {
            f"qunce/v1/{UNIT}/measurements: $": "malformed_json",
            f"qunce/v1/{UNIT}/measurements/A1: $": "wrong_shape",
        }
        assert journal.state == "stopped"

    asyncio.run(go())


def test_what_comes_while_away_is_delivered_on_return(broker: Broker):
    async def go() -> None:
        name = f"away-{time.time_ns()}"
        made, journal = connector(broker, name)
        async with running(made, journal, Keeping()):
            pass
        unit = Publisher(broker)
        await asyncio.to_thread(
            unit.send, f"qunce/v1/{UNIT}/measurements/A1", *[values(n) for n in range(50)]
        )
        unit.close()
        made, journal = connector(broker, name)
        sink = Keeping()
        async with running(made, journal, sink):
            await until(lambda: len(sink.readings()) >= 100)
        assert {value for tag, _, value, _ in sink.readings() if tag == "A1.produced"} == set(range(50))

    asyncio.run(go())


def test_nothing_is_acknowledged_before_it_is_durable(broker: Broker):
    """A sink that never returns, then another connection of the same session: everything comes again."""

    async def go() -> None:
        name = f"unacked-{time.time_ns()}"
        made, journal = connector(broker, name)
        stuck = Keeping()
        stuck.open.clear()
        async with running(made, journal, stuck):
            unit = Publisher(broker)
            await asyncio.to_thread(
                unit.send, f"qunce/v1/{UNIT}/measurements/A1", *[values(n) for n in range(20)]
            )
            await until(lambda: stuck.waiting == 1)
        assert journal.counts.get("messages", 0) == 0
        made, journal = connector(broker, name)
        sink = Keeping()
        async with running(made, journal, sink):
            await until(lambda: len({v for t, _, v, _ in sink.readings() if t == "A1.produced"}) == 20)
        unit.close()

    asyncio.run(go())


def test_memory_stays_bounded_while_the_log_is_full(broker: Broker):
    async def go() -> None:
        made, journal = connector(broker, f"full-{time.time_ns()}", in_flight_most=50)
        sink = Keeping()
        sink.open.clear()
        async with running(made, journal, sink):
            unit = Publisher(broker)
            await asyncio.to_thread(
                unit.send, f"qunce/v1/{UNIT}/measurements/A1", *[values(n) for n in range(400)]
            )
            await until(lambda: sink.waiting == 1)
            await asyncio.sleep(0.5)
            sink.open.set()
            await until(lambda: len({v for t, _, v, _ in sink.readings() if t == "A1.produced"}) == 400, 20)
            unit.close()
        assert (
            max(len(batch) for batch in sink.batches) <= 2 * 60
        )  # a few more than 50 messages of two readings

    asyncio.run(go())


def test_broker_killed_and_started_again(mosquitto: Mosquitto):
    async def go() -> None:
        broker = Broker(mosquitto.port, {}, {}, "3.1.1")
        mosquitto.kill()
        made, journal = connector(broker, "killed")
        sink = Keeping()
        task = asyncio.create_task(supervise(made, sink, journal))
        await until(lambda: journal.state == "recoverable")
        assert journal.reason == "unreachable"
        for _ in range(2):
            await asyncio.sleep(2.5)  # long enough for the pauses to have grown
            mosquitto.start()
            assert await until(lambda: journal.state == "ok", 15) < 5
            before = len(sink.readings())
            unit = Publisher(broker)
            await asyncio.to_thread(unit.send, f"qunce/v1/{UNIT}/measurements/A1", values(1))
            await sink.more_than(before)
            unit.close()
            mosquitto.kill()
            await until(lambda: journal.state == "recoverable")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(go())


def test_frozen_broker_is_noticed(mosquitto: Mosquitto):
    async def go() -> None:
        made, journal = connector(Broker(mosquitto.port, {}, {}, "5"), "frozen", keepalive_seconds=2)
        async with running(made, journal, Keeping()):
            assert mosquitto.child
            mosquitto.child.send_signal(signal.SIGSTOP)
            try:
                assert await until(lambda: journal.state == "recoverable", 15) < 8
            finally:
                mosquitto.child.send_signal(signal.SIGCONT)

    asyncio.run(go())


def test_canary_comes_back(mosquitto: Mosquitto):
    async def go() -> None:
        made, journal = connector(
            Broker(mosquitto.port, {}, {}, "3.1.1"), "canary", canary_topic="qunce/canary/1", canary_seconds=1
        )
        sink = Keeping()
        async with running(made, journal, sink):
            assert abs(await made.probe() - time.time_ns() // 1000) < 2_000_000
            await asyncio.sleep(3)
            assert journal.state == "ok"
            assert journal.counts.get("failures", 0) == 0
        assert sink.batches == []

    asyncio.run(go())


def test_foreign_topics_are_mapped(mosquitto: Mosquitto):
    async def go() -> None:
        topics = [
            {
                "topic": "factory/{equipment}/{signal}",
                "unit": UNIT,
                "payload": {
                    "form": "single",
                    "time_form": "epoch_milliseconds",
                    "time_field": "t",
                    "value_field": "v",
                },
            },
            {
                "topic": "shop/{equipment}/telemetry/#",
                "unit": UNIT,
                "payload": {"form": "values", "values_field": None, "time_zone": "Asia/Shanghai"},
            },
        ]
        broker = Broker(mosquitto.port, {}, {}, "3.1.1")
        made, journal = connector(broker, "foreign", topics=topics)
        sink = Keeping()
        async with running(made, journal, sink):
            plant = Publisher(broker)
            await asyncio.to_thread(plant.send, "factory/P7/temperature", '{"t": 1795392000250, "v": 41.5}')
            await asyncio.to_thread(
                plant.send,
                "shop/P8/telemetry/x",
                '{"ts": "2026-11-23 08:00:00", "produced": 3, "nested": {"a": 1}}',
            )
            await until(lambda: len(sink.readings()) == 2 and len(sink.refused()) == 1)
            plant.close()
        assert sorted(sink.readings()) == [
            ("P7.temperature", 1795392000250000, 41.5, 0),
            ("P8.produced", 1795392000000000, 3.0, 0),
        ]
        assert sink.refused() == [("shop/P8/telemetry/x: nested", "unsupported_value")]
        assert {batch.source for batch in sink.batches} == {"mqtt:foreign"}

    asyncio.run(go())


KILLED = """
import asyncio, os, pathlib, signal, sys
from connectors.journal import Journal
from connectors.mqtt.config import MqttConfig
from connectors.mqtt.connector import MqttConnector
from connectors.supervise import supervise
from ingest.batch import encode

class Dies:
    def __init__(self, folder): self.folder, self.n = pathlib.Path(folder), 0
    async def put(self, batch):
        with (self.folder / f"{self.n}.arrow").open("wb") as file:
            file.write(encode(batch)); file.flush(); os.fsync(file.fileno())
        self.n += 1
        os.kill(os.getpid(), signal.SIGKILL)  # durable, and not yet acknowledged

config = MqttConfig(type="mqtt", name="dies", host="127.0.0.1", port=int(sys.argv[1]), version=sys.argv[2],
                    username=sys.argv[4] or None, password=sys.argv[5] or None)
journal = Journal("dies", "mqtt")
asyncio.run(supervise(MqttConnector(config, journal), Dies(sys.argv[3]), journal))
"""


def test_killed_between_durable_and_acknowledged(broker: Broker, tmp_path: Path):
    """kill -9 after the append and before the PUBACK: delivered again, nothing lost."""
    platform = [broker.platform.get("username", ""), broker.platform.get("password", "")]
    arguments = [sys.executable, "-c", KILLED, str(broker.port), broker.version, str(tmp_path), *platform]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    # a first life makes the session; the publisher repeats until it has died of its first batch
    child = subprocess.Popen(arguments, env=environment)
    unit = Publisher(broker)
    sent = 0
    while child.poll() is None and sent < 200:
        unit.send(f"qunce/v1/{UNIT}/measurements/A1", values(sent))
        sent += 1
        time.sleep(0.05)
    assert child.wait(20) == -signal.SIGKILL
    unit.close()

    async def go() -> None:
        made, journal = connector(broker, "dies")
        sink = Keeping()
        async with running(made, journal, sink):
            first = decode((tmp_path / "0.arrow").read_bytes())
            killed = set(zip(first.ts.tolist(), first.value.tolist(), strict=True))
            await until(lambda: killed <= {(ts, v) for _, ts, v, _ in rows(sink)}, 10)

    def rows(sink: Keeping):
        return [(t, ts, 0.0 if isinstance(v, str) else v, q) for t, ts, v, q in sink.readings()]

    asyncio.run(go())
