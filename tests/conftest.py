"""The servers that the suite runs against: real ones, from the wheels, or the one QUNCE_TEST_DSN names.

| fixture | scope | what it is |
|---|---|---|
| `server` | session | the database server: `.dsn`, `.version`, `.layout`, `.single` |
| `dsn` | function | DSN of a fresh, migrated, empty database |
| `module_dsn` | module | the same, shared by the tests of a module |
| `conn` | function | one open connection to `dsn` |
| `nats_server` | session | `qunce.embedded.nats.Nats` with `.url`, `.mqtt_port`, `.mqtt_url`, and `.units({code: key})` |
| `nats_url` | session | URL of the NATS server for the platform's user |
| `nats_fresh` | function | the same URL, with an empty ingest log |
| `chromium` | session | path of a Chromium; without one the test is skipped, in CI it fails |

A server that allows one connection at a time (`server.single`) gets one database that is emptied
between tests; tests marked `concurrent` (more than one connection at a time) are skipped there.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import bcrypt
import hypothesis
import nats
import psycopg
import pytest
from nats.js.errors import NotFoundError
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from deploy import programs
from ingest.callout.decision import ACCOUNT
from ingest.log import STREAM, Log
from qunce.embedded.nats import PLATFORM_USER, Nats
from qunce.embedded.postgres import Postgres, with_database
from qunce.process import free_port, stop, write_private
from store.database import Connection, connect
from store.layout import Layout, offered
from store.migrate import migrate
from tests.foreign import cannot_run

# What is found slow here is the machine, which runs other tests beside it.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")
EXTERNAL = os.environ.get("QUNCE_TEST_DSN", "")


def pytest_report_header() -> str:
    """Which database the suite runs against."""
    if not EXTERNAL:
        return "database: embedded PostgreSQL (set QUNCE_TEST_DSN for another server)"
    with connect(EXTERNAL, application="test") as conn:
        row = conn.execute("SELECT current_setting('server_version')").fetchone()
        host = conninfo_to_dict(EXTERNAL).get("host", "local socket")
        return f"database: PostgreSQL {row[0] if row else '?'} at {host}, layout {offered(conn)}"


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes are no name: packed ones hold the time, and parallel workers must name a test alike."""
    return "bytes" if isinstance(val, bytes) and len(val) > 20 else None


@dataclass
class Server:
    """The database server of this run; `databases()` makes throw-away databases on it."""

    dsn: str
    version: str
    layout: Layout
    single: bool
    _template: str | None = field(default=None, repr=False)

    @contextmanager
    def database(self) -> Iterator[str]:
        """A fresh, migrated database; dropped afterwards. On a single-connection server: the one there is, emptied."""
        if self.single:
            with connect(self.dsn, application="test", autocommit=True) as conn:
                _empty(conn)
                migrate(conn)
            yield self.dsn
            return
        name = self._create(self.template())
        try:
            yield with_database(self.dsn, name)
        finally:
            self._drop(name)

    def template(self) -> str:
        """The migrated database that the others are copies of; made on first use."""
        if self._template is None:
            name = self._create(None)
            with connect(with_database(self.dsn, name), application="test") as conn:
                migrate(conn)
            self._template = name
        return self._template

    def close(self) -> None:
        """Drop the template."""
        if self._template is not None:
            self._drop(self._template)

    def _create(self, template: str | None) -> str:
        name = f"qunce_test_{uuid.uuid4().hex[:12]}"
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        # TimescaleDB keeps a background worker in every database with the extension, and a
        # database in use cannot be a template: there each database is migrated by itself.
        copy = template is not None and self.layout == "native"
        if copy and template is not None:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        with connect(self.dsn, application="test", autocommit=True) as conn:
            conn.execute(statement)
        if template is not None and not copy:
            with connect(with_database(self.dsn, name), application="test") as conn:
                migrate(conn)
        return name

    def _drop(self, name: str) -> None:
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        with connect(self.dsn, application="test", autocommit=True) as conn:
            for attempt in range(240):
                try:
                    conn.execute(drop)
                    return
                except psycopg.errors.InsufficientPrivilege:
                    # An autovacuum worker is in there, and only a superuser may end it: it ends by itself.
                    if attempt == 239:
                        raise
                    time.sleep(0.25)


def _empty(conn: Connection) -> None:
    """Drop what is ours in the schema public; what extensions brought stays."""
    rows = conn.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'S') AND NOT c.relispartition"
        "   AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('e', 'a', 'i'))"
        " ORDER BY c.relkind = 'v' DESC"
    ).fetchall()
    for (name,) in rows:
        kind = conn.execute(
            "SELECT relkind FROM pg_class WHERE oid = to_regclass(%s)", (f'"{name}"',)
        ).fetchone()
        if kind is None:  # went with another one
            continue
        word = {"v": sql.SQL("VIEW"), "S": sql.SQL("SEQUENCE")}.get(kind[0], sql.SQL("TABLE"))
        conn.execute(sql.SQL("DROP {} {} CASCADE").format(word, sql.Identifier(name)))
    functions = conn.execute(
        "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE n.nspname = 'public' AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')"
    ).fetchall()
    for (signature,) in functions:
        conn.execute(sql.SQL("DROP ROUTINE {} CASCADE").format(sql.SQL(signature)))


def _is_single(dsn: str) -> bool:
    """Whether the server refuses a second connection, or a second database."""
    with connect(dsn, application="test", autocommit=True) as first:
        row = first.execute(
            "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        if not (row and row[0]):
            return True
        try:
            with connect(dsn, application="test") as second:
                other = second.execute("SELECT pg_backend_pid()").fetchone()
            return other == first.execute("SELECT pg_backend_pid()").fetchone()
        except psycopg.OperationalError:
            return True


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The database server of this run."""
    child, postgres, dsn = None, None, EXTERNAL
    if not dsn:
        folder = tmp_path_factory.mktemp("postgres")
        postgres = Postgres(folder / "postgres", free_port(), shared_buffers="128MB")
        child = postgres.start(folder / "postgres.log")
        with psycopg.connect(postgres.admin_dsn, autocommit=True) as admin:
            admin.execute("ALTER ROLE qunce CREATEDB")
        dsn = postgres.dsn
    try:
        with connect(dsn, application="test") as conn:
            row = conn.execute("SELECT current_setting('server_version')").fetchone()
            layout = offered(conn)
        made = Server(dsn, str(row[0]) if row else "?", layout, _is_single(dsn))
        yield made
        made.close()
    finally:
        if child is not None:
            stop(child, how=signal.SIGINT)


@pytest.fixture(autouse=True)
def _skip_on_single(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("concurrent") and request.getfixturevalue("server").single:
        pytest.skip("this database server takes one connection at a time")


@pytest.fixture(scope="session")
def server_dsn(server: Server) -> str:
    """DSN of the server itself, for tests that make databases."""
    return server.dsn


@pytest.fixture
def dsn(server: Server) -> Iterator[str]:
    """DSN of a fresh, migrated, empty database."""
    with server.database() as made:
        yield made


@pytest.fixture(scope="module")
def module_dsn(server: Server) -> Iterator[str]:
    """DSN of a fresh, migrated database for all tests of a module."""
    with server.database() as made:
        yield made


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    """One open connection to a fresh, migrated database (not in autocommit)."""
    with connect(dsn, application="test") as made:
        yield made


def _bcrypt(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


@dataclass(frozen=True)
class SelfContainedNats(Nats):
    """A server that knows its users itself, so that no platform has to run that it asks."""

    def write_users(self, keys: Mapping[str, str] | None = None) -> None:
        """Let in the platform and these units (code → API key in the clear); a running server needs a SIGHUP."""
        users = [{"user": PLATFORM_USER, "password": _bcrypt(self.password)}] + [
            {
                "user": code,
                "password": _bcrypt(key),
                "permissions": {"publish": {"allow": [f"qunce.v1.{code}.>"]}, "subscribe": {"deny": [">"]}},
            }
            for code, key in (keys or {}).items()
        ]
        accounts = {ACCOUNT: {"jetstream": "enabled", "users": users}}
        write_private(self.root / "users.conf", f"accounts: {json.dumps(accounts)}\n")


@dataclass(frozen=True)
class RunningNats:
    """The embedded NATS server of this run."""

    server: SelfContainedNats
    pid: int

    @property
    def url(self) -> str:
        """For the platform's NATS clients."""
        return self.server.url

    @property
    def mqtt_url(self) -> str:
        """For the platform's MQTT clients."""
        return self.server.mqtt_url

    @property
    def mqtt_port(self) -> int:
        """The MQTT listener's port on 127.0.0.1."""
        return self.server.mqtt_port

    @property
    def password(self) -> str:
        """The platform's password."""
        return self.server.password

    def units(self, keys: Mapping[str, str]) -> None:
        """Let exactly these units in (code → API key in the clear)."""
        self.server.write_users(keys)
        os.kill(self.pid, signal.SIGHUP)


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNats]:
    """An embedded NATS server with JetStream and MQTT."""
    folder: Path = tmp_path_factory.mktemp("nats")
    port = free_port()
    nats = SelfContainedNats(folder / "nats", port, _other_port(port), max_file_store=2 * 1024**3)
    child = nats.start(folder / "nats.log")
    try:
        yield RunningNats(nats, child.pid)
    finally:
        stop(child)


@pytest.fixture(scope="session")
def nats_url(nats_server: RunningNats) -> str:
    """URL of the NATS server for the platform's user."""
    return nats_server.url


@pytest.fixture
def nats_fresh(nats_url: str) -> str:
    """URL of the NATS server, with an empty ingest log of 256 MiB."""

    async def empty() -> None:
        client = await nats.connect(nats_url)
        with suppress(NotFoundError):
            await client.jetstream().delete_stream(STREAM)
        await client.close()
        await (await Log.connect(nats_url, name="test", max_bytes=2**28)).close()

    asyncio.run(empty())
    return nats_url


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium for Playwright (`executable_path`)."""
    if (found := programs.chromium()) is None:
        cannot_run("no Chromium; `make test` installs one where it can")
    return found


def _other_port(taken: int) -> int:
    pick: Callable[[], int] = free_port
    while (port := pick()) == taken:
        continue
    return port
