"""The audit log: whole as it is written, and what is done to it behind its back is found and located."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from qunce import audit_head
from qunce.cli import app
from qunce.process import write_private
from qunce.settings import Settings, to_toml
from store import audit
from store.audit import Broken, Head
from store.database import Connection, connect
from store.roles import logins

pytestmark = pytest.mark.concurrent
N = 8


@pytest.fixture(scope="module")
def log(module_dsn: str) -> Iterator[Connection]:
    with connect(module_dsn, application="test") as conn:
        for n in range(N):
            audit.record(conn, "test.done", f"thing {n}\nand more", {"n": n, "名": "甲"})
        conn.commit()
        yield conn


@contextmanager
def tampering(conn: Connection) -> Iterator[None]:
    """As somebody who may switch the triggers off; undone afterwards."""
    with conn.transaction(force_rollback=True):
        conn.execute("ALTER TABLE audit_event DISABLE TRIGGER USER")
        yield


def rehash(conn: Connection, seq: int) -> None:
    conn.execute(
        "UPDATE audit_event e SET hash = sha256(p.hash || convert_to(audit_text(e), 'UTF8'))"
        " FROM audit_event p WHERE p.seq = e.seq - 1 AND e.seq = %s",
        (seq,),
    )


def test_whole(log: Connection) -> None:
    found = audit.verify(log)
    assert found == audit.head(log)
    assert isinstance(found, Head)
    assert found.seq == N
    assert audit.verify(log, found) == found


@pytest.mark.parametrize(
    "change",
    [
        "action = 'test.undone'", "actor = 'person:somebody'", "object = 'other'", "detail = '{}'", "unit_id = 7",
        "at = at + interval '1 microsecond'", "hash = sha256(hash)",
    ],
)  # fmt: skip
def test_a_changed_field_is_located(log: Connection, change: str) -> None:
    with tampering(log):
        log.execute(f"UPDATE audit_event SET {change} WHERE seq = 4")  # type: ignore[arg-type]
        assert audit.verify(log) == Broken(4, "altered")


def test_a_deleted_row_is_located(log: Connection) -> None:
    with tampering(log):
        log.execute("DELETE FROM audit_event WHERE seq = 3")
        assert audit.verify(log) == Broken(3, "missing")
        log.execute("UPDATE audit_event SET seq = seq - 1 WHERE seq > 3")  # and the gap closed
        assert audit.verify(log) == Broken(3, "altered")


def test_a_row_before_the_first_is_located(log: Connection) -> None:
    with tampering(log):
        log.execute(
            "INSERT INTO audit_event SELECT -5, at, 'person:admin', unit_id, 'key.issued', object, detail, hash"
            " FROM audit_event WHERE seq = 1"
        )
        assert audit.verify(log) == Broken(-5, "before")


def test_swapped_rows_are_located(log: Connection) -> None:
    with tampering(log):
        log.execute("UPDATE audit_event SET seq = CASE seq WHEN 2 THEN -5 ELSE seq END")
        log.execute("UPDATE audit_event SET seq = 2 WHERE seq = 5")
        log.execute("UPDATE audit_event SET seq = 5 WHERE seq = -5")
        assert audit.verify(log) == Broken(2, "altered")


def test_one_row_sealed_anew_no_longer_leads_to_the_next(log: Connection) -> None:
    with tampering(log):
        log.execute("UPDATE audit_event SET object = 'other' WHERE seq = 5")
        rehash(log, 5)
        assert audit.verify(log) == Broken(6, "altered")


def test_a_cut_or_rewritten_end_needs_a_head_that_is_kept_elsewhere(log: Connection) -> None:
    known = audit.head(log)
    with tampering(log):
        log.execute("DELETE FROM audit_event WHERE seq > 6")
        assert isinstance(audit.verify(log), Head)
        assert audit.verify(log, known) == Broken(7, "cut")
    with tampering(log):
        log.execute("UPDATE audit_event SET object = 'other' WHERE seq = %s", (N,))
        rehash(log, N)
        assert isinstance(audit.verify(log), Head)
        assert audit.verify(log, known) == Broken(N, "rewritten")


def test_nobody_changes_it_with_the_triggers_on(log: Connection) -> None:
    for statement in (
        "UPDATE audit_event SET object = 'x'",
        "DELETE FROM audit_event",
        "TRUNCATE audit_event",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), log.transaction():
            log.execute(statement)  # type: ignore[arg-type]


def test_events_are_found_by_what_is_known_of_them(log: Connection) -> None:
    newest = audit.events(log, limit=2)
    assert [e.seq for e in newest] == [N, N - 1]
    assert [e.seq for e in audit.events(log, limit=2, before=3)] == [2, 1]
    assert audit.events(log, limit=9, wanted=audit.Wanted(action="none")) == []
    assert (
        len(audit.events(log, limit=9, wanted=audit.Wanted(actor=newest[0].actor, until=newest[0].at)))
        == N - 1
    )
    assert newest[0].object == f"thing {N - 1} and more"  # a line is a field of the seal


def test_the_seal_can_be_recomputed_by_anybody(log: Connection) -> None:
    row = log.execute("SELECT audit_text(e), hash FROM audit_event e WHERE seq = 1").fetchone()
    assert row is not None
    assert hashlib.sha256(bytes(32) + row[0].encode()).digest() == row[1]


def test_a_log_cut_at_its_end_is_known_by_what_the_platform_noted(
    log: Connection, module_dsn: str, tmp_path: Path
) -> None:
    with connect(logins(module_dsn).monitor, application="test") as monitor:
        head = audit.noted_head(monitor)
    assert head == audit.head(log)
    assert head is not None
    audit_head.keep(tmp_path, head)
    with tampering(log):
        log.execute("DELETE FROM audit_event WHERE seq >= %s", (N - 1,))
        assert isinstance(audit.verify(log), Head)
        assert audit.verify(log, audit_head.read(tmp_path)) == Broken(N - 1, "cut")
        audit_head.keep(tmp_path, audit.head(log))
    assert audit_head.read(tmp_path) == head  # a shorter log does not make it forget


def test_the_command_remembers_how_far_the_log_reached(
    log: Connection, module_dsn: str, tmp_path: Path
) -> None:
    settings = Settings.model_validate({"data_dir": tmp_path, "database": {"dsn": module_dsn}})
    write_private(tmp_path / "own.toml", to_toml(settings))

    def run(*words: str) -> tuple[int, str]:
        given = ["audit", *words, "--config", str(tmp_path / "own.toml"), "--data-dir", str(tmp_path)]
        done = CliRunner().invoke(app, given)
        return done.exit_code, done.output

    code, head = run("head")
    assert code == 0
    assert run("verify", "--expect", head.strip())[0] == 0
    assert (tmp_path / "audit-head.json").stat().st_mode & 0o077 == 0
    code, told = run("verify", "--expect", f"{N + 5}:{'0' * 64}")
    assert (code, f"event {N + 1}" in told) == (1, True)
    log.commit()
    with connect(module_dsn, application="test") as conn:
        conn.execute("ALTER TABLE audit_event DISABLE TRIGGER USER")
        conn.execute("DELETE FROM audit_event WHERE seq = %s", (N,))
        conn.execute("ALTER TABLE audit_event ENABLE TRIGGER USER")
    assert '"how": "cut"' in run("verify", "--json")[1]
    assert f"thing {N - 2}" in run("list", "--json")[1]
