"""docs/settings.md from the settings model; `--check` fails when the file is not up to date."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from qunce.settings import Settings, variable

FILE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
_HEAD = """\
# 设置参考 | Settings

由设置模型生成（`make docs`），请勿手改。 | Generated from the settings model (`make docs`); do not edit.

设置来自一个 TOML 文件（`--config`，否则 `./qunce.toml`，否则数据目录中的 `qunce.toml`），环境变量优先于文件。
Settings come from one TOML file (`--config`, else `./qunce.toml`, else `qunce.toml` in the data directory);
environment variables win over the file. An unknown key, or a value that breaks its rule, stops the program
with exit code 2 and a message that names the place, the key, the rule and the remedy.
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    top = [name for name, field in Settings.model_fields.items() if not _is_section(field.annotation)]
    parts.append(_table("", {name: Settings.model_fields[name] for name in top}))
    for name, field in Settings.model_fields.items():
        model: Any = field.annotation
        if _is_section(model):
            parts.append(f"\n## `[{name}]`\n\n{inspect.cleandoc(model.__doc__ or '')}\n")
            parts.append(_table(f"{name}.", model.model_fields))
    return "\n".join(parts)


def _is_section(annotation: Any) -> bool:
    return inspect.isclass(annotation) and issubclass(annotation, BaseModel)


def _table(prefix: str, fields: dict[str, Any]) -> str:
    rows = ["| key | variable | default | rule | 说明 meaning |", "|---|---|---|---|---|"]
    for name, field in fields.items():
        key = prefix + name
        default = "" if field.default is PydanticUndefined else _shown(field.default)
        rule = ", ".join(_rule(item) for item in field.metadata if _rule(item))
        text = re.sub(r" ?\| ?", "<br>", field.description or "", count=1)
        rows.append(f"| `{key}` | `{variable(key)}` | {default} | {rule} | {text} |")
    return "\n".join(rows) + "\n"


def _shown(default: Any) -> str:
    return "" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _rule(item: Any) -> str:
    words = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "length ≥", "max_length": "length ≤"}
    return ", ".join(f"{sign} {getattr(item, name)}" for name, sign in words.items() if hasattr(item, name))


def main() -> int:
    """Write the page, or compare it."""
    if "--check" not in sys.argv:
        FILE.write_text(page(), "utf-8")
        return 0
    if not FILE.exists() or FILE.read_text("utf-8") != page():
        print(f"{FILE}: 不是最新 / not up to date; run `make docs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
