"""The open interface on a TCP port, with its writer, in a thread of the test: for clients that are not ours to patch."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import nats
import uvicorn
from nats.js.errors import NotFoundError

from ingest import writer
from ingest.api import create_api
from ingest.log import STREAM, Log
from qunce.process import free_port
from store.roles import logins


def no_report(component: str, status: str, detail: dict[str, Any]) -> None:
    """Status goes nowhere in these tests."""


async def _empty_log(nats_url: str) -> None:
    client = await nats.connect(nats_url)
    with contextlib.suppress(NotFoundError):
        await client.jetstream().delete_stream(STREAM)
    await client.close()
    await (await Log.connect(nats_url, name="test", max_bytes=2**28)).close()


@contextmanager
def served(
    dsn: str, nats_url: str, *, port: int | None = None, fresh: bool = True, **given: Any
) -> Iterator[str]:
    """The platform's address while it runs; `fresh` begins with an empty log, `given` goes to `create_api`."""
    if fresh:
        asyncio.run(_empty_log(nats_url))
    port = port or free_port()
    config = uvicorn.Config(
        create_api(logins(dsn), nats_url, **given),
        host="127.0.0.1",
        port=port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    started, failed = threading.Event(), []

    async def run() -> None:
        stop = asyncio.Event()
        work = asyncio.create_task(writer.run(logins(dsn).writer, nats_url, stop, no_report))
        serving = asyncio.create_task(server.serve())
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        started.set()
        await serving
        stop.set()
        await asyncio.wait_for(work, 15)

    def runs() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            failed.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=runs, name="platform")
    thread.start()
    try:
        assert started.wait(20)
        if failed:
            raise failed[0]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
