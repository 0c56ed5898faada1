"""Datasets in the store: tables as the models say, revisions, corrections, withdrawals, closed periods."""

from __future__ import annotations

import types
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import AwareDatetime

from ingest.datasets import DATASETS, example, natural_key
from ingest.datasets.rules import rules_of
from store import datasets, periods
from store.database import Connection, connect
from store.registry import NewUnit, register_unit
from store.shapes import FIELDS, shape_of

USCC = "91440300MA5EXAMP0C"
BANK = "91110000MA01BANK02"
AT = 1_795_000_000_000_000
DAY = 86_400_000_000
TAG = {"name": "M1.t", "equipment_code": "M1", "signal": "t", "data_type": "float", "unit": "Cel",
       "interval_s": 10.0, "valid_from": "2026-01-01T00:00:00Z", "range_min": None, "range_max": None}  # fmt: skip
MILESTONE = {"code": "m1", "name": "启动", "planned_on": "2026-03-01"}
STATEMENT = example("enterprise_statement")


@pytest.fixture
def conn(module_dsn: str) -> Iterator[Connection]:
    """What a test does is undone: one database serves all of them."""
    with connect(module_dsn, application="test") as made:
        yield made
        made.rollback()


@pytest.fixture
def unit_id(conn: Connection) -> int:
    unit_id = register_unit(conn, NewUnit("GD-T-01", "测试", "Test", 1, USCC))
    enterprise = {"uscc": USCC, "name": "厂", "region_code": "441900", "registered_on": "2026-01-01"}
    machine = {
        "code": "M1",
        "enterprise_uscc": USCC,
        "name": "机",
        "kind": "CNC",
        "digital": True,
        "networked": True,
    }
    for dataset, record in (("enterprise", enterprise), ("equipment", machine)):
        assert report(conn, unit_id, record, dataset) == (1, 0, 0)
    return unit_id


def judged(
    conn: Connection,
    unit_id: int,
    dataset: str,
    *records: dict[str, Any],
    at: int = AT,
    reason: str | None = None,
) -> datasets.Judged:
    keys = [natural_key(dataset, record) for record in records]
    sent = datasets.Report("b", at, reason, None, "unit:GD-T-01")
    return datasets.apply(conn, unit_id, dataset, records, keys, rules_of(dataset), sent)


def report(
    conn: Connection, unit_id: int, record: dict[str, Any], dataset: str = "tag"
) -> tuple[int, int, int]:
    found = judged(conn, unit_id, dataset, record)
    counts = Counter(found.verdicts)
    return len(found.revisions), counts[datasets.DUPLICATE], counts[datasets.CORRECTION]


def reasons(found: datasets.Judged) -> list[tuple[str, str]]:
    return [(problem.field, problem.reason) for problem in found.problems]


def test_limits_of_a_tag_are_kept_and_a_field_that_was_added_changes_nothing(
    conn: Connection, unit_id: int
) -> None:
    limits = "SELECT frozen_after_s, rate_max_per_s FROM tag"
    assert report(conn, unit_id, TAG) == (1, 0, 0)
    assert report(conn, unit_id, {**TAG, "frozen_after_s": None, "rate_max_per_s": None}) == (0, 1, 0)
    assert report(conn, unit_id, {**TAG, "frozen_after_s": 600.0, "rate_max_per_s": 2.5}) == (1, 0, 1)
    assert conn.execute(limits).fetchone() == (600.0, 2.5)
    assert report(conn, unit_id, TAG) == (1, 0, 1)
    assert conn.execute(limits).fetchone() == (None, None)


def test_when_a_record_was_last_reported(conn: Connection, unit_id: int) -> None:
    report(conn, unit_id, TAG)
    key = natural_key("tag", TAG)
    found = datasets.last_reported(conn, unit_id, "tag", [key, "other"])
    assert {k: int(at.timestamp() * 1e6) for k, at in found.items()} == {key: AT}


SENT_AS = {str: {"text"}, int: {"bigint", "smallint"}, bool: {"boolean"}, date: {"date"},
           float: {"double precision", "numeric(18,6)", "numeric(18,2)"},
           datetime: {"timestamp with time zone"}, AwareDatetime: {"timestamp with time zone"}}  # fmt: skip


def kinds(annotation: Any) -> set[str]:
    """PostgreSQL types that can hold what a field holds."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kinds(inner[0])
    if origin in (Union, types.UnionType):
        return kinds(next(one for one in inner if one is not type(None)))
    if origin is Literal:
        return {"text"}
    return {"text[]"} if origin is list else SENT_AS[annotation]


@pytest.mark.parametrize("dataset", [name for name in DATASETS if name != "tag"])
def test_a_dataset_is_its_table(conn: Connection, dataset: str) -> None:
    """Both ways: names, types, what may be null, the natural key, and a comment on every column."""
    model, shape = DATASETS[dataset], shape_of(conn, dataset)
    assert {column.field for column in shape.columns} == set(model.model_fields)
    for column in shape.columns:
        field = model.model_fields[column.field]
        assert column.as_sent in kinds(field.annotation), column
        assert column.is_required == field.is_required(), column
    assert {FIELDS.get(name, name) for name in shape.key} - {"unit_id"} == set(model.key)
    bare = conn.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"
        " AND coalesce(col_description(attrelid, attnum), '') = ''",
        (dataset,),
    ).fetchall()
    assert bare == []


def test_every_example_is_stored_as_it_was_sent(conn: Connection) -> None:
    unit_id = register_unit(conn, NewUnit("GD-T-01", "测试", "Test", 1, USCC))
    for dataset in DATASETS:
        record = example(dataset)
        assert reasons(judged(conn, unit_id, dataset, record)) == [], dataset
        if dataset == "tag":
            continue
        shape = shape_of(conn, dataset)
        found = conn.execute(f"SELECT to_jsonb(t) FROM {dataset} t WHERE unit_id = %s", (unit_id,)).fetchall()  # type: ignore[arg-type]
        [(row,)] = found
        for column in shape.columns:
            if column.as_sent == column.type and column.type != "timestamp with time zone":
                assert row[column.name] == record[column.field], (dataset, column)
        # once more: a duplicate, and nothing changes
        again = judged(conn, unit_id, dataset, record)
        assert (again.verdicts, again.revisions) == ([datasets.DUPLICATE], [])
        assert (
            conn.execute(f"SELECT to_jsonb(t) FROM {dataset} t WHERE unit_id = %s", (unit_id,)).fetchall()
            == found
        )  # type: ignore[arg-type]


def test_every_example_can_be_withdrawn_the_last_first(conn: Connection) -> None:
    unit_id = register_unit(conn, NewUnit("GD-T-01", "测试", "Test", 1, USCC))
    for dataset in DATASETS:
        judged(conn, unit_id, dataset, example(dataset))
    kept = {"park", "enterprise", "equipment", "tag"}  # the tag stays, and what it hangs on
    for dataset in reversed(DATASETS):
        model, record = DATASETS[dataset], example(dataset)
        gone = {field: record[field] for field in model.key} | {"withdrawn": True}
        found = judged(conn, unit_id, dataset, gone, reason="错报")
        if dataset in kept:
            assert [p.reason for p in found.problems] in (["still_referred_to"], ["not_withdrawable"]), (
                dataset
            )
            continue
        assert (found.verdicts, found.problems) == ([datasets.CORRECTION], []), dataset
        assert conn.execute(f"SELECT count(*) FROM {dataset}").fetchone() == (0,)  # type: ignore[arg-type]


def test_withdrawn_and_reported_again(conn: Connection, unit_id: int) -> None:
    gone = {"code": "m1", "withdrawn": True}
    assert reasons(judged(conn, unit_id, "milestone", gone)) == [("code", "nothing_to_withdraw")]
    assert judged(conn, unit_id, "milestone", MILESTONE, gone).verdicts == [0, 2]
    assert conn.execute("SELECT count(*) FROM milestone").fetchone() == (0,)
    assert judged(conn, unit_id, "milestone", gone, MILESTONE).verdicts == [1, 2]
    assert conn.execute("SELECT code FROM milestone").fetchall() == [("m1",)]
    assert conn.execute(
        "SELECT revision, record -> 'withdrawn' FROM dataset_revision WHERE dataset = 'milestone' ORDER BY 1"
    ).fetchall() == [(1, None), (2, True), (3, None)]


def test_a_withdrawn_shift_reopens_the_hours_it_was_in(conn: Connection, unit_id: int) -> None:
    shift = {
        "equipment_code": "M1",
        "start": "2026-11-02T00:00:00Z",
        "end": "2026-11-02T01:30:00Z",
        "kind": "shift",
    }
    judged(conn, unit_id, "shift_calendar", shift)
    conn.execute(
        "INSERT INTO equipment_hour (equipment_id, hour, observed_s, known_s, state_known_s, online_s, due,"
        " filled, readings, valid, flags, provisional, computed_at)"
        " SELECT equipment_id, '2026-11-02'::timestamptz + h * interval '1 hour', 3600, 3600, 3600, 3600, 0, 0, 0, 0,"
        " 0, false, now() FROM equipment, generate_series(0, 5) h"
    )
    judged(
        conn,
        unit_id,
        "shift_calendar",
        {**{k: shift[k] for k in ("equipment_code", "start", "kind")}, "withdrawn": True},
    )
    assert conn.execute("SELECT extract(hour FROM hour)::int FROM dirty_hour ORDER BY 1").fetchall() == [
        (0,),
        (1,),
    ]


def test_a_file_sent_twice_and_corrected_once(conn: Connection, unit_id: int) -> None:
    rows = [{**STATEMENT, "period": f"2026-{month:02}"} for month in range(1, 11)]
    assert Counter(judged(conn, unit_id, "enterprise_statement", *rows).verdicts) == {datasets.ACCEPTED: 10}
    assert Counter(judged(conn, unit_id, "enterprise_statement", *rows).verdicts) == {datasets.DUPLICATE: 10}
    rows[3] = {**rows[3], "revenue_wan": 1.5, "main_business_wan": 1.0}
    found = judged(conn, unit_id, "enterprise_statement", *rows, reason="会计差错更正")
    assert Counter(found.verdicts) == {datasets.DUPLICATE: 9, datasets.CORRECTION: 1}
    assert conn.execute(
        "SELECT natural_key, revision, reason, reported_by FROM dataset_revision"
        " WHERE dataset = 'enterprise_statement' AND revision > 1"
    ).fetchall() == [(f"{USCC}|2026-04", 2, "会计差错更正", "unit:GD-T-01")]
    assert conn.execute(
        "SELECT revenue_wan::text, period_start::text, period_months FROM enterprise_statement WHERE period = '2026-04'"
    ).fetchone() == ("1.500000", "2026-04-01", 1)


def test_a_correction_needs_a_reason_and_comes_in_time(conn: Connection, unit_id: int) -> None:
    changed = {**STATEMENT, "employees": 190}
    judged(conn, unit_id, "enterprise_statement", STATEMENT)
    late = AT + 10 * DAY
    for at, reason, outcome in (
        (late, None, [("enterprise_uscc", "correction_needs_reason")]),
        (late + 1, "漏报", [("enterprise_uscc", "correction_window_closed")]),
        (late, "漏报", []),
    ):
        assert (
            reasons(judged(conn, unit_id, "enterprise_statement", changed, at=at, reason=reason)) == outcome
        )
    gone = {"enterprise_uscc": USCC, "period": STATEMENT["period"], "withdrawn": True}
    assert reasons(judged(conn, unit_id, "enterprise_statement", gone)) == [
        ("enterprise_uscc", "correction_needs_reason")
    ]
    # the same again is no correction, however late
    assert judged(conn, unit_id, "enterprise_statement", changed, at=late + DAY).verdicts == [
        datasets.DUPLICATE
    ]
    # registers are corrected freely
    judged(conn, unit_id, "milestone", MILESTONE)
    assert judged(conn, unit_id, "milestone", {**MILESTONE, "name": "改"}, at=AT + 99 * DAY).verdicts == [2]


def test_closed_periods_take_nothing_more(conn: Connection, unit_id: int) -> None:
    october, november = ({**STATEMENT, "period": period} for period in ("2026-10", "2026-11"))
    judged(conn, unit_id, "enterprise_statement", october)
    periods.close(conn, "GD-T-01", datetime.fromisoformat("2026-11-01T00:00:00+08:00"), "test")
    closed = [("period", "period_closed")]
    for record in ({**october, "employees": 1}, {"enterprise_uscc": USCC, "period": "2026-10", "withdrawn": True},
                   {**STATEMENT, "period": "2026-09"}, {**STATEMENT, "period": "2026-Q3"}):  # fmt: skip
        assert reasons(judged(conn, unit_id, "enterprise_statement", record, reason="迟")) == closed, record
    assert judged(conn, unit_id, "enterprise_statement", october, november).verdicts == [1, 0]
    shift = {"equipment_code": "M1", "kind": "shift"}
    for start, end, outcome in (
        ("2026-10-31T08:00:00Z", "2026-10-31T16:00:00Z", [("end", "period_closed")]),
        ("2026-10-31T08:00:00Z", "2026-10-31T16:00:01Z", []),
    ):
        assert (
            reasons(judged(conn, unit_id, "shift_calendar", {**shift, "start": start, "end": end})) == outcome
        )
    # what spans the end of the closed period cannot be moved into it
    moved = {**shift, "start": "2026-10-31T08:00:00Z", "end": "2026-10-31T12:00:00Z"}
    assert reasons(judged(conn, unit_id, "shift_calendar", moved)) == [("end", "period_closed")]


def test_a_loan_needs_the_authorisation_of_its_day(conn: Connection, unit_id: int) -> None:
    loan = example("loan")
    assert reasons(judged(conn, unit_id, "loan", loan)) == [("bank_uscc", "not_authorised")]
    authorisation = example("credit_authorisation")
    judged(conn, unit_id, "credit_authorisation", authorisation)
    first, last = authorisation["valid_from"], authorisation["valid_to"]
    found = judged(
        conn, unit_id, "loan", loan, {**loan, "loan_no": "2", "disbursed_on": last, "due_on": None},
        {**loan, "loan_no": "3", "disbursed_on": first}, {**loan, "loan_no": "4", "bank_uscc": USCC},
    )  # fmt: skip
    assert found.verdicts == [0, 3, 0, 3]
    assert [p.reason for p in found.problems] == ["not_authorised", "not_authorised"]
    balance = {**example("loan_balance"), "loan_no": "9"}
    assert reasons(judged(conn, unit_id, "loan_balance", balance)) == [("loan_no", "unknown_reference")]


def test_what_is_not_registered_is_refused_row_by_row(conn: Connection, unit_id: int) -> None:
    other = register_unit(conn, NewUnit("GD-T-02", "别家", "Other", 1, BANK))
    certificate = example("certificate")
    # the enterprise is the first unit's alone
    assert reasons(judged(conn, other, "certificate", certificate)) == [
        ("enterprise_uscc", "unknown_reference")
    ]
    assert judged(conn, unit_id, "certificate", certificate).verdicts == [0]
    target = {**example("task_target"), "indicator": "plat.unheard_of"}
    assert reasons(judged(conn, unit_id, "task_target", target)) == [("indicator", "unknown_reference")]
    stated = {**example("reported_indicator"), "code": "equip.unheard_of"}
    assert reasons(judged(conn, unit_id, "reported_indicator", stated)) == [("code", "unknown_reference")]


def test_a_judgement_stores_nothing_and_is_what_happens(conn: Connection, unit_id: int) -> None:
    judged(conn, unit_id, "milestone", MILESTONE)
    records = [
        MILESTONE,
        {**MILESTONE, "name": "改"},
        {**MILESTONE, "code": "m2"},
        {"code": "m3", "withdrawn": True},
    ]
    keys = [natural_key("milestone", record) for record in records]
    sent = datasets.Report("b", AT)
    before = conn.execute("SELECT count(*) FROM dataset_revision").fetchone()
    foreseen = datasets.judge(conn, unit_id, "milestone", records, keys, rules_of("milestone"), sent)
    assert conn.execute("SELECT count(*) FROM dataset_revision").fetchone() == before
    assert foreseen == datasets.apply(conn, unit_id, "milestone", records, keys, rules_of("milestone"), sent)
    assert foreseen.verdicts == [1, 2, 0, 3]


def test_money_is_exact(conn: Connection, unit_id: int) -> None:
    entries = [
        {**example("special_account_entry"), "entry_no": f"Z{i}", "amount_yuan": 0.1} for i in range(10)
    ]
    judged(conn, unit_id, "special_account_entry", *entries)
    assert conn.execute("SELECT sum(amount_yuan)::text FROM special_account_entry").fetchone() == ("1.00",)
