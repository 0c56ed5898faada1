from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from simulators.machine import simulate_day
from simulators.shifts import DAY_MS
from simulators.signals import Machine
from simulators.truth import HOUR_MS, hours_of
from tests.simulators.province import ORIGIN, TODAY, machines_of, small_province

MACHINES = machines_of(small_province())
DAY = TODAY - 3


def shown(machine: Machine, start: int, end: int, every: dict[str, int]) -> dict[str, dict[int, Any]]:
    return {
        signal: dict(zip(ts.tolist(), values, strict=True))
        for signal, ts, values in machine.window(start, end, every)
    }


def test_a_day_is_a_pure_function():
    first, again = (simulate_day(MACHINES[0].profile, DAY, ORIGIN.day) for _ in range(2))
    assert np.array_equal(first.start, again.start)
    assert np.array_equal(first.what, again.what)
    assert (first.produced, first.scrap, first.energy_kwh) == (again.produced, again.scrap, again.energy_kwh)


def test_segments_cover_the_day_in_order():
    for machine in MACHINES:
        day = simulate_day(machine.profile, DAY, ORIGIN.day)
        assert day.start[0] == DAY * DAY_MS
        assert (np.diff(day.start) > 0).all()
        assert day.start[-1] < day.end


@pytest.mark.parametrize("cut", [1, 12_345, 3_600_000, DAY_MS - 1])
def test_windows_join_without_gap_or_overlap(cut: int):
    start, end = DAY * DAY_MS, (DAY + 1) * DAY_MS
    for machine in MACHINES[:6]:
        whole = shown(machine, start, end, machine.history_ms)
        left = shown(machine, start, start + cut, machine.history_ms)
        right = shown(machine, start + cut, end, machine.history_ms)
        for signal, samples in whole.items():
            assert not set(left[signal]) & set(right[signal])
            assert {**left[signal], **right[signal]} == samples


def test_a_new_process_shows_the_same_counters():
    """Counters are reckoned from the anchor, in both directions, whatever was asked before."""
    fresh = machines_of(small_province())
    for old, new in zip(MACHINES[:5], fresh[:5], strict=True):
        old.base(TODAY - 9)
        for day in (TODAY - 8, TODAY + 2):
            assert old.base(day) == pytest.approx(new.base(day))


def test_counters_never_fall_and_add_up():
    for machine in MACHINES[:8]:
        samples = shown(machine, (TODAY - 4) * DAY_MS, (TODAY + 1) * DAY_MS, machine.history_ms)
        for signal in ("produced", "good", "scrap", "energy"):
            values = [samples[signal][ts] for ts in sorted(samples[signal])]
            assert all(later >= earlier for earlier, later in pairwise(values))
            assert values[0] >= 0
        for ts, produced in samples["produced"].items():
            assert produced == samples["good"][ts] + samples["scrap"][ts]


@pytest.mark.parametrize("grid", ["history_ms", "live_ms"])
def test_truth_can_be_recomputed_from_the_samples(grid: str):
    start, end = DAY * DAY_MS, (DAY + 1) * DAY_MS
    for machine in MACHINES[:10]:
        samples = shown(machine, start, end + 1, getattr(machine, grid))
        spent = spent_by_hour(samples)
        for hour, row in enumerate(hours_of(machine.day(DAY))):
            edge = start + hour * HOUR_MS
            assert spent["Executing", "Processing"][hour] == pytest.approx(row[0], abs=0.002)
            assert spent["NotExecuting", "Setup"][hour] == pytest.approx(row[1], abs=0.002)
            assert samples["produced"][edge + HOUR_MS] - samples["produced"][edge] == row[5]
            assert samples["good"][edge + HOUR_MS] - samples["good"][edge] == row[6]
            assert samples["scrap"][edge + HOUR_MS] - samples["scrap"][edge] == row[7]
            used = samples["energy"][edge + HOUR_MS] - samples["energy"][edge]
            assert used == pytest.approx(row[10], abs=0.0011)


def spent_by_hour(samples: dict[str, dict[int, Any]]) -> dict[tuple[object, object], list[float]]:
    """Seconds in each pair of state and mode, from the samples alone."""
    spent: dict[tuple[object, object], list[float]] = defaultdict(lambda: [0.0] * 24)
    times = sorted(samples["state"].keys() | samples["mode"].keys())
    state = mode = None
    for ts, following in pairwise(times):
        state, mode = samples["state"].get(ts, state), samples["mode"].get(ts, mode)
        # a grid point lies on every full hour, so that no stretch crosses one
        spent[state, mode][ts // HOUR_MS % 24] += (following - ts) / 1000
    return spent


def test_production_lies_within_planned_busy_time():
    for machine in MACHINES:
        for row in hours_of(machine.day(DAY)):
            assert row[0] + row[1] <= row[2] + 0.001
            assert row[6] + row[7] == row[5]


def test_machines_are_believable():
    """Over a week: OEE between a third and 1.05, scrap below a tenth, and something of everything."""
    for machine in MACHINES:
        rows = [row for day in range(TODAY - 7, TODAY) for row in hours_of(machine.day(day))]
        busy, good, made = (sum(row[place] for row in rows) for place in (2, 9, 5))
        assert 0.33 < good / busy < 1.05
        assert sum(row[7] for row in rows) / made < 0.1
        assert sum(row[10] for row in rows) > 0


def test_the_pilot_with_gain_improves_and_the_other_does_not():
    def oee(unit: str, days: range) -> float:
        rows = [
            row
            for machine in MACHINES
            if machine.profile.unit == unit
            for day in days
            for row in hours_of(simulate_day(machine.profile, day, ORIGIN.day))
        ]
        return sum(row[9] for row in rows) / sum(row[2] for row in rows)

    gains = {machine.profile.unit: machine.profile.gain for machine in MACHINES}
    best = max(gains, key=lambda unit: gains[unit])
    early, late = range(ORIGIN.day, ORIGIN.day + 7), range(ORIGIN.day + 49, ORIGIN.day + 56)
    assert oee(best, late) > oee(best, early) + 0.03
