"""What a person sees while the demo runs: steps, the banner, one live line, the history's progress."""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from qunce.supervisor import Child

_PLAIN_EVERY_S = 15.0


class Screen:
    """On a terminal a live display, elsewhere a line now and then. Use as a context manager."""

    def __init__(self) -> None:
        self.console = Console(stderr=False, highlight=False, soft_wrap=not sys.stdout.isatty())
        self._history = Progress(
            TextColumn("[bold]历史回填 history"),
            BarColumn(bar_width=36),
            TextColumn("{task.percentage:>5.1f}%  {task.fields[rate]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        self._task = self._history.add_task("history", total=None, rate="")
        self._line = Text("")
        self._live: Live | None = None
        self._said = 0.0
        self._begun = time.monotonic()

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        self.freeze()

    def step(self, zh: str, en: str) -> None:
        """One line for one thing that is done now."""
        self.console.print(f"[dim]{time.monotonic() - self._begun:6.1f} s[/dim]  {zh} | {en}")

    def note(self, zh: str, en: str) -> None:
        """Something a person should see, without stopping."""
        self.console.print(f"[yellow]{zh} | {en}[/yellow]")

    def banner(self, facts: list[tuple[str, str]]) -> None:
        """Ready: where everything is."""
        grid = Table.grid(padding=(0, 2))
        for name, value in facts:
            grid.add_row(Text(name, style="bold"), Text(value))
        self.console.print(
            Panel(grid, title="[bold]群策 Qunce[/bold] 已就绪 ready", border_style="green", expand=False)
        )
        if self.console.is_terminal:
            self._live = Live(
                Group(self._history, self._line), console=self.console, refresh_per_second=4, transient=True
            )
            self._live.start()
            _log_to_stderr_of_now()

    def show(self, progress_file: Path, children: list[Child], rows: int, rate: float) -> None:
        """Bring the live line up to date; cheap, called a few times a second."""
        progress = read_progress(progress_file)
        done, total = int(progress.get("done", 0)), int(progress.get("total", 0))
        self._history.update(
            self._task,
            completed=done,
            total=total or None,
            rate=f"{done:,}/{total:,} 行 rows, {int(progress.get('rows_per_s', 0)):,}/s",
        )
        parts = " ".join(
            f"{child.part.name}{'' if child.state == 'ok' else ':' + child.state}"
            + (f"(×{child.restarts})" if child.restarts else "")
            for child in children
        )
        text = f"已入库 stored {rows:,}  速率 rate {rate:,.0f} 行/s  {parts}"
        if self._live is not None:
            self._line.plain = text
        elif time.monotonic() - self._said > _PLAIN_EVERY_S:
            self._said = time.monotonic()
            share = f" 历史 history {done / total:.0%}" if total else ""
            self.console.print(text + share)

    def freeze(self) -> None:
        """End the live display."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            _log_to_stderr_of_now()


def _log_to_stderr_of_now() -> None:
    # A live display stands in for sys.stderr, so that log lines scroll above it instead of through it.
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(sys.stderr)


def read_progress(file: Path) -> dict[str, Any]:
    """The simulators' progress; empty when there is none yet."""
    try:
        content: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content
