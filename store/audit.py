"""The audit log: append-only, each event sealed with the hash of the one before (0010_audit.sql)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from store.database import Connection, only

_PAGE = 5_000
_START = bytes(32)


class Event(NamedTuple):
    """One event. `at` aware, UTC; `detail` a JSON object as text."""

    seq: int
    at: datetime
    actor: str
    unit_id: int | None
    action: str
    object: str
    detail: str


class Head(NamedTuple):
    """How far a log reaches: its last event and what seals it."""

    seq: int
    hash: bytes


class Broken(NamedTuple):
    """Where a log is no longer what was written: the first event that does not fit, and how."""

    seq: int
    how: str


def record(
    conn: Connection,
    action: str,
    on: str,
    detail: Mapping[str, Any] | None = None,
    unit_id: int | None = None,
) -> int:
    """Append an event of the transaction's caller; returns its number.

    `action`: noun.verb, like `key.issued`; `on`: to what. `unit_id`: whom it concerns, the caller's own unit
    if not given. Never a secret in `detail`. Do it last in a transaction: events are written one after
    the other, and whoever writes one keeps all others waiting until the commit.
    """
    text = msgspec.json.encode(dict(detail or {})).decode()
    row = only(conn.execute("SELECT audit(%s, %s, %s, %s)", (action, on[:500], text, unit_id)))
    return int(row[0])


def record_corrections(conn: Connection, readings: Mapping[tuple[int, str], int]) -> None:
    """Of a group that is stored, how many readings of each (source_id, batch) replaced another value."""
    if not readings:
        return
    known = conn.execute(
        "SELECT source_id, unit_id, key FROM source WHERE source_id = ANY (%s)",
        ([source_id for source_id, _ in readings],),
    ).fetchall()
    whose = {source_id: (unit_id, key) for source_id, unit_id, key in known}
    for (source_id, batch), n in readings.items():
        unit_id, key = whose[source_id]
        record(conn, "measurement.corrected", batch, {"source": key, "readings": n}, unit_id)


class Wanted(NamedTuple):
    """A filter of events; None: any. `since`, `until`: aware, from and before."""

    action: str | None = None
    actor: str | None = None
    unit: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def events(
    conn: Connection,
    *,
    limit: int,
    before: int | None = None,
    action: str | None = None,
    wanted: Wanted | None = None,
) -> list[Event]:
    """What the caller may see of the log, newest first; `before`: only events of a smaller number."""
    chosen = wanted or Wanted(action)
    rows = conn.execute(
        "SELECT seq, at, actor, unit_id, action, object, detail FROM audit_event"
        " WHERE (%(before)s::bigint IS NULL OR seq < %(before)s)"
        " AND (%(action)s::text IS NULL OR action = %(action)s)"
        " AND (%(actor)s::text IS NULL OR actor = %(actor)s)"
        " AND (%(unit)s::text IS NULL OR unit_id = (SELECT unit_id FROM lead_unit WHERE code = %(unit)s))"
        " AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)"
        " AND (%(until)s::timestamptz IS NULL OR at < %(until)s) ORDER BY seq DESC LIMIT %(limit)s",
        {"before": before, "limit": limit, **chosen._asdict()},
    )
    return [Event(*row) for row in rows]


def head(conn: Connection) -> Head:
    """The newest event; (0, zeros) of an empty log."""
    row = conn.execute("SELECT seq, hash FROM audit_event ORDER BY seq DESC LIMIT 1").fetchone()
    return Head(*row) if row else Head(0, _START)


def noted_head(conn: Connection) -> Head | None:
    """The same for the platform's monitor, who may not read the log; None of an empty one."""
    seq, seal = only(conn.execute("SELECT seq, hash FROM audit_head()"))
    return None if seq is None else Head(seq, seal)


def verify(
    conn: Connection, known: Head | None = None, progress: Callable[[int], None] = lambda _: None
) -> Head | Broken:
    """Recompute every seal; the head of a log that is whole, else the first place where it is not.

    `known`: a head seen earlier and kept elsewhere; a log that no longer leads to it was cut or rewritten.
    `progress` is told the number of events checked, now and then. Memory does not grow with the log.
    """
    seal, seq = _START, 0
    before = only(conn.execute("SELECT min(seq) FROM audit_event WHERE seq < 1"))[0]
    if before is not None:
        return Broken(int(before), "before")
    while True:
        rows = conn.execute(
            "SELECT seq, (extract(epoch FROM at) * 1000000)::bigint, actor, unit_id, action, object, detail, hash"
            " FROM audit_event WHERE seq > %s ORDER BY seq LIMIT %s",
            (seq, _PAGE),
        ).fetchall()
        for found, at_us, actor, unit_id, action, on, detail, kept in rows:
            if found != seq + 1:
                return Broken(seq + 1, "missing")
            unit = "-" if unit_id is None else str(unit_id)
            text = "\n".join((str(found), str(at_us), actor, unit, action, on, detail))
            seal = hashlib.sha256(seal + text.encode()).digest()
            if seal != kept:
                return Broken(found, "altered")
            seq = found
            if known is not None and seq == known.seq and seal != known.hash:
                return Broken(seq, "rewritten")
        progress(seq)
        if len(rows) < _PAGE:
            break
    if known is not None and seq < known.seq:
        return Broken(seq + 1, "cut")
    return Head(seq, seal)
