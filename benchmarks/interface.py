"""Rows per second from a lead unit's request to the row in the store: interface, log, writer, database.

Starts embedded servers and the roles `api` and `writer` in a
temporary directory, sends back-fill in columns over HTTP, and waits until the ledger has every row.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psycopg

from qunce.embedded.nats import Nats
from qunce.embedded.postgres import Postgres
from qunce.process import free_port, spawn, stop, wait_ready, write_private
from qunce.provision import provision
from qunce.settings import Settings, to_toml
from store.accounts import source_accounts
from store.database import connect
from store.migrate import migrate

UNIT = "GD-BEN-01"
USCC = "91440300MA5EXAMP0C"
MACHINES = 200
ROWS_A_REQUEST = 50_000
STEP_US = 1_000_000
AT_ONCE = 4
PILOT = {
    "code": "P-BEN", "name_zh": "性能", "name_en": "Benchmark", "cluster_code": "new-it", "region_code": "441900",
    "stage": "piloting", "started_on": "2026-01-01",
    "unit": {"code": UNIT, "name_zh": "性能", "name_en": "Benchmark", "path": 1, "uscc": USCC},
}  # fmt: skip


def main(rows: int = 1_000_000) -> None:
    """Measure and print one JSON object."""
    with tempfile.TemporaryDirectory(prefix="qunce-bench-") as folder, ExitStack() as stack:
        root = Path(folder)
        print("preparing …", file=sys.stderr)
        base, key, dsn = _start(root, stack)
        with httpx.Client(base_url=base, headers={"authorization": f"Bearer {key}"}, timeout=120) as client:
            _register(client)
            print(f"sending {rows:,} rows …", file=sys.stderr)
            begun = time.perf_counter()
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(lambda start: _send(client, start, rows), range(0, rows, ROWS_A_REQUEST)))
            acknowledged_s = time.perf_counter() - begun
            _wait_stored(dsn, rows)
            stored_s = time.perf_counter() - begun
    print(
        json.dumps(
            {
                "rows": rows,
                "acknowledged_rows_per_s": round(rows / acknowledged_s),
                "stored_rows_per_s": round(rows / stored_s),
                "seconds": round(stored_s, 2),
            },
            indent=1,
        )
    )


def _start(root: Path, stack: ExitStack) -> tuple[str, str, str]:
    postgres = Postgres(root / "postgres", free_port())
    server = postgres.start(root / "postgres.log")
    stack.callback(stop, server, how=postgres.stop_signal)
    nats = Nats(root / "nats", free_port(), free_port())
    broker = nats.start(root / "nats.log")
    stack.callback(stop, broker)
    with connect(postgres.dsn, application="bench") as conn:
        migrate(conn)
    key = provision(postgres.dsn, [PILOT], root / "keys.json")[UNIT]
    settings = Settings.model_validate(
        {
            "data_dir": root,
            "database": {"dsn": postgres.dsn},
            "log": {"url": nats.url, "max_bytes": nats.room() // 2},
            "api": {"port": free_port()},
        }
    )
    write_private(root / "qunce.toml", to_toml(settings))
    base = f"http://127.0.0.1:{settings.api.port}"

    def ready() -> bool:
        try:
            return httpx.get(f"{base}/healthz", timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    for role in ("api", "writer"):
        with (root / f"{role}.log").open("wb") as output:
            child: subprocess.Popen[bytes] = spawn(
                [sys.executable, "-m", "qunce", "up", "--roles", role, "--config", root / "qunce.toml"],
                output=output,
            )
        stack.callback(stop, child)
        if role == "api":
            wait_ready(child, ready, timeout_s=60, log=root / "api.log")
    return base, key, postgres.dsn


def _post(client: httpx.Client, path: str, body: dict[str, Any]) -> None:
    while True:
        answer = client.post(path, json=body)
        if answer.status_code in (429, 503):
            time.sleep(float(answer.headers.get("retry-after", 1)))
            continue
        answer.raise_for_status()
        return


def _register(client: httpx.Client) -> None:
    records: dict[str, list[dict[str, Any]]] = {
        "enterprise": [
            {"uscc": USCC, "name": "性能", "region_code": "441900", "registered_on": "2026-01-01"}
        ],
        "equipment": [
            {"code": f"M{i}", "enterprise_uscc": USCC, "name": "机", "kind": "CNC", "digital": True, "networked": True}
            for i in range(MACHINES)
        ],
        "tag": [
            {
                "name": f"M{i}.power", "equipment_code": f"M{i}", "signal": "power", "data_type": "float",
                "unit": "kW", "interval_s": 1, "valid_from": "2026-01-01T00:00:00Z",
            }
            for i in range(MACHINES)
        ],
    }  # fmt: skip
    for name, rows in records.items():
        _post(client, f"/api/v1/datasets/{name}", {"records": rows})


def _send(client: httpx.Client, start: int, rows: int) -> None:
    numbers = range(start, min(start + ROWS_A_REQUEST, rows))
    origin = (int(time.time()) // 86_400 - 2) * 86_400_000_000
    body = {
        "mode": "backfill",
        "tags": [f"M{i}.power" for i in range(MACHINES)],
        "columns": {
            "tag": [n % MACHINES for n in numbers],
            "ts": [origin + n // MACHINES * STEP_US for n in numbers],
            "value": [n % 977 / 10 for n in numbers],
        },
    }
    _post(client, "/api/v1/measurements", body)


def _wait_stored(dsn: str, rows: int) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        while True:
            found = sum(a.stored for a in source_accounts(conn) if a.unit == UNIT)
            if found >= rows:
                return
            time.sleep(0.05)


if __name__ == "__main__":
    main()
