"""The host with real protocols and the real log, and one contract for all connectors."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from connectors import host
from connectors.config import load_config
from connectors.contract import Probe, Reachable, TransientError
from connectors.journal import Journal
from connectors.supervise import supervise
from ingest import writer
from ingest.batch import decode
from ingest.log import Log
from qunce.embedded.nats import PLATFORM_USER
from qunce.process import free_port
from store import accounts
from store.canary import arrived
from store.database import connect
from tests.connectors.sinks import Keeping, until

UNIT = "GD-HST-01"
RECORDS = [{"tag": "C1.produced", "ts": f"2026-11-23T00:00:{n:02d}Z", "value": n} for n in range(30)]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        after = int(self.path.partition("after=")[2].partition("&")[0] or 0)
        body = json.dumps({"records": RECORDS[after:], "next": str(len(RECORDS)), "more": False}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def sources(nats_server) -> Iterator[dict[str, Any]]:
    """One source of each kind, alive."""
    nats_server.units({UNIT: "key"})
    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    port = free_port()
    plant = subprocess.Popen(
        [sys.executable, "-m", "tests.connectors.opcua_server", str(port)], stdout=subprocess.PIPE
    )
    assert plant.stdout
    plant.stdout.readline()
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="unit")
    client.username_pw_set(UNIT, "key")
    client.connect("127.0.0.1", nats_server.mqtt_port)
    client.loop_start()
    stopped = threading.Event()

    def publish() -> None:
        n = 0
        while not stopped.wait(0.05):
            n += 1
            ts = f"2026-11-23T00:{n // 60 % 60:02d}:{n % 60:02d}Z"
            payload = json.dumps({"ts": ts, "values": {"produced": n}})
            client.publish(f"qunce/v1/{UNIT}/measurements/B1", payload, qos=1)

    sender = threading.Thread(target=publish, daemon=True)
    sender.start()
    yield {
        "opcua": f'unit = "{UNIT}"\nurl = "opc.tcp://127.0.0.1:{port}"\npublish_interval_milliseconds = 100\n',
        "mqtt": f'host = "127.0.0.1"\nport = {nats_server.mqtt_port}\nusername = "{PLATFORM_USER}"\n'
        f'password = "{nats_server.password}"\nsource_named_by = "unit"\n',
        "http_pull": f'unit = "{UNIT}"\nurl = "http://127.0.0.1:{web.server_port}"\ninterval_seconds = 0.2\n',
    }
    stopped.set()
    sender.join()
    client.disconnect()
    client.loop_stop()
    plant.kill()
    plant.wait()
    plant.stdout.close()
    web.shutdown()
    web.server_close()


def table(kind: str, name: str, settings: str) -> str:
    return f'[[connectors]]\ntype = "{kind}"\nname = "{name}"\n{settings}\n'


async def appended(log: Log) -> dict[str, int]:
    """Readings in the log by source."""
    counts: dict[str, int] = {}
    first = 1
    while entries := await log.fetch("live", UNIT, first, 256, 2**23):
        first = entries[-1].sequence + 1
        for entry in entries:
            if entry.kind == "batch":
                batch = decode(entry.data)
                counts[batch.source] = counts.get(batch.source, 0) + len(batch)
    return counts


def test_all_protocols_into_the_log(sources, nats_fresh: str, tmp_path: Path):
    async def go() -> None:
        file = tmp_path / "connectors.toml"
        broken = 'unit = "X"\nurl = "http://127.0.0.1:9"\n'
        file.write_text(
            "".join(table(kind, f"h-{kind.replace('_', '-')}", text) for kind, text in sources.items())
            + table("http_pull", "broken", broken)
        )
        stop = asyncio.Event()
        latest: dict[str, tuple[str, dict[str, Any]]] = {}

        def report(name: str, state: str, details: dict[str, Any]) -> None:
            latest[name] = (state, details)

        task = asyncio.create_task(host.run(file, nats_fresh, tmp_path / "state", stop, report))
        names = ["h-opcua", "h-mqtt", "h-http-pull"]
        await until(lambda: all(latest.get(n, ("",))[0] == "ok" for n in names), 15)
        await until(lambda: all(latest[n][1]["counts"]["readings"] >= 20 for n in names), 15)
        await until(lambda: all(latest[n][1]["counts"].get("canaries") for n in names), 15)
        assert latest["broken"][0] == "recoverable"
        assert latest["broken"][1]["reason"] == "unreachable"
        age = latest["h-opcua"][1]["last_data_age_seconds"]
        assert age is not None
        assert age < 3
        reports = dict(await host.check(file, tmp_path / "state"))
        assert {name: r.ok for name, r in reports.items()} == {
            "h-opcua": True, "h-mqtt": True, "h-http-pull": True, "broken": False,
        }  # fmt: skip
        started = time.monotonic()
        stop.set()
        await task
        assert time.monotonic() - started < 5
        assert {state for state, _ in latest.values()} == {"stopped"}
        log = await Log.connect(nats_fresh, name="test")
        counts = await appended(log)
        canaries = Counter(message.source for message in await log.waiting() if message.kind == "canary")
        await log.close()
        assert set(canaries) == set(names)  # nothing answers for `broken`
        for name in names:
            assert canaries[name] == latest[name][1]["counts"]["canaries"]
        for name, source in (
            ("h-opcua", "opcua:h-opcua"),
            ("h-mqtt", f"mqtt:{UNIT}"),
            ("h-http-pull", "http_pull:h-http-pull"),
        ):
            assert counts[source] == latest[name][1]["counts"]["readings"]
        assert counts["http_pull:h-http-pull"] == len(RECORDS)

    asyncio.run(go())


def test_the_log_may_come_later(tmp_path: Path):
    async def go() -> None:
        file = tmp_path / "connectors.toml"
        file.write_text(table("http_pull", "one", 'unit = "X"\nurl = "http://127.0.0.1:9"\n'))
        stop = asyncio.Event()
        seen: list[tuple[str, str]] = []
        task = asyncio.create_task(
            host.run(
                file, "nats://127.0.0.1:9", tmp_path, stop, lambda n, s, d: seen.append((s, d["reason"]))
            )
        )
        await until(lambda: ("recoverable", "log_unavailable") in seen)
        stop.set()
        await asyncio.wait_for(task, 5)

    asyncio.run(go())


@pytest.mark.parametrize("kind", ["opcua", "mqtt", "http_pull"])
def test_contract(kind: str, sources, tmp_path: Path):
    """What `connectors.contract` promises, for every connector."""

    async def go() -> None:
        file = tmp_path / "connectors.toml"
        file.write_text(table(kind, f"contract-{kind.replace('_', '-')}", sources[kind]))
        (config,) = load_config(file).connectors
        journal = Journal(config.name, config.type)
        made = host.build(config, journal, tmp_path)
        assert isinstance(made.can_acknowledge, bool)
        report = await made.check()
        assert (report.ok, report.reason) == (True, "")
        assert report.target
        assert isinstance(made, Reachable)
        assert await made.reachable()
        assert isinstance(made, Probe)
        with pytest.raises(TransientError):  # nothing is running that could be asked
            await made.probe()
        # nothing counts as handed over before the sink has returned, and only a bounded amount waits
        sink = Keeping()
        sink.open.clear()
        task = asyncio.create_task(supervise(made, sink, journal))
        await until(lambda: sink.waiting == 1, 15)
        await asyncio.sleep(0.5)
        assert sink.waiting == 1
        assert sink.batches == []
        sink.open.set()
        await until(lambda: sum(map(len, sink.batches)) >= 20, 15)
        await until(lambda: journal.state == "ok")
        async with asyncio.timeout(5):
            assert abs(await made.probe() - time.time_ns() // 1000) < 15_000_000
        assert {batch.unit for batch in sink.batches} == {UNIT}
        assert all(batch.received_at > 1_700_000_000_000_000 for batch in sink.batches)
        # cancellation ends it within the time promised
        started = time.monotonic()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert time.monotonic() - started < 5
        await until(lambda: journal.state == "stopped")
        # and it can be run again, by the same object
        again = asyncio.create_task(supervise(made, sink, journal))
        await until(lambda: journal.state == "ok", 15)
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)

    asyncio.run(go())


def test_a_canary_of_each_protocol_reaches_the_store(sources, nats_fresh: str, dsn: str, tmp_path: Path):
    async def go() -> None:
        file = tmp_path / "connectors.toml"
        file.write_text("".join(table(kind, f"e-{kind}", text) for kind, text in sources.items()))
        stop = asyncio.Event()

        def report(name: str, state: str, details: dict[str, Any]) -> None:
            pass

        work = [
            asyncio.create_task(host.run(file, nats_fresh, tmp_path / "state", stop, report)),
            asyncio.create_task(writer.run(dsn, nats_fresh, stop, report)),
        ]
        with connect(dsn, application="test", autocommit=True) as conn:
            await until(lambda: {a.connector for a in arrived(conn)} == {f"e-{kind}" for kind in sources}, 40)
            assert all(0 <= (a.stored_at - a.sent_at).total_seconds() < 20 for a in arrived(conn))
            assert (
                accounts.source_accounts(conn) == []
            )  # the unit is not registered, and a canary has no rows
        stop.set()
        await asyncio.gather(*work)

    asyncio.run(go())
