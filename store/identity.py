"""Who calls, and what each kind of caller may do. What a caller may *see* the database itself decides."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, cast, get_args

from store.database import Connection, only

Role = Literal["province", "city", "county", "lead_unit", "enterprise", "think_tank", "bank", "operator"]
ROLES: tuple[Role, ...] = get_args(Role)

Permission = Literal[
    "measurements:write",
    "datasets:write",
    "datasets:read",
    "submissions:read",
    "quarantine:read",
    "quarantine:write",
    "telemetry:read",
    "indicators:read",
    "codes:read",
    "service:write",
    "keys:read",
    "keys:write",
    "people:read",
    "people:write",
    "audit:read",
    "operations:read",
]
PERMISSIONS: tuple[Permission, ...] = get_args(Permission)

_OF_UNIT: frozenset[Permission] = frozenset(
    {
        "measurements:write", "datasets:write", "datasets:read", "submissions:read", "quarantine:read",
        "quarantine:write", "telemetry:read", "indicators:read", "codes:read", "service:write",
        "keys:read", "keys:write", "audit:read",
    }
)  # fmt: skip
_SUPERVISING: frozenset[Permission] = frozenset(
    {
        "datasets:read", "submissions:read", "quarantine:read", "telemetry:read", "indicators:read",
        "codes:read",
    }
)  # fmt: skip
GRANTED: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {
        "province": _SUPERVISING | {"audit:read", "operations:read"},
        "city": _SUPERVISING,
        "county": _SUPERVISING,
        "lead_unit": _OF_UNIT,
        "enterprise": frozenset({"datasets:read", "telemetry:read", "indicators:read", "codes:read"}),
        "think_tank": frozenset({"datasets:read", "telemetry:read", "indicators:read", "codes:read"}),
        "bank": frozenset({"datasets:read", "indicators:read", "codes:read"}),
        "operator": _SUPERVISING
        | {"audit:read", "operations:read", "keys:read", "keys:write", "people:read", "people:write"},
    }
)
"""Role → what it may do. A unit's key has what a lead unit has, or what of it its scopes name."""


class Principal(NamedTuple):
    """Whoever a request is served for. `sealed` is what the database knows it by; `unit` its own unit's code.

    `scope`: people with the same one see the same.
    """

    kind: Literal["nobody", "unit", "person"]
    id: int = 0
    name: str = ""
    role: Role | None = None
    unit_id: int | None = None
    unit: str | None = None
    permissions: frozenset[Permission] = frozenset()
    key_id: int | None = None
    display_name: str = ""
    scope: str = ""
    sealed: str = ""

    @property
    def payer(self) -> str:
        """Under which name limits count it: all keys and people of a unit together."""
        return self.unit or f"{self.kind}:{self.id}"


NOBODY = Principal("nobody")


@contextmanager
def acting(conn: Connection, who: Principal) -> Iterator[None]:
    """A transaction in which `conn` sees and writes what `who` may, and no more.

    `qunce.principal` is sealed by the database itself, when it checks a credential (0025_sealed_principal.sql): what
    gets into a statement cannot name anybody else.
    """
    with conn.transaction():
        conn.execute("SELECT set_config('qunce.principal', %s, true)", (who.sealed,))
        yield


def digest(secret: str) -> bytes:
    """What is kept of a key or a session: SHA-256, enough for a secret of 256 random bits."""
    return hashlib.sha256(secret.encode()).digest()


def new_key() -> str:
    """A new API key: 256 random bits."""
    return f"qk_{secrets.token_urlsafe(32)}"


def key_principal(
    key_id: int, unit_id: int, unit: str, scopes: Sequence[str] | None, sealed: str = ""
) -> Principal:
    """A unit as one of its keys presents it."""
    granted = GRANTED["lead_unit"]
    if scopes is not None:
        granted = frozenset(one for one in granted if one in scopes)
    return Principal("unit", unit_id, unit, "lead_unit", unit_id, unit, granted, key_id, sealed=sealed)


def authenticate_key(conn: Connection, key_digest: bytes) -> tuple[Principal, datetime | None] | None:
    """Whose valid key has this digest, and when that expires; None when there is none."""
    row = conn.execute(
        "SELECT key_id, unit_id, code, scopes, principal, expires_at FROM authenticate_key(%s)", (key_digest,)
    ).fetchone()
    return None if row is None else (key_principal(*row[:5]), row[5])


def valid_keys(conn: Connection, key_ids: Collection[int]) -> set[int]:
    """Those of these keys that are valid now."""
    rows = conn.execute(
        "SELECT id FROM unnest(%s::integer[]) id WHERE signing_digest(id) IS NOT NULL", (list(key_ids),)
    )
    return {int(row[0]) for row in rows}


def signing_digest(conn: Connection, key_id: int) -> bytes | None:
    """The secret that this valid key signs requests with; None when there is no such key."""
    found: bytes | None = only(conn.execute("SELECT signing_digest(%s)", (key_id,)))[0]
    return found


def use_nonce(conn: Connection, key_id: int, nonce: str, window_s: int) -> bool:
    """Whether this key has not used this nonce within twice the window; from now on it has."""
    return bool(only(conn.execute("SELECT use_nonce(%s, %s, %s)", (key_id, nonce, window_s)))[0])


class Credentials(NamedTuple):
    """What a login is checked against. `locked_s` > 0: seconds until the next try."""

    person_id: int
    password_hash: str | None
    locked_s: float


def credentials(conn: Connection, name: str) -> Credentials | None:
    """Of an active person; None when there is none of this name."""
    row = conn.execute("SELECT * FROM person_credentials(%s)", (name,)).fetchone()
    return None if row is None else Credentials(*row)


def person_of_subject(conn: Connection, subject: str) -> tuple[int, str] | None:
    """(person_id, name) of the active person whom an identity provider knows so; None when there is none."""
    row = conn.execute("SELECT person_id, name FROM person_of_subject(%s)", (subject,)).fetchone()
    return None if row is None else (int(row[0]), str(row[1]))


def note_login(conn: Connection, person_id: int, *, well: bool, most: int, lock_s: int) -> None:
    """Count a wrong password (`most` in a row lock out for `lock_s` seconds), or clear the count."""
    conn.execute("SELECT note_login(%s, %s, %s, %s)", (person_id, well, most, lock_s))


def open_session(conn: Connection, person_id: int, seconds: int, address: str) -> str:
    """A new session of a person; returns its token, which is kept nowhere."""
    token = f"qs_{secrets.token_urlsafe(32)}"
    conn.execute("SELECT open_session(%s, %s, %s, %s)", (digest(token), person_id, seconds, address[:100]))
    return token


def renew_hash(conn: Connection, person_id: int, old: str, new: str) -> None:
    """Keep the same password hashed anew."""
    conn.execute("SELECT renew_hash(%s, %s, %s)", (person_id, old, new))


def session_principal(conn: Connection, session_digest: bytes) -> tuple[Principal, datetime] | None:
    """Whose open session has this digest, and when it ends; None when there is none."""
    row = conn.execute("SELECT * FROM session_person(%s)", (session_digest,)).fetchone()
    if row is None:
        return None
    person_id, name, display_name, role, unit_id, unit, scope, sealed, expires_at = row
    granted = GRANTED[cast(Role, role)]
    who = Principal(
        "person", person_id, name, role, unit_id, unit, granted, None, display_name, scope, sealed
    )
    return who, expires_at


def end_session(conn: Connection, session_digest: bytes) -> bool:
    """End a session; False when it was not open."""
    return bool(only(conn.execute("SELECT end_session(%s)", (session_digest,)))[0])


def end_sessions(conn: Connection, person_id: int) -> int:
    """End all sessions of a person: the caller's own, or anybody's for an operator. Returns how many."""
    return int(only(conn.execute("SELECT end_sessions(%s)", (person_id,)))[0])


class NewPerson(NamedTuple):
    """A person to add; the scope's fields as the role needs them (0009_identity.sql)."""

    name: str
    display_name: str
    role: Role
    password_hash: str | None = None
    region_code: str | None = None
    pilot_ids: list[int] | None = None
    unit_id: int | None = None
    uscc: str | None = None
    oidc_subject: str | None = None


def add_person(conn: Connection, person: NewPerson) -> int:
    """Add a person; returns the person_id. Raises psycopg.IntegrityError: name taken, or scope and role do not fit."""
    inserted = conn.execute(
        "INSERT INTO person (name, display_name, role, password_hash, region_code, pilot_ids, unit_id, uscc,"
        " oidc_subject) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING person_id",
        person,
    )
    return int(only(inserted)[0])


def set_password(conn: Connection, person_id: int, password_hash: str) -> bool:
    """Give a person another password, which ends a lock; False when there is no such person in sight."""
    changed = conn.execute(
        "UPDATE person SET password_hash = %s, failures = 0, locked_until = NULL WHERE person_id = %s RETURNING 1",
        (password_hash, person_id),
    )
    return changed.fetchone() is not None


def person_id(conn: Connection, name: str) -> int | None:
    """The id of a person by name; None when there is none in sight."""
    row = conn.execute("SELECT person_id FROM person WHERE name = %s", (name,)).fetchone()
    return None if row is None else int(row[0])


def people(conn: Connection) -> list[dict[str, Any]]:
    """Everybody in sight, by name, without credentials."""
    cursor = conn.execute(
        "SELECT person_id, name, display_name, role, region_code, pilot_ids, unit_id, uscc, oidc_subject,"
        " locked_until, created_at, disabled_at FROM person ORDER BY name"
    )
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor]
