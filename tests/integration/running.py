"""The open interface and a writer over real servers, on a port of this machine, for clients that are outsiders."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import nats
import uvicorn
from fastapi import FastAPI
from nats.js.errors import NotFoundError

from ingest import writer
from ingest.api import create_api
from ingest.log import STREAM, Log
from qunce.process import free_port
from store.roles import logins


@contextmanager
def running(dsn: str, nats_url: str, prepare: Callable[[FastAPI], object] = id) -> Iterator[str]:
    """The interface's address; with a writer behind it. `prepare` adds to the application what it likes."""
    app = create_api(logins(dsn), nats_url)
    prepare(app)
    port = free_port()
    started, ending = threading.Event(), threading.Event()

    async def work() -> None:
        await empty_log(nats_url)
        stop = asyncio.Event()
        server = uvicorn.Server(
            uvicorn.Config(
                app, host="127.0.0.1", port=port, log_config=None,
                timeout_graceful_shutdown=1,
            )
        )  # fmt: skip
        writing = asyncio.create_task(writer.run(logins(dsn).writer, nats_url, stop, no_report))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.02)
        started.set()
        await asyncio.to_thread(ending.wait)
        server.should_exit = True
        stop.set()
        await asyncio.wait_for(asyncio.gather(serving, writing), 20)

    thread = threading.Thread(target=lambda: asyncio.run(work()), daemon=True)
    thread.start()
    assert started.wait(30)
    yield f"http://127.0.0.1:{port}"
    ending.set()
    thread.join(25)


async def empty_log(nats_url: str) -> None:
    """Begin with an ingest log of 256 MiB that holds nothing."""
    client = await nats.connect(nats_url)
    with contextlib.suppress(NotFoundError):
        await client.jetstream().delete_stream(STREAM)
    await client.close()
    await (await Log.connect(nats_url, name="test", max_bytes=2**28)).close()


def no_report(component: str, status: str, detail: dict[str, Any]) -> None:
    """Status goes nowhere in a test."""
