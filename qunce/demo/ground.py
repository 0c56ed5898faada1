"""What a demo's data directory holds, and what is remembered there from one run to the next."""

from __future__ import annotations

import ipaddress
import json
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from qunce.process import free_port, write_private
from qunce.settings import FILE_NAME, Settings, SettingsError, to_toml, variable

# Below 32768, where Linux begins to hand out ports for outgoing connections.
_PREFERRED = {"postgres": 25432, "nats": 24222, "mqtt": 21883}
_SIMULATORS_FROM = range(24840, 32000, 200)


class Refused(Exception):
    """The demo cannot be run like this; the message says why and what to do."""


@dataclass(frozen=True)
class Ground:
    """Paths of one demo's data directory, and its remembered facts."""

    root: Path

    @property
    def run(self) -> Path:
        """Lock, status, children."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """One bounded log a child."""
        return self.root / "logs"

    @property
    def settings_file(self) -> Path:
        """The settings that the roles of this demo read (owner-only)."""
        return self.root / FILE_NAME

    @property
    def province(self) -> Path:
        """The simulated province's description."""
        return self.root / "province.json"

    @property
    def credentials(self) -> Path:
        """What the simulators were given: addresses and keys (owner-only)."""
        return self.root / "credentials.json"

    @property
    def keys(self) -> Path:
        """Unit code → API key (owner-only)."""
        return self.root / "keys.json"

    @property
    def login(self) -> Path:
        """User names and passwords of the pages (owner-only)."""
        return self.root / "login.txt"

    @property
    def simulators(self) -> Path:
        """The simulators' state, progress, ledger and ground truth."""
        return self.root / "simulators"

    @property
    def _memory(self) -> Path:
        return self.root / "demo.json"

    def recall(self) -> dict[str, Any]:
        """What an earlier run remembered; empty at first."""
        try:
            content: dict[str, Any] = json.loads(self._memory.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        return content

    def remember(self, **facts: Any) -> None:
        """Keep facts for the next run (owner-only: secrets are among them)."""
        write_private(self._memory, json.dumps({**self.recall(), **facts}, indent=1))

    def clear(self) -> None:
        """Begin anew: delete everything but the lock that we hold. The lock must be held."""
        for path in self.root.iterdir():
            if path.is_dir() and path != self.run:
                shutil.rmtree(path)
            elif path.is_file():
                path.unlink()

    def belongs_to_a_demo(self) -> bool:
        """Whether the directory is empty, absent, or was made by a demo: others' files are never deleted."""
        known = {"run", "logs", "postgres"}
        if not self.root.exists():
            return True
        names = {path.name for path in self.root.iterdir()}
        return not names or "demo.json" in names or names <= known


def choose_ports(remembered: dict[str, int], api: int) -> dict[str, int]:
    """A free port for each server, the remembered ones if possible."""
    taken: set[int] = set()

    def one(preferred: int) -> int:
        port = free_port(None if preferred in taken else preferred)
        while port in taken:
            port = free_port()
        taken.add(port)
        return port

    return {"api": one(api)} | {
        name: one(remembered.get(name, preferred)) for name, preferred in _PREFERRED.items()
    }


def choose_base(remembered: dict[str, int], offsets: list[int]) -> int:
    """A base port whose ports at all these offsets are free; the remembered one if possible."""
    bases: list[int] = [remembered["simulators"]] if "simulators" in remembered else []
    for base in bases + list(_SIMULATORS_FROM):
        if all(free_port(base + offset) == base + offset for offset in offsets):
            return base
    raise Refused("no free block of ports for the simulated factories; end other servers on 127.0.0.1")


def settle(
    given: Settings,
    ground: Ground,
    ports: dict[str, int],
    embedded: dict[str, str],
    log_room: int | None = None,
) -> Settings:
    """The settings of this demo: what was given, the embedded servers, and secrets made once.

    `embedded`: dotted key → URL of the servers that the demo itself brings; `log_room`: bytes its
    streams may take, of which the ingest log gets half (the broker's own streams need the rest).
    """
    memory = ground.recall()
    password = given.dashboard.password or SecretStr(memory.get("password") or secrets.token_urlsafe(12))
    ground.remember(password=password.get_secret_value())
    values: dict[str, Any] = {
        "database": given.database.dsn or SecretStr(embedded["database.dsn"]),
        "log": given.log.url or SecretStr(embedded["log.url"]),
        "mqtt": given.mqtt.url or SecretStr(embedded["mqtt.url"]),
    }
    callout, told = given.mqtt.callout_url, given.mqtt.public_url
    if given.mqtt.url is None:
        callout = SecretStr(embedded["mqtt.callout_url"])
        # Units are told the address alone: the user and password in the URL are the platform's own.
        told = told or f"mqtt://{values['mqtt'].get_secret_value().rpartition('@')[2].rstrip('/')}"
    log_bytes = given.log.max_bytes if log_room is None else min(given.log.max_bytes, log_room // 2)
    settings = given.model_copy(
        update={
            "data_dir": ground.root,
            "database": given.database.model_copy(update={"dsn": values["database"]}),
            "log": given.log.model_copy(update={"url": values["log"], "max_bytes": log_bytes}),
            "mqtt": given.mqtt.model_copy(
                update={"url": values["mqtt"], "callout_url": callout, "public_url": told}
            ),
            "api": given.api.model_copy(update={"port": ports["api"]}),
            "dashboard": given.dashboard.model_copy(update={"password": password}),
        }
    )
    write_private(ground.settings_file, to_toml(settings))
    return settings


def require_loopback(settings: Settings) -> None:
    """A demo is for this machine only. Raises SettingsError."""
    host = settings.api.host
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        key = "api.host"
        raise SettingsError(
            [
                f"{key}: 演示只监听本机 / a demo listens on loopback only, not on {host};"
                f" 请改为 127.0.0.1 / set it to 127.0.0.1 ({variable(key)}), or use `qunce up`"
            ]
        )
