"""What a unit's office reports is as the datasets' models say, of whom the register knows, and the same every time."""

from __future__ import annotations

import msgspec
import pytest

from ingest.datasets import DATASETS, check_records, natural_key
from simulators.plan import plan_province
from simulators.province import Province
from simulators.statements import statements
from tests.simulators.province import AS_OF

ELSEWHERE = {
    "park", "enterprise", "equipment", "tag", "shift_calendar", "production_order", "milestone", "reported_indicator",
}  # fmt: skip
NOT_SHOWN = {
    "key_process",
    "inspection_lot",
    "equipment_failure",
    "energy_consumption",
    "park_maturity",
    "cmmm_assessment",
}


@pytest.fixture(scope="module")
def province() -> Province:
    return plan_province(7, as_of=AS_OF)


@pytest.mark.parametrize("place", range(6))
def test_every_record_is_taken(province: Province, place: int) -> None:
    for dataset, records in statements(province, province.pilots[place].unit.code).items():
        good, refused = check_records(dataset, [msgspec.json.encode(one) for one in records])
        assert [(one.place, one.parameters) for one in refused] == []
        keys = {natural_key(dataset, record) for _, record in good}
        assert len(keys) == len(records) < 2000, dataset


def test_of_nearly_every_dataset_there_is_something(province: Province) -> None:
    told = statements(province, province.pilots[0].unit.code)
    assert {name for name, records in told.items() if records} == DATASETS.keys() - ELSEWHERE - NOT_SHOWN
    assert told == statements(province, province.pilots[0].unit.code)


def test_whoever_is_spoken_of_has_joined(province: Province) -> None:
    for pilot in province.pilots:
        joined = {one.uscc for one in province.enterprises if one.unit == pilot.unit.code}
        told = statements(province, pilot.unit.code)
        named = {
            record["enterprise_uscc"]
            for records in told.values()
            for record in records
            if "enterprise_uscc" in record
        }
        assert named <= joined
        authorised = {record["enterprise_uscc"] for record in told["credit_authorisation"]}
        assert {record["enterprise_uscc"] for record in told["loan"]} <= authorised
