"""What the province's administrator does before anybody can send: register units and pilots, issue keys."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from qunce.embedded.nats import user_of, write_users
from qunce.settings import SettingsError
from store import identity, registry
from store.database import connect
from store.registry import NewPilot, NewUnit

_PILOT_FIELDS = (*(field for field in NewPilot._fields if field != "unit_code"), "unit")


class PilotsError(Exception):
    """The list of pilots cannot be used; the message names file, place and rule."""


def read_pilots(file: Path) -> list[dict[str, Any]]:
    """The list of pilots of a JSON file, each with every field that `provision` needs. Raises PilotsError."""
    try:
        pilots = json.loads(file.read_text("utf-8"))["pilots"]
    except OSError as error:
        raise PilotsError(f"{file}: 无法读取 / cannot be read: {error.strerror}") from error
    except ValueError as error:  # not UTF-8, or not JSON
        raise PilotsError(f"{file}: 不是有效的 JSON / not valid JSON: {error}") from error
    except (KeyError, TypeError):
        pilots = None
    if not isinstance(pilots, list):
        raise PilotsError(f'{file}: 必须是 / must be {{"pilots": [ … ]}}')
    for index, pilot in enumerate(pilots):
        place = f"{file}: pilots[{index}]"
        _complete(pilot, _PILOT_FIELDS, place)
        _complete(pilot["unit"], NewUnit._fields, f"{place}.unit")
        try:
            date.fromisoformat(str(pilot["started_on"]))
        except ValueError:
            raise PilotsError(
                f"{place}.started_on: 必须是日期 / must be a date, YYYY-MM-DD, not {pilot['started_on']!r}"
            ) from None
    return pilots


def _complete(given: Any, fields: Sequence[str], place: str) -> None:
    if not isinstance(given, dict):
        raise PilotsError(f"{place}: 必须是对象 / must be an object with {', '.join(fields)}")
    if missing := [field for field in fields if field not in given]:
        raise PilotsError(f"{place}: 缺少 / is missing {', '.join(missing)}")


def provision(
    dsn: str, pilots: Sequence[Mapping[str, Any]], keys_file: Path, units: Sequence[NewUnit] = ()
) -> dict[str, str]:
    """Register pilots and their lead units, and `units` that have no pilot; returns unit code → API key.

    A pilot is {code, name_zh, name_en, cluster_code, region_code, stage, started_on, unit: {code,
    name_zh, name_en, path, uscc}}. Keys are issued once and kept in `keys_file`, readable by its
    owner only; a unit whose key the file does not hold gets a new one. Repeating changes nothing.
    """
    keys: dict[str, str] = json.loads(keys_file.read_text("utf-8")) if keys_file.exists() else {}
    with connect(dsn, application="provision") as conn:
        named = [NewUnit(**{field: pilot["unit"][field] for field in NewUnit._fields}) for pilot in pilots]
        for unit in [*named, *units]:
            registry.register_unit(conn, unit)
            known = keys.get(unit.code)
            if known is None or identity.authenticate_key(conn, identity.digest(known)) is None:
                keys[unit.code] = identity.new_key()
                registry.add_key(conn, unit.code, keys[unit.code])
        for unit, pilot in zip(named, pilots, strict=True):
            started_on = date.fromisoformat(str(pilot["started_on"]))
            fields = {field: pilot[field] for field in NewPilot._fields if field in pilot}
            registry.register_pilot(
                conn, NewPilot(**{**fields, "unit_code": unit.code, "started_on": started_on})
            )
        # The keys must be on disk before the database holds their digests: a digest without its key is useless.
        _keep(keys_file, keys)
    return {unit.code: keys[unit.code] for unit in [*named, *units]}


def write_nats_users(mqtt_url: str, callout_url: str, target: Path) -> None:
    """Write the users' part of the configuration of a NATS server that is the platform's broker.

    It holds the users of both URLs; units are not in it, their logins are asked for. Raises SettingsError
    when a URL has no user or no password.
    """
    for key, url in (("mqtt.url", mqtt_url), ("mqtt.callout_url", callout_url)):
        if "" in user_of(url):
            raise SettingsError([f"{key}: 须含用户名与密码 / must hold a user name and a password"])
    write_users(target, platform=mqtt_url, callout=callout_url)


def _keep(path: Path, keys: Mapping[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(keys, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
