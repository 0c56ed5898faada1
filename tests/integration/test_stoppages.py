"""Declared stoppages: what is not due is not missing, whenever it was declared; and whose they are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pandas as pd
import psycopg
import pytest

from metrics import engine
from store import rollups, stoppages, supply
from store.database import Connection, connect
from store.identity import Principal, acting, key_principal
from store.roles import role_dsn
from store.stoppages import NewStoppage, Refused
from tests.metrics.province import Loaded, load

HOUR = timedelta(hours=1)
NOW = datetime.now(UTC).replace(minute=10, second=0, microsecond=0)
START = (NOW - timedelta(days=1)).replace(hour=0, minute=0)
SILENT = (START + 4 * HOUR, START + 7 * HOUR)
END = START + timedelta(days=1, minutes=10)


def work(conn: Connection) -> None:
    rollups.mark_silent_hours(conn, START, END, quiet_s=0)
    for live in (True, False):
        while engine.rollup(conn, END, live=live, settle_s=0, limit=500):
            pass
    while engine.indicators(conn, END, settle_s=0):
        pass
    conn.commit()


def hours(conn: Connection) -> pd.DataFrame:
    cursor = conn.execute("SELECT * FROM equipment_hour ORDER BY equipment_id, hour")
    names = [column.name for column in cursor.description or ()]
    return pd.DataFrame(cursor.fetchall(), columns=names).drop(columns=["computed_at"])


def values(conn: Connection) -> pd.DataFrame:
    rows = conn.execute(
        "SELECT code, level, entity_id, period, period_start, value, numerator, denominator, reason"
        " FROM indicator_value WHERE superseded_at IS NULL ORDER BY 1, 2, 3, 4, 5"
    ).fetchall()
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def loaded(module_dsn: str) -> Iterator[tuple[Connection, Loaded]]:
    with connect(module_dsn, application="test") as conn:
        made = load(conn, int(START.timestamp()) // 86400, 1, machines_per_unit=1)
        conn.commit()
        yield conn, made


@pytest.fixture
def api(module_dsn: str) -> Iterator[Connection]:
    with connect(role_dsn(module_dsn, "api"), application="test", autocommit=True) as conn:
        yield conn


def unit_of(conn: Connection, equipment_id: int) -> tuple[Principal, str]:
    row = conn.execute(
        "SELECT u.unit_id, u.code, e.code, sealed('unit:' || u.unit_id) FROM equipment e JOIN lead_unit u USING (unit_id)"
        " WHERE equipment_id = %s",
        (equipment_id,),
    ).fetchone()
    assert row is not None
    return key_principal(1, row[0], row[1], None, row[3]), row[2]


def test_a_declared_stoppage_is_not_missing_data_whenever_it_was_declared(
    loaded: tuple[Connection, Loaded], api: Connection
) -> None:
    conn, made = loaded
    machine = min(made.machines)
    unit, code = unit_of(conn, machine)
    conn.execute(
        "DELETE FROM measurement m USING tag t WHERE t.tag_id = m.tag_id AND t.equipment_id = %s"
        " AND ts >= %s AND ts < %s",
        (machine, *SILENT),
    )
    conn.commit()
    work(conn)
    silent = hours(conn)
    mine = (silent["equipment_id"] == machine) & silent["hour"].between(SILENT[0], SILENT[1] - HOUR)
    assert mine.sum() == 3
    assert (silent[mine]["due"] > silent[mine]["filled"]).all()

    with acting(api, unit):  # declared after it was computed
        new = NewStoppage("maintenance", *SILENT, "三小时检修", equipment_codes=[code])
        first = stoppages.declare(api, unit.id, new, "k1")
        # The same request again is the same stoppage; one that overlaps takes nothing twice.
        assert stoppages.declare(api, unit.id, new, "k1").stoppage_id == first.stoppage_id
        over = new._replace(start=SILENT[0] + HOUR, kind="power")
        stoppages.declare(api, unit.id, over)
    assert first.equipment_codes == [code]
    work(conn)
    after, told = hours(conn), values(conn)
    assert (after[mine]["due"] == 0).all()
    assert (after[mine]["filled"] == 0).all()
    assert (after[mine]["stopped_s"] == 3600).all()
    pd.testing.assert_frame_equal(after[~mine], silent[~mine])
    day = conn.execute(
        "SELECT sum(due), sum(filled) FROM equipment_hour WHERE equipment_id = %s AND hour < %s",
        (machine, START + 24 * HOUR),
    ).fetchone()
    assert day is not None
    assert day[0] == day[1] > 0

    for table in ("equipment_hour", "indicator_value", "dirty_period"):  # declared before it was computed
        conn.execute(f"DELETE FROM {table}")
    conn.execute(
        "INSERT INTO dirty_hour (equipment_id, hour) SELECT equipment_id, h"
        " FROM equipment, generate_series(%s::timestamptz, %s::timestamptz, '1 hour') h ON CONFLICT DO NOTHING",
        (START, START + 23 * HOUR),
    )
    conn.commit()
    work(conn)
    pd.testing.assert_frame_equal(hours(conn), after)
    pd.testing.assert_frame_equal(values(conn), told)
    assert rollups.mark_silent_hours(conn, START, END, quiet_s=0) == 0  # nothing is computed for ever

    with acting(api, unit):  # and taken back
        for one in stoppages.stoppages(api, limit=10):
            stoppages.withdraw(api, unit.id, one.stoppage_id)
        assert stoppages.withdraw(api, unit.id, first.stoppage_id) is None
    work(conn)
    pd.testing.assert_frame_equal(hours(conn), silent)


def test_ending_a_stoppage_reopens_what_it_no_longer_covers(
    loaded: tuple[Connection, Loaded], api: Connection
) -> None:
    conn, made = loaded
    machine = sorted(made.machines)[1]
    unit, _ = unit_of(conn, machine)
    work(conn)
    with acting(api, unit):
        open_ended = stoppages.declare(
            api, unit.id, NewStoppage("relocation", START + 10 * HOUR, None, "搬迁")
        )
    assert open_ended.scope == "all"
    # While all of a unit stands still nobody is told that it is silent.
    assert {s.unit_code for s in supply.supplies(conn) if s.stopped} == {unit.unit}
    work(conn)
    stopped = hours(conn).query("equipment_id == @machine and stopped_s > 0")
    assert len(stopped) == 15  # 14 whole hours of the day, and the one in progress
    with acting(api, unit):
        ended = stoppages.change(
            api, unit.id, open_ended.stoppage_id, ends=True, end=START + 12 * HOUR, voucher="V-1"
        )
    assert ended is not None
    assert (ended.voucher, ended.reason) == ("V-1", "搬迁")
    work(conn)
    stopped = hours(conn).query("equipment_id == @machine and stopped_s > 0")
    assert stopped["stopped_s"].tolist() == [3600, 3600]
    # Words alone leave the end as it is; that it ends no more is said of the end.
    with acting(api, unit):
        assert stoppages.change(api, unit.id, ended.stoppage_id, reason="搬迁延期").end == ended.end
        assert stoppages.change(api, unit.id, ended.stoppage_id, ends=True).end is None
        assert stoppages.change(api, unit.id, ended.stoppage_id, ends=True).end is None
    work(conn)
    assert len(hours(conn).query("equipment_id == @machine and stopped_s > 0")) == 15
    told = conn.execute("SELECT action FROM audit_event WHERE unit_id = %s ORDER BY seq", (unit.id,))
    assert [row[0] for row in told][-5:] == ["stoppage.declared", *["stoppage.changed"] * 4]


def test_what_may_not_be_declared(loaded: tuple[Connection, Loaded], api: Connection) -> None:
    conn, made = loaded
    unit, code = unit_of(conn, sorted(made.machines)[2])
    other, foreign = unit_of(conn, sorted(made.machines)[3])
    now = datetime.now(UTC)
    new = NewStoppage("holiday", now, now + HOUR, "放假", equipment_codes=[code])
    for wrong, reason in (
        (new._replace(start=now - timedelta(days=11)), "stoppage_too_old"),
        (new._replace(start=now + timedelta(days=400), end=None), "stoppage_too_far"),
        (new._replace(end=now - HOUR), "stoppage_ends_before"),
        (new._replace(equipment_codes=[code, foreign]), "stoppage_of_unknown"),
        (new._replace(equipment_codes=None, enterprise_uscc="91440300MA5DTE0T0B"), "stoppage_of_unknown"),
    ):
        with pytest.raises(Refused) as refused, acting(api, unit):
            stoppages.declare(api, unit.id, wrong)
        assert refused.value.reason == reason
    conn.execute(
        "INSERT INTO closed_period (unit_id, closed_until, closed_by) VALUES (%s, %s, 't')",
        (unit.id, now - HOUR),
    )
    conn.commit()
    with pytest.raises(Refused) as refused, acting(api, unit):
        stoppages.declare(api, unit.id, new._replace(start=now - 2 * HOUR))
    assert refused.value.reason == "stoppage_closed"
    with acting(api, unit):
        mine = stoppages.declare(api, unit.id, new)
    # Raw SQL under the application's role: another unit's neither seen, nor changed, nor made.
    with acting(api, other):
        assert stoppages.stoppages(api, limit=10, unit=unit.unit) == []
        assert api.execute("UPDATE stoppage SET end_at = NULL WHERE true RETURNING 1").fetchall() == []
        assert api.execute(
            "SELECT reopen_stopped(%s, %s, %s)", (mine.stoppage_id, START, END)
        ).fetchone() == (0,)
    theirs = conn.execute("SELECT equipment_id FROM equipment WHERE code = %s", (foreign,)).fetchone()
    conn.rollback()
    assert theirs is not None
    with pytest.raises(psycopg.errors.ForeignKeyViolation), acting(api, unit):
        api.execute(
            "INSERT INTO stoppage_equipment VALUES (%s, %s, %s)", (mine.stoppage_id, unit.id, theirs[0])
        )
    with pytest.raises(psycopg.errors.InsufficientPrivilege), acting(api, unit):
        api.execute(
            "INSERT INTO stoppage (unit_id, kind, start_at, reason, scope) VALUES (%s, 'power', now(), 'x', 'all')",
            (other.id,),
        )
