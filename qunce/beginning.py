"""What happens at every start of the pages: the first operator has his account, and what was set anew is noted."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import structlog

from qunce.settings import Settings, to_toml
from store import audit, passwords, people
from store.database import connect

_log = structlog.get_logger("qunce.beginning")
_AGAIN_S = 5.0
SEEN_FILE = "settings-seen.json"


async def begin(settings: Settings, stop: asyncio.Event) -> None:
    """Give the operator of the settings his account, as soon as the database answers.

    It takes the owner's DSN; a process without it leaves that to others.
    """
    owner = settings.database.dsn
    if owner is None:
        return
    name = settings.dashboard.user
    while not stop.is_set():
        try:
            await asyncio.to_thread(_begin, owner.get_secret_value(), settings)
        except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _AGAIN_S)
        except (people.WrongScope, passwords.Weak, psycopg.Error) as error:
            _log.error("the operator of dashboard.user has no account", name=name, error=str(error))
            return
        else:
            return


def _begin(dsn: str, settings: Settings) -> None:
    password = settings.dashboard.password
    with connect(dsn, application="begin") as conn:
        if password is not None:
            people.ensure_operator(conn, settings.dashboard.user, password.get_secret_value())
        with _seen(settings.data_dir / SEEN_FILE) as seen:
            now = digests(settings, str(seen.setdefault("salt", secrets.token_hex(16))))
            before: dict[str, str] = seen.get("settings", {})
            if changed := sorted(
                key for key in now.keys() | before.keys() if now.get(key) != before.get(key)
            ):
                audit.record(conn, "configuration.changed", "settings", {"names": changed})
                conn.commit()
            seen["settings"] = now


def digests(settings: Settings, salt: str) -> dict[str, str]:
    """Dotted key → a salted digest of what is set, of every setting that is; values themselves are nowhere kept."""
    content = tomllib.loads(to_toml(settings))
    flat = {
        f"{section}.{key}" if isinstance(values, dict) else section: value
        for section, values in content.items()
        for key, value in (values.items() if isinstance(values, dict) else [("", values)])
    }
    return {
        key: hashlib.sha256(f"{salt}:{key}={value!r}".encode()).hexdigest() for key, value in flat.items()
    }


@contextlib.contextmanager
def _seen(file: Path) -> Iterator[dict[str, Any]]:
    """What the last start saw, to be brought up to date; processes of one data directory one after the other."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), "r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            seen: dict[str, Any] = json.loads(held.read())
        except ValueError:  # the first start, or one that was cut short
            seen = {}
        yield seen
        held.seek(0)
        held.truncate()
        json.dump(seen, held)
