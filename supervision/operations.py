"""What the parts of the platform say of themselves, as facts for `supervision.problems`: a pure function.

A part may say in the detail of its status: `log` {bytes, limit_bytes}, `disk` {free_bytes, total_bytes},
`canaries_since` (µs since the Unix epoch: from then on it sends canaries of its name).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from store.canary import Arrived
from store.status import Component
from store.times import moment
from supervision.problems import CanaryFact, DiskFact, LogFact

WORD_COUNTS_S = 600.0
"""What a part said longer ago than this (s) says nothing about the log and the disk of now."""


def canary_facts(words: Sequence[Component], arrived: Sequence[Arrived]) -> tuple[CanaryFact, ...]:
    """Of every connector that is to send canaries: one that said goodbye is not."""
    promised: dict[str, datetime] = {}
    for word in words:
        since = word.detail.get("canaries_since")
        if word.status != "stopped" and isinstance(since, int):
            at = moment(since)
            promised[word.component] = min(at, promised.get(word.component, at))
    stored = {canary.connector: canary.stored_at for canary in arrived}
    return tuple(CanaryFact(name, stored.get(name, at)) for name, at in sorted(promised.items()))


def log_fact(words: Sequence[Component], now: datetime) -> LogFact | None:
    """How full the log is, by the newest word; None when nobody has said."""
    told = [(word.beat_at, found) for word in _recent(words, now) if (found := _numbers(word, "log"))]
    if not told:
        return None
    _, newest = max(told, key=lambda item: item[0])
    return LogFact(int(newest["bytes"]), int(newest["limit_bytes"]))


def disk_facts(words: Sequence[Component], now: datetime) -> tuple[DiskFact, ...]:
    """The disks that were told of, one an instance."""
    found = {word.instance: _numbers(word, "disk") for word in _recent(words, now)}
    return tuple(
        DiskFact(instance, int(disk["free_bytes"]), int(disk["total_bytes"]))
        for instance, disk in sorted(found.items())
        if disk
    )


def _recent(words: Sequence[Component], now: datetime) -> list[Component]:
    oldest = now - timedelta(seconds=WORD_COUNTS_S)
    return [word for word in words if word.status != "stopped" and word.beat_at >= oldest]


def _numbers(word: Component, key: str) -> Mapping[str, Any] | None:
    found = word.detail.get(key)
    return found if isinstance(found, Mapping) and len(found) >= 2 else None
