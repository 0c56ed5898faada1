"""Logins of people and their sessions, as a process keeps them. For several threads; what asks the database waits."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

import psycopg
from psycopg_pool import ConnectionPool

from store import audit, identity, passwords
from store.database import Connection, classify, open_pool
from store.identity import Principal, acting

P = ParamSpec("P")
T = TypeVar("T")

SESSION_COOKIE = "qunce_session"
"""What a browser keeps its token in: the interface and the pages look there."""
TTL_S = 5.0
"""A session that was ended elsewhere is refused after so long."""
_AWAY_S = 2.0
_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Keeping:
    """How sessions are kept and passwords tried.

    `tries`: wrong passwords an address may send in a minute. `lock_after` wrong ones in a row lock the account
    for `lock_s` seconds.
    """

    session_s: int = 12 * 3600
    tries: int = 5
    lock_after: int = 10
    lock_s: int = 300


class Opened(NamedTuple):
    """A new session. `token` is kept nowhere; `expires_at` aware, UTC."""

    token: str
    who: Principal
    expires_at: datetime


class WrongLogin(Exception):
    """No such name, or not its password: which of both is not said."""


class Locked(Exception):
    """Too many wrong passwords: of this name, or of this address (`account` false). `seconds` until the next try."""

    def __init__(self, seconds: float, *, account: bool) -> None:
        super().__init__(seconds)
        self.seconds = max(1, int(seconds) + 1)
        self.account = account


class _Tries:
    """What was wrong lately, by key; bounded, whoever knocks."""

    def __init__(self, most: int, within_s: float, clock: Callable[[], float]) -> None:
        self._most, self._within_s, self._clock = most, within_s, clock
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def count(self, key: str) -> None:
        self._failures[key] = [*self._recent(key)[-self._most :], self._clock()]
        self._failures.move_to_end(key)
        while len(self._failures) > _KEPT:
            self._failures.popitem(last=False)

    def clear(self, key: str) -> None:
        self._failures.pop(key, None)

    def wait_s(self, key: str) -> float:
        recent = self._recent(key)
        return 0.0 if len(recent) < self._most else recent[0] + self._within_s - self._clock()

    def _recent(self, key: str) -> list[float]:
        return [t for t in self._failures.get(key, []) if t > self._clock() - self._within_s]


class _Unknown:
    """Names that nobody has: locked as `note_login` locks the others, so that a lock does not tell which exist; bounded."""

    def __init__(self, keeping: Keeping, clock: Callable[[], float]) -> None:
        self._keeping, self._clock = keeping, clock
        self._names: OrderedDict[str, tuple[int, float]] = OrderedDict()  # failures in a row, locked until

    def count(self, name: str) -> None:
        failures, until = self._names.pop(name, (0, 0.0))
        locks = failures + 1 >= self._keeping.lock_after
        self._names[name] = (0, self._clock() + self._keeping.lock_s) if locks else (failures + 1, until)
        while len(self._names) > _KEPT:
            self._names.popitem(last=False)

    def wait_s(self, name: str) -> float:
        return max(0.0, self._names.get(name, (0, 0.0))[1] - self._clock())


class _Seen(NamedTuple):
    who: Principal
    expires_at: datetime
    asked_at: float


class Sessions:
    """All sessions, as this process sees them; one for the interface and the pages together."""

    def __init__(
        self, auth_dsn: str, keeping: Keeping | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.keeping = keeping or Keeping()
        self._dsn = auth_dsn
        self._clock = clock
        self._opening = threading.Lock()
        self._pool: ConnectionPool[Connection] | None = None
        self._seen: dict[bytes, _Seen] = {}
        self._addresses = _Tries(self.keeping.tries, 60.0, clock)
        self._unknown = _Unknown(self.keeping, clock)

    def remembered(self, token: str) -> Principal | None:
        """Whose session it was a moment ago; None: ask `who`. Does not wait."""
        seen = self._seen.get(identity.digest(token))
        fresh = seen is not None and self._clock() - seen.asked_at <= TTL_S
        return seen.who if seen is not None and fresh and seen.expires_at > datetime.now(UTC) else None

    def who(self, token: str) -> Principal | None:
        """Whose open session it is; None when it is none, or no longer.

        While the database is away those seen before stay open until they expire; for the others raises
        psycopg.Error or OSError.
        """
        if (known := self.remembered(token)) is not None:
            return known
        digest = identity.digest(token)
        try:
            found = self._on(identity.session_principal, digest)
        except (psycopg.Error, OSError) as error:
            seen = self._seen.get(digest)
            if seen is None or classify(error) != "transient" or seen.expires_at <= datetime.now(UTC):
                raise
            self._seen[digest] = seen._replace(asked_at=self._clock() - TTL_S + _AWAY_S)
            return seen.who
        if found is None:
            self._seen.pop(digest, None)
            return None
        if len(self._seen) >= _KEPT:
            self._seen.clear()
        self._seen[digest] = _Seen(*found, self._clock())
        return found[0]

    def open(self, name: str, password: str, address: str) -> Opened:
        """Log in. Raises WrongLogin, Locked, and psycopg.Error or OSError while the database is away."""
        return self._on(self._admitted, self.checked(name, password, address), name, address)

    def admit(self, subject: str, address: str) -> Opened:
        """A session of the person for whom an identity provider vouches: issuer and subject, joined by a blank.

        Raises WrongLogin when no account names this subject, and psycopg.Error or OSError.
        """
        found = self._on(identity.person_of_subject, subject)
        if found is None:
            self.refuse(subject, address, "unknown_subject")
            raise WrongLogin
        return self._on(self._admitted, *found, address, "oidc")

    def refuse(self, name: str, address: str, why: str) -> None:
        """Note a login that was refused."""
        self._addresses.count(address)
        self._on(_refused, name, address, why)

    def checked(self, name: str, password: str, address: str) -> int:
        """The person_id of whoever has this name and password. Raises as `open`."""
        if (wait := self._addresses.wait_s(address)) > 0:
            raise Locked(wait, account=False)
        found = self._on(identity.credentials, name) if "\0" not in name else None
        wait = found.locked_s if found is not None else self._unknown.wait_s(name[:100])
        if wait > 0:
            self.refuse(name, address, "locked")
            raise Locked(wait, account=True)
        kept = found.password_hash if found is not None else None
        good = passwords.matches(kept, password)
        if found is None or kept is None or not good:
            most, lock_s = self.keeping.lock_after, self.keeping.lock_s
            if found is None:
                self._unknown.count(name[:100])
            # For nobody it changes nothing, and takes as long.
            self._on(
                identity.note_login, found.person_id if found else 0, well=False, most=most, lock_s=lock_s
            )
            self.refuse(name, address, "wrong_login")
            raise WrongLogin
        self._addresses.clear(address)
        if passwords.outdated(kept):
            self._on(identity.renew_hash, found.person_id, kept, passwords.hashed(password))
        return found.person_id

    def end(self, token: str) -> bool:
        """End a session now, wherever else its token may lie; False when it was not open. Raises as `who`."""
        self._seen.pop(identity.digest(token), None)
        return self._on(_ended, identity.digest(token))

    def forget(self) -> None:
        """Sessions were ended here: ask again for each."""
        self._seen.clear()

    def close(self) -> None:
        """Close the connections."""
        with self._opening:
            if self._pool is not None:
                self._pool.close()
            self._pool = None

    def _admitted(
        self, conn: Connection, person_id: int, name: str, address: str, way: str = "password"
    ) -> Opened:
        identity.note_login(conn, person_id, well=True, most=1, lock_s=0)
        token = identity.open_session(conn, person_id, self.keeping.session_s, address)
        found = identity.session_principal(conn, identity.digest(token))
        if found is None:  # shut out this very moment
            raise WrongLogin
        with acting(conn, found[0]):
            audit.record(conn, "session.opened", name, {"address": address, "way": way})
        self._seen[identity.digest(token)] = _Seen(*found, self._clock())
        return Opened(token, *found)

    def _on(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._opening:
            if self._pool is None:
                self._pool = open_pool(self._dsn, application="sessions", max_size=3, within_s=3)
            pool = self._pool
        with pool.connection() as conn:
            return function(conn, *args, **kwargs)


def _refused(conn: Connection, name: str, address: str, why: str) -> None:
    audit.record(conn, "session.refused", name.replace("\0", "")[:100], {"address": address, "why": why})


def _ended(conn: Connection, digest: bytes) -> bool:
    found = identity.session_principal(conn, digest)
    if found is None:
        return False
    with acting(conn, found[0]):
        ended = identity.end_session(conn, digest)
        audit.record(conn, "session.ended", found[0].name)
    return ended


def lasts(hours: float) -> int:
    """Seconds of so many hours."""
    return int(timedelta(hours=hours).total_seconds())
