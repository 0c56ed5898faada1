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


def events(
    conn: Connection, *, limit: int, before: int | None = None, action: str | None = None
) -> list[Event]:
    """What the caller may see of the log, newest first; `before`: only events of a smaller number."""
    rows = conn.execute(
        "SELECT seq, at, actor, unit_id, action, object, detail FROM audit_event"
        " WHERE (%(before)s::bigint IS NULL OR seq < %(before)s)"
        " AND (%(action)s::text IS NULL OR action = %(action)s) ORDER BY seq DESC LIMIT %(limit)s",
        {"before": before, "action": action, "limit": limit},
    )
    return [Event(*row) for row in rows]


def head(conn: Connection) -> Head:
    """The newest event; (0, zeros) of an empty log."""
    row = conn.execute("SELECT seq, hash FROM audit_event ORDER BY seq DESC LIMIT 1").fetchone()
    return Head(*row) if row else Head(0, _START)


def verify(
    conn: Connection, known: Head | None = None, progress: Callable[[int], None] = lambda _: None
) -> Head | Broken:
    """Recompute every seal; the head of a log that is whole, else the first place where it is not.

    `known`: a head seen earlier and kept elsewhere; a log that no longer leads to it was cut or rewritten.
    `progress` is told the number of events checked, now and then. Memory does not grow with the log.
    """
    seal, seq = _START, 0
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
