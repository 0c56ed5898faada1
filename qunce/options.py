"""Options and settings that every command shares."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from qunce.settings import Settings

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="设置文件 | settings file (TOML); see docs/settings.md")
]
DataDirOption = Annotated[
    Path | None,
    typer.Option("--data-dir", help="数据目录 | data directory; default below the user's data home"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="输出 JSON | as JSON")]


def settings_of(config: Path | None, data_dir: Path | None, *, generated: bool = True) -> Settings:
    """The settings, with logging set up as they say. Raises SettingsError."""
    from qunce.logging import configure
    from qunce.settings import load

    settings = load(config, data_dir, generated=generated)
    configure(settings.logging)
    return settings


def moment(text: str) -> datetime:
    """A time on the command line: ISO 8601, with a zone."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"不是时间 | no time: {text} (2026-10-01T00:00+08:00)") from None
    if parsed.tzinfo is None:
        raise typer.BadParameter(f"缺少时区 | the zone is missing: {text}+08:00?")
    return parsed
