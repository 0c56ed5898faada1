"""What a unit's office reports is as the datasets' models say, of whom the register knows, and the same every time."""

from __future__ import annotations

import msgspec
import pytest

from ingest.datasets import DATASETS, check_records, natural_key
from simulators.plan import plan_province
from simulators.profile import profile_of
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


def test_nothing_happened_before_the_pilot_began_or_the_enterprise_joined(province: Province) -> None:
    told_of = (
        "start_on",
        "listed_on",
        "reused_on",
        "assessed_on",
        "valid_from",
        "disbursed_on",
        "paid_on",
        "booked_on",
    )
    free = {"certificate", "product_run_time", "industry_enterprise"}  # those have a life of their own
    for pilot in province.pilots:
        joined = {one.uscc: one.registered_on for one in province.enterprises if one.unit == pilot.unit.code}
        for dataset, records in statements(province, pilot.unit.code).items():
            for record in () if dataset in free else records:
                least = joined.get(record.get("enterprise_uscc"), pilot.started_on)
                assert all(least <= record[day] <= province.as_of for day in told_of if day in record), (
                    dataset,
                    record,
                )


def test_run_times_are_those_of_the_orders(province: Province) -> None:
    pilot = province.pilots[0]
    for record in statements(province, pilot.unit.code)["product_run_time"]:
        [machine] = [
            one
            for one in province.equipment
            if one.code == record["equipment_code"] and one.unit == pilot.unit.code
        ]
        profile = profile_of(province, machine, pilot)
        assert (
            record["planned_run_time_per_item_s"]
            == profile.pri_s[profile.kind.products.index(record["product"])]
        )
