"""The pool of connections, when the server goes and comes back."""

from __future__ import annotations

import time
from contextlib import ExitStack

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from store.database import connect, open_pool

pytestmark = pytest.mark.concurrent


def test_whoever_asks_first_after_an_outage_has_a_connection(module_dsn: str) -> None:
    name = str(conninfo_to_dict(module_dsn)["dbname"])
    admin = make_conninfo(module_dsn, dbname="postgres")

    def allow(conn: psycopg.Connection[tuple[object, ...]], may: str) -> None:
        conn.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS " + may).format(sql.Identifier(name)))  # type: ignore[arg-type]

    with (
        open_pool(module_dsn, application="test", max_size=3, within_s=3) as pool,
        connect(admin, application="test", autocommit=True) as conn,
    ):
        with pool.connection() as one:
            one.execute("SELECT 1")
        allow(conn, "false")
        try:
            conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            # By itself the pool would try after 1, 2, 4 and 8 s: in the eighth second the next try is far.
            until = time.monotonic() + 8
            while time.monotonic() < until:
                with pytest.raises(psycopg.OperationalError), pool.connection(timeout=1) as one:
                    one.execute("SELECT 1")
        finally:
            allow(conn, "true")
        with pool.connection() as one:
            assert one.execute("SELECT 1").fetchone() == (1,)


def test_connections_that_all_died_are_not_drawn_one_by_one(module_dsn: str) -> None:
    with (
        open_pool(module_dsn, application="test", max_size=5, within_s=3) as pool,
        connect(module_dsn, application="test", autocommit=True) as conn,
    ):
        with ExitStack() as taken:
            backends = [taken.enter_context(pool.connection()).info.backend_pid for _ in range(5)]
        conn.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", (backends,))
        with pool.connection() as one:
            assert one.info.backend_pid not in backends
