"""People: adding and changing them, each with its event in the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, cast

import psycopg

from store import audit, identity, passwords
from store.database import Connection
from store.identity import NewPerson, Role


class WrongScope(ValueError):
    """Role and scope do not fit; the message says how, in Chinese and English."""


class NameTaken(ValueError):
    """Somebody has this name already."""


class Person(NamedTuple):
    """Somebody who may log in, without credentials. Times aware, UTC; `disabled_at` None: active."""

    name: str
    display_name: str
    role: Role
    region: str | None
    pilots: list[str] | None
    unit: str | None
    uscc: str | None
    by_oidc: bool
    locked_until: datetime | None
    created_at: datetime
    disabled_at: datetime | None


class Wanted(NamedTuple):
    """Somebody to add. Of the scope, what the role needs: see `scope_of`."""

    name: str
    display_name: str
    role: Role
    region: str | None = None
    pilots: Sequence[str] | None = None
    unit: str | None = None
    uscc: str | None = None
    oidc_subject: str | None = None


_NEEDS: dict[str, str] = {
    "city": "region", "county": "region", "lead_unit": "unit", "enterprise": "uscc", "bank": "uscc"
}  # fmt: skip


def listed(conn: Connection) -> list[Person]:
    """Everybody in sight, by name."""
    rows = conn.execute(
        "SELECT p.name, p.display_name, p.role, p.region_code,"
        " CASE WHEN p.pilot_ids IS NULL THEN NULL ELSE ARRAY(SELECT i.code FROM pilot i"
        "  WHERE i.pilot_id = ANY (p.pilot_ids) ORDER BY 1) END,"
        " u.code, p.uscc, p.oidc_subject IS NOT NULL, p.locked_until, p.created_at, p.disabled_at"
        " FROM person p LEFT JOIN lead_unit u ON u.unit_id = p.unit_id ORDER BY p.name"
    )
    return [Person(*row) for row in rows]


def find(conn: Connection, name: str) -> Person | None:
    """Somebody by name; None when there is nobody in sight."""
    return next((person for person in listed(conn) if person.name == name), None)


def add(conn: Connection, wanted: Wanted, password: str | None) -> Person:
    """Add somebody; without a password he logs in by OIDC only.

    Raises WrongScope, NameTaken, passwords.Weak; nothing is added then.
    """
    if password is not None:
        passwords.require_strong(password, wanted.name)
    new = _scoped(conn, wanted)
    kept = None if password is None else passwords.hashed(password)
    try:
        with conn.transaction():
            person_id = identity.add_person(conn, new._replace(password_hash=kept))
    except psycopg.errors.UniqueViolation as error:
        raise NameTaken(wanted.name) from error
    except psycopg.errors.CheckViolation as error:
        raise WrongScope("统一社会信用代码或用户名格式不对 | uscc or name is not well formed") from error
    detail = {
        key: value
        for key, value in wanted._asdict().items()
        if value is not None and key not in ("name", "display_name")
    }
    audit.record(conn, "person.added", wanted.name, {**detail, "person_id": person_id}, new.unit_id)
    return cast(Person, find(conn, wanted.name))


def set_password(conn: Connection, name: str, password: str) -> int:
    """Give somebody another password and end all his sessions; returns how many. Raises Weak, LookupError."""
    passwords.require_strong(password, name)
    person_id = _known(conn, name)
    if not identity.set_password(conn, person_id, passwords.hashed(password)):
        raise LookupError(name)
    ended = _end_sessions(conn, person_id)
    audit.record(conn, "person.password_set", name, {"sessions_ended": ended})
    return ended


def change(
    conn: Connection,
    name: str,
    *,
    display_name: str | None = None,
    disabled: bool | None = None,
    oidc_subject: str | None = None,
) -> Person:
    """Change what is given. Role and scope stay: who gets others gets another account.

    Whoever is disabled loses all sessions. Raises LookupError, NameTaken (of the subject).
    """
    person_id = _known(conn, name)
    try:
        with conn.transaction():
            conn.execute(
                "UPDATE person SET display_name = coalesce(%(display_name)s, display_name),"
                " oidc_subject = CASE WHEN %(subject)s::text IS NULL THEN oidc_subject"
                "  ELSE nullif(%(subject)s, '') END,"
                " disabled_at = CASE WHEN %(disabled)s::boolean IS NULL THEN disabled_at"
                "  WHEN %(disabled)s THEN coalesce(disabled_at, now()) END"
                " WHERE person_id = %(id)s",
                {
                    "display_name": display_name,
                    "subject": oidc_subject,
                    "disabled": disabled,
                    "id": person_id,
                },
            )
    except psycopg.errors.UniqueViolation as error:
        raise NameTaken(oidc_subject) from error
    ended = _end_sessions(conn, person_id) if disabled else 0
    changed = {"display_name": display_name, "disabled": disabled, "oidc_subject": oidc_subject}
    detail = {key: value for key, value in changed.items() if value is not None}
    audit.record(conn, "person.changed", name, {**detail, "sessions_ended": ended})
    return cast(Person, find(conn, name))


def ensure_operator(conn: Connection, name: str, password: str) -> None:
    """The account by which a platform is begun: an operator of this name with this password.

    Raises WrongScope when somebody of another role has the name.
    """
    row = conn.execute(
        "SELECT role, password_hash FROM person WHERE name = %s FOR UPDATE", (name,)
    ).fetchone()
    if row is None:
        add(conn, Wanted(name, name, "operator"), password)
    elif row[0] != "operator":
        raise WrongScope(f"{name}: 角色是 {row[0]},不是 operator | has the role {row[0]}")
    elif not passwords.matches(row[1], password):
        set_password(conn, name, password)


def _known(conn: Connection, name: str) -> int:
    person_id = identity.person_id(conn, name)
    if person_id is None:
        raise LookupError(name)
    return person_id


def _end_sessions(conn: Connection, person_id: int) -> int:
    row = conn.execute(
        "SELECT current_user = pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'session'"
    )
    if (found := row.fetchone()) and found[0]:  # the owner asks for nobody's sake
        return conn.execute(
            "UPDATE session SET ended_at = now() WHERE person_id = %s AND ended_at IS NULL", (person_id,)
        ).rowcount
    return identity.end_sessions(conn, person_id)


def _scoped(conn: Connection, wanted: Wanted) -> NewPerson:
    """The person with its scope looked up. Raises WrongScope."""
    needed = _NEEDS.get(wanted.role)
    given = [field for field in ("region", "unit", "uscc", "pilots") if getattr(wanted, field) is not None]
    allowed = [needed] if needed else ["pilots"] if wanted.role == "think_tank" else []
    if needed is not None and needed not in given:
        raise WrongScope(f"缺少 {needed} | {needed} is missing")
    if surplus := [field for field in given if field not in allowed]:
        raise WrongScope(f"不应有 {', '.join(surplus)} | {', '.join(surplus)} does not belong there")
    unit_id, pilot_ids = None, None
    if wanted.unit is not None:
        unit_id = _one(conn, "SELECT unit_id FROM lead_unit WHERE code = %s", "unit", wanted.unit)
    if wanted.region is not None:
        _one(conn, "SELECT 1 FROM region WHERE code = %s", "region", wanted.region)
    if wanted.pilots is not None:
        pilot_ids = [
            _one(conn, "SELECT pilot_id FROM pilot WHERE code = %s", "pilots", c) for c in wanted.pilots
        ]
    return NewPerson(
        wanted.name, wanted.display_name, wanted.role, None, wanted.region, pilot_ids, unit_id, wanted.uscc,
        wanted.oidc_subject,
    )  # fmt: skip


def _one(conn: Connection, statement: str, field: str, value: str) -> int:
    row = conn.execute(statement, (value,)).fetchone()
    if row is None:
        raise WrongScope(f"没有 {field} {value} | there is no {field} {value}")
    return int(row[0])
