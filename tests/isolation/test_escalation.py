"""What raw SQL under the application's own roles must not reach: the owner, another unit's log, and whether a row exists."""

from __future__ import annotations

import pandas as pd
import psycopg
import pytest

from store import audit
from store.database import Connection, connect, only
from store.identity import NOBODY, acting
from store.indicators import save_values
from store.roles import DATABASE_ROLES, DatabaseRole, grant_access, role_dsn
from tests.isolation.world import BANK, FIRMS, WHEN, World, seed

pytestmark = pytest.mark.concurrent
A, B = "GD-AAA-01", "GD-BBB-01"


@pytest.fixture(scope="module")
def world(module_dsn: str) -> tuple[str, World]:
    with connect(module_dsn, application="test") as conn:
        made = seed(conn)
    with connect(module_dsn, application="test", autocommit=True) as conn:
        grant_access(conn)  # the database is a copy, and what is granted on a database itself is not copied
    return module_dsn, made


@pytest.mark.parametrize("role", [role for role in DATABASE_ROLES if role != "metrics"])
def test_nobody_makes_tables_or_functions_of_his_own(world: tuple[str, World], role: DatabaseRole) -> None:
    """A temporary table stands before all others, and its triggers would run as the owner."""
    with connect(role_dsn(world[0], role), application="test", autocommit=True) as conn:
        for statement in (
            "CREATE TEMP TABLE code_version (name text, sha256 text, since timestamptz)",
            "CREATE TEMP VIEW lead_unit AS SELECT 1 AS unit_id",
            "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement)  # type: ignore[arg-type]


def test_metrics_keeps_what_it_computed(world: tuple[str, World]) -> None:
    """It stages its results in temporary tables. Copies of a template would let everybody: this database does not."""
    dsn, made = world
    start = int(WHEN.timestamp()) * 1_000_000
    one = {
        "code": "equip.nee", "formula_version": 1, "level": "equipment", "entity_id": made.equipment[A],
        "period": "hour", "period_start": start, "value": 0.5, "numerator": 1.0, "denominator": 2.0, "n_inputs": 1,
        "completeness": 1.0, "provenance": "observed", "reason": None, "provisional": False,
    }  # fmt: skip
    for _ in range(2):  # a database of before is granted it anew, one of today keeps it
        with connect(dsn, application="test", autocommit=True) as owner:
            grant_access(owner)
    with connect(role_dsn(dsn, "metrics"), application="test") as conn:
        assert save_values(conn, pd.DataFrame([one]), WHEN) == 1


def test_what_runs_as_the_owner_finds_the_owners_tables(world: tuple[str, World]) -> None:
    """Even where somebody may make temporary tables again: by default every user of a database may."""
    dsn, _ = world
    with connect(dsn, application="test", autocommit=True) as owner:
        loose = owner.execute(
            "SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef"
            " AND NOT coalesce(p.proconfig, '{}') && ARRAY['search_path=pg_catalog, public, pg_temp']"
            " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')"
        ).fetchall()
        assert loose == []
        name = only(owner.execute("SELECT quote_ident(current_database())"))[0]
        owner.execute(f"GRANT TEMPORARY ON DATABASE {name} TO qunce_api")  # type: ignore[arg-type]
        try:
            with connect(role_dsn(dsn, "api"), application="test", autocommit=True) as conn:
                conn.execute("CREATE TEMP TABLE loot (who text)")
                conn.execute(
                    "CREATE TEMP TABLE code_version (name text, sha256 text, since timestamptz, PRIMARY KEY (name, sha256))"
                )
                conn.execute("GRANT ALL ON loot, code_version TO PUBLIC")
                conn.execute(
                    "CREATE FUNCTION pg_temp.take() RETURNS trigger LANGUAGE plpgsql AS"
                    " 'BEGIN INSERT INTO pg_temp.loot VALUES (current_user); RETURN NEW; END'"
                )
                conn.execute(
                    "CREATE TRIGGER t BEFORE INSERT ON pg_temp.code_version FOR EACH ROW"
                    " EXECUTE FUNCTION pg_temp.take()"
                )
                conn.execute("SELECT note_code_version('x', repeat('0', 64))")
                assert conn.execute("SELECT who FROM loot").fetchall() == []
        finally:
            owner.execute(f"REVOKE TEMPORARY ON DATABASE {name} FROM qunce_api")  # type: ignore[arg-type]


def test_only_an_operator_speaks_of_another_unit_in_the_audit_log(world: tuple[str, World]) -> None:
    dsn, made = world
    with connect(role_dsn(dsn, "api"), application="test", autocommit=True) as conn:
        principals = {**made.principals, "nobody": NOBODY}
        for who in ("key of A", "lead unit A", "bank", "city 441900", "nobody", "operator"):
            with acting(conn, principals[who]):
                audit.record(conn, "test.told", who, unit_id=made.units[B])
    with connect(dsn, application="test") as owner:
        told = dict(
            owner.execute("SELECT object, unit_id FROM audit_event WHERE action = 'test.told'").fetchall()  # type: ignore[arg-type]
        )
    a, b = made.units[A], made.units[B]
    assert told == {
        "key of A": a, "lead unit A": a, "bank": None, "city 441900": None, "nobody": None, "operator": b
    }  # fmt: skip


def test_the_log_is_for_the_province_and_its_operators(world: tuple[str, World]) -> None:
    dsn, made = world
    seen = {}
    with connect(role_dsn(dsn, "api"), application="test", autocommit=True) as conn:
        for who in ("province", "operator", "think tank", "bank"):
            with acting(conn, made.principals[who]):
                seen[who] = conn.execute("SELECT count(*) > 0 FROM audit_event").fetchone()
    assert seen == {"province": (True,), "operator": (True,), "think tank": (False,), "bank": (False,)}


def test_no_bank_is_told_of_another(world: tuple[str, World]) -> None:
    dsn, made = world
    rival = FIRMS[A]
    with connect(dsn, application="test") as owner:
        owner.execute(
            "INSERT INTO credit_authorisation VALUES (%s, %s, %s, '2026-03-01', '2099-01-01', '1')",
            (made.units[B], made.firms[B], rival),
        )
        owner.execute(
            "INSERT INTO loan (unit_id, bank_uscc, loan_no, enterprise_id, kind, product, amount_wan, disbursed_on,"
            " first_loan) VALUES (%s, %s, 'R1', %s, 'loan', 'x', 1, '2026-03-01', true)",
            (made.units[B], rival, made.firms[B]),
        )
    with (
        connect(role_dsn(dsn, "api"), application="test", autocommit=True) as conn,
        acting(conn, made.principals["bank"]),
    ):
        for table in ("credit_authorisation", "loan"):
            banks = conn.execute(f"SELECT DISTINCT bank_uscc FROM {table}").fetchall()  # type: ignore[arg-type]
            assert banks == [(BANK,)], table


def test_authorisation_ends_with_its_last_day(world: tuple[str, World]) -> None:
    dsn, made = world
    with (
        connect(dsn, application="test") as owner,
        connect(role_dsn(dsn, "api"), application="test", autocommit=True) as conn,
    ):
        owner.execute(
            "UPDATE credit_authorisation SET valid_to = (now() AT TIME ZONE 'Asia/Shanghai')::date WHERE bank_uscc = %s",
            (BANK,),
        )
        owner.commit()
        try:
            with acting(conn, made.principals["bank"]):
                for table in ("enterprise", "loan", "certificate", "indicator_value", "lead_unit"):
                    assert conn.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table  # type: ignore[arg-type]
        finally:
            owner.execute(
                "UPDATE credit_authorisation SET valid_to = '2099-01-01' WHERE bank_uscc = %s", (BANK,)
            )


def state_of(conn: Connection, made: World, statement: str, *values: object) -> str | None:
    """SQLSTATE of what A's raw SQL gives; nothing of it stays."""
    try:
        with conn.transaction(), acting(conn, made.principals["key of A"]):
            conn.execute(statement, values)  # type: ignore[arg-type]
            raise psycopg.Rollback
    except psycopg.Error as error:
        return error.sqlstate
    return None


def test_a_refusal_does_not_tell_whether_anothers_row_exists(world: tuple[str, World]) -> None:
    dsn, made = world
    a, b = made.units[A], made.units[B]
    with connect(dsn, application="test") as owner:
        theirs = only(owner.execute("SELECT stoppage_id FROM stoppage WHERE unit_id = %s", (b,)))[0]
        upload = only(owner.execute("SELECT upload_id FROM file_upload WHERE unit_id = %s", (b,)))[0]
    with connect(role_dsn(dsn, "api"), application="test", autocommit=True) as conn:
        link = "INSERT INTO stoppage_equipment (stoppage_id, unit_id, equipment_id) VALUES (%s, %s, %s)"
        there = state_of(conn, made, link, theirs, a, made.equipment[B])
        assert there == state_of(conn, made, link, 10**9, a, 10**9) == "23503"
        numbered = (
            "INSERT INTO stoppage (stoppage_id, unit_id, kind, start_at, reason, scope) OVERRIDING SYSTEM VALUE"
            " VALUES (%s, %s, 'holiday', now(), 'x', 'all')"
        )
        assert state_of(conn, made, numbered, theirs, a) == "42501"
        file = (
            "INSERT INTO file_upload (upload_id, unit_id, dataset, file_name, n_bytes, dry_run, sent_by)"
            " VALUES (%s, %s, 'park', 'x', 1, false, 'x')"
        )
        assert state_of(conn, made, file, upload, a) is None
        # Rows under another's name are refused before a key is looked at.
        for statement, values in (
            (link, (theirs, b, made.equipment[B])),
            (file, (upload, b)),
            ("INSERT INTO source_heartbeat (unit_id, source, received_at, skew_s) VALUES (%s, 'x', now(), 0)", (b,)),
            ("INSERT INTO heartbeat_hour VALUES (%s, 'x', now(), 1)", (b,)),
            ("INSERT INTO quarantine_kept VALUES (%s, 1)", (b,)),
            ("INSERT INTO api_key (unit_id, digest, name) VALUES (%s, '\\x00', 'x')", (b,)),
            ("INSERT INTO stoppage (unit_id, kind, start_at, reason, scope) VALUES (%s, 'holiday', now(), 'x', 'all')", (b,)),
            ("UPDATE file_upload SET unit_id = %s", (b,)),
            ("UPDATE source_heartbeat SET unit_id = %s", (b,)),
        ):  # fmt: skip
            assert state_of(conn, made, statement, *values) == "42501", statement
        # Counters of the whole platform tell how much others have.
        for statement in ("SELECT nextval(pg_get_serial_sequence('quarantine', 'quarantine_id'))",
                          "SELECT last_value FROM stoppage_stoppage_id_seq",
                          "DELETE FROM quarantine", "UPDATE quarantine SET original = ''"):  # fmt: skip
            assert state_of(conn, made, statement) == "42501", statement


def test_functions_of_the_owner_show_and_change_nothing_of_another(world: tuple[str, World]) -> None:
    dsn, made = world
    with connect(dsn, application="test") as owner:
        stoppage = only(
            owner.execute("SELECT stoppage_id FROM stoppage WHERE unit_id = %s", (made.units[B],))
        )[0]
        person = only(owner.execute("SELECT person_id FROM person WHERE role = 'bank'"))[0]
    tag, low, high = made.tags[B], "2026-01-01+00", "2027-01-01+00"
    with connect(role_dsn(dsn, "api"), application="test", autocommit=True) as conn:
        for who in ("key of A", "lead unit A", "bank", "enterprise of A", "nobody"):
            with acting(conn, made.principals[who]):
                for statement, nothing in (
                    (f"SELECT * FROM tag_readings({tag}, '{low}', '{high}', (-32768)::smallint, 32767::smallint, 9)", []),
                    (f"SELECT * FROM tag_texts({tag}, '{low}', '{high}', (-32768)::smallint, 32767::smallint, 9)", []),
                    (f"SELECT * FROM tag_span({tag}, '{low}', '{high}', (-32768)::smallint, 32767::smallint)", [(None, None)]),
                    (f"SELECT * FROM tag_buckets({tag}, '{low}', '{high}', (-32768)::smallint, 32767::smallint, 9, '1 h', '{low}')", []),
                    (f"SELECT reopen_stopped({stoppage}, '{low}', '{high}')", [(0,)]),
                ):  # fmt: skip
                    assert conn.execute(statement).fetchall() == nothing, (who, statement)  # type: ignore[arg-type]
                if who != "bank":
                    assert conn.execute("SELECT end_sessions(%s)", (person,)).fetchone() == (0,), who
                # Who calls is told without what he is checked against.
                row = conn.execute("SELECT (caller()).password_hash, (caller()).person_id").fetchone()
                assert row is not None
                assert row[0] is None


def test_nobody_names_himself_somebody_else(world: tuple[str, World]) -> None:
    """SQL that got into a statement may set who calls; the database takes nobody whom it has not sealed."""
    dsn, made = world
    mine = made.principals["key of A"].sealed
    seal = mine.rpartition(":")[2]
    b, province = made.units[B], made.principals["province"].id
    forged = (f"unit:{b}", f"person:{province}", f"unit:{b}:{seal}", f"person:{province}:{seal}", f"unit:0{mine[5:]}",
              f"{mine}:{seal}", "person:0", "unit:x", ":", "unit:")  # fmt: skip
    with connect(role_dsn(dsn, "api"), application="test", autocommit=True) as conn:
        with acting(conn, made.principals["key of A"]):
            assert conn.execute("SELECT count(*) FROM enterprise").fetchone() == (1,)
            for who in forged:
                rows = conn.execute(
                    "SELECT unit_id FROM enterprise WHERE set_config('qunce.principal', %s, true) IS NOT NULL"
                    " UNION ALL SELECT 0 WHERE set_config('qunce.principal', %s, true) IS NULL"
                    " UNION ALL SELECT unit_id FROM enterprise",
                    (who, who),
                ).fetchall()
                assert {unit for (unit,) in rows} <= {made.units[A]}, who
                assert conn.execute("SELECT count(*) FROM enterprise").fetchone() == (0,), who
        for function in ("sealed('unit:1')", "principal_secret"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(f"SELECT * FROM {function}")  # type: ignore[arg-type]


def test_nobody_notes_a_version(world: tuple[str, World]) -> None:
    with connect(role_dsn(world[0], "api"), application="test", autocommit=True) as conn:
        assert conn.execute("SELECT note_code_version('forged', repeat('a', 64))").fetchone() == (None,)
        assert conn.execute("SELECT count(*) FROM code_version WHERE name = 'forged'").fetchone() == (0,)


def test_the_writer_mixes_no_units_and_keeps_what_there_was(world: tuple[str, World]) -> None:
    """It works for all units, so row security does not hold it: keys and grants do."""
    dsn, made = world
    with connect(dsn, application="test") as owner:
        park = only(owner.execute("SELECT park_id FROM park WHERE unit_id = %s", (made.units[B],)))[0]
    a, firm, machine = made.units[A], made.firms[B], made.equipment[B]
    with connect(role_dsn(dsn, "writer"), application="test", autocommit=True) as conn:
        for statement, values in (
            ("UPDATE tag SET equipment_id = %s WHERE unit_id = %s", (machine, a)),
            ("UPDATE equipment SET enterprise_id = %s WHERE unit_id = %s", (firm, a)),
            ("UPDATE enterprise SET park_id = %s WHERE unit_id = %s", (park, a)),
            ("UPDATE shift_calendar SET equipment_id = %s, start_at = start_at + interval '1 s' WHERE unit_id = %s", (machine, a)),
            ("UPDATE production_order SET equipment_id = %s WHERE unit_id = %s", (machine, a)),
        ):  # fmt: skip
            with pytest.raises(psycopg.errors.ForeignKeyViolation):
                conn.execute(statement, values)  # type: ignore[arg-type]
        for statement in (
            "UPDATE dataset_revision SET record = '{}'",
            "DELETE FROM dataset_revision",
            "UPDATE measurement_revision SET value = 0",
            "UPDATE lead_unit SET name_zh = 'x'",
            "UPDATE indicator_value SET value = 1",
            "DELETE FROM pilot",
            "UPDATE principal_secret SET secret = secret",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement)  # type: ignore[arg-type]


def test_the_grants_are_a_closed_list(world: tuple[str, World]) -> None:
    """A function that a migration adds is nobody's until store/access.sql says whose."""
    with connect(world[0], application="test") as owner:
        callable_ = {
            name
            for (name,) in owner.execute(
                "SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace"
                " AND has_function_privilege('qunce_api', p.oid, 'EXECUTE')"
                " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')"
            )
        }
        views = owner.execute(
            "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('v', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
            " AND n.nspname NOT LIKE '%%timescaledb%%' AND has_table_privilege('qunce_api', c.oid, 'SELECT')"
            " ORDER BY 2"
        ).fetchall()
    assert callable_ == {
        "uscc_is_valid", "audit", "audit_text", "caller", "regions_below", "visible_units", "visible_enterprises",
        "pooled_enterprises", "visible_equipment", "sees_province", "supervises", "is_operator", "own_unit", "end_sessions",
        "reopen_stopped", "note_code_version", "tag_readings", "tag_texts", "tag_span", "tag_buckets",
    }  # fmt: skip
    assert views == [("scoped", "event"), ("scoped", "measurement")]
