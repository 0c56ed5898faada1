from __future__ import annotations

from typing import Any

import pytest

from ingest.datasets import natural_key
from store import datasets
from store.database import Connection
from store.registry import NewUnit, register_unit

USCC = "91440300MA5EXAMP0C"
AT = 1_795_000_000_000_000
TAG = {"name": "M1.t", "equipment_code": "M1", "signal": "t", "data_type": "float", "unit": "Cel",
       "interval_s": 10.0, "valid_from": "2026-01-01T00:00:00Z", "range_min": None, "range_max": None}  # fmt: skip


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
        report(conn, unit_id, record, dataset)
    return unit_id


def report(
    conn: Connection, unit_id: int, record: dict[str, Any], dataset: str = "tag"
) -> tuple[int, int, int]:
    return datasets.apply(conn, unit_id, dataset, [record], [natural_key(dataset, record)], "b", AT)


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
