"""The platform under test: real servers and roles below one directory, under the real supervisor."""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import structlog

from qunce import supervisor as supervision
from qunce.broker import to_toml
from qunce.demo.beats import Beats, now
from qunce.demo.parts import nats_part, postgres_part
from qunce.embedded.nats import Nats
from qunce.embedded.postgres import Postgres
from qunce.process import ChildFailed, free_port, write_private
from qunce.provision import provision
from qunce.supervisor import Part, Supervisor
from store.database import connect
from store.migrate import migrate
from tests.chaos.plant import node_of
from tests.chaos.readings import OPCUA_TAGS, OPCUA_UNIT, TAGS, TEXT, UNITS, first_tag, name_of

ROLES = ("writer", "api", "connectors")
_USCC = "91440300MA5EXAMP0C"
_DISK_BYTES = {"nats": 512 * 2**20, "postgres": 8 * 2**30}


class Held(ChildFailed):
    """A part is not to be started now."""


@dataclass(frozen=True)
class Ports:
    """Every TCP port of a run, all on 127.0.0.1; `far_` ones go through the bad network."""

    postgres: int
    nats: int
    mqtt: int
    api: int
    plant: int
    far_postgres: int
    far_nats: int
    far_mqtt: int

    @classmethod
    def choose(cls) -> Ports:
        """Free ones, all different."""
        found: list[int] = []
        while len(found) < len(cls.__dataclass_fields__):
            if (port := free_port()) not in found:
                found.append(port)
        return cls(*found)


class Ground:
    """One platform. Use `laid()`; everything that starts a process must run in the thread that made it."""

    def __init__(self, root: Path, *, disks: bool) -> None:
        self.root = root
        self.disks = disks
        self.ports = Ports.choose()
        self.data = root / "data"
        self.settings_file = root / "qunce.toml"
        self.pause_file = root / "plant.pause"
        self.plant_record = root / "plant.record"
        self.control = root / "network.json"
        self.far = False
        """Whether the roles reach the servers through the bad network."""
        self.held: set[str] = set()
        """Parts that are not to be started again for now."""
        self.keys: dict[str, str] = {}
        self.errands: queue.Queue[Callable[[], object]] = queue.Queue()
        """What other threads want done by the one that starts processes."""
        self._mounts: list[Path] = []

    @contextmanager
    def laid(self) -> Iterator[None]:
        """Everything runs and is ready, inside; nothing is left behind, outside."""
        # What is tested are the parts; their supervisor's patience would only make rounds long.
        supervision.BACKOFF_S = (0.2, 1.0)
        (self.data / "logs").mkdir(parents=True)
        output = (self.data / "logs" / "supervisor.log").open("a", encoding="utf-8")
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(output))
        for name in ("nats", "postgres"):
            (self.root / name).mkdir(mode=0o755)
            if self.disks:
                self._mount(self.root / name, _DISK_BYTES[name])
        self.postgres = Postgres(self.root / "postgres", self.ports.postgres, shared_buffers="128MB")
        self.nats = Nats(self.root / "nats", self.ports.nats, self.ports.mqtt, max_file_store=2 * 2**30)
        self.postgres.prepare()
        self.nats.prepare()
        self.beats = Beats(self.postgres.dsn)
        self.supervisor = Supervisor(self.data / "run", self.data / "logs")
        try:
            with self.supervisor:
                self._bring_up()
                yield
        finally:
            self.beats.close()
            for mounted in reversed(self._mounts):
                subprocess.run(["umount", "--lazy", mounted], check=False)

    def _mount(self, target: Path, n_bytes: int) -> None:
        """A file system of its own, so that it can be full."""
        image = self.root / f"{target.name}.img"
        with image.open("wb") as file:
            file.truncate(n_bytes)  # sparse: takes no room until written
        subprocess.run(
            ["mkfs.ext4", "-q", "-m", "0", "-E", "nodiscard", image], check=True, capture_output=True
        )
        subprocess.run(["mount", "-o", "loop", image, target], check=True, capture_output=True)
        self._mounts.append(target)

    def _bring_up(self) -> None:
        servers = [
            self._gated(postgres_part(self.postgres)),
            self._gated(nats_part(self.nats)),
        ]
        for part in servers:
            self.supervisor.launch(part)
        self.supervisor.wait([part.name for part in servers])
        with connect(self.postgres.dsn, application="chaos") as conn:
            migrate(conn)
        self._register()
        self.set_network({})
        pairs = [
            f"{self.ports.far_postgres}:{self.ports.postgres}",
            f"{self.ports.far_nats}:{self.ports.nats}",
            f"{self.ports.far_mqtt}:{self.ports.mqtt}",
        ]
        outside = [
            ("network", "proxy", [str(self.control), *pairs]),
            ("plant", "plant", [str(self.ports.plant), str(self.plant_record), str(self.pause_file)]),
        ]
        for name, module, arguments in outside:
            command = [sys.executable, "-m", f"tests.chaos.{module}", *arguments]
            self.supervisor.launch(Part(name, command, lambda: True))
        self.write_settings()
        for role in ROLES:
            self.launch_role(role)
        self.supervisor.wait(list(ROLES))

    def _register(self) -> None:
        pilots = [
            {
                "code": f"P-{unit}", "name_zh": "试点", "name_en": "Pilot", "cluster_code": "new-it",
                "region_code": "441900", "stage": "piloting", "started_on": "2026-01-01",
                "unit": {"code": unit, "name_zh": "单位", "name_en": "Unit", "path": 1, "uscc": _USCC},
            }
            for unit in UNITS
        ]  # fmt: skip
        self.keys = provision(self.postgres.dsn, pilots, self.root / "keys.json")
        with connect(self.postgres.dsn, application="chaos") as conn:
            conn.execute(
                "INSERT INTO enterprise (unit_id, uscc, name, region_code, registered_on)"
                " SELECT unit_id, uscc, '厂', '441900', '2026-01-01' FROM lead_unit"
            )
            conn.execute(
                "INSERT INTO equipment (unit_id, enterprise_id, code, name, kind, digital, networked)"
                " SELECT unit_id, enterprise_id, 'M1', 'M', 'CNC', true, true FROM enterprise"
            )
            conn.execute(
                "INSERT INTO tag (unit_id, equipment_id, name, signal, data_type, unit)"
                " SELECT unit_id, equipment_id, 'M1.p' || i, 'p' || i,"
                "        CASE i WHEN %s THEN 'text' ELSE 'float' END, '1'"
                " FROM equipment, generate_series(0, %s) i ORDER BY unit_id, i",
                (TEXT, TAGS - 1),
            )

    def write_settings(self) -> None:
        """Settings and connectors for the roles' next start: near the servers, or behind the bad network."""
        ports = self.ports
        dsn, log, mqtt = self.postgres.dsn, self.nats.url, self.nats.mqtt_url
        callout = self.nats.callout_url
        if self.far:
            dsn = dsn.replace(f":{ports.postgres}/", f":{ports.far_postgres}/")
            log = log.replace(f":{ports.nats}", f":{ports.far_nats}")
            callout = callout.replace(f":{ports.nats}", f":{ports.far_nats}")
            mqtt = mqtt.replace(f":{ports.mqtt}", f":{ports.far_mqtt}")
        max_bytes = max(64 * 2**20, min(2**30, self.nats.room() // 2))
        text = "\n".join(
            [
                f"data_dir = {json.dumps(str(self.data))}",
                f"[database]\ndsn = {json.dumps(dsn)}",
                f"[log]\nurl = {json.dumps(log)}\nmax_bytes = {max_bytes}",
                f"[mqtt]\nurl = {json.dumps(mqtt)}\ncallout_url = {json.dumps(callout)}",
                f"[api]\nport = {ports.api}",
            ]
        )
        write_private(self.settings_file, text + "\n")
        tags = [first_tag(OPCUA_UNIT) + i for i in range(OPCUA_TAGS)]
        plant = {
            "type": "opcua",
            "name": "chaos-plant",
            "unit": OPCUA_UNIT,
            "url": f"opc.tcp://127.0.0.1:{ports.plant}",
            "machines": "none",
            "publish_interval_milliseconds": 200,
            "sampling_interval_milliseconds": 0,
            "items": [{"node": node_of(tag), "tag": name_of(tag)} for tag in tags],
        }
        write_private(self.data / "connectors.toml", to_toml([plant]))

    def _gated(self, part: Part) -> Part:
        """The part, not started while it is held."""
        inner = part.before

        def before() -> None:
            if part.name in self.held:
                raise Held(f"{part.name} is held down by the round")
            if inner:
                inner()

        return dataclasses.replace(part, before=before)

    def _role_part(self, role: str, name: str | None = None) -> Part:
        started: list[datetime] = [now()]
        ready: Callable[[], bool] = lambda: not self.beats.unwell({role}, started[-1])  # noqa: E731

        def before() -> None:
            started[:] = [now()]

        part = Part(
            name or role,
            [
                *(sys.executable, "-m", "qunce", "up", "--roles", role),
                *("--config", str(self.settings_file), "--data-dir", str(self.data)),
            ],
            ready,
            timeout_s=90,
            env={k: v for k, v in os.environ.items() if not k.startswith("QUNCE_")},
            before=before,
            group=None if role == "writer" else "roles",
        )
        return self._gated(part)

    def launch_role(self, role: str) -> None:
        """Start a role, with the settings written last."""
        self.supervisor.launch(self._role_part(role))

    def launch_second_writer(self) -> None:
        """One more writer, which has to wait until the first one lets go."""
        self.supervisor.launch(self._role_part("writer", "writer-2"))

    def tick(self) -> None:
        """Look after all parts once. Only the thread that made this may call it."""
        self.supervisor.tick()
        while not self.errands.empty():
            self.errands.get()()

    def pid(self, name: str) -> int:
        """Process id of a running part; 0 when it does not run now."""
        for child in self.supervisor.children:
            if child.part.name == name and (process := child.process) is not None:
                return process.pid
        return 0

    def all_pids(self, name: str) -> list[int]:
        """The part's process and its workers."""
        pid = self.pid(name)
        if not pid:
            return []
        with suppress(psutil.NoSuchProcess):
            return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        return []

    def well(self) -> bool:
        """Whether every part runs and says so."""
        return all(child.state == "ok" for child in self.supervisor.children if child.state != "stopped")

    def set_network(self, how: dict[str, Any]) -> None:
        """Change the bad network."""
        write_private(self.control, json.dumps(how))

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of `qunce` on this platform, from near."""
        return subprocess.run(
            [sys.executable, "-m", "qunce", *arguments, "--config", str(self.settings_file)],
            capture_output=True, text=True, timeout=120, check=False,
            env={k: v for k, v in os.environ.items() if not k.startswith("QUNCE_")},
        )  # fmt: skip

    def newest_block(self, stream: str = "QUNCE_INGEST") -> Path | None:
        """The file that the log's stream is being written to."""
        folder = self.root / "nats" / "jetstream"
        blocks = sorted(folder.rglob(f"streams/{stream}/msgs/*.blk"), key=lambda file: file.stat().st_mtime)
        return blocks[-1] if blocks else None


class Ballast:
    """Fills a file system to the last byte."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "ballast"

    def fill(self) -> None:
        """Leave no room."""
        with self._file.open("ab", buffering=0) as file:
            free = shutil.disk_usage(self._file.parent).free
            with suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, max(1, free - 2**20))
            for size in (2**20, 2**16, 2**12, 512):
                with suppress(OSError):
                    while file.write(b"\0" * size):
                        continue

    def drop(self) -> None:
        """Give the room back."""
        self._file.unlink(missing_ok=True)


def new_root() -> Path:
    """An empty directory that servers may enter under another user."""
    parent = Path(os.environ.get("TMPDIR", "/tmp"))
    root = parent / f"qunce-chaos-{os.getpid()}-{secrets.token_hex(3)}"
    root.mkdir(mode=0o755)
    return root
