"""The senders: clients as lead units would write them, each unit with a connection, a key and a name of its own."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks import bodies
from benchmarks.fleet import Fleet
from benchmarks.plan import Pass, chunks

FORMS: dict[str, tuple[Callable[..., bytes], str, int]] = {
    "http_arrow": (bodies.arrow, bodies.ARROW, 50_000),
    "http_json_columns": (bodies.json_columns, bodies.JSON, 50_000),
    "http_json_rows": (bodies.json_rows, bodies.JSON, 20_000),
}
"""By path: how a chunk becomes a body, its content type, readings a request."""

IN_FLIGHT = 200
"""Messages of MQTT that a unit has sent and not yet seen acknowledged."""


class Refused(RuntimeError):
    """The interface does not take what is sent: the answer's status and begin."""


@dataclass
class Sent:
    """What became of the requests or messages of one worker."""

    taken: int = 0
    told_to_wait: int = 0
    waited_s: float = 0.0

    def add(self, other: Sent) -> None:
        """Sum up."""
        self.taken += other.taken
        self.told_to_wait += other.told_to_wait
        self.waited_s += other.waited_s


class Client:
    """One connection to the open interface. Obeys Retry-After; what is sent again has the same name."""

    def __init__(self, port: int, key: str, kind: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": kind}
        self.sent = Sent()

    def post(self, body: bytes, name: str) -> None:
        """Send until it is taken. Raises Refused."""
        while True:
            status, retry_after, answer = self._once(body, name)
            if status == 200:
                self.sent.taken += 1
                return
            if status not in (429, 503):
                raise Refused(f"{status}: {answer[:500].decode('utf-8', 'replace')}")
            self.sent.told_to_wait += 1
            self.sent.waited_s += retry_after
            time.sleep(retry_after)

    def _once(self, body: bytes, name: str) -> tuple[int, float, bytes]:
        try:
            self._connection.request(
                "POST", "/api/v1/measurements", body, {**self._headers, "Idempotency-Key": name}
            )
            answer = self._connection.getresponse()
            return answer.status, float(answer.headers.get("Retry-After", 1)), answer.read()
        except (http.client.HTTPException, OSError):
            self._connection.close()  # the next request opens another
            return 503, 0.5, b""

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def prepare_http(port: int, keys: dict[str, str], fleet: Fleet, of: Pass, path: str) -> Callable[[], Sent]:
    """Build every body of a pass; the work is to send them, each unit on a connection of its own."""
    body, kind, rows = FORMS[path]
    queues: list[list[bytes]] = [[] for _ in fleet.units]
    for chunk in chunks(fleet, of, rows):
        queues[chunk.unit].append(body(fleet, chunk))

    def send(unit: int) -> Sent:
        client = Client(port, keys[fleet.units[unit]], kind)
        for number, data in enumerate(queues[unit]):
            client.post(data, f"{of.day}/{path}/{number}")
        client.close()
        return client.sent

    def work() -> Sent:
        total = Sent()
        with ThreadPoolExecutor(len(queues)) as pool:
            for sent in pool.map(send, range(len(queues))):
                total.add(sent)
        return total

    return work


def prepare_mqtt(port: int, keys: dict[str, str], fleet: Fleet, of: Pass) -> Callable[[], Sent]:
    """Build every message of a pass and log in, each unit as itself; the work is to publish and see all acknowledged."""
    queues: list[list[bodies.Message]] = [[] for _ in fleet.units]
    for chunk in chunks(fleet, of):
        queues[chunk.unit] += bodies.mqtt_messages(fleet, chunk)
    publishers = [Publisher(port, code, keys[code]) for code in fleet.units]

    def work() -> Sent:
        with ThreadPoolExecutor(len(publishers)) as pool:
            return Sent(taken=sum(pool.map(Publisher.publish, publishers, queues)))

    return work


class Publisher:
    """One unit's session with the broker, QoS 1, with a bounded number of messages in flight."""

    def __init__(self, port: int, user: str, key: str) -> None:
        self._room = threading.Semaphore(IN_FLIGHT)
        self._connected = threading.Event()
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"bench-{user}", clean_session=False)
        client.username_pw_set(user, key)
        client.max_inflight_messages_set(IN_FLIGHT)
        client.on_connect = lambda *_: self._connected.set()
        client.on_publish = lambda *_: self._room.release()
        client.connect("127.0.0.1", port, 60)
        client.loop_start()
        self._client = client
        if not self._connected.wait(30):
            raise Refused(f"no session for {user}")

    def publish(self, messages: Iterable[bodies.Message]) -> int:
        """Publish all and end the session; returns their number when the last is acknowledged."""
        count = 0
        for topic, payload in messages:
            self._room.acquire()
            self._client.publish(topic, payload, qos=1)
            count += 1
        for _ in range(IN_FLIGHT):
            self._room.acquire()
        self._client.disconnect()
        self._client.loop_stop()
        return count
