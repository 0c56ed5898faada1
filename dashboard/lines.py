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
        self._idle: list[Connection] = []

    @contextmanager
    def one(self) -> Iterator[Connection]:
        """A connection, as soon as one is free. Raises psycopg.OperationalError when the server is not there."""
        with self._free:
            conn = self._idle.pop() if self._idle else self._opened()
            try:
                yield conn
            except BaseException:
                conn.close()
                self.close()  # what broke this one broke the others
                raise
            self._idle.append(conn)

    def close(self) -> None:
        """Close those that nobody uses."""
        while self._idle:
            self._idle.pop().close()

    def _opened(self) -> Connection:
        conn = connect(self._dsn, application="dashboard")
        # A page's query may never hold the server up; the picture is of one moment.
        conn.execute("SET statement_timeout = '5s'")
        conn.commit()
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.read_only = True
        return conn
