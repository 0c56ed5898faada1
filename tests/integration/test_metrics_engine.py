"""From stored readings to indicator values on a real database, against what really happened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from metrics import engine, moment
from store import components, rollups
from store.database import Connection
from store.indicators import current, history, latest, machine_hours, series
from tests.metrics.province import Loaded, load

DAY = 20_600  # a Friday in May 2026, UTC days since 1970
START = datetime.fromtimestamp(DAY * 86400, UTC)
NOW = START + timedelta(days=1, minutes=10)


def work(conn: Connection, now: datetime = NOW) -> None:
    """Everything that is marked, without waiting for anything to settle."""
    for live in (True, False):
        while engine.rollup(conn, now, live=live, settle_s=0, limit=100):
            pass
    while engine.indicators(conn, now, settle_s=0):
        pass
    conn.commit()


def count(conn: Connection) -> tuple[int, int]:
    row = conn.execute("SELECT count(*), count(superseded_at) FROM indicator_value").fetchone()
    assert row is not None
    return row[0], row[1]


@pytest.fixture
def loaded(conn: Connection) -> Loaded:
    made = load(conn, DAY, 1, machines_per_unit=2)
    conn.commit()
    return made


def test_every_machine_hour_agrees_with_what_happened(conn: Connection, loaded: Loaded):
    work(conn)
    found = machine_hours(conn, START, START + timedelta(days=1))
    both = found.merge(loaded.truth(DAY, 1), on=["equipment_id", "hour"], suffixes=("", "_true"))
    assert len(both) == len(loaded.machines) * 24
    for name, true in (
        ("apt_s", "apt_s_true"), ("aust_s", "aust_s_true"), ("pbt_s", "pbt_s_true"),
        ("executing_s", "executing_s_true"), ("pq", "produced"), ("gq", "good"), ("sq", "scrap"),
        ("pri_pq_s", "pri_produced_s"), ("pri_gq_s", "pri_good_s"),
    ):  # fmt: skip
        np.testing.assert_allclose(both[name], both[true], rtol=0.005, atol=1e-3, err_msg=name)
    # meters tell 0.001 kWh
    np.testing.assert_allclose(both["energy_kwh"], both["energy_kwh_true"], rtol=0.005, atol=0.0011)
    planned = both[both["pbt_s_true"] > 0]
    np.testing.assert_allclose(
        planned["equip.oee"], planned["pri_good_s"] / planned["pbt_s_true"], atol=0.002
    )
    np.testing.assert_allclose(
        planned["equip.availability"], planned["apt_s_true"] / planned["pbt_s_true"], atol=0.002
    )
    np.testing.assert_allclose(both["equip.run_rate"], both["executing_s_true"] / 3600, atol=0.002)


def test_group_values_are_quotients_of_sums(conn: Connection, loaded: Loaded):
    work(conn)
    truth = loaded.truth(DAY, 1)
    # the first day +08:00 of the readings holds the UTC hours 0 to 15
    mine = truth[truth["hour"] < START + timedelta(hours=16)]
    day = START - timedelta(hours=8)
    row = series(conn, "equip.oee", "province", 0, "day", day, day + timedelta(days=1)).iloc[0]
    assert row["value"] == pytest.approx(mine["pri_good_s"].sum() / mine["pbt_s"].sum(), rel=1e-6)
    assert row["n_inputs"] == len(loaded.machines)
    assert row["completeness"] == 1
    assert not row["provisional"]
    month = latest(conn, ["equip.quality_ratio"], "province", None, "month").iloc[0]
    assert month["value"] == pytest.approx(truth["good"].sum() / truth["produced"].sum(), rel=1e-6)
    assert month["provisional"]
    sources = current(conn, ["dq.transmission_rate"], "source", "day", day, day + timedelta(days=1))
    assert len(sources) == 6
    assert (sources["value"] == 1).all()
    tce = latest(conn, ["energy.total"], "cluster", None, "month")["value"].sum()
    assert tce == pytest.approx(truth["energy_kwh"].sum() * 0.1229 / 1000, rel=1e-4)


def test_computing_again_writes_nothing(conn: Connection, loaded: Loaded):
    work(conn)
    before = count(conn)
    mark(conn, list(loaded.machines), range(24))
    conn.execute(
        "INSERT INTO dirty_period SELECT DISTINCT period, period_start FROM indicator_value WHERE period IN ('hour', 'day')"
    )
    work(conn)
    assert count(conn) == before


def mark(conn: Connection, equipment: list[int], hours: range) -> None:
    conn.execute(
        "INSERT INTO dirty_hour (equipment_id, hour) SELECT e, %s + h * interval '1 hour'"
        " FROM unnest(%s::int[]) e, unnest(%s::int[]) h"
        " ON CONFLICT (equipment_id, hour) DO UPDATE SET marked_at = clock_timestamp()",
        [START, equipment, list(hours)],
    )
    conn.commit()


def test_late_rows_supersede_and_the_past_stays_readable(conn: Connection, loaded: Loaded):
    machine = busy_machine(loaded)
    tag = loaded.tags[f"{machine}.produced"]
    hour = START + timedelta(hours=2)
    kept = conn.execute(
        "DELETE FROM measurement WHERE tag_id = %s AND ts > %s AND ts < %s RETURNING tag_id, ts, value, quality",
        [tag, hour - timedelta(hours=2), hour + timedelta(hours=3)],
    ).fetchall()
    conn.commit()
    work(conn)
    first = series(
        conn, "equip.quality_ratio", "equipment", machine, "hour", hour, hour + timedelta(hours=1)
    ).iloc[0]
    assert np.isnan(first["value"])
    assert first["reason"] == "gap"
    then = NOW + timedelta(minutes=1)
    with conn.cursor() as cursor:
        cursor.executemany("INSERT INTO measurement VALUES (%s, %s, %s, %s)", kept)
    mark(conn, [machine], range(5))
    work(conn, then)
    truth = loaded.truth(DAY, 1).set_index(["equipment_id", "hour"]).loc[(machine, hour)]
    second = series(
        conn, "equip.quality_ratio", "equipment", machine, "hour", hour, hour + timedelta(hours=1)
    ).iloc[0]
    assert second["value"] == pytest.approx(truth["good"] / truth["produced"])
    past = history(conn, "equip.quality_ratio", "equipment", machine, "hour", hour)
    assert past["superseded_at"].notna().tolist() == [True, False]
    earlier = series(
        conn, "equip.quality_ratio", "equipment", machine, "hour", hour, hour + timedelta(hours=1), as_of=NOW
    ).iloc[0]
    assert earlier["reason"] == "gap"
    assert (
        history(conn, "equip.quality_ratio", "province", 0, "hour", hour)["superseded_at"].notna().sum() == 1
    )


def test_a_correction_changes_its_hour_and_no_other(conn: Connection, loaded: Loaded):
    work(conn)
    machine = busy_machine(loaded)
    before = machine_hours(conn, START, START + timedelta(days=1), [machine])
    changed = conn.execute(
        "UPDATE measurement SET value = value + 7 WHERE tag_id = %s AND ts >= %s",
        [loaded.tags[f"{machine}.energy"], START + timedelta(hours=5, minutes=30)],
    )
    assert changed.rowcount > 10
    conn.commit()
    mark(conn, [machine], range(5, 24))
    work(conn, NOW + timedelta(minutes=1))
    after = machine_hours(conn, START, START + timedelta(days=1), [machine])
    difference = (after["energy_kwh"] - before["energy_kwh"]).round(3)
    assert difference.tolist() == [0.0] * 5 + [7.0] + [0.0] * 18
    assert count(conn)[1] > 0


def busy_machine(loaded: Loaded) -> int:
    truth = loaded.truth(DAY, 1)
    return int(
        truth[truth["hour"] == START + timedelta(hours=2)].sort_values("produced")["equipment_id"].iloc[-1]
    )


def test_a_changed_calendar_changes_availability(conn: Connection, loaded: Loaded):
    work(conn)
    machine = busy_machine(loaded)
    conn.execute(
        "INSERT INTO shift_calendar SELECT unit_id, equipment_id, %s, %s, 'planned_downtime' FROM equipment WHERE equipment_id = %s",
        [START + timedelta(hours=2), START + timedelta(hours=2, minutes=30), machine],
    )
    mark(conn, [machine], range(2, 3))
    work(conn, NOW + timedelta(minutes=1))
    hour = machine_hours(conn, START + timedelta(hours=2), START + timedelta(hours=3), [machine]).iloc[0]
    assert hour["pbt_s"] == 1800


def test_a_mark_set_again_meanwhile_stays(conn: Connection, loaded: Loaded):
    marked = rollups.dirty_hours(conn, NOW, limit=10, settle_s=0, live=False)
    conn.execute(
        "UPDATE dirty_hour SET marked_at = clock_timestamp() WHERE equipment_id = %s",
        [int(marked.equipment_id[0])],
    )
    before = rollups.backlog(conn)
    rollups.unmark_hours(conn, marked)
    again = int((marked.equipment_id == marked.equipment_id[0]).sum())
    assert before - rollups.backlog(conn) == 10 - again


def test_hours_still_being_filled_wait(conn: Connection, loaded: Loaded):
    conn.execute("UPDATE dirty_hour SET marked_at = clock_timestamp(), since = clock_timestamp()")
    assert len(rollups.dirty_hours(conn, NOW, limit=10, settle_s=15, live=False)) == 0
    assert len(rollups.dirty_hours(conn, NOW, limit=10, settle_s=15, live=True)) > 0
    conn.execute("UPDATE dirty_hour SET since = clock_timestamp() - interval '3 minutes'")
    assert len(rollups.dirty_hours(conn, NOW, limit=10, settle_s=15, live=False)) == 10


def test_silent_hours_count_as_missing(conn: Connection, loaded: Loaded):
    machine = busy_machine(loaded)
    conn.execute(
        "DELETE FROM measurement WHERE ts > %s AND ts < %s AND tag_id IN (SELECT tag_id FROM tag WHERE equipment_id = %s)",
        [START + timedelta(hours=4), START + timedelta(hours=20), machine],
    )
    conn.execute("DELETE FROM dirty_hour WHERE equipment_id = %s AND hour >= %s AND hour < %s",
                 [machine, START + timedelta(hours=4), START + timedelta(hours=20)])  # fmt: skip
    work(conn)
    assert rollups.mark_silent_hours(conn, START, NOW, quiet_s=0) > 0
    work(conn, NOW + timedelta(minutes=1))
    found = machine_hours(conn, START + timedelta(hours=6), START + timedelta(hours=19), [machine])
    assert len(found) == 13
    assert found["apt_s"].isna().all()
    assert found["pq"].isna().all()
    day = START - timedelta(hours=8)
    rate = series(
        conn, "dq.transmission_rate", "equipment", machine, "day", day, day + timedelta(days=1)
    ).iloc[0]
    assert rate["value"] == pytest.approx(4 / 16, abs=0.01)
    oee = series(conn, "equip.oee", "equipment", machine, "day", day, day + timedelta(days=1)).iloc[0]
    assert oee["completeness"] < 0.6


def test_an_hour_in_progress_is_provisional_and_replaced_in_place(conn: Connection, loaded: Loaded):
    early = START + timedelta(hours=3, minutes=20)
    work(conn, early)
    row = latest(conn, ["equip.run_rate"], "province", None, "hour").iloc[0]
    assert row["provisional"]
    assert row["period_start"] == START + timedelta(hours=3)
    assert row["denominator"] == pytest.approx(1200 * len(loaded.machines))
    closed = latest(conn, ["equip.run_rate"], "province", None, "hour", closed=True).iloc[0]
    assert closed["period_start"] == START + timedelta(hours=2)
    work(conn, START + timedelta(hours=4, minutes=5))
    past = history(conn, "equip.run_rate", "province", 0, "hour", START + timedelta(hours=3))
    assert len(past) == 1
    assert not past["provisional"].iloc[0]
    assert past["denominator"].iloc[0] == pytest.approx(3600 * len(loaded.machines))


def test_the_present_moment_and_the_registers(conn: Connection, loaded: Loaded):
    work(conn)
    machines = list(loaded.machines)
    conn.execute(
        "INSERT INTO latest_value SELECT tag_id, %s, 1, NULL, 0, %s FROM tag WHERE equipment_id = ANY(%s)",
        [NOW - timedelta(minutes=5), NOW, machines[:3]],
    )
    slot = NOW - timedelta(minutes=5)
    conn.execute("INSERT INTO latency_bucket SELECT source_id, %s, 40, 100 FROM source", [slot])
    moment.live(conn, NOW)
    moment.registers(conn, NOW)
    conn.commit()
    online = latest(conn, ["conn.equip_online_rate"], "province", None, "now").iloc[0]
    assert (online["numerator"], online["denominator"]) == (3, len(machines))
    assert online["provisional"]
    p95 = latest(conn, ["dq.latency_p95"], "province", None, "now").iloc[0]
    assert p95["value"] == pytest.approx(0.01 * 1.1**40.95)
    assert p95["n_inputs"] == 600
    devices = latest(conn, ["plat.devices_connected"], "cluster", None, "now")
    assert devices["value"].tolist() == [2] * 6
    counted = latest(conn, ["plat.enterprises_registered"], "province", None, "now").iloc[0]
    assert counted["value"] == len({one.uscc for one in loaded.province.enterprises})
    assert counted["provenance"] == "reported"
    milestones = latest(conn, ["proj.milestone_on_time"], "cluster", None, "now")
    assert len(milestones) == 6
    by_day = series(conn, "plat.devices_connected", "province", 0, "day", START - timedelta(days=1), NOW)
    assert by_day["value"].tolist() == [len(machines)] * 2
    rows = count(conn)
    moment.live(conn, NOW + timedelta(seconds=5))
    moment.registers(conn, NOW + timedelta(seconds=5))
    assert count(conn) == rows


def test_unknown_equipment_is_passed_over(conn: Connection, loaded: Loaded):
    conn.execute("INSERT INTO dirty_hour (equipment_id, hour) VALUES (0, %s)", [START])
    work(conn)
    assert rollups.backlog(conn) == 0
    assert len(components.hours(conn, [(START, START + timedelta(hours=1))])) == len(loaded.machines)


def test_nothing_at_all_is_no_error(conn: Connection):
    work(conn)
    moment.live(conn, NOW)
    moment.registers(conn, NOW)
    assert latest(conn, ["equip.oee"], "province", None, "day").empty
    assert isinstance(machine_hours(conn, START, NOW), pd.DataFrame)
