"""One state of the database for as long as it takes to read it all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import IsolationLevel

from store.database import Connection, limit_statements
from store.identity import Principal, acting


@contextmanager
def snapshot(conn: Connection, who: Principal, *, statement_s: int, idle_s: int) -> Iterator[None]:
    """A transaction that sees what `who` may of one moment, and writes nothing.

    Each statement may take `statement_s`, each pause between two `idle_s`: then the server ends the connection,
    so that nobody holds the snapshot by not reading on.
    """
    before = conn.isolation_level, conn.read_only
    conn.isolation_level, conn.read_only = IsolationLevel.REPEATABLE_READ, True
    try:
        with acting(conn, who):
            limit_statements(conn, statement_s)
            conn.execute(
                "SELECT set_config('idle_in_transaction_session_timeout', %s, true)", (str(idle_s * 1000),)
            )
            yield
    finally:
        if not conn.closed:
            conn.isolation_level, conn.read_only = before
