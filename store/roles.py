"""The database's roles of the application: each part of the platform logs in as its own (store/access.sql)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from contextlib import suppress
from importlib.resources import files
from typing import Literal, LiteralString, NamedTuple, get_args

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from store.database import Connection, only

DatabaseRole = Literal["api", "dashboard", "writer", "metrics", "monitor", "auth"]
DATABASE_ROLES: tuple[DatabaseRole, ...] = get_args(DatabaseRole)
_PASSING = ("writer", "metrics", "monitor")
"""Work for all units, so row security does not apply to them; their grants are narrow instead."""
_TRIES = 20


class RolesMissing(Exception):
    """The roles are not there and may not be made; the message says what an administrator has to run."""


def role_name(role: DatabaseRole) -> str:
    """The name in the database."""
    return f"qunce_{role}"


def role_dsn(owner_dsn: str, role: DatabaseRole) -> str:
    """How a part of the platform logs in, from how the owner does.

    The password is derived from the owner's, so there is one secret to keep; it does not lead back to it.
    Without one (trust, peer, certificates) there is none here either.
    """
    parts = conninfo_to_dict(owner_dsn)
    password = _password(parts.get("password"), role)
    return make_conninfo(owner_dsn, user=role_name(role), password=password)


def _password(owner_password: object, role: DatabaseRole) -> str | None:
    if not owner_password:
        return None
    digest = hmac.new(str(owner_password).encode(), role_name(role).encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def grant_access(conn: Connection) -> None:
    """Make the roles where they are missing, and give each what it may do; autocommit connection.

    Raises RolesMissing.
    """
    passwords = {role: _password(conn.info.password, role) for role in DATABASE_ROLES}
    for role, password in passwords.items():
        _ensure(conn, role, password)
    _restrict_temporary(conn)
    # The file is part of the program: its text is as literal as code.
    text: LiteralString = (files("store") / "access.sql").read_text("utf-8")
    with conn.transaction():
        conn.execute("SET LOCAL client_min_messages = warning")
        conn.execute(text)


def _restrict_temporary(conn: Connection) -> None:
    """Nobody but the owner and `metrics`, which stages its results in them, makes temporary tables.

    Such a table stands before all others, with triggers of its maker's. Where the database is not the owner's own, or
    takes no such statement, what runs as the owner still does not look there (the functions' search_path,
    store/access.sql).
    """
    metrics = role_name("metrics")
    database, anybody = only(
        conn.execute(
            "SELECT current_database(), has_database_privilege('public', current_database(), 'TEMPORARY')"
        )
    )
    name = sql.Identifier(database)
    with suppress(psycopg.errors.InsufficientPrivilege, psycopg.errors.InternalError_), conn.transaction():
        if anybody:
            conn.execute(sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(name))
        may = conn.execute("SELECT has_database_privilege(%s, %s, 'TEMPORARY')", (metrics, database))
        if not only(may)[0]:
            conn.execute(
                sql.SQL("GRANT TEMPORARY ON DATABASE {} TO {}").format(name, sql.Identifier(metrics))
            )


def _ensure(conn: Connection, role: DatabaseRole, password: str | None) -> None:
    name = role_name(role)
    row = conn.execute("SELECT rolbypassrls FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
    statements = []
    if row is None:
        passing = sql.SQL(" BYPASSRLS" if role in _PASSING else "")
        statements.append(sql.SQL("CREATE ROLE {} LOGIN{}").format(sql.Identifier(name), passing))
    elif role in _PASSING and not row[0]:
        statements.append(sql.SQL("ALTER ROLE {} BYPASSRLS").format(sql.Identifier(name)))
    if password is not None:
        statements.append(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(name), sql.Literal(password))
        )
    if role in ("api", "dashboard"):
        # What callers see of tables that cannot carry row security stands before the tables themselves.
        statements.append(
            sql.SQL("ALTER ROLE {} SET search_path = scoped, public").format(sql.Identifier(name))
        )
    for statement in statements:
        _execute(conn, statement)


def _execute(conn: Connection, statement: sql.Composed) -> None:
    """Roles are the whole server's: another database of it may be migrated at this very moment."""
    for attempt in range(_TRIES):
        try:
            conn.execute(statement)
        except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
            return
        except psycopg.errors.InternalError_:  # tuple concurrently updated
            if attempt == _TRIES - 1:
                raise
            time.sleep(0.05)
        except psycopg.errors.InsufficientPrivilege as error:
            raise RolesMissing(
                "数据库所有者无权创建应用角色 / the database's owner may not make the application's roles:"
                f" {str(error).strip()}. 请以超级用户执行 / run as a superuser:"
                " ALTER ROLE <owner> CREATEROLE BYPASSRLS"
            ) from error
        else:
            return


class Logins(NamedTuple):
    """How each part of the platform logs in: a DSN a role."""

    api: str
    dashboard: str
    writer: str
    metrics: str
    monitor: str
    auth: str


def logins(owner_dsn: str) -> Logins:
    """All of them, from how the owner logs in."""
    return Logins(**{role: role_dsn(owner_dsn, role) for role in DATABASE_ROLES})
