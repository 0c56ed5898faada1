"""A platform of its own for one benchmark: embedded servers and each role as a process, in a temporary directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import httpx
import psycopg

from benchmarks import cpu
from benchmarks import fleet as fleets
from benchmarks.broker import Mosquitto, mosquitto
from benchmarks.copying import rows_of, store
from benchmarks.fleet import Fleet
from benchmarks.plan import Pass, history
from benchmarks.workers import Crew
from qunce.embedded.nats import Nats
from qunce.embedded.postgres import Postgres, with_database
from qunce.process import free_port, spawn, stop, wait_ready, write_private
from qunce.provision import provision
from qunce.settings import Settings, to_toml
from store.database import Connection, connect, only
from store.layout import DayPartitions, current
from store.migrate import migrate
from store.rows import measurement_copy
from store.status import components

UNITS = 8
DEFAULT_LOG_BYTES = 4 * 2**30
_BEFORE_TODAY = 400
READY_WITHIN_S = 120.0


class Platform:
    """Use as a context manager: entering starts the servers and registers the fleet, leaving ends and deletes all.

    Roles are started and stopped by `start` and `stop`. `conn` is the benchmark's own connection (autocommit).
    """

    fleet: Fleet
    conn: Connection
    keys: dict[str, str]

    def __init__(
        self, *, tags: int, units: int = UNITS, log_bytes: int = DEFAULT_LOG_BYTES, mqtt: bool = False
    ) -> None:
        self._mqtt = mqtt
        self._mosquitto: Mosquitto | None = None
        self._tags, self._units, self._log_bytes = tags, units, log_bytes
        self._stack = ExitStack()
        self.crew = Crew()
        self._roles: dict[str, subprocess.Popen[bytes]] = {}
        self._days = 0

    def __enter__(self) -> Platform:
        with ExitStack() as opening:
            self._open(opening)
            self._stack = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open(self, stack: ExitStack) -> None:
        stack.enter_context(self.crew)
        self.root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qunce-bench-")))
        self.postgres = Postgres(self.root / "postgres", free_port())
        self.postgres_process = self.postgres.start(self.root / "postgres.log")
        stack.callback(
            stop,
            self.postgres_process,
            how=self.postgres.stop_signal,
            grace_s=self.postgres.stop_grace_s,
        )
        self.nats = Nats(self.root / "nats", free_port(), free_port())
        self.nats.prepare()
        codes = fleets.unit_codes(self._units)
        with connect(self.postgres.dsn, application="bench", autocommit=True) as conn:
            migrate(conn)
        self.keys = provision(self.postgres.dsn, fleets.pilots(codes), self.root / "keys.json")
        self.conn = stack.enter_context(connect(self.postgres.dsn, application="bench", autocommit=True))
        self.nats_process = self.nats.start(self.root / "nats.log")
        stack.callback(stop, self.nats_process)
        self.fleet = fleets.register(self.conn, codes, self._tags)
        self._partitions = DayPartitions(self.conn)
        self._admin = stack.enter_context(
            psycopg.connect(with_database(self.postgres.admin_dsn, "qunce"), autocommit=True)
        )
        self.log_bytes = min(self._log_bytes, self.nats.room() // 2)
        self._mosquitto = mosquitto(self.root, stack) if self._mqtt else None
        self.broker = "nats" if self._mosquitto is None else "mosquitto"
        self.mqtt_port = self.nats.mqtt_port if self._mosquitto is None else self._mosquitto.port
        mqtt_url = (
            self.nats.mqtt_url if self._mosquitto is None else f"mqtt://qunce@127.0.0.1:{self.mqtt_port}"
        )
        settings = Settings.model_validate(
            {
                "data_dir": self.root,
                "database": {"dsn": self.postgres.dsn},
                "log": {"url": self.nats.url, "max_bytes": self.log_bytes},
                "mqtt": {"url": mqtt_url, "callout_url": self.nats.callout_url},
                "api": {"port": free_port()},
            }
        )
        self.api_port = settings.api.port
        write_private(self.root / "qunce.toml", to_toml(settings))
        stack.callback(self.stop_roles)

    @property
    def dsn(self) -> str:
        """The database, as the platform uses it."""
        return self.postgres.dsn

    def launch(self, name: str, role: str, partitions: str | None = None) -> None:
        """Start a role under a name of its own, and do not wait for it."""
        settings = str(self.root / "qunce.toml")
        command = [sys.executable, "-m", "qunce", "up", "--roles", role, "--config", settings]
        env = {key: value for key, value in os.environ.items() if not key.startswith("QUNCE_")}
        if partitions is not None:
            env["QUNCE_WRITER__PARTITIONS"] = partitions
        with (self.root / f"{name}.log").open("ab") as output:
            self._roles[name] = spawn(command, output=output, env=env)

    def start(self, *roles: str) -> None:
        """Start those of these roles that do not run, and wait until each says that it is well."""
        since = datetime.now(UTC)
        begun = [role for role in roles if role not in self._roles]
        for role in begun:
            self.launch(role, role)
        for role in begun:
            ready = self._api_answers if role == "api" else partial(self._is_well, role, since)
            wait_ready(self._roles[role], ready, timeout_s=READY_WITHIN_S, log=self.root / f"{role}.log")

    def start_writers(self, shares: Sequence[str]) -> list[str]:
        """Start one writer for each of these shares of the log, and wait until all are well; returns their names."""
        since = datetime.now(UTC)
        names = [f"writer-{share}" for share in shares]
        for name, share in zip(names, shares, strict=True):
            self.launch(name, "writer", share)
        for name in names:
            wait_ready(
                self._roles[name],
                lambda: len(self._well("writer", since)) >= len(names),
                timeout_s=READY_WITHIN_S,
                log=self.root / f"{name}.log",
            )
        return names

    @contextmanager
    def held(self, names: Sequence[str]) -> Iterator[None]:
        """These roles stand still for as long as this is entered."""
        pids = [self._roles[name].pid for name in names]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def stop(self, *names: str) -> None:
        """Ask roles to end, all at once, and wait for them."""
        ending = [self._roles.pop(name) for name in names if name in self._roles]
        for child in ending:
            if child.poll() is None:
                child.terminate()
        for child in ending:
            stop(child)

    def stop_roles(self) -> None:
        """Ask all roles to end, and wait for them."""
        self.stop(*list(self._roles))

    def pids(self) -> dict[str, int]:
        """Process ids: every role that runs, and the servers."""
        return {
            **{name: child.pid for name, child in self._roles.items()},
            "nats": self.nats_process.pid,
            **({} if self._mosquitto is None else {"mosquitto": self._mosquitto.pid}),
            "postgres": self.postgres_process.pid,
        }

    def cpu(self, others: Mapping[str, int] | None = None) -> cpu.Sample:
        """Processor seconds so far of all of `pids`, of the benchmark itself, and of `others` (name → process id)."""
        pids = {**self.pids(), "bench": os.getpid(), **(others or {})}
        return cpu.sample(pids, own_backend=self.conn.info.backend_pid)

    def check_alive(self) -> None:
        """Raises RuntimeError naming the role that ended by itself."""
        for name, child in self._roles.items():
            if (code := child.poll()) is not None:
                raise RuntimeError(f"{name} ended with code {code}: see {self.root / name}.log")

    def _api_answers(self) -> bool:
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.api_port}/healthz", timeout=2, trust_env=False)
        except httpx.HTTPError:
            return False
        return answer.status_code == 200

    def _is_well(self, role: str, since: datetime) -> bool:
        return bool(self._well("platform-broker" if role == "connectors" else role, since))

    def _well(self, component: str, since: datetime) -> list[str]:
        return [
            word.instance
            for word in components(self.conn)
            if word.component == component and word.status == "ok" and word.beat_at > since
        ]

    def open_today(self) -> None:
        """Make the partitions for what happens now, over midnight too."""
        today = int(time.time()) // 86_400
        self._partitions.ensure(self.conn, [_date(today), _date(today + 1)])

    def next_pass(self, scans: int, *, late: bool = False, history_scans: int = 20) -> Pass:
        """A pass on a day that none had before, its partition there with the history in it, caches written out."""
        self._days += 1
        day = int(time.time()) // 86_400 - _BEFORE_TODAY + self._days
        of = Pass(day, scans, late, history_scans)
        self._partitions.ensure(self.conn, [_date(day)])
        for chunk in history(self.fleet, of):
            if chunk.rows:
                store(self.conn, measurement_copy(rows_of(self.fleet, [chunk])))
        self._admin.execute("CHECKPOINT")
        return of

    def forget(self, of: Pass) -> None:
        """Delete the day of a pass, where it is a partition by itself."""
        if current(self.conn) == "native":
            table = psycopg.sql.Identifier(self.table_of(of))
            self.conn.execute(psycopg.sql.SQL("DROP TABLE {}").format(table))

    def table_of(self, of: Pass) -> str:
        """The partition of a pass's day."""
        return f"measurement_{_date(of.day):%Y%m%d}"

    def facts(self) -> dict[str, object]:
        """The machine and the servers: what figures cannot be compared without."""
        version = only(self.conn.execute("SELECT current_setting('server_version')"))[0]
        return {
            "cores": os.cpu_count(),
            "cpu": _cpu(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "postgresql": version.split()[0],
            "layout": current(self.conn),
            "python": sys.version.split()[0],
            "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        }


def _date(day: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)


def _cpu() -> str:
    lines: Sequence[str] = []
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text("utf-8").splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )
