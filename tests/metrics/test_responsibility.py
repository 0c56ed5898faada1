"""Who answers for an equipment-hour, on hand-made and on random frames."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from metrics.responsibility import NOBODY, needed, owners, received, slots
from store.times import HOUR_US

PUSH, MQTT, OPCUA = 1, 2, 3


def supply(*rows: tuple[int, int, int, int]) -> pd.DataFrame:
    """Rows (source, hour, live, back-filled) of equipment 1."""
    frame = pd.DataFrame(rows, columns=["source_id", "hour", "live", "filled_in"])
    brought = frame["live"] + frame.pop("filled_in")
    frame["hour"] *= HOUR_US
    return frame.assign(
        equipment_id=1, accepted=brought, brought=brought, quarantined=0, timely=frame["live"]
    )


def hours(*at: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "equipment_id": 1,
            "hour": np.array(at) * HOUR_US,
            "due": 60,
            "filled": 60,
            "readings": 70,
            "valid": 65,
        }
    )


NOTHING = supply()


@pytest.mark.parametrize(
    ("rows", "hour", "expected"),
    [
        ([(PUSH, 0, 0, 500), (MQTT, 0, 10, 0)], 0, MQTT),  # live counts, not how much
        ([(OPCUA, 0, 11, 0), (MQTT, 0, 10, 0)], 0, OPCUA),
        ([(MQTT, 0, 10, 0), (PUSH, 5, 0, 60)], 5, MQTT),  # an outage that another filled in
        ([(MQTT, 0, 10, 0), (OPCUA, 2, 10, 0)], 1, MQTT),  # until another takes over
        ([(MQTT, 0, 10, 0), (OPCUA, 2, 10, 0)], 3, OPCUA),
        ([(MQTT, 0, 10, 0), (PUSH, 720, 0, 60)], 720, MQTT),
        ([(MQTT, 0, 10, 0), (PUSH, 721, 0, 60)], 721, PUSH),  # 30 days are over
        ([(PUSH, 0, 0, 60), (MQTT, 3, 10, 0)], 2, PUSH),  # before its first live hour
        ([(PUSH, 4, 0, 60)], 2, PUSH),
        ([], 2, NOBODY),
    ],
)
def test_owner(rows: list[tuple[int, int, int, int]], hour: int, expected: int):
    frame = supply(*rows)
    assert owners(hours(hour), frame, NOTHING).source.tolist() == [expected]
    # The same when what came before is looked up.
    before = frame["hour"] < hour * HOUR_US
    assert owners(hours(hour), frame[~before], frame[before]).source.tolist() == [expected]


def test_only_what_matters_of_the_time_before_is_asked_for():
    pairs, everyone = needed(hours(0, 1), supply((MQTT, 0, 10, 0), (PUSH, 1, 0, 10)))
    assert pairs.to_numpy().tolist() == [[1, MQTT]]
    assert everyone.tolist() == []
    assert needed(hours(0, 1), supply((MQTT, 1, 10, 0)))[1].tolist() == [1]


def test_sums_over_sources_are_the_equipments_own():
    random = np.random.default_rng(5)
    for _ in range(50):
        rows = [
            (source, hour, int(live), int(random.integers(0, 40)))
            for source in (PUSH, MQTT, OPCUA)
            for hour in range(12)
            if random.random() < 0.5
            for live in (random.integers(0, 40) * (source != PUSH) * (random.random() < 0.6),)
        ]
        frame, computed = supply(*rows), hours(*range(12))
        computed["filled"] = random.integers(0, 61, 12)
        owner = owners(computed, frame, NOTHING)
        by_source = slots(computed, frame, owner)
        own = by_source[by_source["equipment_id"] == 1].groupby("hour")[["due", "filled"]].sum()
        assert (own.to_numpy() == computed[["due", "filled"]].to_numpy()).all()
        named = by_source[by_source["source_id"] != NOBODY]
        assert (named["filled"] <= named["due"]).all()
        assert (named[["due", "filled"]] >= 0).all(axis=None)
        assert not by_source[by_source["source_id"] == NOBODY]["due"].any()
        readings = received(computed, frame, owner).groupby("hour")[["readings", "valid", "live"]].sum()
        np.testing.assert_allclose(readings["readings"], computed["readings"])
        np.testing.assert_allclose(readings["valid"], computed["valid"])
        assert readings["live"].sum() == frame["live"].sum()
