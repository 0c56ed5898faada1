"""The embedded servers: start, stop, start again; who may publish what over MQTT."""

from __future__ import annotations

import os
import signal
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as mqtt
import psycopg
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from qunce.embedded.nats import Nats
from qunce.embedded.postgres import Postgres
from qunce.process import ChildFailed, free_port, stop
from store.database import Connection
from tests.conftest import RunningNats, Server


def test_databases_are_fresh_and_migrated(conn: Connection, server: Server) -> None:
    row = conn.execute("SELECT name FROM layout").fetchone()
    assert row == (server.layout,)
    assert conn.execute("SELECT 1 FROM lead_unit").fetchone() is None


def test_postgres_keeps_its_data_across_a_crash_and_another_port(tmp_path: Path) -> None:
    postgres = Postgres(tmp_path / "postgres", free_port(), shared_buffers="32MB")
    child = postgres.start(tmp_path / "log")
    try:
        with psycopg.connect(postgres.dsn) as conn:
            conn.execute("CREATE TABLE kept AS SELECT 7 AS n")
        with psycopg.connect(postgres.dsn) as conn:
            checks = conn.execute(
                "SELECT current_setting('data_checksums'), current_setting('synchronous_commit'),"
                " current_setting('server_encoding'), current_setting('TimeZone')"
            ).fetchone()
        assert checks == ("on", "on", "UTF8", "UTC")
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    again = Postgres(tmp_path / "postgres", free_port(), shared_buffers="32MB")
    child = again.start(tmp_path / "log")
    try:
        with psycopg.connect(again.dsn) as conn:
            assert conn.execute("SELECT n FROM kept").fetchone() == (7,)
    finally:
        assert stop(child, how=again.stop_signal) == 0


def test_postgres_wants_the_password_and_keeps_it_private(tmp_path: Path) -> None:
    postgres = Postgres(tmp_path / "postgres", free_port(), shared_buffers="32MB")
    child = postgres.start(tmp_path / "log")
    try:
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(f"postgresql://qunce@127.0.0.1:{postgres.port}/qunce", passfile="/nonexistent")
        for name in ("qunce.password", "postgres.password"):
            assert stat.S_IMODE((postgres.root / name).stat().st_mode) == 0o600
        assert stat.S_IMODE(postgres.cluster.stat().st_mode) == 0o700
    finally:
        stop(child, how=postgres.stop_signal)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has folders that PostgreSQL's user may not enter")
def test_postgres_runs_below_a_folder_only_root_may_enter(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    postgres = Postgres(closed / "postgres", free_port(), shared_buffers="32MB")
    child = postgres.start(tmp_path / "log")
    try:
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        status = Path(f"/proc/{child.pid}/status").read_text()
        assert "Uid:\t0\t" not in status
    finally:
        stop(child, how=postgres.stop_signal)


def test_postgres_says_why_it_does_not_start(tmp_path: Path) -> None:
    first = Postgres(tmp_path / "first", free_port(), shared_buffers="32MB")
    child = first.start(tmp_path / "log")
    try:
        with pytest.raises(ChildFailed, match="Address already in use"):
            Postgres(tmp_path / "second", first.port, shared_buffers="32MB").start(tmp_path / "log2")
    finally:
        stop(child, how=first.stop_signal)


class Publisher:
    """A unit's MQTT client; keeps what the broker said."""

    def __init__(self, port: int, user: str, password: str) -> None:
        self.connected: list[bool] = []
        self.acknowledged: set[int] = set()
        self.received: list[str] = []
        self._changed = threading.Condition()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"test-{user}-{time.monotonic_ns()}")
        self.client.username_pw_set(user, password)
        self.client.on_connect = lambda _c, _u, _f, reason, _p: self._note(
            lambda: self.connected.append(not reason.is_failure)
        )
        self.client.on_publish = lambda _c, _u, mid, _r, _p: self._note(lambda: self.acknowledged.add(mid))
        self.subscribed = 0
        self.client.on_subscribe = lambda *_: self._note(self._count_subscription)
        self.client.on_message = lambda _c, _u, message: self._note(
            lambda: self.received.append(message.topic)
        )
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _note(self, change: Callable[[], object]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()

    def until(self, what: Callable[[], bool], timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(what, timeout_s)

    def _count_subscription(self) -> None:
        self.subscribed += 1

    def subscribe(self, *topics: str) -> None:
        before = self.subscribed
        self.client.subscribe([(topic, 1) for topic in topics])
        assert self.until(lambda: self.subscribed > before, 3)

    def publish(self, topic: str) -> bool:
        """Whether a QoS 1 message was acknowledged."""
        mid = self.client.publish(topic, b"{}", qos=1).mid
        return self.until(lambda: mid in self.acknowledged, 1.5)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def test_a_unit_publishes_below_its_own_branch_only(nats_server: RunningNats) -> None:
    nats_server.units({"GD-ELE-01": "qk_one", "GD-ELE-02": "qk_two"})
    time.sleep(0.3)  # the server reads its users again
    platform = Publisher(nats_server.mqtt_port, "qunce-platform", nats_server.password)
    unit = Publisher(nats_server.mqtt_port, "GD-ELE-01", "qk_one")
    try:
        assert platform.until(lambda: platform.connected == [True], 3)
        platform.subscribe("qunce/v1/+/measurements/#")
        assert unit.until(lambda: unit.connected == [True], 3)
        assert unit.publish("qunce/v1/GD-ELE-01/measurements")
        assert unit.publish("qunce/v1/GD-ELE-01/measurements/CNC-0001")
        assert platform.until(lambda: len(platform.received) == 2, 3), platform.received
        unit.publish("qunce/v1/GD-ELE-02/measurements")
        unit.publish("qunce/v1/GD-ELE-01")
        assert not platform.until(lambda: len(platform.received) > 2, 1)
        assert set(platform.received) == {
            "qunce/v1/GD-ELE-01/measurements",
            "qunce/v1/GD-ELE-01/measurements/CNC-0001",
        }
    finally:
        unit.close()
        platform.close()


def test_a_unit_hears_nothing(nats_server: RunningNats) -> None:
    nats_server.units({"GD-ELE-01": "qk_one", "GD-ELE-02": "qk_two"})
    time.sleep(0.3)
    spy = Publisher(nats_server.mqtt_port, "GD-ELE-02", "qk_two")
    unit = Publisher(nats_server.mqtt_port, "GD-ELE-01", "qk_one")
    try:
        assert spy.until(lambda: spy.connected == [True], 3)
        spy.subscribe("qunce/v1/#", "#", "$MQTT/#")
        assert unit.until(lambda: unit.connected == [True], 3)
        assert unit.publish("qunce/v1/GD-ELE-01/measurements")
        assert not spy.until(lambda: bool(spy.received), 1)
    finally:
        spy.close()
        unit.close()


def test_a_wrong_key_and_a_removed_unit_stay_outside(nats_server: RunningNats) -> None:
    nats_server.units({"GD-ELE-01": "qk_one"})
    time.sleep(0.3)
    wrong = Publisher(nats_server.mqtt_port, "GD-ELE-01", "qk_other")
    gone = Publisher(nats_server.mqtt_port, "GD-ELE-02", "qk_two")
    try:
        assert wrong.until(lambda: wrong.connected[:1] == [False], 3)
        assert gone.until(lambda: gone.connected[:1] == [False], 3)
    finally:
        wrong.close()
        gone.close()


def test_nats_keeps_its_streams_across_a_crash(tmp_path: Path) -> None:
    import asyncio

    import nats

    port = free_port()
    server = Nats(tmp_path / "nats", port, free_port(), max_file_store=64 * 1024**2)

    async def put() -> int:
        client = await nats.connect(server.url)
        stream = client.jetstream()
        await stream.add_stream(name="kept", subjects=["kept.>"])
        acknowledgement = await stream.publish("kept.a", b"x" * 4_000_000)
        await client.close()
        return acknowledgement.seq

    async def get() -> int:
        client = await nats.connect(server.url)
        message = await client.jetstream().get_msg("kept", 1)
        await client.close()
        return len(message.data or b"")

    child = server.start(tmp_path / "log")
    assert asyncio.run(put()) == 1
    child.send_signal(signal.SIGKILL)
    child.wait()
    child = server.start(tmp_path / "log")
    try:
        assert asyncio.run(get()) == 4_000_000
    finally:
        assert stop(child) == 0


def test_a_log_that_met_a_full_disk_is_known_as_stuck(tmp_path: Path):
    nats = Nats(tmp_path / "nats", free_port(), free_port())
    log = tmp_path / "log"
    child = nats.start(tmp_path / "real-log")
    try:
        assert not nats.stuck(7, log)
        refusal = "2026/11/25 19:00:07 [ERR] JetStream failed to store a msg on stream 'Q': no space left on device\n"
        log.write_text(f"[6] {refusal}[7] 2026/11/25 19:00:08 [INF] Server is ready\n")
        assert not nats.stuck(7, log)  # that was the one before
        log.write_text(log.read_text() + f"[7] {refusal}")
        assert nats.stuck(7, log)
        log.unlink()
        child.send_signal(signal.SIGSTOP)  # it takes connections and answers nobody
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)  # once all its threads have heard of it
        try:
            assert nats.stuck(7, log)
        finally:
            child.send_signal(signal.SIGCONT)
        assert not nats.stuck(7, log)
    finally:
        stop(child)
