"""The keys of a unit: issued, rotated and revoked by itself, or by an operator for it.

Row security holds a caller to its own unit (store/access.sql); who may give which scopes is checked here,
where the caller's permissions are known.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from store import audit
from store.database import Connection, only
from store.identity import GRANTED, Permission, digest

MOST_VALID = 50
"""Valid keys that a unit may have at once."""


class Refused(Exception):
    """What was asked for is not possible: `reason`, a code of ingest.api.problems, and its parameters."""

    def __init__(self, reason: str, **parameters: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.parameters = parameters


class Key(NamedTuple):
    """A key as it may be shown: never the secret. `scopes` None = all that a unit may do. Times aware, UTC."""

    key_id: int
    name: str
    scopes: list[str] | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    valid: bool

    @property
    def carries(self) -> frozenset[Permission]:
        """What it may do."""
        return carried(self.scopes)


def carried(scopes: Sequence[str] | None) -> frozenset[Permission]:
    """What a key with these scopes may do."""
    return frozenset(one for one in GRANTED["lead_unit"] if scopes is None or one in scopes)


def keys(conn: Connection, unit_id: int, *, key_id: int | None = None) -> list[Key]:
    """The keys of a unit, newest first, also those that are no longer valid."""
    rows = conn.execute(
        "SELECT key_id, name, scopes, created_at, created_by, expires_at, last_used_at, revoked_at,"
        " revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"
        " FROM api_key WHERE unit_id = %s AND (%s::integer IS NULL OR key_id = %s) ORDER BY key_id DESC",
        (unit_id, key_id, key_id),
    )
    return [Key(*row) for row in rows]


def issue(
    conn: Connection,
    unit_id: int,
    secret: str,
    *,
    name: str,
    scopes: Sequence[str] | None,
    expires_at: datetime | None,
    by: str,
    within: Collection[Permission],
    by_key: int | None = None,
    request_key: str | None = None,
) -> Key:
    """Keep a new key of a unit, which may do no more than `within`, and for no longer than the key `by_key` that issues it.

    Raises Refused: scopes beyond `within`, too many valid keys, or this `request_key` had its key already.
    """
    _within(carried(None) if scopes is None else scopes, within)
    made = _keep(
        conn, unit_id, secret, name, scopes, _capped(conn, unit_id, expires_at, by_key), by, request_key
    )
    audit.record(conn, "key.issued", f"key {made.key_id}", _told(made) | {"by_key": by_key}, unit_id)
    return made


def rotate(
    conn: Connection,
    unit_id: int,
    key_id: int,
    secret: str,
    *,
    overlap: timedelta,
    by: str,
    within: Collection[Permission],
    by_key: int | None = None,
    request_key: str | None = None,
) -> tuple[Key, Key] | None:
    """A successor with the same name, scopes and lifetime: (new, old). None when there is no such valid key.

    The old key is valid for `overlap` more, or as long as it would have been if that is less. By another key than
    itself, the successor lives no longer than that one (`by_key`). Raises Refused.
    """
    _told_once(conn, unit_id, request_key)
    old = _locked(conn, unit_id, key_id)
    if old is None or not old.valid:
        return None
    _within(old.carries, within)
    now: datetime = only(conn.execute("SELECT now()"))[0]
    expires_at = None if old.expires_at is None else now + (old.expires_at - old.created_at)
    if by_key != key_id:
        expires_at = _capped(conn, unit_id, expires_at, by_key)
    conn.execute(
        "UPDATE api_key SET expires_at = least(expires_at, %s) WHERE key_id = %s", (now + overlap, key_id)
    )
    made = _keep(conn, unit_id, secret, old.name, old.scopes, expires_at, by, request_key, spare=1)
    [old] = keys(conn, unit_id, key_id=key_id)
    detail = {
        **_told(made),
        "by_key": by_key,
        "old": key_id,
        "old_expires_at": old.expires_at and old.expires_at.isoformat(),
    }
    audit.record(conn, "key.rotated", f"key {made.key_id}", detail, unit_id)
    return made, old


def revoke(conn: Connection, unit_id: int, key_id: int, *, forced: bool) -> Key | None:
    """End a key at once; None when there is no such key that is not ended already.

    Raises Refused for the unit's last valid key with keys:write, unless `forced`.
    """
    conn.execute("SELECT 1 FROM api_key WHERE unit_id = %s ORDER BY key_id FOR UPDATE", (unit_id,)).fetchall()
    mine = {key.key_id: key for key in keys(conn, unit_id)}
    old = mine.get(key_id)
    if old is None or old.revoked_at is not None:
        return None
    managing = {key.key_id for key in mine.values() if key.valid and "keys:write" in key.carries}
    if managing == {key_id} and not forced:
        raise Refused("last_key", key=str(key_id))
    conn.execute("UPDATE api_key SET revoked_at = now() WHERE key_id = %s", (key_id,))
    [ended] = keys(conn, unit_id, key_id=key_id)
    audit.record(conn, "key.revoked", f"key {key_id}", {"name": old.name, "forced": forced}, unit_id)
    return ended


def _capped(
    conn: Connection, unit_id: int, expires_at: datetime | None, by_key: int | None
) -> datetime | None:
    """When a key ends that `by_key` makes: not after that one does."""
    if by_key is None:
        return expires_at
    [maker] = keys(conn, unit_id, key_id=by_key)
    return min((at for at in (expires_at, maker.expires_at) if at is not None), default=None)


def _within(wanted: Collection[str], within: Collection[Permission]) -> None:
    if beyond := sorted(set(wanted) - set(within)):
        raise Refused("scope_exceeds", scopes=", ".join(beyond))


def _locked(conn: Connection, unit_id: int, key_id: int) -> Key | None:
    row = conn.execute(
        "SELECT 1 FROM api_key WHERE unit_id = %s AND key_id = %s FOR UPDATE", (unit_id, key_id)
    ).fetchone()
    return None if row is None else keys(conn, unit_id, key_id=key_id)[0]


def _keep(
    conn: Connection,
    unit_id: int,
    secret: str,
    name: str,
    scopes: Sequence[str] | None,
    expires_at: datetime | None,
    by: str,
    request_key: str | None,
    *,
    spare: int = 0,
) -> Key:
    _told_once(conn, unit_id, request_key)
    if sum(key.valid for key in keys(conn, unit_id)) >= MOST_VALID + spare:
        raise Refused("too_many_keys", most=str(MOST_VALID))
    row = conn.execute(
        "INSERT INTO api_key (unit_id, digest, name, scopes, expires_at, created_by, request_key)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (unit_id, request_key) DO NOTHING RETURNING key_id",
        (unit_id, digest(secret), name, _sorted(scopes), expires_at, by, request_key),
    ).fetchone()
    if row is None:  # the same request, at the same time
        _told_once(conn, unit_id, request_key)
        raise LookupError("a key was issued, and is not there")
    return keys(conn, unit_id, key_id=row[0])[0]


def _told_once(conn: Connection, unit_id: int, request_key: str | None) -> None:
    """A secret is kept nowhere, so it cannot be told again: whoever asks again is told which key it was."""
    found = conn.execute(
        "SELECT key_id FROM api_key WHERE unit_id = %s AND request_key = %s", (unit_id, request_key)
    ).fetchone()
    if found is not None:
        raise Refused("key_told", key=str(found[0]))


def _sorted(scopes: Sequence[str] | None) -> list[str] | None:
    return None if scopes is None else sorted(set(scopes))


def _told(key: Key) -> dict[str, object]:
    return {
        "name": key.name,
        "scopes": key.scopes,
        "expires_at": key.expires_at and key.expires_at.isoformat(),
    }
