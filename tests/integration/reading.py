"""What the tests of the reading routes share: two units that must not see each other, asked over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import httpx

from ingest.api import create_api
from qunce.catalogue import read_catalogue
from store.roles import logins
from tests.isolation.world import World

NO_LOG = "nats://127.0.0.1:9"
"""Nothing that is read needs the log."""


@asynccontextmanager
async def reading(dsn: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running interface."""
    app = create_api(logins(dsn), NO_LOG, catalogue=read_catalogue())
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://qunce", timeout=60) as client,
    ):
        yield client


def ask(dsn: str, test: Callable[[httpx.AsyncClient], Coroutine[Any, Any, None]]) -> None:
    """Run a test against it."""

    async def run() -> None:
        async with reading(dsn) as client:
            await test(client)

    asyncio.run(run())


def as_(world: World, who: str) -> dict[str, str]:
    """The headers of a caller of tests.isolation.world."""
    return {"Authorization": f"Bearer {world.tokens[who]}"}
