"""Two lead units that must not see each other, people of every role, and rows of both in every table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from psycopg.types.json import Jsonb

from ingest.datasets import DATASETS, example, natural_key
from ingest.datasets.rules import rules_of
from store import audit, datasets
from store.database import Connection, only
from store.identity import (
    GRANTED,
    NOBODY,
    NewPerson,
    Principal,
    Role,
    acting,
    add_person,
    key_principal,
    open_session,
)
from store.registry import NewPilot, NewUnit, add_key, register_pilot, register_unit, source_id

UNITS = {"GD-AAA-01": "441900", "GD-BBB-01": "440300"}
"""Unit → region of its pilot."""
FIRMS = {"GD-AAA-01": "91440300MA5WTRDK5K", "GD-BBB-01": "91441900MA4UEXMQ09"}
SITES = {"GD-AAA-01": "441900", "GD-BBB-01": "440305"}
"""Unit → region of its enterprise; 440305 lies in 440300."""
BANK = "91110000MA01BANK02"
BANKS = {"GD-AAA-01": FIRMS["GD-AAA-01"], "GD-BBB-01": BANK}
"""Unit → the bank that its enterprise authorised."""
MARKS = {"GD-AAA-01": "甲方独有", "GD-BBB-01": "乙方独有"}
"""Unit → what is in every text of its rows, and in nobody else's."""
WHEN = datetime(2026, 11, 20, 8, tzinfo=UTC)


@dataclass(frozen=True)
class Scope:
    """What somebody must see, and no more: all of `units`; of `firms` what is said of them.

    What units sent and what was refused of it only who `supervises` sees; what is `own`, the unit alone.
    """

    units: frozenset[str] = frozenset()
    firms: frozenset[str] = frozenset()
    pool: frozenset[str] = frozenset()
    province: bool = False
    operator: bool = False
    supervises: bool = True
    own: str | None = None


ALL = frozenset(UNITS)
SCOPES: dict[str, Scope] = {
    "nobody": Scope(),
    "key of A": Scope(units=frozenset({"GD-AAA-01"}), own="GD-AAA-01"),
    "province": Scope(units=ALL, province=True),
    "operator": Scope(units=ALL, province=True, operator=True),
    "think tank": Scope(units=ALL, province=True, supervises=False),
    "think tank of B": Scope(units=frozenset({"GD-BBB-01"}), supervises=False),
    "city 441900": Scope(units=frozenset({"GD-AAA-01"}), firms=frozenset({"GD-AAA-01"})),
    "county 440305": Scope(firms=frozenset({"GD-BBB-01"})),
    "lead unit A": Scope(units=frozenset({"GD-AAA-01"}), own="GD-AAA-01"),
    "enterprise of A": Scope(firms=frozenset({"GD-AAA-01"})),
    "bank": Scope(pool=frozenset({"GD-BBB-01"})),
}
"""Who → what must be seen; enterprises are named by the unit on whose platform they are."""


@dataclass
class World:
    """The seeded database: principals by name of `SCOPES`, sessions, keys and ids."""

    principals: dict[str, Principal]
    tokens: dict[str, str]
    units: dict[str, int]
    firms: dict[str, int]
    equipment: dict[str, int]
    tags: dict[str, int]
    pilots: dict[str, int]
    sources: dict[str, int]


def sealed(conn: Connection, who: str) -> str:
    """How the database knows `unit:<id>` or `person:<id>`, as its owner may ask."""
    return str(only(conn.execute("SELECT sealed(%s)", (who,)))[0])


def seed(conn: Connection) -> World:
    """Fill a fresh database as its owner."""
    world = World({"nobody": NOBODY}, {}, {}, {}, {}, {}, {}, {})
    for unit in UNITS:
        _unit(conn, world, unit)
    conn.execute("INSERT INTO quarantine (unit_id, source_id, batch, place, reason, parameters, original, received_at)"
                 " VALUES (0, 0, 'x', '$', 'unknown_unit', '{}', '', now())")  # fmt: skip
    conn.execute("INSERT INTO component_status VALUES ('writer', 'x', 'ok', %s, now())",
                 (Jsonb({"pending": [["GD-AAA-01", MARKS["GD-AAA-01"], 1]]}),))  # fmt: skip
    conn.execute("INSERT INTO canary VALUES ('x', now(), now(), now(), 1)")
    people: list[tuple[str, Role, dict[str, object]]] = [
        ("province", "province", {}),
        ("operator", "operator", {}),
        ("think tank", "think_tank", {}),
        ("think tank of B", "think_tank", {"pilot_ids": [world.pilots["GD-BBB-01"]]}),
        ("city 441900", "city", {"region_code": "441900"}),
        ("county 440305", "county", {"region_code": "440305"}),
        ("lead unit A", "lead_unit", {"unit_id": world.units["GD-AAA-01"]}),
        ("enterprise of A", "enterprise", {"uscc": FIRMS["GD-AAA-01"]}),
        ("bank", "bank", {"uscc": BANK}),
    ]
    for name, role, scope in people:
        person = add_person(conn, NewPerson(name.replace(" ", "-"), name, role, **scope))  # type: ignore[arg-type]
        unit = next((u for u, i in world.units.items() if i == scope.get("unit_id")), None)
        world.principals[name] = Principal(
            "person", person, name.replace(" ", "-"), role, scope.get("unit_id"), unit, GRANTED[role],  # type: ignore[arg-type]
            sealed=sealed(conn, f"person:{person}"),
        )  # fmt: skip
        world.tokens[name] = open_session(conn, person, 3600, "127.0.0.1")
    for unit, name in (("GD-AAA-01", "key of A"), ("GD-BBB-01", "key of B")):
        key_id = only(
            conn.execute("SELECT min(key_id) FROM api_key WHERE unit_id = %s", (world.units[unit],))
        )[0]
        who = sealed(conn, f"unit:{world.units[unit]}")
        world.principals[name] = key_principal(key_id, world.units[unit], unit, None, who)
        world.tokens[name] = f"qk_{unit}"
        with acting(conn, world.principals[name]):
            audit.record(conn, "test.seeded", MARKS[unit], {"mark": MARKS[unit]})
    return world


def _unit(conn: Connection, world: World, unit: str) -> None:
    mark, today = MARKS[unit], date(2026, 11, 20)
    register_unit(conn, NewUnit(unit, mark, mark, 1, FIRMS[unit]))
    register_pilot(conn, NewPilot(f"P-{unit}", mark, mark, "new-it", UNITS[unit], unit, "piloting", today))
    add_key(conn, unit, f"qk_{unit}")
    uid = world.units[unit] = only(conn.execute("SELECT unit_id FROM lead_unit WHERE code = %s", (unit,)))[0]
    pilot = world.pilots[unit] = only(conn.execute("SELECT pilot_id FROM pilot WHERE unit_id = %s", (uid,)))[
        0
    ]
    source = world.sources[unit] = source_id(conn, uid, f"http_push:{mark}")

    def give(statement: str, *values: object) -> int:
        return int(only(conn.execute(statement, values))[0])  # type: ignore[arg-type]

    give("INSERT INTO park (unit_id, code, name, region_code, virtual) VALUES (%s, 'P1', %s, %s, false) RETURNING 1",
         uid, mark, UNITS[unit])  # fmt: skip
    firm = world.firms[unit] = give(
        "INSERT INTO enterprise (unit_id, uscc, name, region_code, registered_on) VALUES (%s, %s, %s, %s, %s)"
        " RETURNING enterprise_id", uid, FIRMS[unit], mark, SITES[unit], today)  # fmt: skip
    machine = world.equipment[unit] = give(
        "INSERT INTO equipment (unit_id, enterprise_id, code, name, kind, digital, networked)"
        " VALUES (%s, %s, 'M1', %s, 'CNC', true, true) RETURNING equipment_id", uid, firm, mark)  # fmt: skip
    tag = world.tags[unit] = give(
        "INSERT INTO tag (unit_id, equipment_id, name, signal, data_type, unit)"
        " VALUES (%s, %s, 'M1.heat', 'heat', 'float', 'Cel') RETURNING tag_id", uid, machine)  # fmt: skip
    conn.execute(
        "SELECT make_day_partition('2026-11-20') WHERE EXISTS (SELECT FROM layout WHERE name = 'native')"
    )
    rows: list[tuple[str, tuple[object, ...]]] = [
        ("INSERT INTO reporting_schedule VALUES (%s, %s, 60)", (tag, WHEN)),
        ("INSERT INTO measurement VALUES (%s, %s, 1, 0)", (tag, WHEN)),
        ("INSERT INTO event VALUES (%s, %s, %s, 0)", (tag, WHEN, mark)),
        ("INSERT INTO measurement_revision VALUES (%s, %s, 1, NULL, 0, now(), %s, 'b')", (tag, WHEN, source)),
        ("INSERT INTO latest_value VALUES (%s, %s, 1, NULL, 0, now())", (tag, WHEN)),
        ("INSERT INTO quarantine (unit_id, source_id, batch, place, reason, parameters, original, received_at)"
         " VALUES (%s, %s, 'b', '$', 'unknown_tag', '{}', convert_to(%s, 'UTF8'), now())", (uid, source, mark)),
        ("INSERT INTO quarantine_kept VALUES (%s, 9)", (uid,)),
        ("INSERT INTO arrival VALUES (%s, %s, 1, 1)", (source, WHEN)),
        ("INSERT INTO latency_bucket VALUES (%s, %s, 1, 1)", (source, WHEN)),
        ("INSERT INTO clock_skew VALUES (%s, 1, 1, now())", (source,)),
        ("INSERT INTO supply_hour (equipment_id, source_id, hour, accepted, live, timely, duplicates, quarantined)"
         " VALUES (%s, %s, %s, 1, 1, 1, 0, 0)", (machine, source, WHEN)),
        ("INSERT INTO equipment_hour (equipment_id, hour, observed_s, known_s, state_known_s, online_s, due, filled,"
         " readings, valid, flags, provisional, computed_at) VALUES (%s, %s, 1, 1, 1, 1, 1, 1, 1, 1, 0, false, now())",
         (machine, WHEN)),
        ("INSERT INTO closed_period (unit_id, closed_until, closed_by) VALUES (%s, '2026-01-01', %s)", (uid, mark)),
        ("INSERT INTO credit_authorisation VALUES (%s, %s, %s, '2026-01-01', '2099-01-01', %s)",
         (uid, firm, BANK if unit == "GD-BBB-01" else FIRMS[unit], mark)),
    ]  # fmt: skip
    for statement, values in rows:
        conn.execute(statement, values)  # type: ignore[arg-type]
    for level, entity in (
        ("cluster", pilot),
        ("enterprise", firm),
        ("equipment", machine),
        ("source", source),
    ):
        _indicator(conn, level, entity)
    if unit == "GD-AAA-01":
        _indicator(conn, "province", 0)
    conn.execute(
        "INSERT INTO dataset_revision (unit_id, dataset, natural_key, revision, record, batch, received_at)"
        " VALUES (%s, 'park', 'P1', 1, %s, 'b', now())", (uid, Jsonb({"name": mark})))  # fmt: skip
    conn.execute(
        "INSERT INTO submission (batch, unit_id, dataset, received, accepted, duplicates, corrections, quarantined,"
        " errors) VALUES (md5(%s), %s, 'park', 1, 1, 0, 0, 0, '[]')", (mark, uid))  # fmt: skip
    conn.execute(
        "INSERT INTO source_heartbeat (unit_id, source, received_at, skew_s) VALUES (%s, %s, now(), 0)",
        (uid, mark),
    )
    conn.execute("INSERT INTO heartbeat_hour VALUES (%s, %s, %s, 1)", (uid, mark, WHEN))
    stoppage = give("INSERT INTO stoppage (unit_id, kind, start_at, reason, scope)"
                    " VALUES (%s, 'holiday', %s, %s, 'all') RETURNING stoppage_id", uid, WHEN, mark)  # fmt: skip
    conn.execute("INSERT INTO stoppage_equipment VALUES (%s, %s, %s)", (stoppage, uid, machine))
    conn.execute("INSERT INTO file_upload (upload_id, unit_id, dataset, file_name, n_bytes, dry_run, sent_by, content)"
                 " VALUES (md5(%s), %s, 'park', %s, 1, false, 'unit', '-')", (mark, uid, mark))  # fmt: skip
    _datasets(conn, uid, unit)
    later = WHEN + timedelta(hours=8)
    conn.execute("INSERT INTO shift_calendar VALUES (%s, %s, %s, %s, 'shift')", (uid, machine, WHEN, later))
    conn.execute(
        "INSERT INTO production_order (unit_id, order_id, equipment_id, product, pri_s, planned_quantity, start_at)"
        " VALUES (%s, 'O1', %s, %s, 1, 1, %s)", (uid, machine, mark, WHEN))  # fmt: skip
    conn.execute(
        "INSERT INTO milestone (unit_id, code, name, planned_on) VALUES (%s, 'M1', %s, %s)",
        (uid, mark, today),
    )
    conn.execute(
        "INSERT INTO reported_indicator (unit_id, code, period_start, period_end, value)"
        " VALUES (%s, 'equip.oee', %s, %s, 1)", (uid, WHEN, later))  # fmt: skip


def _datasets(conn: Connection, unit_id: int, unit: str) -> None:
    """A row of every dataset whose table has none yet: its example, of this unit's enterprise and equipment."""
    own = {"enterprise_uscc": FIRMS[unit], "equipment_code": "M1", "park_code": "P1"}
    seeded = {"park", "enterprise", "equipment", "tag", "shift_calendar", "production_order", "milestone",
              "reported_indicator"}  # fmt: skip
    for dataset in DATASETS:
        if dataset not in seeded:
            record = example(dataset)
            record |= {field: value for field, value in own.items() if field in record}
            if dataset == "credit_authorisation":
                record |= {"bank_uscc": BANKS[unit], "valid_from": "2026-02-01"}
            elif dataset in ("loan", "loan_balance"):
                record["bank_uscc"] = BANKS[unit]
            record |= {
                field: MARKS[unit]
                for field in ("name", "title", "subject", "document_no", "supplier")
                if field in record
            }
            found = datasets.apply(
                conn, unit_id, dataset, [record], [natural_key(dataset, record)], rules_of(dataset),
                datasets.Report("b", 1_795_000_000_000_000),
            )  # fmt: skip
            assert found.problems == [], (dataset, found.problems)


def _indicator(conn: Connection, level: str, entity: int) -> None:
    conn.execute(
        "INSERT INTO indicator_value (code, formula_version, level, entity_id, period, period_start, value, n_inputs,"
        " provenance, provisional, computed_at) VALUES ('equip.oee', 1, %s, %s, 'hour', %s, 1, 1, 'observed', false,"
        " now())", (level, entity, WHEN))  # fmt: skip
