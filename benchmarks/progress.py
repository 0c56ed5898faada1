"""What a benchmark does at the moment, for the person who waits; on stderr, so that stdout is the result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

console = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """One line that stays."""
    console.print(text)


@contextmanager
def step(text: str) -> Iterator[None]:
    """A spinner on a terminal while the block runs; elsewhere nothing: `say` tells what came out."""
    if console.is_terminal:
        with console.status(text):
            yield
    else:
        yield
