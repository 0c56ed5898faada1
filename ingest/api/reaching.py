"""Reaching the database from the event loop, and doing without it at once while it is away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from ingest.api.problems import Problem
from store.database import Connection, classify

T = TypeVar("T")

_TRY_EVERY_S = 1.0
_RETRY_AFTER_S = 5
_LOST = ("08", "57P")


class Database:
    """A pool of connections, and whether the database behind it answers.

    While it does not, nobody waits for it, and no thread is kept waiting: who asks is refused at once, and one
    task tries until it answers. Used in one loop only, so nothing needs a lock.
    """

    def __init__(self, pool: ConnectionPool[Connection]) -> None:
        self._pool = pool
        self._trying: asyncio.Task[None] | None = None

    @property
    def is_away(self) -> bool:
        """Whether it did not answer when it was last asked."""
        return self._trying is not None and not self._trying.done()

    async def run(self, function: Callable[[Connection], T]) -> T:
        """Call with a connection, in a thread. Raises Problem when the database is away or overloaded."""
        if self.is_away:
            raise Problem("unavailable", retry_after_s=_RETRY_AFTER_S)
        failed_before = self._failed()

        def call() -> T:
            with self._pool.connection() as conn:
                return function(conn)

        try:
            return await asyncio.to_thread(call)
        except (psycopg.Error, PoolTimeout, OSError) as error:
            # A pool with all its connections at work is no database that is away.
            away = _is_lost(error) or (isinstance(error, PoolTimeout) and self._failed() > failed_before)
            if away and not self.is_away:
                self._trying = asyncio.create_task(self._try())
            if isinstance(error, PoolTimeout) or classify(error) == "transient":
                raise Problem("unavailable", retry_after_s=_RETRY_AFTER_S) from error
            raise

    async def close(self) -> None:
        """Close the pool."""
        if self._trying is not None:
            self._trying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._trying
        await asyncio.to_thread(self._pool.close)

    def _failed(self) -> int:
        """How many times connecting has failed so far."""
        return self._pool.get_stats().get("connections_errors", 0)

    async def _try(self) -> None:
        """Return when the database answers."""

        def answers() -> bool:
            try:
                with self._pool.connection() as conn:
                    conn.execute("SELECT 1")
            except (psycopg.Error, PoolTimeout, OSError):
                return False
            return True

        while not await asyncio.to_thread(answers):
            await asyncio.sleep(_TRY_EVERY_S)


def _is_lost(error: BaseException) -> bool:
    """Whether an error says that there is no connection, or no server, any more."""
    if not isinstance(error, psycopg.OperationalError) or isinstance(error, PoolTimeout):
        return isinstance(error, OSError)
    return error.sqlstate is None or error.sqlstate.startswith(_LOST)
