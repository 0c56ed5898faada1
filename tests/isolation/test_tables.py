"""Every table x every kind of caller, with raw SQL under the application's own roles."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from store.database import Connection, connect
from store.identity import NOBODY, acting
from store.migrate import migrate
from store.roles import role_dsn
from tests.isolation.world import MARKS, SCOPES, UNITS, Scope, World, seed

pytestmark = pytest.mark.concurrent
OPEN = {"region", "cluster", "sub_sector", "indicator_code", "code_version", "layout", "schema_migration"}
POOL = {
    "enterprise",
    "certificate",
    "enterprise_statement",
    "digital_assessment",
    "credit_authorisation",
    "loan",
}
_BY_TAG = "(SELECT unit_id FROM tag t WHERE t.tag_id = x.tag_id), (SELECT enterprise_id FROM tag t JOIN equipment q USING (equipment_id) WHERE t.tag_id = x.tag_id)"
_BY_EQUIPMENT = "(SELECT unit_id FROM equipment q WHERE q.equipment_id = x.equipment_id), (SELECT enterprise_id FROM equipment q WHERE q.equipment_id = x.equipment_id)"
_BY_SOURCE = "(SELECT unit_id FROM source s WHERE s.source_id = x.source_id), NULL::int"
OWNERS = {
    **dict.fromkeys(
        ("reporting_schedule", "measurement", "event", "measurement_revision", "latest_value"), _BY_TAG
    ),
    **dict.fromkeys(("supply_hour", "equipment_hour"), _BY_EQUIPMENT),
    **dict.fromkeys(("ingest_ledger", "arrival", "latency_bucket", "clock_skew"), _BY_SOURCE),
    **dict.fromkeys(("stoppage", "stoppage_equipment"), "x.unit_id, NULL::int"),
    "tag": "x.unit_id, (SELECT enterprise_id FROM equipment q WHERE q.equipment_id = x.equipment_id)",
    "shift_calendar": "x.unit_id, (SELECT enterprise_id FROM equipment q WHERE q.equipment_id = x.equipment_id)",
    "production_order": "x.unit_id, (SELECT enterprise_id FROM equipment q WHERE q.equipment_id = x.equipment_id)",
}
"""Table → (unit_id, enterprise_id) of a row, worked out here once more and otherwise than in store/access.sql."""


@pytest.fixture(scope="module")
def world(module_dsn: str) -> tuple[str, World]:
    with connect(module_dsn, application="test") as conn:
        made = seed(conn)
    return module_dsn, made


def tables(conn: Connection) -> list[str]:
    return [
        name
        for (name,) in conn.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT relispartition ORDER BY 1"
        )
    ]


def owners(conn: Connection, table: str) -> list[tuple[int | None, int | None]]:
    """Of each row: its unit and enterprise, as the owner of the database sees it."""
    columns = {
        name
        for (name,) in conn.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            (f"public.{table}",),
        )
    }
    of = OWNERS.get(table) or (
        "x.unit_id, " + (
            "x.enterprise_id" if "enterprise_id" in columns
            else "(SELECT enterprise_id FROM equipment q WHERE q.equipment_id = x.equipment_id)" if "equipment_id" in columns
            else "NULL::int"
        )
    )  # fmt: skip
    return conn.execute(f"SELECT {of} FROM public.{table} x").fetchall()  # type: ignore[arg-type, return-value]


def expected(table: str, rows: list[tuple[int | None, int | None]], scope: Scope, world: World) -> int:
    units = {world.units[u] for u in scope.units}
    if table in SUPERVISED and not scope.supervises:
        units = set()
    if table == "file_upload":
        units = {world.units[scope.own]} if scope.own else set()
    firms = {world.firms[u] for u in scope.firms}
    pool = {world.firms[u] for u in scope.pool} if table in POOL else set()
    n = sum(unit in units or firm in firms or firm in pool for unit, firm in rows)
    if table == "lead_unit":  # whose platform an enterprise is on, whoever sees the enterprise may know
        known = units | {world.units[u] for u in scope.firms | scope.pool}
        n = sum(unit in known for unit, _ in rows)
    if table == "quarantine" and scope.operator:
        n += sum(unit == 0 for unit, _ in rows)
    return n


SPECIAL = {"indicator_value", "audit_event", "person", "api_key", "component_status", "canary"}
SUPERVISED = {"quarantine", "submission"}
CLOSED = {
    "session",
    "request_nonce",
    "principal_secret",
    "dirty_hour",
    "dirty_period",
    "unit_position",
    "writer_position",
}


@pytest.mark.parametrize("role", ["api", "dashboard"])
def test_every_table_shows_each_caller_exactly_what_is_his(world: tuple[str, World], role: str) -> None:
    dsn, made = world
    wrong = []
    with (
        connect(dsn, application="test") as owner,
        connect(role_dsn(dsn, role), application="test", autocommit=True) as conn,  # type: ignore[arg-type]
    ):
        for table in tables(owner):
            if table in OPEN | SPECIAL:
                continue
            if table in CLOSED:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    conn.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)))
                continue
            rows = owners(owner, table)
            assert {unit for unit, _ in rows} >= set(made.units.values()), (
                f"{table} has no rows of both units"
            )
            for who, scope in SCOPES.items():
                with acting(conn, made.principals[who]):
                    [n] = conn.execute(
                        sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
                    ).fetchone() or (None,)
                if n != expected(table, rows, scope, made):
                    wrong.append((table, who, n, expected(table, rows, scope, made)))
    assert wrong == []


def test_indicators_are_seen_with_what_they_speak_of(world: tuple[str, World]) -> None:
    dsn, made = world
    seen = {}
    with connect(role_dsn(dsn, "api"), application="test", autocommit=True) as conn:
        for who in SCOPES:
            with acting(conn, made.principals[who]):
                rows = conn.execute("SELECT level, entity_id FROM indicator_value ORDER BY 1, 2").fetchall()
            seen[who] = rows

    def of(unit: str, *levels: str) -> list[tuple[str, int]]:
        ids = {
            "cluster": made.pilots,
            "enterprise": made.firms,
            "equipment": made.equipment,
            "source": made.sources,
        }
        return [(level, ids[level][unit]) for level in levels]

    everything = sorted(
        [x for u in UNITS for x in of(u, "cluster", "enterprise", "equipment", "source")] + [("province", 0)]
    )
    assert seen["nobody"] == []
    assert seen["province"] == seen["operator"] == seen["think tank"] == everything
    for who, unit in (
        ("key of A", "GD-AAA-01"),
        ("lead unit A", "GD-AAA-01"),
        ("think tank of B", "GD-BBB-01"),
    ):
        assert seen[who] == sorted(of(unit, "cluster", "enterprise", "equipment", "source"))
    assert seen["county 440305"] == of("GD-BBB-01", "enterprise", "equipment")
    assert seen["enterprise of A"] == of("GD-AAA-01", "enterprise", "equipment")
    assert seen["bank"] == of("GD-BBB-01", "enterprise")


def test_credentials_and_accounts(world: tuple[str, World]) -> None:
    dsn, made = world
    with connect(role_dsn(dsn, "api"), application="test", autocommit=True) as conn:
        for statement in (
            "SELECT digest FROM api_key",
            "SELECT * FROM api_key",
            "SELECT password_hash FROM person",
            "SELECT * FROM session",
            "SELECT authenticate_key('\\x00')",
            "SELECT signing_digest(1)",
            "SELECT person_credentials('operator')",
            "SELECT session_person('\\x00')",
            "SELECT make_day_partition('2026-11-21')",
        ):
            with (
                acting(conn, made.principals["operator"]),
                pytest.raises(psycopg.errors.InsufficientPrivilege),
                conn.transaction(),
            ):
                conn.execute(statement)  # type: ignore[arg-type]
        for who, people, keys in (
            ("nobody", 0, 0), ("key of A", 1, 1), ("lead unit A", 1, 1), ("operator", 9, 2), ("province", 1, 0),
            ("bank", 1, 0), ("enterprise of A", 1, 0),
        ):  # fmt: skip
            with acting(conn, made.principals[who]):
                assert conn.execute("SELECT count(person_id) FROM person").fetchone() == (people,), who
                assert conn.execute("SELECT count(key_id) FROM api_key").fetchone() == (keys,), who
        for who, n in (("operator", 2), ("think tank of B", 0), ("key of A", 0), ("bank", 0)):
            with acting(conn, made.principals[who]):
                status = conn.execute(
                    "SELECT (SELECT count(*) FROM component_status) + (SELECT count(*) FROM canary)"
                ).fetchone()
                assert status == (n,), who
        for who, marks in (
            ("key of A", {MARKS["GD-AAA-01"]}),
            ("province", set(MARKS.values())),
            ("bank", set()),
        ):
            with acting(conn, made.principals[who]):
                found = {
                    x for (x,) in conn.execute("SELECT object FROM audit_event WHERE action = 'test.seeded'")
                }
                assert found == marks, who


@pytest.mark.parametrize(
    "who", ["nobody", "key of A", "enterprise of A", "bank", "city 441900", "think tank of B"]
)
def test_nobody_changes_what_is_not_his(world: tuple[str, World], who: str) -> None:
    dsn, made = world
    changed = []
    with (
        connect(dsn, application="test") as owner,
        connect(role_dsn(dsn, "api"), application="test", autocommit=True) as conn,
    ):
        for table in tables(owner):
            columns = owner.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attidentity = '' AND attgenerated = ''",
                (f"public.{table}",),
            ).fetchall()
            own = 0
            if who == "key of A" and table not in OPEN | SPECIAL | CLOSED:
                own = sum(unit == made.units["GD-AAA-01"] for unit, _ in owners(owner, table))
            if (table, who) == ("api_key", "key of A") or (
                table == "person" and made.principals[who].kind == "person"
            ):
                own = 1
            name = sql.Identifier(table)
            statements = [sql.SQL("DELETE FROM {}").format(name)] + [
                sql.SQL("UPDATE {} SET {} = {}").format(name, sql.Identifier(c), sql.Identifier(c))
                for (c,) in columns
            ]
            for statement in statements:
                try:
                    with conn.transaction(), acting(conn, made.principals[who]):
                        n = conn.execute(statement).rowcount
                        if n > own:
                            changed.append((table, n))
                        raise psycopg.Rollback
                except psycopg.errors.InsufficientPrivilege:
                    pass
    assert changed == []


def test_access_is_granted_again_to_a_database_in_use(world: tuple[str, World]) -> None:
    """As at every start: the world has partitions, and these have indexes."""
    with connect(world[0], application="test") as conn:
        assert migrate(conn) == []
        readable = conn.execute(
            "SELECT bool_or(has_table_privilege('qunce_api', oid, 'SELECT')) FROM pg_class"
            " WHERE relispartition AND relkind = 'r' AND relnamespace = 'public'::regnamespace"
        ).fetchone()
    assert readable != (True,)


def test_the_application_cannot_become_somebody_else(world: tuple[str, World]) -> None:
    dsn, made = world
    with connect(role_dsn(dsn, "api"), application="test", autocommit=True) as conn:
        for statement in (
            "SET ROLE qunce_writer", "SET ROLE qunce_auth", "SET SESSION AUTHORIZATION qunce_metrics",
            "ALTER TABLE tag DISABLE ROW LEVEL SECURITY", "DROP POLICY reading ON tag", "CREATE TABLE t (a int)",
            "ALTER ROLE qunce_api BYPASSRLS", "SELECT * FROM pg_authid", "TRUNCATE quarantine",
            "COPY (SELECT 1) TO '/tmp/x'", "UPDATE audit_event SET action = 'x'", "DELETE FROM audit_event",
            "INSERT INTO audit_event VALUES (99, now(), 'x', NULL, 'x', 'x', '{}', '')",
        ):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement)  # type: ignore[arg-type]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("SET row_security = off; SELECT * FROM tag")
        conn.execute("RESET ALL")
        conn.execute("SET search_path = public")  # past the views
        for partition in ("measurement", "event", "measurement_20261120"):
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable)):
                conn.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(partition)))
        with acting(conn, NOBODY):
            assert conn.execute("SELECT count(*) FROM tag").fetchone() == (0,)
        # The scope ends with the transaction.
        with acting(conn, made.principals["province"]):
            assert conn.execute("SELECT count(*) FROM tag").fetchone() == (2,)
        assert conn.execute("SELECT count(*) FROM tag").fetchone() == (0,)
