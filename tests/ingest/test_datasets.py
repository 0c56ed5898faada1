"""Models of the datasets: natural keys, 统一社会信用代码, precise refusals."""

from __future__ import annotations

import json

import pytest

from ingest.datasets import DATASETS, check_records, natural_key, uscc_is_valid

TAG = {
    "name": "M1.state", "equipment_code": "M1", "signal": "state", "data_type": "enum", "unit": "1",
    "interval_s": 30, "valid_from": "2026-11-23T08:00:00+08:00",
}  # fmt: skip


@pytest.mark.parametrize(
    ("code", "valid"),
    [
        ("91350100M000100Y43", True),  # the worked example of GB 32100-2015
        ("91440300MA5EXAMP0C", True),
        ("91350100M000100Y44", False),
        ("91350100M000100Y4", False),
        ("91350100M000100I43", False),  # I is not in the alphabet
        ("91350100m000100y43", False),
    ],
)
def test_check_character(code: str, valid: bool) -> None:
    assert uscc_is_valid(code) is valid


def test_the_same_instant_in_another_zone_is_the_same_record() -> None:
    there = {**TAG, "valid_from": "2026-11-23T00:00:00Z"}
    good, refused = check_records("tag", [json.dumps(r).encode() for r in (TAG, there)])
    assert refused == []
    assert good[0][1] == good[1][1]
    assert natural_key("tag", good[0][1]) == "M1.state|2026-11-23T00:00:00Z"


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"data_type": "float"}, "record", "invalid_field"),
        ({"name": "M2.state"}, "record", "invalid_field"),
        ({"interval_s": "30"}, "interval_s", "invalid_field"),
        ({"valid_from": "2026-11-23T08:00:00"}, "valid_from", "invalid_field"),
        ({"colour": "red"}, "colour", "unknown_field"),
        ({"unit": None}, "unit", "invalid_field"),
        ({"unit": "a\0b"}, "unit", "invalid_field"),
        ({"colour\0": "red"}, "colour\u2400", "unknown_field"),
        ({"valid_from": "0001-01-01T00:00:00+08:00"}, "valid_from", "invalid_field"),
        ({"valid_from": "1999-12-31T23:59:59Z"}, "valid_from", "invalid_field"),
        ({"valid_from": "9999-12-31T23:00:00-08:00"}, "valid_from", "invalid_field"),
        ({"interval_s": 0.099}, "interval_s", "invalid_field"),
        ({"frozen_after_s": 60}, "record", "invalid_field"),
        ({"rate_max_per_s": 0}, "rate_max_per_s", "invalid_field"),
    ],
)
def test_refusals_name_the_field(change: dict[str, object], field: str, reason: str) -> None:
    record = json.dumps({**TAG, **change}).encode()
    good, [refusal] = check_records("tag", [record])
    assert good == []
    assert (refusal.reason, refusal.original) == (reason, record)
    assert refusal.parameters["field"] == field


def test_a_number_too_large_for_a_float_is_refused() -> None:
    record = json.dumps({**TAG, "data_type": "float", "signal": "t", "name": "M1.t"})[:-1]
    good, [refusal] = check_records("tag", [f'{record}, "range_max": 1e999}}'.encode()])
    assert (good, refusal.reason, refusal.parameters["field"]) == ([], "invalid_field", "range_max")


def test_a_day_has_a_possible_year() -> None:
    record = {"code": "m1", "name": "x", "planned_on": "0001-01-01"}
    _, [refusal] = check_records("milestone", [json.dumps(record).encode()])
    assert refusal.parameters["field"] == "planned_on"


def test_every_dataset_has_a_key_of_its_own_fields() -> None:
    for name, model in DATASETS.items():
        assert model.key, name
        assert set(model.key) <= set(model.model_fields), name
