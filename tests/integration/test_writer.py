"""From the log into the store: real NATS, real PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg
import pytest

from ingest.batch import Batch, Refusal, decode, encode
from ingest.decoded import empty
from ingest.log import Entry, partition_of
from ingest.records import Records, encode_records
from ingest.storing import OwnedElsewhere, Storing
from store import accounts, audit
from store.database import Connection, connect
from store.measurements import FROZEN
from store.registry import NewPilot, NewUnit, register_pilot, register_unit

UNIT = "GD-TST-01"
USCC = "91440300MA5EXAMP0C"
NOW = time.time_ns() // 1000
HOUR = (NOW // 3_600_000_000 - 1) * 3_600_000_000


def records(dataset: str, *rows: dict[str, Any]) -> Entry:
    batch = f"{dataset}-{time.time_ns()}"
    data = encode_records(
        Records(
            UNIT, f"http_push:{UNIT}", dataset, batch, len(rows), NOW, list(range(len(rows))), list(rows), []
        )
    )
    return entry(data, "records", 0)


_sequence = iter(range(1, 10_000))


def entry(data: bytes, kind: Any, rows: int) -> Entry:
    sequence = next(_sequence)
    return Entry(
        "live", kind, UNIT, "mqtt:GD-TST-01", partition_of(UNIT), sequence, f"m{sequence}", rows, data
    )


def readings(
    rows: Sequence[tuple[str, int, float | str]],
    refused: tuple[Refusal, ...] = (),
    source: str = "mqtt:GD-TST-01",
) -> Entry:
    tags = tuple(dict.fromkeys(tag for tag, _, _ in rows))
    text = np.array([v if isinstance(v, str) else None for _, _, v in rows], object)
    batch = Batch(
        unit=UNIT,
        source=source,
        tags=tags,
        tag_index=np.array([tags.index(tag) for tag, _, _ in rows], np.int32),
        ts=np.array([ts for _, ts, _ in rows], np.int64),
        value=np.array([0.0 if isinstance(v, str) else v for _, _, v in rows]),
        quality=np.zeros(len(rows), np.int16),
        text=text if any(t is not None for t in text) else None,
        received_at=NOW,
        refused=refused,
    )
    return entry(encode(batch), "batch", batch.rows)


@pytest.fixture
def storing(dsn: str, conn: Connection) -> Any:
    with conn.transaction():
        register_unit(conn, NewUnit(UNIT, "测试单位", "Test unit", 1, USCC))
        register_pilot(conn, NewPilot("P1", "试点", "Pilot", "new-it", "441900", UNIT, "piloting", _today()))
    store = Storing(dsn)
    tag = {"equipment_code": "M1", "unit": "1", "interval_s": 10.0, "valid_from": "2026-01-01T00:00:00Z",
           "range_min": None, "range_max": None}  # fmt: skip
    store.store(
        [
            records("enterprise", {"uscc": USCC, "name": "厂", "region_code": "441900", "industry": None,
                                   "park_code": None, "registered_on": "2026-01-01", "scale": None}),
            records("equipment", {"code": "M1", "enterprise_uscc": USCC, "name": "机", "kind": "CNC",
                                  "rated_capacity_per_h": None, "digital": True, "networked": True,
                                  "commissioned_on": None}),
            records("tag", {**tag, "name": "M1.produced", "signal": "produced", "data_type": "counter"},
                    {**tag, "name": "M1.state", "signal": "state", "data_type": "enum"},
                    {**tag, "name": "M1.serial", "signal": "serial", "data_type": "text"}),
        ],
        "S",
    )  # fmt: skip
    yield store
    store.close()


def _today() -> Any:
    import datetime

    return datetime.datetime.now(datetime.UTC).date()


def account(conn: Connection) -> accounts.SourceAccount:
    conn.rollback()
    return next(a for a in accounts.source_accounts(conn) if a.source.startswith("mqtt"))


def test_rows_land_once_duplicates_are_counted_corrections_keep_the_old_value(
    storing: Storing, conn: Connection
) -> None:
    rows: list[tuple[str, int, float | str]] = [
        ("M1.produced", HOUR + i * 1_000_000, float(i)) for i in range(1000)
    ]
    rows += [("M1.state", HOUR, "Executing"), ("M1.serial", HOUR, "007")]
    storing.store([readings(rows)], "S")
    got = account(conn)
    assert (got.received, got.stored, got.duplicates, got.corrections) == (1002, 1002, 0, 0)

    storing.store([readings(rows)], "S")
    got = account(conn)
    assert (got.received, got.stored, got.duplicates, got.corrections) == (2004, 1002, 1002, 0)

    changed: list[tuple[str, int, float | str]] = [
        ("M1.produced", HOUR, 5.0), ("M1.produced", HOUR, 6.0), ("M1.serial", HOUR, "008"),
    ]  # fmt: skip
    storing.store([readings(changed)], "S")
    got = account(conn)
    assert (got.stored, got.corrections) == (1002, 3)
    assert accounts.count_rows(conn) == [(UNIT, 1001, 1, 3)]
    latest = conn.execute("SELECT text FROM latest_value JOIN tag USING (tag_id) WHERE name = 'M1.serial'")
    assert latest.fetchone() == ("008",)
    old = conn.execute("SELECT value FROM measurement_revision WHERE text IS NULL ORDER BY value").fetchall()
    assert old == [(0.0,), (5.0,)]
    (event,) = audit.events(conn, limit=10)
    assert event.action == "measurement.corrected"
    assert '"readings": 3' in event.detail
    assert event.unit_id is not None


def test_refused_rows_go_to_quarantine_and_the_rest_lands(storing: Storing, conn: Connection) -> None:
    decoded = Refusal("$", "malformed_json", {"line": "1", "column": "1", "detail": "x"}, b"\xff{")
    storing.store(
        [
            readings(
                [
                    ("M1.produced", HOUR, 1.0),
                    ("M1.nothing", HOUR, 1.0),
                    ("M1.produced", NOW + 600_000_000, 2.0),
                    ("M1.produced", HOUR + 1, "12"),
                    ("M1.state", HOUR, "Dancing"),
                ],
                (decoded,),
            )
        ],
        "S",
    )  # fmt: skip
    got = account(conn)
    assert (got.received, got.stored, got.quarantined) == (6, 1, 5)
    reasons = conn.execute("SELECT reason, original, parameters FROM quarantine ORDER BY reason").fetchall()
    assert [r for r, _, _ in reasons] == [
        "clock_ahead",
        "malformed_json",
        "unknown_name",
        "unknown_tag",
        "wrong_type",
    ]
    assert bytes(reasons[1][1]) == b"\xff{"
    assert reasons[2][2].items() >= {"tag": "M1.state", "got": "Dancing"}.items()


def test_positions_are_committed_with_the_rows(storing: Storing, conn: Connection) -> None:
    message = readings([("M1.produced", HOUR, 1.0)])
    storing.store([message], "S")
    assert accounts.positions(conn, "S") == {("live", UNIT): message.sequence}
    assert accounts.positions(conn, "other") == {}


def test_touched_hours_are_marked_dirty(storing: Storing, conn: Connection) -> None:
    storing.store([readings([("M1.produced", HOUR, 1.0), ("M1.produced", HOUR - 1, 0.0)])], "S")
    assert conn.execute("SELECT count(*) FROM dirty_hour").fetchone() == (2,)


def test_records_repeated_changed_and_wrong(storing: Storing, conn: Connection) -> None:
    milestone = {"code": "m1", "name": "启动", "planned_on": "2026-03-01", "accepted_on": None}
    storing.store([records("milestone", milestone)], "S")
    storing.store([records("milestone", milestone)], "S")
    storing.store([records("milestone", {**milestone, "accepted_on": "2026-02-28"})], "S")
    orphan = {
        "equipment_code": "nope",
        "start": "2026-03-01T00:00:00Z",
        "end": "2026-03-01T08:00:00Z",
        "kind": "shift",
    }
    storing.store([records("shift_calendar", orphan)], "S")
    verdicts = conn.execute(
        "SELECT accepted, duplicates, corrections, quarantined FROM submission"
        " WHERE dataset IN ('milestone', 'shift_calendar') ORDER BY applied_at"
    ).fetchall()
    assert verdicts == [(1, 0, 0, 0), (0, 1, 0, 0), (1, 0, 1, 0), (0, 0, 0, 1)]
    assert conn.execute("SELECT reason FROM quarantine").fetchall() == [("unknown_reference",)]
    assert conn.execute(
        "SELECT max(revision) FROM dataset_revision WHERE dataset = 'milestone'"
    ).fetchone() == (2,)


def test_a_row_that_cannot_be_stored_is_refused_by_itself(storing: Storing, conn: Connection) -> None:
    rows: list[tuple[str, int, float | str]] = [("M1.produced", HOUR, 1.0), ("M1.serial", HOUR, "a\0b")]
    storing.store([readings(rows)], "S")
    got = account(conn)
    assert (got.received, got.stored, got.quarantined) == (2, 1, 1)
    assert conn.execute("SELECT reason FROM quarantine").fetchall() == [("nul_character",)]


def garbage(kind: str, data: bytes, rows: int) -> Entry:
    return entry(data, kind, rows)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("batch", b"no arrow at all"),
        ("batch", encode(empty(UNIT, "mqtt:GD-TST-01", NOW, ()))[:-60]),
        ("batch", b""),
        ("records", b"{"),
        ("records", b'{"unit": 5}'),
    ],
)
def test_an_unreadable_entry_is_held_and_holds_up_nobody(
    storing: Storing, conn: Connection, kind: str, data: bytes
) -> None:
    good = readings([("M1.produced", HOUR, 1.0)])
    poison = garbage(kind, data, 3)
    late = readings([("M1.produced", HOUR + 1, 2.0)])
    storing.store([good, poison, late], "S")
    got = account(conn)
    refused = 3 if kind == "batch" else 0
    assert (got.received, got.stored, got.quarantined) == (2 + refused, 2, refused)
    held = conn.execute("SELECT reason, original FROM quarantine ORDER BY quarantine_id").fetchall()
    assert [r for r, _ in held] == ["unstorable"] * 3
    assert bytes(held[0][1]) == data
    assert accounts.positions(conn, "S")["live", UNIT] == late.sequence


def test_an_interrupted_search_for_poison_books_nothing_twice(storing: Storing, conn: Connection) -> None:
    first = readings([("M1.produced", HOUR, 0.0)])
    conn.execute("ALTER TABLE measurement ADD CHECK (value <> 666)")
    conn.commit()
    poison = readings([("M1.produced", HOUR + 9, 666.0)])
    entries = [first, poison, *(readings([("M1.produced", HOUR + i, float(i))]) for i in (1, 2))]
    real, calls = storing._transaction, 0

    def interrupted(*args: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == 4:  # all at once, first alone, poison alone, and then the database goes away
            raise psycopg.OperationalError("gone")
        return real(*args)

    storing._transaction = interrupted  # type: ignore[method-assign]
    with pytest.raises(psycopg.OperationalError):
        storing.store(entries, "S")
    storing._transaction = real  # type: ignore[method-assign]
    reached = accounts.positions(conn, "S")["live", UNIT]
    conn.rollback()
    left = [e for e in entries if e.sequence > reached]
    storing.store(left, "S")
    got = account(conn)
    assert (got.received, got.stored, got.duplicates, got.quarantined) == (4, 3, 0, 1)
    assert conn.execute("SELECT reason, count(*) FROM quarantine GROUP BY 1").fetchall() == [
        ("unstorable", 1)
    ]


def test_a_key_repeated_thousands_of_times_is_judged_row_by_row(storing: Storing, conn: Connection) -> None:
    values: list[tuple[str, int, float | str]] = [("M1.produced", HOUR, float(i // 2)) for i in range(20_000)]
    values += [("M1.serial", HOUR, f"{i // 2}") for i in range(200)]
    storing.store([readings(values)], "S")
    got = account(conn)
    assert (got.received, got.duplicates, got.corrections) == (20_200, 10_100, 9_999 + 99)
    assert accounts.count_rows(conn) == [(UNIT, 1, 1, 9_999 + 99)]
    assert conn.execute("SELECT value FROM measurement").fetchone() == (9_999.0,)
    assert conn.execute("SELECT text FROM event").fetchone() == ("99",)


def test_back_and_forth_in_one_batch_leaves_the_last_and_keeps_the_rest(
    storing: Storing, conn: Connection
) -> None:
    storing.store([readings([("M1.produced", HOUR, 1.0)])], "S")
    again: list[tuple[str, int, float | str]] = [("M1.produced", HOUR, v) for v in (1.0, 2.0, 2.0, 1.0)]
    storing.store([readings(again)], "S")
    got = account(conn)
    assert (got.stored, got.duplicates, got.corrections) == (1, 2, 2)
    assert conn.execute("SELECT value FROM measurement").fetchall() == [(1.0,)]
    old = conn.execute("SELECT value FROM measurement_revision ORDER BY value").fetchall()
    assert old == [(1.0,), (2.0,)]


def test_every_row_of_an_unknown_unit_is_held(storing: Storing, conn: Connection) -> None:
    batch = readings([("M1.produced", HOUR + i, 1.0) for i in range(5)])
    stranger = decode(batch.data)
    data = encode(replace(stranger, unit="GD-NOBODY"))
    storing.store([Entry("live", "batch", "GD-NOBODY", "mqtt:x", 0, batch.sequence, "m", 5, data)], "S")
    assert conn.execute("SELECT count(*), min(reason) FROM quarantine").fetchone() == (5, "unknown_unit")


def test_a_new_day_waits_for_no_reader(storing: Storing, dsn: str, conn: Connection) -> None:
    with connect(dsn, application="test") as reader:
        reader.execute("SELECT count(*) FROM measurement")  # holds its lock until the transaction ends
        day = HOUR - 40 * 86_400_000_000
        storing.store([readings([("M1.produced", day, 1.0)])], "S")
    assert account(conn).stored == 1


def test_a_partition_has_one_writer(dsn: str, storing: Storing) -> None:
    first, second = Storing(dsn, [1, 2]), Storing(dsn, [2])
    try:
        first.reached("S")
        with pytest.raises(OwnedElsewhere):
            second.reached("S")
        first.close()
        second.reached("S")
    finally:
        first.close()
        second.close()


def test_late_rows_among_stored_ones_land_and_duplicates_among_them_are_counted(
    storing: Storing, conn: Connection
) -> None:
    def row(i: int) -> tuple[str, int, float | str]:
        return ("M1.produced", HOUR + i * 1_000_000, float(i))

    storing.store([readings([row(i) for i in range(0, 100, 2)])], "S")
    # Tried first: nothing is in the way. Then with duplicates, a correction, and what is new.
    storing.store([readings([row(i) for i in (1, 3, 5)])], "S")
    changed = ("M1.produced", HOUR + 4 * 1_000_000, 4.5)
    storing.store([readings([row(1), row(7), changed, row(9), row(98), row(200)])], "S")
    got = account(conn)
    assert (got.received, got.stored, got.duplicates, got.corrections) == (59, 56, 2, 1)
    assert accounts.count_rows(conn) == [(UNIT, 56, 0, 1)]
    latest = conn.execute("SELECT value FROM latest_value JOIN tag USING (tag_id) WHERE name = 'M1.produced'")
    assert latest.fetchone() == (200.0,)


def test_what_came_before_this_writer_began_is_met_by_surprise(
    dsn: str, conn: Connection, storing: Storing
) -> None:
    def row(i: int) -> tuple[str, int, float | str]:
        return ("M1.produced", HOUR + i * 1_000_000, float(i))

    for rows in ([row(i) for i in range(0, 20, 2)], [row(2), row(3), row(30)], [row(3), row(4), row(5)]):
        fresh = Storing(dsn)  # remembers nothing
        fresh.store([readings(rows)], "S")
        fresh.close()
    got = account(conn)
    assert (got.received, got.stored, got.duplicates, got.corrections) == (16, 13, 3, 0)
    assert accounts.count_rows(conn) == [(UNIT, 13, 0, 0)]


def test_what_is_remembered_and_is_not_stored_after_all_is_stored(storing: Storing, conn: Connection) -> None:
    rows: list[tuple[str, int, float | str]] = [("M1.produced", HOUR + i, float(i)) for i in range(5)]
    message = readings(rows)
    storing.ready([message])  # never committed, and nobody says so
    storing.store([message], "S")
    assert account(conn).stored == 5
    assert accounts.count_rows(conn) == [(UNIT, 5, 0, 0)]


def test_rows_stored_behind_the_writers_back_are_met_all_the_same(storing: Storing, conn: Connection) -> None:
    storing.store([readings([("M1.produced", HOUR, 1.0)])], "S")
    conn.execute(
        "INSERT INTO measurement SELECT tag_id, to_timestamp(%s), 2, 0 FROM tag WHERE name = 'M1.produced'",
        (HOUR / 1e6 + 1,),
    )
    conn.commit()
    rows: list[tuple[str, int, float | str]] = [
        ("M1.produced", HOUR + i * 1_000_000, float(i + 1)) for i in range(3)
    ]
    storing.store([readings(rows)], "S")
    got = account(conn)
    assert (got.stored, got.duplicates, got.corrections) == (2, 2, 0)


def test_a_finding_is_no_statement_of_the_sender(storing: Storing, conn: Connection) -> None:
    """A frozen value is kept as uncertain; the same reading sent again is the same reading."""
    conn.execute("UPDATE tag SET frozen_after_s = 10 WHERE name = 'M1.produced'")
    conn.commit()
    rows: list[tuple[str, int, float | str]] = [("M1.produced", HOUR + i * 5_000_000, 7.0) for i in range(4)]
    storing.store([readings(rows)], "S")
    storing.store([readings(rows)], "S")
    got = account(conn)
    assert (got.stored, got.duplicates, got.corrections, got.quarantined) == (4, 4, 0, 0)
    qualities = conn.execute("SELECT quality FROM measurement ORDER BY ts").fetchall()
    assert [q for (q,) in qualities] == [0, 0, 0, FROZEN]
    since = conn.execute(
        "SELECT unchanged_since FROM latest_value WHERE unchanged_since IS NOT NULL"
    ).fetchone()
    assert since is not None
    assert since[0].timestamp() * 1e6 == HOUR


def test_the_skew_of_a_sources_clock_is_kept(storing: Storing, conn: Connection) -> None:
    ahead = NOW + 60_000_000
    storing.store([readings([("M1.produced", ahead, 1.0)])], "S")
    storing.store([readings([("M1.produced", NOW - 1_000_000, 1.0)])], "S")
    row = conn.execute("SELECT ahead_s, worst_s FROM clock_skew").fetchone()
    assert row == (-1.0, 60.0)
