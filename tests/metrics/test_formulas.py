"""Formulas on hand-made frames, and sums by entity."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from metrics.catalogue import catalogue
from metrics.formulas import FORMULAS, dq, progress
from metrics.formulas.terms import Terms
from metrics.levels import group, values_of
from metrics.periods import end_of, start_of
from store.columnar import micros
from store.components import Registry

NAN = float("nan")
REGISTRY = Registry(
    pd.DataFrame(
        {
            "equipment_id": [1, 2, 3],
            "enterprise_id": [10, 10, 11],
            "unit_id": [100, 100, 101],
        }
    ),
    pd.DataFrame({"source_id": [5, 6], "unit_id": [100, 101]}),
    pd.DataFrame({"unit_id": [100, 101], "pilot_id": [7, 8]}),
)
HOUR = {
    "observed_s": 3600.0, "known_s": 3600.0, "state_known_s": 3600.0, "online_s": 3600.0, "executing_s": 1800.0,
    "apt_s": 1800.0, "pbt_s": 2400.0, "pbt_known_s": 2400.0, "pq": 50.0, "gq": 40.0, "pri_pq_s": 1500.0,
    "pri_gq_s": 1200.0, "pri_apt_s": 1800.0, "energy_kwh": 10.0, "due": 60, "filled": 54, "readings": 60,
    "valid": 57, "has_state": True, "has_mode": True, "has_counter": True, "has_energy": True,
}  # fmt: skip


def hours(*rows: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame([HOUR | row for row in rows])


def values(code: str, frame: pd.DataFrame, period: str = "day", source: int = 5) -> pd.DataFrame:
    """Values of machines 1, 2, 3, … of one period, by level and entity."""
    indicator = catalogue()[code]
    n = len(frame)
    ids = frame["equipment_id"] if "equipment_id" in frame else pd.Series(range(1, n + 1))
    groups = group(ids.to_numpy(np.int64), np.full(n, source), np.zeros(n, np.int64), REGISTRY)
    terms = FORMULAS[code, 1].compute(frame)
    return values_of(indicator, terms, groups, period, "observed").set_index(["level", "entity_id"])


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("equip.availability", 1800 / 2400),
        ("equip.effectiveness", 1500 / 1800),
        ("equip.quality_ratio", 40 / 50),
        ("equip.oee", 1200 / 2400),
        ("equip.run_rate", 0.5),
        ("energy.total", 10 * 0.1229 / 1000),
        ("conn.equip_online_rate", 1.0),
        ("dq.transmission_rate", 0.9),
    ],
)
def test_one_machine(code: str, expected: float):
    row = values(code, hours({})).loc[("equipment", 1)]
    assert row["value"] == pytest.approx(expected)
    assert row["n_inputs"] == 1
    assert row["reason"] is None
    if code != "dq.transmission_rate":
        assert row["completeness"] == 1


def test_oee_is_the_product_of_its_three_factors():
    found = {
        c: values(c, hours({})).loc[("equipment", 1), "value"] for c in catalogue() if c.startswith("equip.")
    }
    factors = found["equip.availability"] * found["equip.effectiveness"] * found["equip.quality_ratio"]
    assert factors == pytest.approx(found["equip.oee"])


def test_groups_divide_sums_and_never_average():
    frame = hours({}, {"pri_gq_s": 0.0, "pbt_s": 7200.0}, {"pri_gq_s": 100.0, "pbt_s": 100.0})
    table = values("equip.oee", frame)
    assert table.loc[("enterprise", 10), "value"] == pytest.approx(1200 / 9600)
    assert table.loc[("province", 0), "value"] == pytest.approx(1300 / 9700)
    assert table.loc[("province", 0), "n_inputs"] == 3
    assert set(table.loc["cluster"].index) == {7, 8}


def test_what_is_not_known_is_left_out_of_both_sums():
    frame = hours({}, {"pri_gq_s": NAN, "gq": NAN})
    row = values("equip.oee", frame).loc[("enterprise", 10)]
    assert row["value"] == pytest.approx(0.5)
    assert row["denominator"] == 2400
    assert row["completeness"] == 0.5
    assert row["n_inputs"] == 1


@pytest.mark.parametrize(
    ("code", "row", "reason"),
    [
        ("equip.availability", {"apt_s": NAN}, "no_data"),
        ("equip.availability", {"pbt_s": NAN, "pbt_known_s": NAN}, "no_calendar"),
        ("equip.availability", {"pbt_s": 0.0, "pbt_known_s": 0.0, "apt_s": 0.0}, "no_planned_time"),
        ("equip.availability", {"has_mode": False, "apt_s": NAN}, "no_signal"),
        ("equip.effectiveness", {"pri_pq_s": NAN}, "no_order"),
        ("equip.effectiveness", {"pq": NAN, "pri_pq_s": NAN}, "gap"),
        ("equip.effectiveness", {"known_s": 3000.0}, "mostly_unknown"),
        ("equip.effectiveness", {"pri_apt_s": 0.0, "pri_pq_s": 0.0}, "no_production_time"),
        ("equip.quality_ratio", {"pq": 0.0, "gq": 0.0}, "nothing_produced"),
        ("equip.quality_ratio", {"gq": NAN}, "gap"),
        ("equip.oee", {"pri_gq_s": NAN}, "no_order"),
        ("equip.run_rate", {"executing_s": NAN}, "no_data"),
        ("energy.total", {"energy_kwh": NAN}, "gap"),
        ("dq.transmission_rate", {"due": 0, "filled": 0}, "nothing_due"),
    ],
)
def test_null_has_a_reason(code: str, row: dict[str, object], reason: str):
    found = values(code, hours(row)).loc[("equipment", 1)]
    assert np.isnan(found["value"])
    assert found["reason"] == reason


def test_a_stopped_machine_is_zero():
    stopped = {"apt_s": 0.0, "executing_s": 0.0, "pri_gq_s": 0.0, "pri_pq_s": 0.0}
    for code in ("equip.availability", "equip.oee", "equip.run_rate"):
        row = values(code, hours(stopped)).loc[("equipment", 1)]
        assert row["value"] == 0
        assert row["reason"] is None


def test_effectiveness_above_one_is_not_clipped():
    assert values("equip.effectiveness", hours({"pri_pq_s": 2700.0})).loc[("equipment", 1), "value"] == 1.5


def test_quarantined_rows_of_unknown_equipment_count_against_the_source_and_its_unit():
    frame = pd.DataFrame(
        {
            "equipment_id": [1, 0],
            "valid": [90, 0], "readings": [100, 0], "quarantined": [0, 100], "live": [0, 0], "timely": [0, 0],
        }
    )  # fmt: skip
    table = values("dq.validity_rate", frame)
    assert table.loc[("equipment", 1), "value"] == 0.9
    for level, entity in (("source", 5), ("cluster", 7), ("province", 0)):
        assert table.loc[(level, entity), "value"] == 0.45
    assert table.loc[("enterprise", 10), "value"] == 0.9


def test_effective_rate_is_the_product():
    rate = dq.effective_rate_v1(
        dq.Rate(np.array([54.0, 1]), np.array([60.0, 2]), np.array([0.9, 0.5])),
        dq.Rate(np.array([95.0, NAN]), np.array([100.0, NAN]), np.array([0.95, NAN])),
    )
    assert rate.value[0] == pytest.approx(0.855)
    assert rate.numerator[0] / rate.denominator[0] == pytest.approx(0.855)
    assert np.isnan(rate.value[1])


def test_latency_percentile_is_interpolated_within_its_bucket():
    latency = np.exp(np.random.default_rng(3).normal(-1, 1, 20_000))
    bucket = np.floor(np.log(np.maximum(latency, 0.01) / 0.01) / np.log(1.1)).astype(int)
    counts = pd.Series(bucket).value_counts()
    frame = pd.DataFrame({"group": 4, "bucket": counts.index, "n": counts.to_numpy()})
    found = dq.latency_p95_v1(frame)
    assert found["group"].tolist() == [4]
    assert found["value"].iloc[0] == pytest.approx(np.quantile(latency, 0.95), rel=0.02)
    assert found["n"].iloc[0] == 20_000
    fast = dq.latency_p95_v1(pd.DataFrame({"group": [0], "bucket": [0], "n": [10]}))
    assert 0 < fast["value"].iloc[0] <= 0.011


def test_milestones_count_when_due_and_only_if_in_time():
    day = pd.Timestamp("2026-06-30")
    frame = pd.DataFrame(
        {
            "planned_on": pd.to_datetime(["2026-06-30", "2026-06-01", "2026-05-01", "2026-07-01"]),
            "accepted_on": pd.to_datetime(["2026-06-30", "2026-06-02", None, "2026-06-01"]),
            "as_of": day,
        }
    )
    terms: Terms = progress.milestone_on_time_v1(frame)
    assert (terms.numerator.sum(), terms.denominator.sum()) == (1, 3)


def test_enterprises_are_counted_once():
    frame = pd.DataFrame({"group": [0, 0, 1], "uscc": ["a", "a", "a"]})
    assert progress.enterprises_registered_v1(frame)["value"].tolist() == [1, 1]


def test_online_counts_connected_devices_only():
    frame = pd.DataFrame({"online": [True, False, True], "connected": [True, True, False]})
    terms = progress.online_now_v1(frame)
    assert (terms.numerator.sum(), terms.denominator.sum()) == (1, 2)


def test_days_and_months_are_those_of_utc_plus_8():
    at = micros(pd.Timestamp("2026-01-31T17:00:00Z"))
    assert int(start_of("day", at)) == micros(pd.Timestamp("2026-01-31T16:00:00Z"))
    assert int(start_of("month", at)) == micros(pd.Timestamp("2026-01-31T16:00:00Z"))
    assert int(end_of("month", start_of("month", at))) == micros(pd.Timestamp("2026-02-28T16:00:00Z"))
    assert int(end_of("day", start_of("day", at))) == micros(pd.Timestamp("2026-02-01T16:00:00Z"))
