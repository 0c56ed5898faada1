"""The hour rollup on hand-made readings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.counters import GAP, NO_ORDER, OUTLIER, REJECTED, RESET
from metrics.rollup import compute
from store.rollups import COMPONENTS, RawSlice, runs_of
from store.times import HOUR_US
from tests.metrics.slices import BAD, T0, UNCERTAIN, Bench, every

EXECUTING, NOT_EXECUTING, PROCESSING, SETUP = 3, 2, 3, 2


def running(**more: object) -> Bench:
    """State and mode with keep-alive, all of hour 0 executing and processing."""
    readings = {
        "state": every(60, -60, 3660, EXECUTING),
        "mode": every(60, -60, 3660, PROCESSING),
    }
    return Bench(readings | more.pop("readings", {}), **more)  # type: ignore[arg-type, operator]


def test_a_change_counts_from_its_exact_time():
    bench = running(
        readings={
            "state": [
                *every(60, -60, 1200, EXECUTING),
                (1234.5, NOT_EXECUTING),
                *every(60, 1260, 3660, NOT_EXECUTING),
            ]
        }
    )
    hour = bench.hour()
    assert hour["executing_s"] == 1234.5
    assert hour["apt_s"] == 1234.5
    assert hour["known_s"] == 3600


def test_setup_is_not_production():
    hour = running(
        readings={"mode": [*every(60, -60, 1740, SETUP), *every(60, 1800, 3660, PROCESSING)]}
    ).hour()
    assert hour["aust_s"] == 1800
    assert hour["apt_s"] == 1800
    assert hour["executing_s"] == 3600


def test_the_value_before_the_hour_is_carried_into_it():
    hour = running(
        readings={"state": [(-30, EXECUTING)], "mode": [(-30, PROCESSING)]}, interval_s=1200
    ).hour()
    assert hour["apt_s"] == 3570  # three intervals from -30 s


def test_after_three_intervals_of_silence_the_state_is_unknown():
    hour = running(
        readings={"state": [*every(60, -60, 600, EXECUTING), *every(60, 3000, 3660, EXECUTING)]}
    ).hour()
    assert hour["state_known_s"] == 600 + 180 + 600
    assert hour["executing_s"] == 1380
    assert hour["known_s"] == 1380


def test_no_state_is_null_and_a_stopped_machine_is_zero():
    silent = Bench({"state": [], "mode": []}).hour()
    assert np.isnan(silent["executing_s"])
    assert np.isnan(silent["apt_s"])
    assert silent["known_s"] == 0
    stopped = running(readings={"state": every(60, -60, 3660, NOT_EXECUTING)}).hour()
    assert stopped["executing_s"] == 0
    assert stopped["apt_s"] == 0


def test_a_bad_reading_is_unknown_and_an_uncertain_one_counts():
    base = every(60, -60, 3660, EXECUTING)
    bad = [(t, v, BAD if 600 <= t < 1200 else 0) for t, v in base]
    uncertain = [(t, v, UNCERTAIN if 600 <= t < 1200 else 0) for t, v in base]
    assert running(readings={"state": bad}).hour()["executing_s"] == 3000
    hour = running(readings={"state": uncertain}).hour()
    assert hour["executing_s"] == 3600
    assert hour["readings"] - hour["valid"] == 10


def test_an_unknown_code_is_unknown():
    hour = running(readings={"state": every(60, -60, 3660, 9)}).hour()
    assert hour["state_known_s"] == 0


def test_planned_busy_time_is_the_union_of_shifts_without_breaks_and_downtime():
    hour = running(
        shifts=[(-3600, 1800), (1200, 3000)],  # overlapping
        off=[(600, 900), (800, 1000), (2900, 9999)],  # overlapping break and downtime
    ).hour()
    assert hour["pbt_s"] == 3000 - 400 - 100
    assert hour["pbt_known_s"] == 2500


def test_without_calendar_pbt_is_null_and_outside_shifts_it_is_zero():
    assert np.isnan(running().hour()["pbt_s"])
    assert running(shifts=[(7200, 10800)]).hour()["pbt_s"] == 0
    assert np.isnan(running(shifts=[(30 * 86400, 30 * 86400 + 60)]).hour()["pbt_s"])


def test_counters_give_the_difference_over_the_hour():
    hour = running(readings={"produced": every(300, -300, 3900, lambda t: 1000 + t // 300)}).hour()
    assert hour["pq"] == 12


def test_increments_across_the_edge_are_shared_in_proportion_to_time():
    hour = running(readings={"produced": [(-100, 0), (300, 40), (3500, 40), (3700, 60)]}).hour()
    assert hour["pq"] == 30 + 10


@pytest.mark.parametrize(("values", "expected"), [((100, 110, 4, 9), 10 + 4 + 5), ((5, 0, 0, 0), 0)])
def test_a_fall_is_a_reset_and_counts_from_zero(values: tuple[int, ...], expected: int):
    times = (0, 1200, 2400, 3600)
    hour = running(readings={"produced": list(zip(times, values, strict=True))}).hour()
    assert hour["pq"] == expected
    assert hour["flags"] & RESET


def test_more_than_the_machine_can_make_is_rejected_and_the_hour_null():
    hour = running(readings={"produced": [(0, 0), (1200, 20), (2400, 9000), (3600, 9020)]}, per_h=60).hour()
    assert np.isnan(hour["pq"])
    assert hour["flags"] & REJECTED
    assert hour["flags"] & GAP


def test_a_lone_outlier_is_dropped():
    for odd in (99999, 0):
        hour = running(
            readings={"produced": [(0, 500), (1200, 520), (2400, odd), (3600, 560)]}, per_h=60
        ).hour()
        assert hour["pq"] == 60
        assert hour["flags"] & OUTLIER
    energy = running(readings={"energy": [(0, 500.5), (1200, 501), (2400, 0), (3600, 502)]}).hour()
    assert energy["energy_kwh"] == 1.5


def test_bad_counter_readings_do_not_count():
    hour = running(readings={"produced": [(0, 0), (1800, 77777, BAD), (3600, 30)]}).hour()
    assert hour["pq"] == 30


def test_gaps_up_to_three_hours_are_bridged_and_longer_ones_are_not():
    bridged = Bench({"produced": [(-1800, 0), (9000, 300)]}, hours=(0, 1, 2)).compute()
    assert bridged["pq"].iloc[:2].tolist() == [100, 100]
    assert np.isnan(bridged["pq"].iloc[2])  # readings end in the middle of it
    longer = Bench({"produced": [(-1800, 0), (9001, 300)]}, hours=(0, 1)).compute()
    assert longer["pq"].isna().all()
    assert (longer["flags"] & GAP).all()


def test_a_part_without_readings_makes_the_count_null():
    hour = running(readings={"produced": every(60, 0, 3500, lambda t: t // 60)}).hour()
    assert np.isnan(hour["pq"])  # 100 s are missing: more than 0.5 %


def test_pri_is_taken_by_order_segments():
    hour = running(
        readings={
            "produced": every(60, 0, 3600, lambda t: t / 60),
            "good": every(60, 0, 3600, lambda t: t / 120),
        },
        orders=[(-600, 1800, 30.0), (1800, 7200, 60.0)],
    ).hour()
    assert hour["pri_pq_s"] == 30 * 30 + 30 * 60
    assert hour["pri_gq_s"] == 15 * 30 + 15 * 60
    assert hour["pri_apt_s"] == 3600


def test_pieces_without_an_order_make_pri_null_but_nothing_made_is_zero():
    made = running(readings={"produced": every(60, 0, 3600, lambda t: t / 60)}).hour()
    assert np.isnan(made["pri_pq_s"])
    assert made["flags"] & NO_ORDER
    idle = running(readings={"produced": every(60, 0, 3600, 5)}).hour()
    assert idle["pri_pq_s"] == 0


def test_overlapping_orders_the_one_that_started_last_holds():
    hour = running(
        readings={"produced": every(60, 0, 3600, lambda t: t / 60)},
        orders=[(0, 7200, 10.0), (1800, 3600, 20.0)],
    ).hour()
    assert hour["pri_pq_s"] == 30 * 10 + 30 * 20


def test_due_slots_and_filled_ones_tolerate_jitter():
    rng = np.random.default_rng(1)
    jitter = [(t + float(rng.uniform(-5, 5)), 1.0) for t in range(60, 3600, 60)]
    hour = Bench({"temp": [(-4.0, 1.0), *jitter, (3597.0, 1.0)]}).hour()
    assert (hour["due"], hour["filled"]) == (60, 60)
    missing = Bench({"temp": [r for r in every(60, 0, 3600, 1.0) if not 600 <= r[0] < 1200]}).hour()
    assert (missing["due"], missing["filled"], missing["readings"]) == (60, 50, 50)


def test_nothing_is_due_before_the_schedule_holds():
    hour = Bench({"temp": every(60, 0, 3600, 1.0)}, valid_from_s=1800).hour()
    assert (hour["due"], hour["filled"], hour["readings"]) == (30, 30, 60)


def test_text_readings_count_but_are_never_due():
    hour = Bench({"text": [(5, float("nan")), (6, float("nan"), BAD)]}).hour()
    assert (hour["due"], hour["readings"], hour["valid"]) == (0, 2, 1)


def test_an_hour_in_progress_is_computed_up_to_now():
    bench = running(
        readings={"produced": every(60, 0, 1200, lambda t: t / 60)}, shifts=[(0, 28800)], now_s=1230
    )
    bench.readings["state"] = every(60, -60, 1200, EXECUTING)
    bench.readings["mode"] = every(60, -60, 1200, PROCESSING)
    hour = bench.hour()
    assert hour["provisional"]
    assert hour["observed_s"] == 1230
    assert hour["apt_s"] == 1230
    assert hour["pbt_s"] == 1230
    assert hour["pq"] == 20
    assert hour["due"] == hour["filled"]


def test_online_time_is_the_union_over_tags():
    hour = Bench({"a": every(60, 0, 600, 1.0), "b": every(60, 500, 1000, 1.0)}).hour()
    assert hour["online_s"] == pytest.approx(980 + 180)


signal_rows = st.lists(
    st.tuples(st.integers(-7200, 14400), st.integers(0, 4), st.sampled_from([0, 0, 0, UNCERTAIN, BAD])),
    min_size=1,
    max_size=40,
    unique_by=lambda row: row[0],
)


@settings(max_examples=30, deadline=None)
@given(state=signal_rows, mode=signal_rows, made=signal_rows, order=st.randoms(use_true_random=False))
def test_order_of_arrival_and_duplicates_make_no_difference(state, mode, made, order):  # type: ignore[no-untyped-def]
    readings = {
        "state": state,
        "mode": mode,
        "produced": made,
        "energy": [(t, v * 1.5, q) for t, v, q in made],
    }
    plan = {
        "hours": (0, 1, 2),
        "interval_s": 300,
        "shifts": [(0, 9000)],
        "orders": [(600, 8000, 7.0)],
        "per_h": 3600.0,
    }
    n = sum(len(rows) for rows in readings.values())
    index = [*range(n), *(order.randrange(n) for _ in range(n))]
    order.shuffle(index)
    expected = Bench(readings, **plan).compute()
    pd.testing.assert_frame_equal(Bench(readings, shuffle=index, **plan).compute(), expected)


@settings(max_examples=30, deadline=None)
@given(state=signal_rows, made=signal_rows)
def test_hours_computed_alone_or_together_are_the_same(state, made):  # type: ignore[no-untyped-def]
    """What `raw_slice` fetches round one hour is enough for it: three readings on either side."""
    readings = {"state": state, "produced": [(t, v, max(q, 0)) for t, v, q in made]}
    plan = {"interval_s": 300, "shifts": [(0, 9000)], "orders": [(600, 8000, 7.0)], "per_h": 3600.0}
    together = Bench(readings, hours=(0, 1, 2), **plan).compute()
    for hour in range(3):
        raw = _near(Bench(readings, hours=(hour,), **plan).slice())
        alone = compute(raw, round((T0 + 360_000) * 1e6))
        for name in COMPONENTS:
            np.testing.assert_allclose(alone[name], together[name].iloc[[hour]], atol=2e-6, err_msg=name)


def _near(raw: RawSlice) -> RawSlice:
    """Keep of each tag what lies in the run and three rows on either side within three hours."""
    lo, hi = raw.runs["lo"][0], raw.runs["hi"][0]
    keep: list[int] = []
    for tag in np.unique(raw.rows["tag_id"]):
        mine = np.flatnonzero(raw.rows["tag_id"] == tag)
        mine = mine[np.argsort(raw.rows["ts"][mine])]
        ts = raw.rows["ts"][mine]
        inside = (ts >= lo) & (ts <= hi)
        keep += mine[inside].tolist()
        keep += mine[(ts < lo) & (ts >= lo - 3 * HOUR_US)][-3:].tolist()
        keep += mine[(ts > hi) & (ts <= hi + 3 * HOUR_US)][:3].tolist()
    rows = {name: array[keep] for name, array in raw.rows.items()}
    return RawSlice(
        raw.runs, rows, raw.tags, raw.schedules, raw.calendar, raw.orders, raw.rated, raw.stoppages
    )


def test_runs_join_consecutive_hours():
    runs = runs_of(np.array([2, 1, 1, 1, 1], np.int32), np.array([5, 1, 2, 4, 1], np.int64) * HOUR_US)
    assert runs["equipment_id"].tolist() == [1, 1, 2]
    assert (runs["lo"] // HOUR_US).tolist() == [1, 4, 5]
    assert (runs["hi"] // HOUR_US).tolist() == [3, 5, 6]


def test_slots_in_a_declared_stoppage_are_not_due():
    silent = {"produced": every(60, 0, 1800, lambda t: t)}
    missing = Bench(silent).hour()
    assert (missing["due"], missing["filled"], missing["stopped_s"]) == (60, 31, 0)
    half = Bench(silent, stoppages=[(1801, 7200)]).hour()
    assert (half["due"], half["filled"], half["stopped_s"]) == (31, 31, 1799)
    # What came while it was stopped is stored and judged, but fills no slot.
    early = Bench(silent, stoppages=[(600, 1200), (1800, 3600)]).hour()
    assert (early["due"], early["filled"], early["stopped_s"]) == (20, 20, 2400)
    assert early["readings"] == missing["readings"]
    whole = Bench({"produced": [(-7200, 1)]}, hours=(0, 1), stoppages=[(-9000, 5400)]).compute()
    assert whole["due"].tolist() == [0, 30]
    assert whole["stopped_s"].tolist() == [3600, 1800]
    # Alone or with its neighbours: the same.
    alone = Bench({"produced": [(-7200, 1)]}, hours=(1,), stoppages=[(0, 5400)]).hour()
    assert (alone["due"], alone["stopped_s"]) == (30, 1800)
    before = Bench({"produced": [(1800, 1)]}, valid_from_s=1200, stoppages=[(-3600, 1500)]).hour()
    assert (before["due"], before["filled"], before["stopped_s"]) == (35, 1, 300)
