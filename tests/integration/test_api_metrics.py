"""`GET /metrics`: the account as Prometheus reads it, who may, and what is left while something is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from ingest.api import create_api
from ingest.log import Log
from qunce.process import free_port
from store import canary
from store.database import Connection
from store.registry import NewUnit, register_unit, source_id
from store.roles import logins
from store.status import beat

pytestmark = pytest.mark.concurrent
UNIT, TOKEN = "GD-MET-01", "a token of some length"


@asynccontextmanager
async def asked(
    dsn: str, nats_url: str, *, address: str = "127.0.0.1", token: str | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    app = create_api(logins(dsn), nats_url, metrics_token=None if token is None else SecretStr(token))
    transport = httpx.ASGITransport(app, client=(address, 50_000))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://qunce", timeout=30) as client,
    ):
        yield client


def samples(answer: httpx.Response) -> dict[tuple[str, frozenset[str]], float]:
    """(name, label values) → value."""
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_the_account_balances(nats_fresh: str, dsn: str, conn: Connection) -> None:
    with conn.transaction():
        unit = register_unit(conn, NewUnit(UNIT, "单位", "Unit", 1, "91440300MA5EXAMP0C"))
        source = source_id(conn, unit, "mqtt:x")
        conn.execute(
            "UPDATE ingest_ledger SET received = 10, stored = 6, duplicates = 2, corrections = 1, quarantined = 1"
            " WHERE source_id = %s",
            (source,),
        )
        conn.execute(
            "INSERT INTO quarantine (unit_id, source_id, batch, place, reason, parameters, original, received_at)"
            " SELECT 0, 0, 'b', '$', 'unknown_unit', jsonb_build_object('unit', 'SOMEBODY' || n), '', now()"
            " FROM generate_series(1, 4) n"
        )
        canary.keep(conn, [canary.Canary("opcua-1", time.time_ns() // 1000, time.time_ns() // 1000)])
        beat(conn, "writer", "here", "ok", {"rows": 10, "rss_bytes": 5})

    async def go() -> None:
        log = await Log.connect(nats_fresh, name="test")
        for n in range(3):
            await log.append(
                b"x", kind="batch", lane="live", unit=UNIT, source="mqtt:x", msg_id=str(n), rows=5
            )
        await log.close()
        async with asked(dsn, nats_fresh) as client:
            answer = await client.get("/metrics")
            found = samples(answer)
            again = await client.get("/metrics")
        name = frozenset({UNIT, "mqtt:x"})
        outcomes = {
            outcome: found["qunce_ingest_rows_total", name | {outcome}]
            for outcome in ("stored", "duplicate", "correction", "quarantined")
        }
        assert outcomes == {"stored": 6, "duplicate": 2, "correction": 1, "quarantined": 1}
        assert found["qunce_ingest_pending_rows", name] == 15
        assert found["qunce_ingest_received_rows_total", name] == 25
        assert found["qunce_ingest_unbalanced_accounts", frozenset()] == 0
        nobody = frozenset({"(unknown)", ""})
        assert found["qunce_ingest_received_rows_total", nobody] == 4
        assert "SOMEBODY" not in answer.text  # as many names as somebody likes to send
        assert found["qunce_log_bytes", frozenset()] > 0
        assert found["qunce_log_limit_bytes", frozenset()] == 2**28
        assert 0 <= found["qunce_canary_age_seconds", frozenset({"opcua-1"})] < 10
        assert found["qunce_component_up", frozenset({"writer", "here"})] == 1
        assert found["qunce_writer_rows_total", frozenset({"here"})] == 10
        assert found["qunce_process_resident_bytes", frozenset({"writer", "here"})] == 5
        assert found["process_resident_memory_bytes", frozenset()] > 10_000_000
        assert samples(again)["qunce_figures_age_seconds", frozenset()] > 0  # not read anew so soon

    asyncio.run(go())


def test_with_everything_away_it_answers_and_says_so() -> None:
    async def go() -> None:
        nowhere = free_port()
        async with asked(f"postgresql://u:p@127.0.0.1:{nowhere}/d", f"nats://127.0.0.1:{nowhere}") as client:
            began = time.monotonic()
            found = samples(await client.get("/metrics"))
            assert time.monotonic() - began < 5
        assert found["qunce_up", frozenset({"database"})] == 0
        assert found["qunce_up", frozenset({"log"})] == 0
        assert not any(name.startswith("qunce_ingest") for name, _ in found)

    asyncio.run(go())


@pytest.mark.parametrize(
    ("address", "token", "headers", "status"),
    [
        ("127.0.0.1", None, {}, 200),
        ("::1", TOKEN, {}, 200),
        ("127.0.0.1", TOKEN, {"X-Forwarded-For": "10.0.0.1"}, 401),
        ("10.0.0.1", None, {}, 401),
        ("10.0.0.1", None, {"Authorization": "Bearer "}, 401),
        ("10.0.0.1", TOKEN, {}, 401),
        ("10.0.0.1", TOKEN, {"Authorization": "Bearer another one"}, 401),
        ("10.0.0.1", TOKEN, {"Authorization": f"Bearer {TOKEN}"}, 200),
    ],
)
def test_who_may(address: str, token: str | None, headers: dict[str, Any], status: int) -> None:
    async def go() -> None:
        nowhere = free_port()
        dsn, log = f"postgresql://u:p@127.0.0.1:{nowhere}/d", f"nats://127.0.0.1:{nowhere}"
        async with asked(dsn, log, address=address, token=token) as client:
            assert (await client.get("/metrics", headers=headers)).status_code == status

    asyncio.run(go())
