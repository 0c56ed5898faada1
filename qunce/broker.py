"""The platform's own broker as one more connector: `mqtt.url` is all that it needs."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from connectors.config import load_config
from qunce.process import write_private
from qunce.settings import Settings

NAME = "platform-broker"


def connector(mqtt_url: str) -> dict[str, object]:
    """The entry of connectors.toml that reads the platform's own topics from this broker."""
    broker = urlsplit(mqtt_url)
    secure = broker.scheme == "mqtts"
    return {
        "type": "mqtt",
        "name": NAME,
        "host": broker.hostname or "127.0.0.1",
        "port": broker.port or (8883 if secure else 1883),
        **({"username": unquote(broker.username)} if broker.username else {}),
        **({"password": unquote(broker.password)} if broker.password else {}),
        "tls": "verified" if secure else "none",
        "source_named_by": "unit",
    }


def configured(settings: Settings) -> bool:
    """Whether there is any connector to run: a connectors' file, or the platform's broker."""
    return settings.mqtt.url is not None or settings.connectors_file.exists()


def write_connectors(settings: Settings, target: Path) -> Path:
    """The connectors' file that is in force: the operator's own, with the platform's broker added.

    A connector of the name `platform-broker` in the operator's file stands instead of `mqtt.url` (for
    certificates of one's own, say). Returns `target`, written for its owner only, or the operator's
    file where nothing is to be added. Raises ConfigError when that cannot be read or is wrong.
    """
    file = settings.connectors_file
    if settings.mqtt.url is None:
        return file
    given: list[dict[str, Any]] = []
    if file.exists():
        # Read by its own room first, so that a mistake is told with the operator's file name.
        if NAME in {known.name for known in load_config(file).connectors}:
            return file
        given = tomllib.loads(file.read_text("utf-8")).get("connectors", [])
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(target, to_toml([connector(settings.mqtt.url.get_secret_value()), *given]))
    return target


def to_toml(connectors: list[dict[str, Any]]) -> str:
    """A connectors' file that holds these."""
    return "\n".join(
        "[[connectors]]\n" + "".join(f"{key} = {_inline(value)}\n" for key, value in table.items())
        for table in connectors
    )


def _inline(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_inline(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(one) for one in value) + "]"
    # A JSON string, number or truth value is also one in TOML.
    return json.dumps(value)
