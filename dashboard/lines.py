"""The pages' connections to the database: a few, shared by all boards, each opened when it is needed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from store.database import Connection, connect

MOST = 4


class Lines:
    """At most `most` connections, read-only, each query within 5 s. For several threads."""

    def __init__(self, dsn: str, most: int = MOST) -> None:
        self._dsn = dsn
        self._free = threading.BoundedSemaphore(most)
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._ended = False

    @contextmanager
    def one(self) -> Iterator[Connection]:
        """A connection, as soon as one is free. Raises psycopg.OperationalError when the server is not there."""
        with self._free:
            with self._lock:
                conn = self._idle.pop() if self._idle else None
            conn = conn or self._opened()
            try:
                yield conn
            except BaseException:
                conn.close()
                self._drop()  # what broke this one broke the others
                raise
            with self._lock:
                kept = not self._ended
                if kept:
                    self._idle.append(conn)
            if not kept:
                conn.close()

    def end(self) -> None:
        """Close them: those that nobody uses now, the others when they come back."""
        with self._lock:
            self._ended = True
        self._drop()

    def _drop(self) -> None:
        with self._lock:
            dropped, self._idle = self._idle, []
        for conn in dropped:
            conn.close()

    def _opened(self) -> Connection:
        conn = connect(self._dsn, application="dashboard")
        # A page's query may never hold the server up; the picture is of one moment.
        conn.execute("SET statement_timeout = '5s'")
        conn.commit()
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.read_only = True
        return conn
