"""Closed periods: until when a unit's readings are settled, so that nothing older is taken any more."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from store import audit
from store.database import Connection


class Closed(NamedTuple):
    """A unit's closed period: source times before `until` are closed. Times aware, UTC."""

    unit: str
    name_zh: str
    name_en: str
    until: datetime
    closed_at: datetime
    closed_by: str


class UnknownUnit(LookupError):
    """No lead unit has this code."""


class Backwards(ValueError):
    """More is closed already, or would be closed: closing only moves forward, reopening only back.

    `until` is how far the unit is closed now; None = not at all.
    """

    def __init__(self, until: datetime | None) -> None:
        super().__init__(until)
        self.until = until


def closed_until(conn: Connection, unit_id: int) -> int | None:
    """Source time (µs since the Unix epoch, UTC) before which the unit's readings are closed; None = open."""
    row = conn.execute(
        "SELECT (extract(epoch FROM closed_until) * 1000000)::bigint FROM closed_period WHERE unit_id = %s",
        (unit_id,),
    ).fetchone()
    return None if row is None else int(row[0])


def closed(conn: Connection) -> list[Closed]:
    """Every unit with a closed period, by code."""
    rows = conn.execute(
        "SELECT u.code, u.name_zh, u.name_en, c.closed_until, c.closed_at, c.closed_by"
        " FROM closed_period c JOIN lead_unit u USING (unit_id) ORDER BY u.code"
    )
    return [Closed(*row) for row in rows]


def close(conn: Connection, unit: str, until: datetime, by: str) -> None:
    """Close a unit's readings before `until` (aware). The same again is no error.

    Raises UnknownUnit; Backwards when the unit is closed further: opening again is asked for by name.
    """
    unit_id, before = _locked(conn, unit)
    if before is not None and before > until:
        raise Backwards(before)
    if before == until:
        return
    conn.execute(
        "INSERT INTO closed_period (unit_id, closed_until, closed_by) VALUES (%s, %s, %s)"
        " ON CONFLICT (unit_id) DO UPDATE SET closed_until = excluded.closed_until,"
        " closed_by = excluded.closed_by, closed_at = now()",
        (unit_id, until, by),
    )
    audit.record(conn, "period.closed", unit, {"until": until.isoformat(), "by": by}, unit_id)


def reopen(conn: Connection, unit: str, until: datetime | None, by: str) -> None:
    """Open a unit's readings from `until` on (aware), or all with None.

    Raises UnknownUnit; Backwards when that would close more, or nothing is closed.
    """
    unit_id, before = _locked(conn, unit)
    if before is None or (until is not None and until > before):
        raise Backwards(before)
    if until is None:
        conn.execute("DELETE FROM closed_period WHERE unit_id = %s", (unit_id,))
    else:
        conn.execute(
            "UPDATE closed_period SET closed_until = %s, closed_by = %s, closed_at = now() WHERE unit_id = %s",
            (until, by, unit_id),
        )
    left = None if until is None else until.isoformat()
    audit.record(conn, "period.reopened", unit, {"until": left, "by": by}, unit_id)


def _locked(conn: Connection, unit: str) -> tuple[int, datetime | None]:
    row = conn.execute("SELECT unit_id FROM lead_unit WHERE code = %s FOR UPDATE", (unit,)).fetchone()
    if row is None:
        raise UnknownUnit(unit)
    until = conn.execute("SELECT closed_until FROM closed_period WHERE unit_id = %s", (row[0],)).fetchone()
    return int(row[0]), until[0] if until else None
