"""Forward-only migrations: the numbered SQL files beside this module, then the physical layout, then who may what."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from importlib.resources import files
from typing import LiteralString

import psycopg

from store import audit
from store.database import Connection
from store.layout import apply_layout
from store.roles import grant_access

_LOCK = 7_236_001  # advisory lock: one migrating process at a time


def migrations() -> Iterator[tuple[str, LiteralString]]:
    """(name, SQL text) of every migration, in order."""
    folder = files("store") / "migrations"
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if file.name.endswith(".sql"):
            # The files are part of the program: their text is as literal as code.
            text: LiteralString = file.read_text("utf-8")
            yield file.name, text


def migrate(conn: Connection) -> list[str]:
    """Apply what has not been applied; each file and its marker in one transaction.

    Returns the names applied now. Raises psycopg.Error when a statement fails, files applied before it
    stay applied; RolesMissing when the roles of the application are not there and cannot be made.
    Safe to call from several processes at once.
    """
    conn.autocommit = True
    conn.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    try:
        conn.execute(
            "CREATE TABLE IF NOT EXISTS schema_migration ("
            " name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        done = {row[0] for row in conn.execute("SELECT name FROM schema_migration")}
        applied = []
        for name, sql in migrations():
            if name in done:
                continue
            with conn.transaction():
                conn.execute(sql)
                conn.execute("INSERT INTO schema_migration (name) VALUES (%s)", (name,))
            applied.append(name)
        apply_layout(conn)
        grant_access(conn)
        if done and applied:  # of a new database there is nothing to tell
            with conn.transaction():
                audit.record(conn, "schema.migrated", applied[-1], {"applied": applied})
        return applied
    finally:
        # What ended it is to be told, also when that broke the connection, with which the lock ends as well.
        with suppress(psycopg.Error):
            conn.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


def pending(conn: Connection) -> list[str]:
    """Names of migrations the database does not have yet."""
    row = conn.execute("SELECT to_regclass('schema_migration')").fetchone()
    done: set[str] = set()
    if row and row[0] is not None:
        done = {r[0] for r in conn.execute("SELECT name FROM schema_migration")}
    return [name for name, _ in migrations() if name not in done]
