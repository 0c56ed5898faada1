"""What integration tests share beyond the servers of tests/conftest.py."""

from __future__ import annotations

import asyncio
import contextlib

import nats
import pytest
from nats.js.errors import NotFoundError

from ingest.log import STREAM, Log


@pytest.fixture
def nats_fresh(nats_url: str) -> str:
    """URL of the NATS server, with an empty ingest log of 256 MiB."""

    async def empty() -> None:
        client = await nats.connect(nats_url)
        with contextlib.suppress(NotFoundError):
            await client.jetstream().delete_stream(STREAM)
        await client.close()
        await (await Log.connect(nats_url, name="test", max_bytes=2**28)).close()

    asyncio.run(empty())
    return nats_url
