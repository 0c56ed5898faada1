"""What reports do to hours that were computed before: real PostgreSQL, through the writer's transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from dashboard.blocks import problem_list
from dashboard.board import Board
from dashboard.lines import Lines
from ingest.datasets import check_records
from ingest.log import Entry, partition_of
from ingest.records import Records, encode_records
from ingest.storing import Storing
from store import supply
from store.database import Connection
from store.identity import NOBODY
from store.registry import NewPilot, NewUnit, register_pilot, register_unit

UNIT = "GD-TST-01"
USCC = "91440300MA5EXAMP0C"
NOW = datetime.now(UTC)
MIDNIGHT = NOW.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=2)
ENTERPRISE = {"uscc": USCC, "name": "厂", "region_code": "441900", "registered_on": "2026-01-01"}
MACHINE = {"code": "M1", "enterprise_uscc": USCC, "name": "机", "kind": "CNC", "rated_capacity_per_h": 60.0,
           "digital": True, "networked": True}  # fmt: skip
TAG = {"name": "M1.t", "equipment_code": "M1", "signal": "t", "data_type": "float", "unit": "Cel",
       "interval_s": 10.0, "valid_from": MIDNIGHT.isoformat()}  # fmt: skip
ORDER = {"order_id": "O1", "equipment_code": "M1", "product": "p", "planned_run_time_per_item_s": 10.0,
         "planned_quantity": 1.0}  # fmt: skip


def at(hour: float) -> str:
    return (MIDNIGHT + timedelta(hours=hour)).isoformat()


class Reporting:
    """Sends datasets as the interface does: checked record by record, then through the writer."""

    def __init__(self, store: Storing) -> None:
        self.store = store
        self.sent = 0

    def __call__(self, dataset: str, *rows: dict[str, Any] | bytes) -> None:
        self.sent += 1
        originals = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
        good, refused = check_records(dataset, originals)
        data = encode_records(
            Records(
                UNIT, f"http_push:{UNIT}", dataset, f"b{self.sent}", len(rows), time.time_ns() // 1000,
                [i for i, _ in good], [r for _, r in good], refused,
            )
        )  # fmt: skip
        entry = Entry(
            "live", "records", UNIT, "http_push:x", partition_of(UNIT), self.sent, f"m{self.sent}", 0, data
        )
        self.store.store([entry], "S")


@pytest.fixture
def report(dsn: str, conn: Connection) -> Iterator[Reporting]:
    with conn.transaction():
        register_unit(conn, NewUnit(UNIT, "测试单位", "Test unit", 1, USCC))
        register_pilot(
            conn, NewPilot("P1", "试点", "Pilot", "new-it", "441900", UNIT, "piloting", NOW.date())
        )
    with closing(Storing(dsn)) as store:
        reporting = Reporting(store)
        reporting("enterprise", ENTERPRISE)
        reporting("equipment", MACHINE, {**MACHINE, "code": "M2"})
        reporting("tag", TAG)
        yield reporting


def compute(conn: Connection) -> None:
    """Both machines' 24 hours are as good as computed, nothing is marked."""
    conn.execute(
        "INSERT INTO equipment_hour (equipment_id, hour, observed_s, known_s, state_known_s, online_s, due,"
        " filled, readings, valid, flags, provisional, computed_at)"
        " SELECT equipment_id, %s::timestamptz + h * interval '1 hour', 3600, 3600, 3600, 3600, 0, 0, 0, 0, 0,"
        " false, now() FROM equipment, generate_series(0, 23) h ON CONFLICT DO NOTHING",
        (MIDNIGHT,),
    )
    conn.execute("DELETE FROM dirty_hour")
    conn.commit()


def marked(conn: Connection, machine: str = "M1") -> list[int]:
    """Hours after MIDNIGHT that are marked."""
    conn.rollback()
    rows = conn.execute(
        "SELECT hour FROM dirty_hour JOIN equipment USING (equipment_id) WHERE code = %s ORDER BY 1",
        (machine,),
    )
    return [(hour - MIDNIGHT) // timedelta(hours=1) for (hour,) in rows]


def test_a_start_long_ago_costs_no_more_than_the_hours_there_are(report: Reporting, conn: Connection) -> None:
    compute(conn)
    began = time.monotonic()
    report(
        "production_order",
        *({**ORDER, "order_id": f"O{i}", "start": "2000-01-01T00:00:00Z"} for i in range(200)),
    )
    assert time.monotonic() - began < 2
    assert marked(conn) == list(range(24))
    assert marked(conn, "M2") == []


def test_an_order_made_shorter_reopens_what_it_leaves(report: Reporting, conn: Connection) -> None:
    report("production_order", {**ORDER, "start": at(16), "end": at(22.5)})
    compute(conn)
    report("production_order", {**ORDER, "start": at(16), "end": at(16.5)})
    assert marked(conn) == list(range(16, 23))


def test_an_order_moved_to_another_machine_reopens_both(report: Reporting, conn: Connection) -> None:
    report("production_order", {**ORDER, "start": at(2.25), "end": at(4.5)})
    compute(conn)
    report("production_order", {**ORDER, "equipment_code": "M2", "start": at(10.5), "end": at(11.5)})
    assert marked(conn) == [2, 3, 4]
    assert marked(conn, "M2") == [10, 11]


def test_a_shift_made_shorter_reopens_what_it_leaves(report: Reporting, conn: Connection) -> None:
    shift = {"equipment_code": "M1", "start": at(8), "kind": "shift"}
    report("shift_calendar", {**shift, "end": at(15.5)})
    compute(conn)
    report("shift_calendar", {**shift, "end": at(9.5)})
    assert marked(conn) == list(range(8, 16))


def test_hours_about_to_be_computed_for_the_first_time_are_marked_anew(
    report: Reporting, conn: Connection
) -> None:
    conn.execute(
        "INSERT INTO dirty_hour SELECT equipment_id, %s, now() - interval '1 hour', now() - interval '1 hour'"
        " FROM equipment WHERE code = 'M1'",
        (MIDNIGHT,),
    )
    conn.commit()
    report("production_order", {**ORDER, "start": at(0), "end": at(1)})
    row = conn.execute("SELECT bool_and(marked_at > now() - interval '1 minute') FROM dirty_hour").fetchone()
    assert row == (True,)


def test_a_changed_interval_reopens_the_hours_from_where_it_holds(
    report: Reporting, conn: Connection
) -> None:
    compute(conn)
    report("tag", {**TAG, "interval_s": 60.0, "valid_from": at(20.5)})
    assert marked(conn) == [20, 21, 22, 23]
    compute(conn)
    report("tag", {**TAG, "interval_s": 30.0, "valid_from": at(20.5)})
    assert marked(conn) == [20, 21, 22, 23]
    compute(conn)
    report("tag", {**TAG, "interval_s": 30.0, "valid_from": at(20.5), "range_max": 9.0})
    assert marked(conn) == []


def test_another_interval_is_all_that_another_valid_from_changes(report: Reporting, conn: Connection) -> None:
    def refused() -> list[tuple[str, str]]:
        rows = conn.execute("SELECT place, reason FROM quarantine ORDER BY quarantine_id").fetchall()
        conn.execute("DELETE FROM quarantine")
        conn.commit()
        return rows

    def registered() -> tuple[object, ...]:
        return conn.execute("SELECT unit, range_min, range_max FROM tag WHERE name = 'M1.t'").fetchone()

    ranged = {**TAG, "range_min": -20.0, "range_max": 150.0}
    report("tag", ranged)
    assert registered() == ("Cel", -20, 150)
    # With the mandatory fields only it would have taken the range away, and that from now on.
    later = {**TAG, "interval_s": 30.0, "valid_from": at(20)}
    report("tag", later, {**ranged, **later, "unit": "K"})
    assert refused() == [
        ("tag records[0].range_min", "differs_from_tag"),
        ("tag records[1].unit", "differs_from_tag"),
    ]
    report("tag", {**ranged, "interval_s": 30.0, "valid_from": at(20)})
    assert (refused(), registered()) == ([], ("Cel", -20, 150))
    # The tag itself is corrected by its latest record, and by that one only; the same again is the same.
    report("tag", {**ranged, "range_max": 99.0})
    assert refused() == [("tag records[0].range_max", "differs_from_tag")]
    report("tag", {**ranged, "interval_s": 30.0, "valid_from": at(20), "range_max": 99.0})
    report("tag", ranged)
    assert (refused(), registered()) == ([], ("Cel", -20, 99))
    # Of a tag that is new the latest of what was reported says what it is.
    new = {**ranged, "name": "M1.u", "signal": "u"}
    report("tag", {**new, "unit": "K"}, {**new, "valid_from": at(3)})
    assert refused() == [("tag records[0].unit", "differs_from_tag")]


def test_a_changed_first_interval_reopens_what_was_before_it(report: Reporting, conn: Connection) -> None:
    compute(conn)
    report("tag", {**TAG, "interval_s": 5.0})
    assert marked(conn) == list(range(24))


def test_a_changed_rated_capacity_reopens_every_hour(report: Reporting, conn: Connection) -> None:
    compute(conn)
    report("equipment", {**MACHINE, "name": "新机"})
    assert marked(conn) == []
    report("equipment", {**MACHINE, "name": "新机", "rated_capacity_per_h": 90.0})
    assert marked(conn) == list(range(24))
    assert marked(conn, "M2") == []


def test_a_record_that_cannot_be_stored_does_not_take_the_others_with_it(
    report: Reporting, conn: Connection
) -> None:
    milestone = {"code": "m1", "name": "启动", "planned_on": "2026-03-01"}
    value = {"code": "equip.oee", "period_start": at(0), "period_end": at(24), "value": 0.7}
    report("milestone", milestone, {**milestone, "code": "m2", "name": "a\0b"}, {**milestone, "x\0": 1})
    report(
        "reported_indicator", value, json.dumps({**value, "code": "equip.x"}).replace("0.7", "1e999").encode()
    )
    verdicts = conn.execute(
        "SELECT received, accepted, quarantined FROM submission ORDER BY applied_at DESC LIMIT 2"
    ).fetchall()
    assert verdicts == [(2, 1, 1), (3, 1, 2)]
    assert conn.execute("SELECT place FROM quarantine ORDER BY place").fetchall() == [
        ("milestone records[1].name",), ("milestone records[2].x␀",), ("reported_indicator records[1].value",),
    ]  # fmt: skip


def test_the_table_refuses_an_interval_that_would_drown_all_others(
    report: Reporting, conn: Connection
) -> None:
    report(
        "tag",
        {**TAG, "interval_s": 1e-6, "valid_from": at(1)},
        {**TAG, "interval_s": 0.1, "valid_from": at(2)},
    )
    kept = conn.execute("SELECT interval_s FROM reporting_schedule ORDER BY 1").fetchall()
    assert kept == [(0.1,), (10.0,)]
    with pytest.raises(psycopg.errors.CheckViolation):
        conn.execute("UPDATE reporting_schedule SET interval_s = 0.01")


def test_machines_whose_day_is_more_than_full_are_told(report: Reporting, conn: Connection, dsn: str) -> None:
    insert = (
        "INSERT INTO indicator_value (code, formula_version, level, entity_id, period, period_start, value,"
        " numerator, denominator, n_inputs, provenance, provisional, computed_at, superseded_at)"
        " SELECT %s, 1, 'equipment', equipment_id, 'day', %s, %s, 1, %s, 24, 'observed', false, now(), %s"
        " FROM equipment WHERE code = %s"
    )
    day = timedelta(days=1)
    for code, start, value, denominator, superseded, machine in (
        ("equip.effectiveness", MIDNIGHT, 1.5, 9000, None, "M1"),
        ("equip.effectiveness", MIDNIGHT + day, 1.3, 9000, None, "M1"),
        ("equip.effectiveness", MIDNIGHT - 10 * day, 9.0, 9000, None, "M1"),  # too long ago
        ("equip.effectiveness", MIDNIGHT, 9.0, 60, None, "M2"),  # too little time
        ("equip.availability", MIDNIGHT, 9.0, 9000, NOW, "M2"),  # has been put right
        ("equip.availability", MIDNIGHT, 1.0, 9000, None, "M2"),
        ("equip.oee", MIDNIGHT, 9.0, 9000, None, "M2"),
    ):
        conn.execute(insert, (code, start, value, denominator, superseded, machine))
    limits = {"equip.effectiveness": 1.02, "equip.availability": 1.0}
    found = supply.days_over(conn, limits, MIDNIGHT, least_s=7200, most=10)
    assert found == [supply.DayOver(UNIT, "M1", "equip.effectiveness", MIDNIGHT, 1.5, 2)]

    conn.commit()
    lines = Lines(dsn)
    board = Board(lines, NOBODY)  # as the owner, who sees everything whoever asks
    board.renew()
    lines.end()
    picture = board.current().picture
    assert picture is not None
    [problem] = [p for p in picture.problems if p.kind == "master_data"]
    assert (problem.unit_code, problem.evidence["equipment"], problem.evidence["share"]) == (UNIT, "M1", 1.5)
    assert "M1 日性能率(有效性)达 150.0%" in str(problem_list("zh", [problem], {}, {}))
    assert "M1: Effectiveness (performance) 150.0%" in str(problem_list("en", [problem], {}, {}))
