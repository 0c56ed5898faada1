"""What every request passes: who it is, what that caller may do, whether there is room, and the way into the log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Concatenate, ParamSpec, TypeVar

from fastapi import Depends, Request

from ingest.api import credentials
from ingest.api.decoders import Decoders
from ingest.api.doors import require_known
from ingest.api.limits import UNIT_LIMITS, Meter, UnitLimits
from ingest.api.problems import Problem
from ingest.api.reaching import Database
from ingest.api.rooms import Rooms
from ingest.api.waiting import Asked, Waiting
from ingest.log import Kind, Lane, Log, LogFull, LogUnavailable, Taken, UnitShareSpent
from store import submissions
from store.database import Connection, open_pool
from store.identity import NOBODY, Permission, Principal, acting
from store.registry import Unit
from store.roles import Logins
from store.sessions import Sessions
from store.submissions import Submission
from store.tags import UnitTags, unit_tags

P = ParamSpec("P")
T = TypeVar("T")

_TAGS_TTL_S = 60.0
_TAGS_RELOAD_S = 1.0
# Answers that refuse, of each caller: more of them wait, and so does who asks. What is refused by the row
# is paid off before the unit's next request is read.
_REFUSALS_PER_S, _REFUSALS_AT_ONCE, _REFUSAL_WAITS_S = 200, 2_000, 10
# The same of each address without valid credentials: it may be trying keys.
_TRIES_PER_S, _TRIES_AT_ONCE = 20, 100
_REFUSED_ROWS_PER_S, _REFUSED_ROWS_AT_ONCE, _DEBT_S = 2_000, 50_000, 60
_BURST_S = 60
"""What a unit may send at once, in seconds of what it may send for ever."""
_READS_BURST_S = 10
MALFORMED_AS_ROWS = 100
"""What a body that cannot be read costs of that: the log, the quarantine, and somebody's attention."""


_caller: ContextVar[Principal] = ContextVar("caller", default=NOBODY)
"""Whom the running request is served for: nobody, until its permission was checked."""


class Gate:
    """Shared by all routes of one process."""

    def __init__(
        self,
        logins: Logins,
        log_url: str,
        *,
        pool_size: int = 4,
        limits: UnitLimits = UNIT_LIMITS,
        sessions: Sessions | None = None,
    ) -> None:
        self._callers = Database(open_pool(logins.api, application="api", max_size=pool_size))
        self._auth = Database(open_pool(logins.auth, application="api-auth", max_size=2, within_s=3))
        self._monitor = Database(open_pool(logins.monitor, application="api-monitor", max_size=2))
        self._log_url = log_url
        self._log: Log | None = None
        self._connecting = asyncio.Lock()
        self._tags: dict[str, tuple[float, UnitTags | None]] = {}
        self._tags_forgotten: dict[str, int] = {}
        self.rooms = Rooms()
        self.decoders = Decoders()
        self.pace = Meter(_REFUSALS_PER_S, _REFUSALS_AT_ONCE, _REFUSAL_WAITS_S)
        self.refused_rows = Meter(_REFUSED_ROWS_PER_S, _REFUSED_ROWS_AT_ONCE, _DEBT_S)
        self.tries = Meter(_TRIES_PER_S, _TRIES_AT_ONCE, _REFUSAL_WAITS_S)
        self.credentials = credentials.Credentials(
            self.authenticating, self.tries, sessions or Sessions(logins.auth)
        )
        self.requests = Meter(limits.requests_per_s, limits.requests_per_s * _BURST_S, _DEBT_S)
        self.rows = Meter(limits.rows_per_s, limits.rows_per_s * _BURST_S, _DEBT_S)
        self.reads = Meter(limits.reads_per_s, limits.reads_per_s * _READS_BURST_S, _DEBT_S)
        self.waiting = Waiting(self._read_submissions)
        self.rows_taken = 0

    async def query(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a store function in a thread, in a transaction that sees and writes what the caller may.

        Raises Problem when the database is away.
        """
        who = _caller.get()

        def call(conn: Connection) -> T:
            with acting(conn, who):
                return function(conn, *args, **kwargs)

        return await self._callers.run(call)

    async def _read_submissions(self, asked: Sequence[Asked]) -> dict[str, Submission]:
        by_caller: dict[tuple[Principal, int], set[str]] = {}
        for one in asked:
            by_caller.setdefault((one.who, one.unit_id), set()).add(one.batch)

        def call(conn: Connection) -> dict[str, Submission]:
            found: dict[str, Submission] = {}
            for (who, unit_id), batches in by_caller.items():
                with acting(conn, who):
                    found |= submissions.find(conn, list(batches), unit_id)
            return found

        return await self._callers.run(call)

    async def monitoring(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The same for the platform's own accounts, whoever asks. Raises Problem when the database is away."""
        return await self._monitor.run(lambda conn: function(conn, *args, **kwargs))

    async def authenticating(
        self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The same for checking credentials. Raises Problem when the database is away."""
        return await self._auth.run(lambda conn: function(conn, *args, **kwargs))

    def allow(self, permission: Permission, *, any_parameters: bool = False) -> Any:
        """As a route's dependency: it serves who has this permission, and is served with that caller's scope.

        `any_parameters`: clients that are not ours send it parameters of theirs.
        """

        async def admitted(request: Request) -> None:
            who = await self.who(request)
            if permission not in who.permissions:
                raise Problem("forbidden", {"permission": permission, "path": request.url.path})
            if request.method in ("GET", "HEAD"):
                self._spend_read(who)
            _caller.set(who)
            if not any_parameters:
                require_known(request)

        admitted.permission = permission  # type: ignore[attr-defined]  # read by ingest.api.doors
        return Depends(admitted)

    def known(self) -> Any:
        """As a route's dependency: it serves every caller who is known, for what is his own alone."""

        async def admitted(request: Request) -> None:
            _caller.set(await self.who(request))
            require_known(request)

        admitted.permission = "known"  # type: ignore[attr-defined]
        return Depends(admitted)

    def _spend_read(self, who: Principal) -> None:
        if (wait := self.reads.wait_s(who.payer)) > 0:
            raise Problem("too_many_reads", retry_after_s=int(wait) + 1)
        self.reads.spend(who.payer)

    async def who(self, request: Request) -> Principal:
        """Who calls, by key, signature or session. Raises Problem."""
        found: Principal | None = getattr(request.state, "who", None)
        if found is None:
            found = request.state.who = await self.credentials.of(request)
            request.state.payer = found.payer
        return found

    async def unit(self, request: Request) -> Unit:
        """The calling unit: of a key, or of a person who works for it. Raises Problem."""
        who = await self.who(request)
        if who.unit_id is None or who.unit is None:
            raise Problem("no_unit")
        return Unit(who.unit_id, who.unit)

    async def sender(self, request: Request) -> Unit:
        """As `unit`, of a request that brings data. Raises Problem also while too much came or was refused lately."""
        unit = await self.unit(request)
        if (wait := max(self.requests.wait_s(unit.code), self.rows.wait_s(unit.code))) > 0:
            raise Problem("rate_limited", retry_after_s=int(wait) + 1)
        self.requests.spend(unit.code)
        if (wait := self.refused_rows.wait_s(unit.code)) > 0:
            raise Problem("too_much_refused", retry_after_s=int(wait) + 1)
        return unit

    async def refusing(self, request: Request) -> None:
        """Before an answer that refuses: wait, if whoever asks has had many of them lately."""
        payer = getattr(request.state, "payer", None)
        meter, who = (self.pace, payer) if payer else (self.tries, credentials.address_of(request))
        meter.spend(who)
        await asyncio.sleep(meter.wait_s(who))

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
        with _told():
            log = await self.log()
            await log.append(data, kind=kind, lane=lane, unit=unit, source=source, msg_id=msg_id, rows=rows)
        self.rows_taken += rows

    async def append_once(
        self,
        data: bytes,
        *,
        kind: Kind,
        lane: Lane,
        unit: str,
        source: str,
        msg_id: str,
        rows: int,
        content: str,
    ) -> Taken:
        """As `append`, of a message that is the first of its name: see `ingest.log.Log.append_once`."""
        with _told():
            log = await self.log()
            taken = await log.append_once(
                data,
                kind=kind,
                lane=lane,
                unit=unit,
                source=source,
                msg_id=msg_id,
                rows=rows,
                content=content,
            )
        self.rows_taken += rows if taken.new else 0
        return taken

    async def log(self) -> Log:
        """The connection to the log, opened at first use. Raises LogUnavailable."""
        async with self._connecting:
            if self._log is None:
                self._log = await Log.connect(self._log_url, name="api")
        return self._log

    async def close(self) -> None:
        """Close the log and the pool."""
        await self.waiting.close()
        if self._log is not None:
            await self._log.close()
        for database in (self._callers, self._auth, self._monitor):
            await database.close()
        await asyncio.to_thread(self.credentials.sessions.close)
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


@contextmanager
def _told() -> Iterator[None]:
    """Turns what the log raises into the Problem that the sender is told."""
    try:
        yield
    except UnitShareSpent as spent:
        raise Problem("unit_log_full", retry_after_s=10) from spent
    except LogFull as full:
        raise Problem("log_full", retry_after_s=10) from full
    except LogUnavailable as away:
        raise Problem("unavailable", retry_after_s=2) from away
