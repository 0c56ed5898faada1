"""The connectors' file, `connectors.toml`: a list of connectors, each by its type."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from connectors.contract import ConfigError
from connectors.http_pull.config import HttpPullConfig
from connectors.mqtt.config import MqttConfig
from connectors.opcua.config import OpcUaConfig
from connectors.settings import Strict

AnyConfig = Annotated[OpcUaConfig | MqttConfig | HttpPullConfig, Field(discriminator="type")]


class ConnectorsConfig(Strict):
    """The whole file."""

    connectors: tuple[AnyConfig, ...] = Field(
        default=(), description="The connectors, each `[[connectors]]`."
    )

    @model_validator(mode="after")
    def _unique(self) -> Self:
        names = [connector.name for connector in self.connectors]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"name: used more than once: {', '.join(twice)}")
        sessions = [c.session for c in self.connectors if isinstance(c, MqttConfig)]
        if len(sessions) != len(set(sessions)):
            raise ValueError("client_id: two connectors share one; the broker would throw one of them out")
        return self


def load_config(file: Path) -> ConnectorsConfig:
    """Read and validate the file. Raises ConfigError naming file, key and rule."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(file, "", f"cannot be read: {error}") from error
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(file, "", f"is no TOML: {error}") from error
    try:
        return ConnectorsConfig.model_validate(parsed)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = _key(first["loc"], parsed)
        more = error.error_count() - 1
        rule = first["msg"].removeprefix("Value error, ") + (f" (and {more} more)" if more else "")
        raise ConfigError(file, key, rule) from None  # the cause would show secrets


def _key(location: tuple[int | str, ...], parsed: dict[str, object]) -> str:
    """`connectors[2] (press-line).url`: the place as a reader of the file would say it."""
    parts: list[str] = []
    for position, part in enumerate(location):
        if isinstance(part, int):
            parts[-1] += f"[{part}]"
            if position == 1:
                parts[-1] += _named(parsed, part)
        elif position != 2 or part not in ("opcua", "mqtt", "http_pull"):  # the union's own step
            parts.append(part)
    return ".".join(parts)


def _named(parsed: dict[str, object], index: int) -> str:
    entries = parsed.get("connectors")
    entry = entries[index] if isinstance(entries, list) and index < len(entries) else None
    name = entry.get("name") if isinstance(entry, dict) else None
    return f" ({name})" if isinstance(name, str) else ""
