"""What a connector tells about itself: one status, counters, the age of its data, edges in the log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import structlog

from connectors.contract import State
from ingest.batch import Batch


def now_microseconds() -> int:
    """µs since the Unix epoch, UTC, by the platform's clock."""
    return time.time_ns() // 1000


class Journal:
    """One connector's journal. For one event loop; no locks.

    Counters are few and named by the connectors' `events.py`. `on_change` is called at each change
    of status, with the journal itself.
    """

    def __init__(self, name: str, kind: str, on_change: Callable[[Journal], None] | None = None) -> None:
        self.name = name
        self.kind = kind
        self.log = structlog.get_logger("connectors").bind(connector=name, type=kind)
        self.state: State = "starting"
        self.reason = ""
        self.detail = ""
        self.since = self.began = now_microseconds()
        self.counts: dict[str, int] = {"batches": 0, "readings": 0, "refused": 0}
        self.last_data_at: int | None = None
        self.newest_source_time: int | None = None
        self.was_ok = False
        self._on_change = on_change
        self._raised: set[str] = set()

    def status(self, state: State, reason: str = "", detail: str = "") -> None:
        """Set the status; logged once when it breaks and once when it recovers, not at every repetition."""
        if state == "ok":
            self.was_ok = True
        if (state, reason, detail) == (self.state, self.reason, self.detail):
            return
        before, self.state = self.state, state
        changed = (state, reason) != (before, self.reason)
        self.reason, self.detail = reason, detail
        self.since = now_microseconds()
        if state == "ok":
            self.raised("connection", False, "connection broken")
        elif state in ("recoverable", "permanent"):
            self.raised("connection", True, "connection broken", reason=reason, error=detail)
        if changed and self._on_change is not None:
            self._on_change(self)

    def raised(self, edge: str, broken: bool, event: str, **values: Any) -> None:
        """Log `event` when the condition named `edge` begins (warning), and that it is over (info); else nothing."""
        if broken and edge not in self._raised:
            self._raised.add(edge)
            self.log.warning(event, **values)
        elif not broken and edge in self._raised:
            self._raised.discard(edge)
            self.log.info(f"{event}: over")

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter."""
        self.counts[name] = self.counts.get(name, 0) + amount

    def taken(self, batch: Batch) -> None:
        """A batch became durable."""
        self.last_data_at = now_microseconds()
        self.count("batches")
        self.count("readings", len(batch))
        self.count("refused", len(batch.refused))
        if len(batch):
            newest = int(batch.ts.max())
            self.newest_source_time = max(newest, self.newest_source_time or newest)

    def snapshot(self) -> dict[str, Any]:
        """Plain values for a status page: ages in seconds, times in µs UTC."""
        now = now_microseconds()
        return {
            "type": self.kind,
            "reason": self.reason,
            "detail": self.detail,
            "since": self.since,
            "canaries_since": self.began,
            "last_data_age_seconds": None if self.last_data_at is None else (now - self.last_data_at) / 1e6,
            "newest_source_time": self.newest_source_time,
            "counts": dict(self.counts),
        }
