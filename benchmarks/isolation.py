"""What one unit that floods costs another: latency of the other's requests, alone and beside each flood.

Starts embedded servers and the roles `api` and `writer` in a temporary directory. The victim sends
50 readings every 20 ms; the flood runs in a process of its own, as fast as it is let. Last come
10,000 latest values, and the most memory the interface and its decoders ever held.
"""

from __future__ import annotations

import json
import multiprocessing
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from qunce.embedded.nats import Nats
from qunce.embedded.postgres import Postgres
from qunce.process import free_port, spawn, stop, wait_ready, write_private
from qunce.provision import provision
from qunce.settings import Settings, to_toml
from store.database import connect
from store.migrate import migrate

VICTIM, FLOODER = "GD-BEN-01", "GD-BEN-02"
USCC = "91440300MA5EXAMP0C"
TAGS, ROUND_S, EVERY_S, AT_ONCE = 10_000, 6.0, 0.02, 4
NOT_READ = b'{"records":[{"tag":'


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="qunce-bench-") as folder, ExitStack() as stack:
        port, api, keys = start(Path(folder), stack)
        watch = Memory(api)
        stack.callback(watch.stop)
        results: dict[str, Any] = {"latest_10000_ms": latest(port, keys[VICTIM])}
        alone = victim(port, keys[VICTIM])
        for name in FLOODS:
            # Alone before each, too: the machine is not the same from one minute to the next.
            alone = victim(port, keys[VICTIM])
            with flooding(name, port, keys[FLOODER]):
                beside = victim(port, keys[VICTIM])
            ratio = {key: round(beside[key] / alone[key], 2) for key in ("p50_ms", "p95_ms")}
            results[name] = {"alone": alone, "beside": beside, "ratio": ratio}
            print(f"{name:<10} {ratio}  refused {beside['refused']}", file=sys.stderr)
        results["rss_mib"] = watch.highest
    print(json.dumps(results, indent=1))


def start(root: Path, stack: ExitStack) -> tuple[int, int, dict[str, str]]:
    """Servers and roles → (port and process id of the interface, unit → key)."""
    postgres = Postgres(root / "postgres", free_port())
    stack.callback(stop, postgres.start(root / "postgres.log"), how=postgres.stop_signal)
    nats = Nats(root / "nats", free_port(), free_port())
    stack.callback(stop, nats.start(root / "nats.log"))
    with connect(postgres.dsn, application="bench") as conn:
        migrate(conn)
    keys = provision(postgres.dsn, [pilot(unit) for unit in (VICTIM, FLOODER)], root / "keys.json")
    with connect(postgres.dsn, application="bench") as conn:
        register(conn)
    settings = Settings.model_validate(
        {
            "data_dir": root,
            "database": {"dsn": postgres.dsn},
            "log": {"url": nats.url, "max_bytes": nats.room() // 2},
            "api": {"port": free_port()},
        }
    )
    write_private(root / "qunce.toml", to_toml(settings))
    port, pid = settings.api.port, 0

    def ready() -> bool:
        with suppress(httpx.HTTPError):
            return (
                httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=2, trust_env=False).status_code == 200
            )
        return False

    for role in ("writer", "api"):
        with (root / f"{role}.log").open("wb") as output:
            child: subprocess.Popen[bytes] = spawn(
                [sys.executable, "-m", "qunce", "up", "--roles", role, "--config", root / "qunce.toml"],
                output=output,
            )
        stack.callback(stop, child)
        if role == "api":
            wait_ready(child, ready, timeout_s=60, log=root / "api.log")
            pid = child.pid
    return port, pid, keys


def pilot(unit: str) -> dict[str, Any]:
    """A pilot of a unit."""
    return {
        "code": f"P-{unit}", "name_zh": "性能", "name_en": "Benchmark", "cluster_code": "new-it",
        "region_code": "441900", "stage": "piloting", "started_on": "2026-01-01",
        "unit": {"code": unit, "name_zh": "性能", "name_en": "Benchmark", "path": 1, "uscc": USCC},
    }  # fmt: skip


def register(conn: Any) -> None:
    """TAGS tags for each unit, each with a latest value."""
    conn.execute(
        "INSERT INTO enterprise (unit_id, uscc, name, region_code, registered_on)"
        " SELECT unit_id, %s, '厂', '441900', '2026-01-01' FROM lead_unit",
        (USCC,),
    )
    conn.execute(
        "INSERT INTO equipment (unit_id, enterprise_id, code, name, kind, digital, networked)"
        " SELECT unit_id, enterprise_id, 'M' || i, 'M', 'CNC', true, true FROM enterprise, generate_series(0, 99) i"
    )
    conn.execute(
        "INSERT INTO tag (unit_id, equipment_id, name, signal, data_type, unit)"
        " SELECT unit_id, equipment_id, code || '.p' || i, 'p' || i, 'float', '1'"
        " FROM equipment, generate_series(1, %s) i",
        (TAGS // 100,),
    )
    conn.execute(
        "INSERT INTO latest_value (tag_id, ts, value, quality, received_at)"
        " SELECT tag_id, now() - interval '1 hour', tag_id / 7.0, 0, now() FROM tag"
    )
    conn.commit()


def columns(n: int) -> bytes:
    """A body of n readings, each time others."""
    now = time.time_ns() // 1000
    body = {
        "tags": [f"M{i}.p1" for i in range(100)],
        "columns": {
            "tag": [i % 100 for i in range(n)],
            "ts": [now - i // 100 * 1000 for i in range(n)],
            "value": [i % 977 / 10 for i in range(n)],
        },
    }
    return json.dumps(body).encode()


def client(port: int, key: str) -> httpx.Client:
    """Speaks as a unit."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60, trust_env=False)


def victim(port: int, key: str) -> dict[str, float]:
    """Latency of small requests, one every EVERY_S."""
    took, refused = [], 0
    with client(port, key) as unit:
        until = time.monotonic() + ROUND_S
        while time.monotonic() < until:
            body = columns(50)
            begun = time.perf_counter()
            answer = unit.post("/api/v1/measurements", content=body)
            took.append((time.perf_counter() - begun) * 1000)
            refused += answer.status_code != 200
            time.sleep(EVERY_S)
    took.sort()
    return {
        "p50_ms": round(statistics.median(took), 2),
        "p95_ms": round(took[int(len(took) * 0.95)], 2),
        "requests": len(took),
        "refused": refused,
    }


def latest(port: int, key: str) -> float:
    """Median of ten readings of all latest values, end to end."""
    took = []
    with client(port, key) as unit:
        for _ in range(10):
            begun = time.perf_counter()
            found = unit.get("/api/v1/latest").json()
            took.append((time.perf_counter() - begun) * 1000)
            assert len(found["tags"]) == TAGS
    return round(statistics.median(took), 1)


class flooding:  # noqa: N801
    """A flood, as long as the block lasts."""

    def __init__(self, name: str, port: int, key: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=flood, args=(name, port, key), daemon=True)

    def __enter__(self) -> None:
        self._process.start()
        time.sleep(2)

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        time.sleep(1)


def flood(name: str, port: int, key: str) -> None:
    """Run a flood over AT_ONCE connections until killed."""
    threads = [threading.Thread(target=FLOODS[name], args=(port, key)) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()


def malformed(port: int, key: str) -> None:
    """Bodies that cannot be read."""
    with client(port, key) as unit:
        while True:
            unit.post("/api/v1/measurements", content=NOT_READ)


def wrong_key(port: int, key: str) -> None:
    """Keys that are tried."""
    with client(port, key) as unit:
        for i in range(10**9):
            unit.post("/api/v1/measurements", content=b"{}", headers={"authorization": f"Bearer {key}{i}"})


def valid(port: int, key: str) -> None:
    """50,000 readings at a time."""
    with client(port, key) as unit:
        while True:
            answer = unit.post("/api/v1/measurements", content=columns(50_000))
            if answer.status_code == 429:
                time.sleep(float(answer.headers["retry-after"]))


def huge(port: int, key: str) -> None:
    """A body of 2 GB, begun again whenever the connection is closed."""
    _bodies(port, key, 2 * 2**30, b" " * 2**20, 0.0)


def slow(port: int, key: str) -> None:
    """Bodies of 16 MiB that come by the kilobyte."""
    _bodies(port, key, 16 * 2**20, b" " * 2**10, 0.05)


def _bodies(port: int, key: str, length: int, piece: bytes, pause_s: float) -> None:
    head = (
        f"POST /api/v1/measurements HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(head.encode())
            for _ in range(0, length, len(piece)):
                connection.sendall(piece)
                time.sleep(pause_s)


FLOODS: dict[str, Callable[[int, str], None]] = {
    "malformed": malformed,
    "wrong_key": wrong_key,
    "huge": huge,
    "slow": slow,
    "valid": valid,
}


class Memory:
    """The most memory that a process and its children held, each by itself, in MiB."""

    def __init__(self, pid: int) -> None:
        self.highest: dict[str, int] = {}
        self._parent = psutil.Process(pid)
        self._over = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while not self._over.wait(0.05):
            with suppress(psutil.Error):
                for process in (self._parent, *self._parent.children()):
                    name = "api" if process is self._parent else "decoder"
                    mib = process.memory_info().rss // 2**20
                    self.highest[name] = max(self.highest.get(name, 0), mib)

    def stop(self) -> None:
        """Look no more."""
        self._over.set()


if __name__ == "__main__":
    main()
