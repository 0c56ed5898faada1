"""What every request passes: who it is, whether there is room, and the way into the log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import psycopg
from fastapi import Request
from psycopg_pool import ConnectionPool, PoolTimeout

from ingest.api.decoders import Decoders
from ingest.api.limits import Meter
from ingest.api.problems import Problem
from ingest.api.rooms import Rooms
from ingest.log import Kind, Lane, Log, LogFull, LogUnavailable, UnitShareSpent
from store import registry
from store.database import Connection, classify
from store.registry import Unit
from store.tags import UnitTags, unit_tags

P = ParamSpec("P")
T = TypeVar("T")

_KEY_TTL_S = 30.0
_TAGS_TTL_S = 60.0
_TAGS_RELOAD_S = 1.0
_CACHED_KEYS = 10_000
# Answers that refuse, of each unit, or address without a valid key: more of them wait, and so does
# who asks. What is refused by the row is paid off before the unit's next request is read.
_REFUSALS_PER_S, _REFUSALS_AT_ONCE, _REFUSAL_WAITS_S = 20, 100, 10
_REFUSED_ROWS_PER_S, _REFUSED_ROWS_AT_ONCE, _DEBT_S = 2_000, 50_000, 60
MALFORMED_AS_ROWS = 100
"""What a body that cannot be read costs of that: the log, the quarantine, and somebody's attention."""


class Gate:
    """Shared by all routes of one process."""

    def __init__(self, dsn_pool: ConnectionPool[Connection], log_url: str) -> None:
        self._pool = dsn_pool
        self._log_url = log_url
        self._log: Log | None = None
        self._connecting = asyncio.Lock()
        self._keys: dict[bytes, tuple[float, Unit | None]] = {}
        self._tags: dict[str, tuple[float, UnitTags | None]] = {}
        self._tags_forgotten: dict[str, int] = {}
        self.rooms = Rooms()
        self.decoders = Decoders()
        self.pace = Meter(_REFUSALS_PER_S, _REFUSALS_AT_ONCE, _REFUSAL_WAITS_S)
        self.refused_rows = Meter(_REFUSED_ROWS_PER_S, _REFUSED_ROWS_AT_ONCE, _DEBT_S)
        self.rows_taken = 0

    async def query(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a store function in a thread with a pooled connection. Raises Problem when the database is away."""

        def call() -> T:
            with self._pool.connection() as conn:
                return function(conn, *args, **kwargs)

        try:
            return await asyncio.to_thread(call)
        except (psycopg.Error, PoolTimeout, OSError) as error:
            if isinstance(error, PoolTimeout) or classify(error) == "transient":
                raise Problem("unavailable", retry_after_s=5) from error
            raise

    async def unit(self, request: Request) -> Unit:
        """Whose key the request carries. Raises Problem."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() not in ("bearer", "token") or not key.strip():
            key = request.headers.get("x-api-key", "")
        key = key.strip()
        if not key:
            raise Problem("no_key")
        digest = registry.digest(key)
        looked_up_at, unit = self._keys.get(digest, (0.0, None))
        if unit is None or time.monotonic() - looked_up_at > _KEY_TTL_S:
            if unit is None:  # whoever tries keys does not keep the database busy
                await asyncio.sleep(self.pace.wait_s(address_of(request)))
            try:
                unit = await self.query(registry.unit_of_key, key)
            except Problem:
                if unit is None:  # a key seen valid a moment ago stays so while the database is away
                    raise
            if len(self._keys) >= _CACHED_KEYS:
                self._keys.clear()
            if unit is not None:
                self._keys[digest] = (time.monotonic(), unit)
        if unit is None:
            raise Problem("wrong_key")
        request.state.payer = unit.code
        return unit

    async def sender(self, request: Request) -> Unit:
        """As `unit`, of a request that brings data. Raises Problem also while too much was refused lately."""
        unit = await self.unit(request)
        if (wait := self.refused_rows.wait_s(unit.code)) > 0:
            raise Problem("too_much_refused", retry_after_s=int(wait) + 1)
        return unit

    async def refusing(self, request: Request) -> None:
        """Before an answer that refuses: wait, if whoever asks has had many of them lately."""
        payer = getattr(request.state, "payer", None) or address_of(request)
        self.pace.spend(payer)
        await asyncio.sleep(self.pace.wait_s(payer))

    async def tags(self, unit: Unit, names: tuple[str, ...]) -> UnitTags | None:
        """The unit's tags, reloaded when a name is not among them; None while the database is away."""
        loaded_at, tags = self._tags.get(unit.code, (0.0, None))
        age = time.monotonic() - loaded_at
        unknown = tags is None or bool((tags.rows.find(names) < 0).any())
        if age > (_TAGS_RELOAD_S if unknown else _TAGS_TTL_S):
            forgotten = self._tags_forgotten.get(unit.code, 0)
            try:
                tags = await self.query(unit_tags, unit.code)
            except Problem:
                return tags
            # Changed while they were being read: who knows which these are. Good for this request at most.
            if forgotten == self._tags_forgotten.get(unit.code, 0):
                self._tags[unit.code] = (time.monotonic(), tags)
        return tags

    def forget_tags(self, unit: Unit) -> None:
        """The unit's tags have changed: read them anew when they are next needed."""
        self._tags.pop(unit.code, None)
        self._tags_forgotten[unit.code] = self._tags_forgotten.get(unit.code, 0) + 1

    async def append(
        self, data: bytes, *, kind: Kind, lane: Lane, unit: str, source: str, msg_id: str, rows: int
    ) -> None:
        """Append to the log; returns when durable. Raises Problem: full or away."""
        try:
            log = await self.log()
            await log.append(data, kind=kind, lane=lane, unit=unit, source=source, msg_id=msg_id, rows=rows)
        except UnitShareSpent as spent:
            raise Problem("unit_log_full", retry_after_s=10) from spent
        except LogFull as full:
            raise Problem("log_full", retry_after_s=10) from full
        except LogUnavailable as away:
            raise Problem("unavailable", retry_after_s=2) from away
        self.rows_taken += rows

    async def log(self) -> Log:
        """The connection to the log, opened at first use. Raises LogUnavailable."""
        async with self._connecting:
            if self._log is None:
                self._log = await Log.connect(self._log_url, name="api")
        return self._log

    async def close(self) -> None:
        """Close the log and the pool."""
        if self._log is not None:
            await self._log.close()
        await asyncio.to_thread(self._pool.close)
        await asyncio.to_thread(self.decoders.close)

    async def health(self) -> dict[str, Any]:
        """Whether the database and the log answer now."""
        found: dict[str, Any] = {"database": "ok", "log": "ok"}
        try:
            await self.query(lambda conn: conn.execute("SELECT 1"))
        except Problem as problem:
            found["database"] = problem.code
        try:
            await (await self.log()).flush()
        except LogUnavailable as away:
            found["log"] = str(away)
        return found


def address_of(request: Request) -> str:
    """Who asks, as long as no key tells; no unit's code has a blank in it."""
    return f"address {request.client.host if request.client else '?'}"
