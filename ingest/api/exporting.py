"""Exports: tables of any size, streamed from one state of the database, a bounded number at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

import psycopg
import pyarrow as pa
from fastapi import Response
from psycopg_pool import PoolTimeout
from starlette.types import Receive, Scope, Send

from ingest.api.problems import Problem, bad_parameter
from ingest.tables import MEDIA_TYPES, Format, SheetFull, Writing, writing
from store import audit
from store.database import Connection, classify, open_pool
from store.identity import Principal, acting
from store.snapshot import snapshot

MOST_AT_ONCE = 4
MOST_OF_ONE = 2
"""At once, of one unit or person."""
_STATEMENT_S = 60
_STALL_S = 120
"""Whoever does not read on for so long is not waited for."""
MOST_S = 3600


class Table(NamedTuple):
    """What is exported: `name` of the file, the columns, and how the rows are read, batch by batch."""

    name: str
    schema: pa.Schema
    batches: Callable[[Connection], Iterator[pa.RecordBatch]]
    detail: dict[str, Any]
    """For the audit log: what was asked for."""


class Exports:
    """All exports of one process."""

    def __init__(self, dsn: str) -> None:
        self._pool = open_pool(dsn, application="api-export", max_size=MOST_AT_ONCE)
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, "export")
        self._of: dict[str, int] = {}
        self._ending: set[asyncio.Task[bool]] = set()

    async def answer(self, who: Principal, table: Table, form: Format) -> Response:
        """The answer that streams this table to this caller. Raises Problem: too many at once, or it cannot begin."""
        payer = who.payer
        if sum(self._of.values()) >= MOST_AT_ONCE or self._of.get(payer, 0) >= MOST_OF_ONE:
            raise Problem("too_many_exports", {"limit": str(MOST_OF_ONE)}, retry_after_s=10)
        self._of[payer] = self._of.get(payer, 0) + 1
        export = _Export(self, who, table, form)
        try:
            await self.threaded(export.told, "export.begun", {})
            first = await export.next()
        except BaseException as error:
            export.end()
            if isinstance(error, SheetFull):
                raise bad_parameter(
                    "format",
                    f"xlsx 容纳不下({error});请改用 csv 或 parquet,或缩小范围",
                    f"xlsx cannot hold it: {error}; take csv or parquet, or ask for less",
                ) from error
            away = isinstance(error, PoolTimeout) or (
                isinstance(error, psycopg.Error) and classify(error) == "transient"
            )
            if away:
                raise Problem("unavailable", retry_after_s=5) from error
            raise
        headers = {"Content-Disposition": f'attachment; filename="{table.name}.{form}"'}
        return _Streamed(export, first, headers, MEDIA_TYPES[form])

    def ending(self, export: _Export) -> asyncio.Task[bool]:
        """Let go of what an export holds, in the background: its reader may be gone, and its query still running.

        True: it is in the audit log how it ended.
        """
        task = asyncio.get_running_loop().create_task(self._end(export))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task

    async def _end(self, export: _Export) -> bool:
        try:
            await export.close()
            told = {"rows": export.rows, "bytes": export.sent, "complete": export.complete}
            await self.threaded(export.told, "export.made", told)
        except (psycopg.Error, PoolTimeout):
            return False
        finally:
            payer = export.who.payer
            self._of[payer] -= 1
            if not self._of[payer]:
                del self._of[payer]
        return True

    async def threaded(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run in one of the exports' own threads: they do not wait for anybody else's."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    def connection(self) -> Any:
        """A connection of the exports' own pool."""
        return self._pool.connection()

    async def close(self) -> None:
        """Wait for what is ending; nothing is streamed any more."""
        while self._ending:
            await asyncio.gather(*self._ending, return_exceptions=True)
        await asyncio.to_thread(self._pool.close)
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Export:
    """One of them. `sent` counts bytes handed to the connection, `rows` the rows read for them."""

    def __init__(self, exports: Exports, who: Principal, table: Table, form: Format) -> None:
        self.who, self.form = who, form
        self.rows = self.sent = 0
        self.complete = False
        self._exports, self._table = exports, table
        self._pieces = self._read()
        self._conn: Connection | None = None
        self._stop = False
        self._running: asyncio.Future[Any] | None = None
        self._ended: asyncio.Task[bool] | None = None

    async def next(self) -> bytes:
        """The next piece of the file; empty at its end."""
        self._running = asyncio.ensure_future(self._exports.threaded(next, self._pieces, b""))
        # Shielded: a thread cannot be cancelled, and `close` waits until it is done with the connection.
        piece: bytes = await asyncio.shield(self._running)
        return piece

    def end(self) -> asyncio.Task[bool]:
        """Nobody reads on, or it is complete; as Exports.ending."""
        if self._ended is None:
            self._ended = self._exports.ending(self)
        return self._ended

    async def close(self) -> None:
        """End the query, if one is running, and give the connection back."""
        self._stop = True
        if self._running is not None and not self._running.done():
            conn = self._conn
            if conn is not None:
                with suppress(psycopg.Error, OSError):
                    await asyncio.to_thread(conn.cancel_safe, timeout=5)
            await asyncio.wait([self._running])
        if self._running is not None and not self._running.cancelled():
            self._running.exception()  # it was seen, or there is nobody left to see it
        with suppress(psycopg.Error):
            await self._exports.threaded(self._pieces.close)

    def told(self, action: str, told: dict[str, Any]) -> None:
        """Say it in the audit log, as the caller's."""
        detail = {"format": self.form, **self._table.detail, **told}
        with self._exports.connection() as conn, acting(conn, self.who):
            audit.record(conn, action, self._table.name, detail)

    def _read(self) -> Generator[bytes, None, None]:
        file: Writing = writing(self.form, self._table.schema)
        try:
            with (
                self._exports.connection() as conn,
                snapshot(conn, self.who, statement_s=_STATEMENT_S, idle_s=_STALL_S),
            ):
                self._conn = conn
                for batch in self._table.batches(conn):
                    if self._stop:
                        return
                    self.rows += batch.num_rows
                    yield from file.add(batch)
            self._conn = None
            yield from file.end()
        finally:
            self._conn = None
            file.drop()


class _Streamed(Response):
    """Sends an export as it is read; ends it when it is done, when its reader is gone, and when it takes too long."""

    def __init__(self, export: _Export, first: bytes, headers: dict[str, str], media_type: str) -> None:
        super().__init__(headers=headers, media_type=media_type)
        del self.headers["content-length"]
        self._export, self._first = export, first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        sending = asyncio.ensure_future(self._send(send))
        gone = asyncio.ensure_future(_gone(receive))
        try:
            async with asyncio.timeout(MOST_S):
                await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            for task in (sending, gone):
                task.cancel()
            self._export.end()

    async def _send(self, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        piece = self._first
        while piece:
            async with asyncio.timeout(_STALL_S):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            self._export.sent += len(piece)
            piece = await self._export.next()
        self._export.complete = True
        # Only what is in the audit log is complete: without its last chunk the file counts for nothing.
        if not await asyncio.shield(self._export.end()):
            raise ConnectionError("the export could not be put into the audit log")
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
