"""Files that others read while a run goes on: ``ledger.json`` and ``progress.json``, always whole."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from simulators.outbox import Outbox


def replace_json(path: Path, content: object) -> None:
    """Write JSON so that a reader sees the old or the new file, never a part."""
    partial = path.with_suffix(".tmp")
    partial.write_bytes(msgspec.json.encode(content))
    partial.replace(path)


def write_ledger(outbox: Outbox, folder: Path) -> None:
    """Write what was sent by each source; the fields are described in the README of this folder."""
    replace_json(
        folder / "ledger.json",
        {"sources": outbox.ledger(), "updated_at": datetime.now(UTC).isoformat()},
    )


class Progress:
    """How far the run is; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._phase = "registering"
        self._done = 0
        self._total = 0
        self._live = False
        self._rate = 0.0
        self._last = (time.monotonic(), 0)

    def set(
        self,
        *,
        phase: str | None = None,
        done: int | None = None,
        total: int | None = None,
        live: bool | None = None,
    ) -> None:
        """Change what is given."""
        with self._lock:
            self._phase = phase if phase is not None else self._phase
            self._done = done if done is not None else self._done
            self._total = total if total is not None else self._total
            self._live = live if live is not None else self._live

    def add(self, done: int, total: int = 0) -> None:
        """More rows of history are delivered; ``total`` corrects the estimate."""
        with self._lock:
            self._done += done
            self._total += total

    def write(self, folder: Path) -> None:
        """Write ``progress.json``; the rate is an average over the last seconds."""
        with self._lock:
            now = time.monotonic()
            elapsed = now - self._last[0]
            if elapsed > 0.2:
                rate = max(0, self._done - self._last[1]) / elapsed
                self._rate += (rate - self._rate) * min(1.0, elapsed / 3)
                self._last = (now, self._done)
            content = {
                "phase": self._phase,
                "done": self._done,
                "total": self._total,
                "rows_per_s": round(self._rate),
                "live": self._live,
            }
        replace_json(folder / "progress.json", content)
