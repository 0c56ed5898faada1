"""What each part of the platform says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from psycopg.types.json import Jsonb

from store.database import Connection

Status = Literal["starting", "ok", "recoverable", "permanent", "stopping", "stopped"]


class Component(NamedTuple):
    """One part's last word; `beat_at` aware UTC. An old `beat_at` means the part is dead, whatever it said."""

    component: str
    instance: str
    status: Status
    detail: dict[str, Any]
    beat_at: datetime
    age_s: float


def beat(conn: Connection, component: str, instance: str, status: Status, detail: dict[str, Any]) -> None:
    """Record the status of one part, now (the database's clock). `detail` must be JSON-serialisable."""
    conn.execute(
        "INSERT INTO component_status (component, instance, status, detail, beat_at)"
        " VALUES (%s, %s, %s, %s, clock_timestamp())"
        " ON CONFLICT (component, instance) DO UPDATE"
        " SET status = excluded.status, detail = excluded.detail, beat_at = excluded.beat_at",
        (component, instance, status, Jsonb(detail)),
    )


def components(conn: Connection) -> list[Component]:
    """Every part's last word, by name."""
    rows = conn.execute(
        "SELECT component, instance, status, detail, beat_at,"
        " extract(epoch FROM clock_timestamp() - beat_at)::float8"
        " FROM component_status ORDER BY component, instance"
    )
    return [Component(*row) for row in rows]


class Told(NamedTuple):
    """What the writers say waits in the log: `rows` in all, and by (unit, source) as far as they list it."""

    rows: int
    by_source: dict[tuple[str, str], int]
    at: datetime


def told_pending(words: Sequence[Component], within_s: float) -> Told | None:
    """What waits, as the writers said at most `within_s` ago, each of its own part of the log; None: nobody did.

    They say it as `pending` [[unit, source, rows], …], the largest first, and `pending_rows` for all of them.
    `at`: when the oldest of these words was said.
    """
    rows, by_source, at = 0, dict[tuple[str, str], int](), None
    for word in words:
        listed = word.detail.get("pending")
        if word.component != "writer" or word.age_s > within_s or not isinstance(listed, list):
            continue
        for unit, source, n in listed:
            by_source[unit, source] = by_source.get((unit, source), 0) + int(n)
        rows += int(word.detail.get("pending_rows", sum(int(n) for _, _, n in listed)))
        at = word.beat_at if at is None else min(at, word.beat_at)
    return None if at is None else Told(rows, by_source, at)
