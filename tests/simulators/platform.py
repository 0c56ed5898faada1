"""A platform reduced to counting: what arrives by each of the four ways, by source."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import paho.mqtt.client as paho
from asyncua.client.client import Client
from asyncua.ua.uaerrors import UaError
from paho.mqtt.enums import CallbackAPIVersion

from simulators.province import Province, Source

TOKEN = "pull-token"


def rows_in(body: bytes) -> int:
    """Readings in a body of measurements; 1 when it cannot be read."""
    try:
        content = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return 1
    if "columns" in content:
        return len(content["columns"]["tag"])
    return len(content.get("values") or content["records"])


class CountingPlatform:
    """Listens, subscribes and pulls; `received` and `datasets` are counts."""

    def __init__(self, province: Province, base_port: int) -> None:
        self.received: Counter[str] = Counter()
        self.datasets: Counter[str] = Counter()
        self.latest: dict[str, int] = {}
        self._province = province
        self._base_port = base_port
        self._answers: dict[str, int] = {}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._mqtt: paho.Client | None = None

    def start(self, mqtt_url: str) -> None:
        """Begin; `mqtt_url` with the platform's own user."""
        self._thread(self._http.serve_forever)
        self._thread(lambda: asyncio.run(self._pull_and_subscribe()))
        broker = urlsplit(mqtt_url)
        self._mqtt = paho.Client(CallbackAPIVersion.VERSION2, client_id="counting", clean_session=False)
        self._mqtt.username_pw_set(broker.username or "", broker.password)
        self._mqtt.on_connect = lambda client, *_: client.subscribe("qunce/v1/#", qos=1)
        self._mqtt.on_message = self._on_message
        self._mqtt.connect(broker.hostname or "", broker.port or 1883)
        self._mqtt.loop_start()

    def stop(self) -> None:
        """Close everything."""
        self._stop.set()
        if self._mqtt is not None:
            self._mqtt.disconnect()
            self._mqtt.loop_stop()
        self._http.shutdown()
        self._http.server_close()
        for thread in self._threads:
            thread.join(10)

    def _thread(self, target: Any) -> None:
        self._threads.append(threading.Thread(target=target, daemon=True))
        self._threads[-1].start()

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        self.received[f"mqtt:{message.topic.split('/')[2]}"] += rows_in(bytes(message.payload))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        platform = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                unit = self.headers["Authorization"].removeprefix("Bearer key-")
                status = platform._take(self.path, unit, self.headers.get("Idempotency-Key"), body)
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_args: Any) -> None:
                """Say nothing."""

        return Handler

    def _take(self, path: str, unit: str, key: str | None, body: bytes) -> int:
        if path.startswith("/api/v1/datasets/"):
            self.datasets[path.rsplit("/", 1)[1]] += len(msgspec.json.decode(body)["records"])
            return 200
        if key is None or key not in self._answers:
            self.received[f"http_push:{unit}"] += rows_in(body)
            self._answers[key or ""] = 200
        return 200

    async def _pull_and_subscribe(self) -> None:
        ways = {"http_pull": self._pull, "opcua": self._subscribe}
        await asyncio.gather(
            *(ways[source.protocol](source) for source in self._province.sources if source.protocol in ways)
        )

    async def _pull(self, source: Source) -> None:
        url = f"http://127.0.0.1:{self._base_port + (source.port_offset or 0)}/measurements"
        cursor = ""
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False) as client:
            while not self._stop.is_set():
                try:
                    page = (await client.get(url, params={"after": cursor, "limit": 100})).json()
                except httpx.HTTPError:
                    await asyncio.sleep(0.3)
                    continue
                self.received[source.key] += len(page["records"])
                cursor = page["next"]
                await asyncio.sleep(0 if page["more"] else 0.3)

    async def _subscribe(self, source: Source) -> None:
        platform = self

        class Handler:
            def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
                platform.received[source.key] += 1

            def status_change_notification(self, status: Any) -> None:
                """The subscription is over; the next connection makes a new one."""

        tags = {one.code: one.tags for one in self._province.equipment if one.unit == source.unit}
        while not self._stop.is_set():
            try:
                port = self._base_port + (source.port_offset or 0)
                async with Client(f"opc.tcp://127.0.0.1:{port}/qunce-sim") as client:
                    space = await client.get_namespace_index(f"urn:qunce:sim:{source.name}")
                    subscription = await client.create_subscription(200, Handler())
                    names = [tag.name for code in source.equipment for tag in tags[code]]
                    nodes = [client.get_node(f"ns={space};s={name}") for name in names]
                    await subscription.subscribe_data_change(nodes, queuesize=100)
                    while not self._stop.is_set():
                        await client.check_connection()
                        await asyncio.sleep(0.2)
            except (OSError, TimeoutError, UaError):
                await asyncio.sleep(0.3)
