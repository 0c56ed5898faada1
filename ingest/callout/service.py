"""Answers the broker's question for each login, and ends connections whose key has ended meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import psycopg
import structlog
from psycopg.conninfo import make_conninfo
from psycopg_pool import PoolTimeout

from ingest.callout import decision
from ingest.callout.broker import Broker, Unanswered
from ingest.callout.decision import Holder, Login
from ingest.callout.keys import Keys, TooManyWrong, Unavailable
from ingest.callout.nkeys import Issuer
from store import identity
from store.database import Connection, open_pool

T = TypeVar("T")
Report = Callable[[str, str, dict[str, Any]], None]

COMPONENT = "mqtt-logins"
WATCH_EVERY_S = 2.0
"""A key that ended in the database is found so soon, and its connections are ended."""
LOOK_EVERY_S = 30.0
"""So often every connection is looked at, for those that another instance let in and no longer watches."""
_LOOKS_AFTER_AN_END = 3
"""A login may have been under way while its key ended: look again."""
_CONNECTION_WITHIN_S, _DATABASE_WITHIN_S = 1.0, 1.5
_RETRY_S = 1.0
_AT_ONCE = 500
_log = structlog.get_logger("ingest.callout")


async def run(dsn: str, url: str, stop: asyncio.Event, report: Report) -> None:
    """Work until `stop` is set, whatever is away meanwhile. `url`: NATS, with the callout's user and secret."""
    database = _Database(dsn)
    work = _Callout(Issuer(secret_of(url)), database, report)
    try:
        while not stop.is_set():
            try:
                broker = await Broker.join(url, work.answer, most=_AT_ONCE)
            except Unanswered as error:
                report(COMPONENT, "recoverable", {"error": f"broker: {error}"})
                await _pause(stop, _RETRY_S)
                continue
            try:
                await work.watch(broker, stop)
            finally:
                await broker.close()
    finally:
        database.close()
    report(COMPONENT, "stopped", {})


def secret_of(url: str) -> str:
    """The secret of a callout's URL; empty when it has none."""
    return unquote(urlsplit(url).password or "")


class _Database:
    """Questions to the database, in threads of their own: those of the process may all be busy."""

    def __init__(self, dsn: str) -> None:
        # A machine that is gone without a word must not hold a thread for hours.
        kept = make_conninfo(
            dsn, keepalives_idle=5, keepalives_interval=5, keepalives_count=3, tcp_user_timeout=10_000
        )
        self._pool = open_pool(kept, application="callout", max_size=2)
        self._threads = ThreadPoolExecutor(2, "callout")
        self.away = False
        """Whether the last question was not answered."""

    async def ask(self, function: Callable[[Connection], T]) -> T:
        """Run a store function. Raises Unavailable when the database does not answer in time."""

        def call() -> T:
            with self._pool.connection(timeout=_CONNECTION_WITHIN_S) as conn:
                return function(conn)

        try:
            running = asyncio.get_running_loop().run_in_executor(self._threads, call)
            found = await asyncio.wait_for(running, _DATABASE_WITHIN_S)
        except (psycopg.Error, PoolTimeout, OSError, TimeoutError) as error:
            self.away = True
            raise Unavailable(f"database: {str(error).strip() or type(error).__name__}") from error
        self.away = False
        return found

    def close(self) -> None:
        """Without waiting for a database that does not answer."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._pool.close(timeout=1)


class _Callout:
    def __init__(self, issuer: Issuer, database: _Database, report: Report) -> None:
        self._issuer = issuer
        self._database = database
        self._report = report
        self._keys = Keys(self._holder)
        self._counted: Counter[str] = Counter()
        self._connected: set[int] = set()

    async def answer(self, question: bytes) -> str | None:
        """The broker's question, answered; None when it is none."""
        try:
            login = decision.read(question)
        except ValueError as error:
            _log.warning("not a question of the broker", error=str(error))
            return None
        why, holder = decision.unasked(login), None
        if why is None:
            why, holder = await self._judged(login)
        self._counted["allowed" if why is None else "refused"] += 1
        if why is not None or holder is None:
            why = why or "refused"
            _log.debug("mqtt login refused", unit=login.user, address=login.address, reason=why)
            return decision.refused(self._issuer, login, f"MQTT login of {login.user!r}: {why}")
        return decision.allowed(self._issuer, login, holder)

    async def _judged(self, login: Login) -> tuple[str | None, Holder | None]:
        try:
            holder = await self._keys.holder(login.password, login.address)
        except Unavailable:
            return "the key cannot be checked now, try again", None
        except TooManyWrong:
            return "too many wrong keys from this address, wait", None
        return decision.refusal(login, holder), holder

    async def _holder(self, digest: bytes) -> Holder | None:
        if self._database.away:  # `watch` finds out when it is back; a login has no time to wait for that
            raise Unavailable("database: away")
        found = await self._database.ask(lambda conn: identity.authenticate_key(conn, digest))
        return None if found is None else Holder(*found)

    async def watch(self, broker: Broker, stop: asyncio.Event) -> None:
        """See which keys have ended, and end their connections, until `stop` is set."""
        looks, looked_at, joined = 1, 0.0, broker.joined
        while not stop.is_set():
            detail: dict[str, Any] = dict(self._counted)
            try:
                if await self._some_ended():
                    looks = _LOOKS_AFTER_AN_END
                if broker.joined != joined or time.monotonic() - looked_at > LOOK_EVERY_S:
                    looks, joined = max(looks, 1), broker.joined
                if looks:
                    await self._end_connections(broker)
                    looks, looked_at = looks - 1, time.monotonic()
                status = "ok" if broker.connected else "recoverable"
            except (Unavailable, Unanswered) as error:
                status = "recoverable"
                detail["error"] = str(error)
            self._report(COMPONENT, status, detail)
            await _pause(stop, WATCH_EVERY_S)

    async def _some_ended(self) -> bool:
        asked = self._keys.in_use() | self._connected
        valid = await self._valid(asked)
        self._keys.confirm(asked, valid)
        self._connected &= valid
        return valid != asked

    async def _end_connections(self, broker: Broker) -> None:
        found = await broker.connections()
        valid = await self._valid({one.key_id for one in found})
        self._connected = {one.key_id for one in found} & valid
        self._counted["connected"] = 0
        for one in found:
            if one.key_id in valid:
                self._counted["connected"] += 1
                continue
            await broker.end(one)
            self._counted["ended"] += 1
            _log.info("mqtt connection ended, its key is no longer valid", key_id=one.key_id)

    async def _valid(self, key_ids: set[int]) -> set[int]:
        return await self._database.ask(lambda conn: identity.valid_keys(conn, key_ids))


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
