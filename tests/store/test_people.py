"""Accounts: passwords, lock-out, sessions that end everywhere, and what is kept of it in the audit log."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from store import audit, identity, passwords, people
from store.database import Connection, connect, only
from store.identity import GRANTED, Principal, acting
from store.people import NameTaken, Wanted, WrongScope
from store.roles import logins, role_dsn
from store.sessions import Keeping, Locked, Sessions, WrongLogin

pytestmark = pytest.mark.concurrent
PASSWORD = "correct horse"
OTHER = "battery staple"


@pytest.fixture(scope="module")
def owner(module_dsn: str) -> Iterator[Connection]:
    with connect(module_dsn, application="test", autocommit=True) as conn:
        for name, role in (
            ("op", "operator"),
            ("prov", "province"),
            ("off", "province"),
            ("slow", "province"),
        ):
            people.add(conn, Wanted(name, name, role), PASSWORD)  # type: ignore[arg-type]
        yield conn


class Clock:
    """A clock that is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(module_dsn: str, owner: Connection, clock: Clock) -> Iterator[Sessions]:
    made = Sessions(logins(module_dsn).auth, Keeping(tries=100, lock_after=3), clock=clock)
    yield made
    made.close()


def actions(conn: Connection, on: str) -> list[str]:
    return [e.action for e in reversed(audit.events(conn, limit=1000)) if e.object == on]


@pytest.mark.parametrize("weak", ["short", "aaaaaaaaaaaaaaa", "Somebody-12345"])
def test_weak_passwords_are_refused(weak: str) -> None:
    with pytest.raises(passwords.Weak):
        passwords.require_strong(weak, "somebody")


def test_a_password_is_kept_as_argon2id_and_no_hash_is_nobodys() -> None:
    kept = passwords.hashed(PASSWORD)
    assert kept.startswith("$argon2id$")
    assert not passwords.outdated(kept)
    assert passwords.outdated("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$" + "A" * 43)
    assert passwords.matches(kept, PASSWORD)
    assert not passwords.matches(kept, OTHER)
    assert not passwords.matches(None, PASSWORD)
    assert not passwords.matches("nonsense", PASSWORD)


def test_a_session_opens_ends_and_expires(sessions: Sessions, owner: Connection, clock: Clock) -> None:
    opened = sessions.open("prov", PASSWORD, "10.0.0.1")
    assert (opened.who.name, opened.who.role, opened.who.scope) == ("prov", "province", "province")
    assert sessions.who(opened.token) == opened.who
    assert sessions.end(opened.token)
    assert sessions.who(opened.token) is None
    assert not sessions.end(opened.token)
    assert sessions.who("qs_forged") is None
    late = sessions.open("prov", PASSWORD, "10.0.0.1")
    owner.execute(
        "UPDATE session SET expires_at = now() - interval '1 s' WHERE digest = %s",
        (identity.digest(late.token),),
    )
    clock.now += 6
    assert sessions.who(late.token) is None
    assert actions(owner, "prov")[-3:] == ["session.opened", "session.ended", "session.opened"]


def test_what_is_ended_elsewhere_is_refused_within_five_seconds(
    sessions: Sessions, module_dsn: str, clock: Clock
) -> None:
    opened = sessions.open("prov", PASSWORD, "a")
    elsewhere = Sessions(logins(module_dsn).auth)
    assert elsewhere.end(opened.token)
    elsewhere.close()
    assert sessions.remembered(opened.token) == opened.who
    clock.now += 5.1
    assert sessions.who(opened.token) is None


def test_wrong_passwords_lock_the_account_and_names_that_nobody_has_alike(
    sessions: Sessions, owner: Connection
) -> None:
    for name in ("slow", "nobody-at-all"):
        for _ in range(3):
            with pytest.raises(WrongLogin):
                sessions.open(name, OTHER, "b")
        with pytest.raises(Locked) as locked:
            sessions.open(name, PASSWORD, "b")
        assert locked.value.account
        assert 0 < locked.value.seconds <= 301
        assert actions(owner, name)[-4:] == ["session.refused"] * 4
    owner.execute("UPDATE person SET locked_until = now() - interval '1 s' WHERE name = 'slow'")
    assert sessions.open("slow", PASSWORD, "b").who.name == "slow"
    told = [e for e in audit.events(owner, limit=1000) if e.action == "session.refused"]
    assert all(OTHER not in e.detail and PASSWORD not in e.detail for e in told)
    assert '"address": "b"' in told[0].detail


def test_an_address_may_try_so_often_in_a_minute(module_dsn: str, owner: Connection, clock: Clock) -> None:
    sessions = Sessions(logins(module_dsn).auth, Keeping(tries=2), clock=clock)
    for name in ("x1", "x2"):
        with pytest.raises(WrongLogin):
            sessions.open(name, OTHER, "c")
    with pytest.raises(Locked) as locked:
        sessions.open("prov", PASSWORD, "c")
    assert not locked.value.account
    assert sessions.open("prov", PASSWORD, "d").who.name == "prov"
    clock.now += 61
    assert sessions.open("prov", PASSWORD, "c").who.name == "prov"
    sessions.close()


def test_disabling_and_passwords_end_all_sessions(sessions: Sessions, owner: Connection) -> None:
    first = sessions.open("off", PASSWORD, "e")
    people.set_password(owner, "off", OTHER)
    sessions.forget()
    assert sessions.who(first.token) is None
    second = sessions.open("off", OTHER, "e")
    people.change(owner, "off", disabled=True)
    sessions.forget()
    assert sessions.who(second.token) is None
    with pytest.raises(WrongLogin):
        sessions.open("off", OTHER, "e")
    people.change(owner, "off", disabled=False)
    assert sessions.who(second.token) is None
    assert sessions.open("off", OTHER, "e").who.name == "off"
    assert "person.password_set" in actions(owner, "off")
    assert actions(owner, "off").count("person.changed") == 2


def test_sessions_outlive_a_database_that_is_away(
    sessions: Sessions, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = sessions.open("prov", PASSWORD, "f")
    sessions.close()
    sessions._dsn = "host=127.0.0.1 port=1 dbname=none connect_timeout=1"
    clock.now += 6
    assert sessions.who(opened.token) == opened.who
    with pytest.raises(psycopg.OperationalError):
        sessions.who("qs_another")


def test_scope_and_role_must_fit_and_names_are_once(owner: Connection) -> None:
    for wrong in (
        Wanted("a", "a", "city"),
        Wanted("a", "a", "city", region="999999"),
        Wanted("a", "a", "province", region="441900"),
        Wanted("a", "a", "enterprise", uscc="wrong"),
        Wanted("a", "a", "think_tank", pilots=["none"]),
    ):
        with pytest.raises(WrongScope):
            people.add(owner, wrong, PASSWORD)
    with pytest.raises(NameTaken):
        people.add(owner, Wanted("op", "op", "province"), PASSWORD)
    assert people.find(owner, "a") is None


def test_the_first_operator_is_made_once_and_gets_the_password_of_the_settings(
    sessions: Sessions, owner: Connection
) -> None:
    people.ensure_operator(owner, "root-op", PASSWORD)
    kept = sessions.open("root-op", PASSWORD, "g")
    people.ensure_operator(owner, "root-op", PASSWORD)
    sessions.forget()
    assert sessions.who(kept.token) is not None
    people.ensure_operator(owner, "root-op", OTHER)
    sessions.forget()
    assert sessions.who(kept.token) is None
    with pytest.raises(WrongScope):
        people.ensure_operator(owner, "prov", PASSWORD)


def test_only_operators_keep_accounts_whatever_the_python(module_dsn: str, owner: Connection) -> None:
    with connect(role_dsn(module_dsn, "api"), application="test", autocommit=True) as conn:
        for name, role in (("prov", "province"), ("op", "operator")):
            person = identity.person_id(owner, name) or 0
            sealed = only(owner.execute("SELECT sealed(%s)", (f"person:{person}",)))[0]
            who = Principal("person", person, name, role, permissions=GRANTED[role], sealed=sealed)  # type: ignore[arg-type, index]
            with acting(conn, who):
                found = {p.name for p in people.listed(conn)}
                assert ("op" in found, "prov" in found) == (role == "operator", True)
            if role == "province":
                with pytest.raises(psycopg.errors.InsufficientPrivilege), acting(conn, who):
                    people.add(conn, Wanted("mine", "mine", "operator"), PASSWORD)
                with pytest.raises(LookupError), acting(conn, who):
                    people.set_password(conn, "op", OTHER)
            else:
                with acting(conn, who):
                    people.add(conn, Wanted("theirs", "theirs", "province"), PASSWORD)
