"""Declared stoppages: while one holds nothing is due of its equipment, so silence is not missing data.

Equipment is chosen when a stoppage is declared; what is registered later is not part of it. Stoppages may
overlap: a time is stopped when any of them holds. The hours a change reaches are marked in its transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, get_args

from store import audit
from store.database import Connection, only
from store.times import local

Kind = Literal["holiday", "maintenance", "no_order", "relocation", "power", "emergency", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Scope = Literal["equipment", "enterprise", "all"]

WINDOW = timedelta(days=10)
"""How far back a stoppage may be declared or changed: the correction window."""
AHEAD = timedelta(days=366)
"""How far ahead one may begin."""
SHOWN = 200
"""Equipment codes that are listed with a stoppage; `equipment` counts all."""


class Refused(Exception):
    """What was asked for is not possible: `reason`, a code of ingest.api.problems, and its parameters."""

    def __init__(self, reason: str, **parameters: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.parameters = parameters


class NewStoppage(NamedTuple):
    """A stoppage to declare: of some equipment (codes), of an enterprise (USCC), or with neither of all. Times aware."""

    kind: Kind
    start: datetime
    end: datetime | None
    reason: str
    voucher: str | None = None
    equipment_codes: Sequence[str] | None = None
    enterprise_uscc: str | None = None


class Stoppage(NamedTuple):
    """A declared stoppage. Times aware, UTC; `end` None = until further notice."""

    stoppage_id: int
    unit: str
    kind: Kind
    start: datetime
    end: datetime | None
    reason: str
    voucher: str | None
    scope: Scope
    declared_at: datetime
    changed_at: datetime
    withdrawn_at: datetime | None
    equipment: int
    equipment_codes: list[str]


def declare(conn: Connection, unit_id: int, new: NewStoppage, request_key: str | None = None) -> Stoppage:
    """Declare a stoppage of the calling unit; the same `request_key` again gives the one there is.

    Raises Refused: too far back or ahead, in a closed period, equipment or enterprise unknown, or the key was
    another declaration's.
    """
    if request_key is not None:
        before = conn.execute(
            "SELECT stoppage_id, (kind, start_at, reason) = (%s, %s, %s) AND voucher IS NOT DISTINCT FROM %s"
            " FROM stoppage WHERE unit_id = %s AND request_key = %s",
            (new.kind, new.start, new.reason, new.voucher, unit_id, request_key),
        ).fetchone()
        if before is not None:
            if not before[1]:
                raise Refused("idempotency_key_reused")
            return _the(conn, before[0])
    if new.end is not None and new.end <= new.start:
        raise Refused("stoppage_ends_before", start=local(new.start), end=local(new.end))
    now: datetime = only(conn.execute("SELECT now()"))[0]
    if new.start > now + AHEAD:
        raise Refused("stoppage_too_far", start=local(new.start), days=str(AHEAD.days))
    _changeable(conn, unit_id, new.start, now)
    scope, equipment = _equipment(conn, unit_id, new)
    inserted = conn.execute(
        "INSERT INTO stoppage (unit_id, kind, start_at, end_at, reason, voucher, scope, request_key)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (unit_id, request_key) DO NOTHING"
        " RETURNING stoppage_id",
        (unit_id, new.kind, new.start, new.end, new.reason, new.voucher, scope, request_key),
    ).fetchone()
    if inserted is None:  # the same request, at the same time
        return declare(conn, unit_id, new, request_key)
    stoppage_id = int(inserted[0])
    conn.execute(
        "INSERT INTO stoppage_equipment (stoppage_id, unit_id, equipment_id)"
        " SELECT %s, %s, unnest(%s::integer[])",
        (stoppage_id, unit_id, equipment),
    )
    _reopen(conn, stoppage_id, new.start, new.end)
    made = _the(conn, stoppage_id)
    audit.record(conn, "stoppage.declared", f"stoppage {stoppage_id}", _told(made), unit_id)
    return made


def change(
    conn: Connection,
    unit_id: int,
    stoppage_id: int,
    *,
    ends: bool = False,
    end: datetime | None = None,
    reason: str | None = None,
    voucher: str | None = None,
) -> Stoppage | None:
    """End or extend one of the calling unit's stoppages, or correct its words; None when there is none in force.

    With `ends` it ends at `end`, None: it holds until further notice. Raises Refused when the time it would gain
    or lose lies too far back or in a closed period.
    """
    before = _locked(conn, unit_id, stoppage_id)
    if before is None or before.withdrawn_at is not None:
        return None
    if ends and end != before.end:
        if end is not None and end <= before.start:
            raise Refused("stoppage_ends_before", start=local(before.start), end=local(end))
        # Until further notice is later than every end; of two that differ one is an end.
        earlier, later = sorted((before.end, end), key=lambda at: (at is None, at))
        assert earlier is not None  # noqa: S101
        _changeable(conn, unit_id, earlier, only(conn.execute("SELECT now()"))[0])
        conn.execute("UPDATE stoppage SET end_at = %s WHERE stoppage_id = %s", (end, stoppage_id))
        _reopen(conn, stoppage_id, earlier, later)
    conn.execute(
        "UPDATE stoppage SET reason = coalesce(%s, reason), voucher = coalesce(%s, voucher), changed_at = now()"
        " WHERE stoppage_id = %s",
        (reason, voucher, stoppage_id),
    )
    after = _the(conn, stoppage_id)
    detail = {"before": _told(before), "after": _told(after)}
    audit.record(conn, "stoppage.changed", f"stoppage {stoppage_id}", detail, unit_id)
    return after


def withdraw(conn: Connection, unit_id: int, stoppage_id: int) -> Stoppage | None:
    """Take one of the calling unit's stoppages back as if it had not been; None when there is none in force.

    Raises Refused when it began too far back or in a closed period.
    """
    before = _locked(conn, unit_id, stoppage_id)
    if before is None or before.withdrawn_at is not None:
        return None
    _changeable(conn, unit_id, before.start, only(conn.execute("SELECT now()"))[0])
    conn.execute(
        "UPDATE stoppage SET withdrawn_at = now(), changed_at = now() WHERE stoppage_id = %s", (stoppage_id,)
    )
    _reopen(conn, stoppage_id, before.start, before.end)
    audit.record(conn, "stoppage.withdrawn", f"stoppage {stoppage_id}", _told(before), unit_id)
    return _the(conn, stoppage_id)


def stoppages(
    conn: Connection,
    *,
    limit: int,
    before: int | None = None,
    unit: str | None = None,
    stoppage_id: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Stoppage]:
    """Declared stoppages in the caller's sight, newest first; those that touch [since, until)."""
    rows = conn.execute(
        "SELECT s.stoppage_id, u.code, s.kind, s.start_at, s.end_at, s.reason, s.voucher, s.scope, s.declared_at,"
        " s.changed_at, s.withdrawn_at, e.n, e.codes"
        " FROM stoppage s JOIN lead_unit u USING (unit_id) CROSS JOIN LATERAL ("
        "  SELECT count(*) AS n, coalesce((array_agg(q.code ORDER BY q.code))[:%(shown)s], '{}') AS codes"
        "  FROM stoppage_equipment x JOIN equipment q USING (equipment_id)"
        "  WHERE x.stoppage_id = s.stoppage_id) e"
        " WHERE (%(id)s::bigint IS NULL OR s.stoppage_id = %(id)s)"
        " AND (%(before)s::bigint IS NULL OR s.stoppage_id < %(before)s)"
        " AND (%(unit)s::text IS NULL OR u.code = %(unit)s)"
        " AND (%(since)s::timestamptz IS NULL OR coalesce(s.end_at, 'infinity') > %(since)s)"
        " AND (%(until)s::timestamptz IS NULL OR s.start_at < %(until)s)"
        " ORDER BY s.stoppage_id DESC LIMIT %(limit)s",
        {
            "shown": SHOWN, "id": stoppage_id, "before": before, "unit": unit, "since": since, "until": until,
            "limit": limit,
        },
    )  # fmt: skip
    return [Stoppage(*row) for row in rows]


def _the(conn: Connection, stoppage_id: int) -> Stoppage:
    return stoppages(conn, limit=1, stoppage_id=stoppage_id)[0]


def _locked(conn: Connection, unit_id: int, stoppage_id: int) -> Stoppage | None:
    row = conn.execute(
        "SELECT 1 FROM stoppage WHERE stoppage_id = %s AND unit_id = %s FOR UPDATE", (stoppage_id, unit_id)
    ).fetchone()
    return None if row is None else _the(conn, stoppage_id)


def _changeable(conn: Connection, unit_id: int, since: datetime, now: datetime) -> None:
    """Raises Refused when what changes from `since` on is settled."""
    if since < now - WINDOW:
        raise Refused("stoppage_too_old", start=local(since), days=str(WINDOW.days))
    row = conn.execute("SELECT closed_until FROM closed_period WHERE unit_id = %s", (unit_id,)).fetchone()
    if row is not None and since < row[0]:
        raise Refused("stoppage_closed", start=local(since), until=local(row[0]))


def _equipment(conn: Connection, unit_id: int, new: NewStoppage) -> tuple[Scope, list[int]]:
    if new.equipment_codes is not None:
        wanted = list(dict.fromkeys(new.equipment_codes))
        known: dict[str, int] = dict(
            conn.execute(
                "SELECT code, equipment_id FROM equipment WHERE unit_id = %s AND code = ANY(%s)",
                (unit_id, wanted),
            ).fetchall()
        )
        if missing := [code for code in wanted if code not in known]:
            raise Refused("stoppage_of_unknown", field="equipment_codes", got=", ".join(missing[:20]))
        return "equipment", list(known.values())
    if new.enterprise_uscc is not None:
        row = conn.execute(
            "SELECT enterprise_id FROM enterprise WHERE unit_id = %s AND uscc = %s",
            (unit_id, new.enterprise_uscc),
        ).fetchone()
        if row is None:
            raise Refused("stoppage_of_unknown", field="enterprise_uscc", got=new.enterprise_uscc)
        rows = conn.execute(
            "SELECT equipment_id FROM equipment WHERE unit_id = %s AND enterprise_id = %s", (unit_id, row[0])
        ).fetchall()
    else:
        rows = conn.execute("SELECT equipment_id FROM equipment WHERE unit_id = %s", (unit_id,)).fetchall()
    if not rows:
        raise Refused("stoppage_of_nothing")
    return ("all" if new.enterprise_uscc is None else "enterprise"), [row[0] for row in rows]


def _reopen(conn: Connection, stoppage_id: int, since: datetime, until: datetime | None) -> None:
    conn.execute(
        "SELECT reopen_stopped(%s, %s, coalesce(%s::timestamptz, 'infinity'))", (stoppage_id, since, until)
    )


def _told(one: Stoppage) -> dict[str, Any]:
    """As the audit log keeps it."""
    return {
        "kind": one.kind, "from": one.start.isoformat(), "to": one.end and one.end.isoformat(),
        "reason": one.reason, "voucher": one.voucher, "scope": one.scope, "equipment": one.equipment,
        "equipment_codes": one.equipment_codes[:20],
    }  # fmt: skip
