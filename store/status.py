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


def told_pending(words: Sequence[Component], within_s: float) -> dict[tuple[str, str], int] | None:
    """(unit, source) → rows that wait in the log, as the writers say; None when no writer said it of late.

    Each writer tells of its own part of the log, as `pending` [[unit, source, rows], …].
    """
    told: dict[tuple[str, str], int] = {}
    known = False
    for word in words:
        listed = word.detail.get("pending")
        if word.component == "writer" and word.age_s <= within_s and isinstance(listed, list):
            known = True
            for unit, source, rows in listed:
                told[unit, source] = told.get((unit, source), 0) + int(rows)
    return told if known else None
