"""Connections: one way to open them, one way to class their errors."""

from __future__ import annotations

from typing import Any, Literal

import psycopg
from psycopg_pool import ConnectionPool

Connection = psycopg.Connection[tuple[Any, ...]]
ErrorClass = Literal["transient", "permanent", "data"]


def connect(dsn: str, *, application: str, autocommit: bool = False) -> Connection:
    """Open one connection in UTC. Raises psycopg.OperationalError when the server is not there."""
    conn: Connection = psycopg.connect(dsn, autocommit=autocommit, **_options(application))
    return conn


def open_pool(
    dsn: str, *, application: str, max_size: int, within_s: float = 10.0
) -> ConnectionPool[Connection]:
    """A bounded pool; opened without waiting, so that an absent server is an error of first use.

    A connection is had `within_s`, or psycopg_pool.PoolTimeout is raised. Whoever asks after an outage, however
    long it was, has one within that time.
    """

    def check(conn: Connection) -> None:
        try:
            ConnectionPool.check_connection(conn)
        except psycopg.Error:
            # What ended this one has most likely ended the others: drawn one by one, with the pool's pauses
            # between, a few of them would use up the time of whoever waits.
            pool.drain()
            raise

    pool: ConnectionPool[Connection] = ConnectionPool(
        dsn,
        min_size=1,
        max_size=max_size,
        kwargs=_options(application),
        open=True,
        timeout=within_s,
        # The pool tries at doubling distances until this is over, and then whenever somebody asks. With its
        # five minutes it would try next after as long a time as the outage had lasted.
        reconnect_timeout=within_s,
        name=application,
        check=check,
    )
    return pool


def _options(application: str) -> dict[str, Any]:
    # Every time in the database and on the wire to it is UTC; zones are a matter of display.
    return {"application_name": f"qunce-{application}", "options": "-c TimeZone=UTC", "connect_timeout": 5}


def limit_statements(conn: Connection, seconds: int) -> None:
    """End every statement of the transaction that runs longer: psycopg.errors.QueryCanceled."""
    conn.execute("SELECT set_config('statement_timeout', %s, true)", (str(seconds * 1000),))


def only(cursor: psycopg.Cursor[tuple[Any, ...]]) -> tuple[Any, ...]:
    """The row of a statement that always gives one. Raises LookupError when it gave none."""
    row = cursor.fetchone()
    if row is None:
        raise LookupError("the statement gave no row")
    return row


def classify(error: BaseException) -> ErrorClass:
    """Say what an error of the database means for whoever holds the data.

    psycopg's Python classes are no guide (OperationalError also covers a wrong password), so the
    SQLSTATE decides: *transient* = the same work may succeed later, *data* = these rows will never
    be taken, *permanent* = somebody must mend the configuration.
    """
    if not isinstance(error, psycopg.Error):
        return "transient" if isinstance(error, (OSError, TimeoutError)) else "permanent"
    state = error.sqlstate
    if state is None:
        # The client's own refusal of a value (NUL in text), or: no server, connection lost, pool exhausted.
        return "data" if isinstance(error, psycopg.DataError) else "transient"
    if state[:2] in ("22", "23"):  # data exception, integrity violation
        return "data"
    # 57P04 = database dropped; 57014 = statement timeout; 25006 = read-only after a failover
    if state[:2] in ("08", "40", "53", "55", "57", "58") and state != "57P04":
        return "transient"
    return "transient" if state == "25006" else "permanent"
