"""Is what the pages show current? One verdict, for the banner and the badge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Literal

from dashboard.snapshot import Snapshot

Level = Literal["ok", "warn", "bad"]

STALE_AFTER_S: Mapping[str, int] = MappingProxyType({"now": 180, "hour": 900, "day": 1800, "month": 7200})
"""A figure of a period is stale when it was computed longer ago than this (seconds)."""

SILENT_AFTER_S = 60
"""No row from any source for this long: the data have stopped."""

BEAT_AFTER_S = 30
"""A part of the platform that has not said anything for this long is down."""

NEEDED = ("writer", "metrics")
"""Parts without which figures stop moving, worst first."""


@dataclass(frozen=True, slots=True)
class Health:
    """`key`: text `banner.<key>`; `since`: from when on the pages show old data; None = not known."""

    level: Level
    key: str
    since: datetime | None


def health(snapshot: Snapshot) -> Health:
    """Judge a snapshot: first the database, then data, then the parts that work on them."""
    picture = snapshot.picture
    if snapshot.failing_since is not None:
        return Health("bad", "database", picture.read_at if picture else snapshot.failing_since)
    if picture is None:
        return Health("ok", "starting", None)
    if picture.own is not None:
        return Health("ok", "live", None)
    if not picture.pilots:
        return Health("ok", "empty", None)
    beats = {
        name: max(
            (c.beat_at for c in picture.components if c.component == name and c.status != "stopped"),
            default=None,
        )
        for name in NEEDED
    }
    for name, beat in beats.items():
        if beat is not None and picture.read_at - beat > timedelta(seconds=BEAT_AFTER_S):
            return Health("bad", name, beat)
    last = max((s.last_received_at for s in picture.supplies if s.last_received_at), default=None)
    if last is not None and picture.read_at - last > timedelta(seconds=SILENT_AFTER_S):
        return Health("bad", "silent", last)
    return Health("ok", "live", None)
