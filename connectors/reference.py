"""Settings tables of the connectors' READMEs, made from the models: `python -m connectors.reference`."""

from __future__ import annotations

import re
import sys
import types
import typing
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from connectors.http_pull.config import HttpPullConfig
from connectors.mqtt.config import MqttConfig, PayloadConfig, TopicConfig
from connectors.opcua.config import ItemConfig, OpcUaConfig

ROOM = Path(__file__).parent
TABLES: dict[str, list[tuple[str, type[BaseModel]]]] = {
    "opcua": [("`[[connectors]]`", OpcUaConfig), ("`[[connectors.items]]`", ItemConfig)],
    "mqtt": [
        ("`[[connectors]]`", MqttConfig),
        ("`[[connectors.topics]]`", TopicConfig),
        ("`payload`", PayloadConfig),
    ],
    "http_pull": [("`[[connectors]]`", HttpPullConfig)],
}
_PLACE = re.compile(r"(<!-- settings -->\n).*?(<!-- /settings -->)", re.DOTALL)


def table(model: type[BaseModel]) -> str:
    """A Markdown table: setting, type and bounds, default, meaning."""
    lines = ["| setting | type | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        meaning = (field.description or "").replace("|", "\\|")
        kind = (_kind(field.annotation) + _bounds(field)).replace("|", "\\|")
        lines.append(f"| `{name}` | {kind} | {_default(field)} | {meaning} |")
    return "\n".join(lines)


def readme(folder: str) -> str:
    """The README of a connector with its settings tables as they are now."""
    text = (ROOM / folder / "README.md").read_text(encoding="utf-8")
    tables = "\n\n".join(f"{title}\n\n{table(model)}" for title, model in TABLES[folder])
    return _PLACE.sub(lambda m: f"{m[1]}\n{tables}\n\n{m[2]}", text)


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " \\| ".join(f"`{value}`" for value in arguments).replace("\\|", "|")
    if origin is typing.Annotated:
        return _kind(arguments[0])
    if origin in (types.UnionType, typing.Union):
        return _kind(next(a for a in arguments if a is not types.NoneType))
    if origin is tuple:
        return "list of tables"
    if origin is dict:
        return "table of text"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    names = {"str": "text", "int": "integer", "float": "number", "SecretStr": "secret", "Path": "path"}
    name: str = annotation.__name__
    return names.get(name, name)


def _bounds(field: FieldInfo) -> str:
    found = {
        mark: value
        for rule in field.metadata
        for mark, value in (
            ("≥", getattr(rule, "ge", None)),
            (">", getattr(rule, "gt", None)),
            ("≤", getattr(rule, "le", None)),
        )
        if value is not None
    }
    return "".join(f", {mark} {value}" for mark, value in found.items())


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "**required**"
    if value is None or value in ((), {}):
        return ""
    if isinstance(value, BaseModel):
        return f'`form = "{value.model_dump()["form"]}"`'
    if isinstance(value, tuple):
        return "the platform's own topics"
    return f"`{value}`"


def main() -> int:
    """Write the tables; returns the number of READMEs that changed."""
    changed = 0
    for folder in TABLES:
        text = readme(folder)
        path = ROOM / folder / "README.md"
        if path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed += 1
    return changed


if __name__ == "__main__":
    sys.stdout.write(f"{main()} changed\n")
