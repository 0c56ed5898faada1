"""Models of the datasets: natural keys, 统一社会信用代码, precise refusals."""

from __future__ import annotations

import json
import re

import pytest

from ingest.datasets import DATASETS, check_records, example, natural_key, schema, settled_at, uscc_is_valid
from store.reasons import REASONS

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


def test_a_whole_number_is_whole_however_it_is_written() -> None:
    session = {**example("training_session"), "attendees": 64}
    texts = [
        json.dumps(session),
        json.dumps({**session, "attendees": 64.0}),
        json.dumps({**session, "attendees": 64.5}),
    ]
    good, refused = check_records("training_session", [text.encode() for text in texts])
    assert [record["attendees"] for _, record in good] == [64, 64]
    assert [one.place for one in refused] == ["training_session records[2].attendees"]


def test_the_same_instant_in_another_zone_is_the_same_record() -> None:
    there = {**TAG, "valid_from": "2026-11-23T00:00:00Z"}
    good, refused = check_records("tag", [json.dumps(r).encode() for r in (TAG, there)])
    assert refused == []
    assert good[0][1] == good[1][1]
    assert natural_key("tag", good[0][1]) == "M1.state|2026-11-23T00:00:00Z"


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"data_type": "float"}, "data_type", "invalid_field"),
        ({"name": "M2.state"}, "name", "invalid_field"),
        ({"interval_s": "30"}, "interval_s", "invalid_field"),
        ({"unit": "°C"}, "unit", "invalid_field"),
        ({"unit": "千瓦时"}, "unit", "invalid_field"),
        ({"unit": "k Wh"}, "unit", "invalid_field"),
        (
            {"name": "M1.energy", "signal": "energy", "data_type": "counter", "unit": "MJ"},
            "unit",
            "invalid_field",
        ),
        (
            {"name": "M1.good", "signal": "good", "data_type": "counter", "unit": "kg"},
            "unit",
            "invalid_field",
        ),
        ({"valid_from": "2026-11-23T08:00:00"}, "valid_from", "invalid_field"),
        ({"colour": "red"}, "colour", "unknown_field"),
        ({"unit": None}, "unit", "invalid_field"),
        ({"unit": "a\0b"}, "unit", "invalid_field"),
        ({"colour\0": "red"}, "colour\u2400", "unknown_field"),
        ({"valid_from": "0001-01-01T00:00:00+08:00"}, "valid_from", "invalid_field"),
        ({"valid_from": "1999-12-31T23:59:59Z"}, "valid_from", "invalid_field"),
        ({"valid_from": "9999-12-31T23:00:00-08:00"}, "valid_from", "invalid_field"),
        ({"interval_s": 0.099}, "interval_s", "invalid_field"),
        ({"frozen_after_s": 60}, "frozen_after_s", "invalid_field"),
        ({"rate_max_per_s": 0}, "rate_max_per_s", "invalid_field"),
    ],
)
def test_refusals_name_the_field(change: dict[str, object], field: str, reason: str) -> None:
    record = json.dumps({**TAG, **change}).encode()
    good, [refusal] = check_records("tag", [record])
    assert good == []
    assert (refusal.reason, refusal.original) == (reason, record)
    assert refusal.parameters["field"] == field


CHINESE = re.compile("[\u4e00-\u9fff]")
WRONG: tuple[object, ...] = (
    None, True, -1, 1.5, 1e300, "", "x" * 600, "2026-13-45", "2026-01-01", "2026-01-01T00:00:00", [], ["x"], {"a": 1},
)  # fmt: skip


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_rule_is_told_in_both_languages(dataset: str) -> None:
    record = dict(example(dataset))
    records = [{**record, field: wrong} for field in DATASETS[dataset].model_fields for wrong in WRONG]
    _, refused = check_records(dataset, [json.dumps(one).encode() for one in [*records, [1]]])
    assert len(refused) > len(record)
    for refusal in refused:
        told = REASONS[refusal.reason].message(refusal.parameters)
        assert CHINESE.search(told["zh"].removeprefix(refusal.parameters["field"])), told
        assert not re.search(r"\s\?|:\?|\?$", told["zh"]), told  # a part of the text that was not given


def test_rules_across_fields_say_which_of_them_to_mend() -> None:
    record = {**example("training_session"), "held_on": "2026-08-12", "ended_on": "2026-08-10"}
    _, [refusal] = check_records("training_session", [json.dumps(record).encode()])
    assert refusal.place == "training_session records[0].ended_on"
    assert REASONS[refusal.reason].message(refusal.parameters) == {
        "zh": "ended_on:结束日期(ended_on)不得早于开始日期(held_on)",
        "en": "ended_on: ended_on must not be before held_on",
    }
    record = {**example("training_session"), "qualified": 9, "attendees": 8}
    _, [refusal] = check_records("training_session", [json.dumps(record).encode()])
    assert refusal.parameters["field"] == "qualified"


@pytest.mark.parametrize(
    ("dataset", "field", "later"),
    [
        ("app_usage", "day", "2097-11-23"), ("enterprise_statement", "period", "2097-Q3"),
        ("inspection_lot", "inspected_at", "2097-11-23T21:00:00+08:00"), ("energy_consumption", "period", "2097-10"),
    ],
)  # fmt: skip
def test_nothing_is_stated_of_what_has_not_begun(dataset: str, field: str, later: str) -> None:
    _, [refusal] = check_records(dataset, [json.dumps({**example(dataset), field: later}).encode()])
    assert (refusal.reason, refusal.parameters["field"]) == ("invalid_field", field)
    assert "在未来" in refusal.parameters["detail_zh"]


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


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_dataset_explains_itself_and_its_example_is_valid(dataset: str) -> None:
    model = DATASETS[dataset]
    assert model.zh
    assert model.__doc__
    assert set(model.dated) <= set(model.model_fields)
    good, refused = check_records(dataset, [json.dumps(example(dataset)).encode()])
    assert (len(good), refused) == (1, [])
    assert set(example(dataset)) == set(model.model_fields)
    for field, told in schema(dataset)["properties"].items():
        assert re.search(r"[\u4e00-\u9fff]", told["title"]), field
        assert told["description"], field
        assert re.search(r"[\u4e00-\u9fff]", told["description_zh"]), field
        choices = told.get("enum") or next(
            (one["enum"] for one in told.get("anyOf", []) if "enum" in one), None
        )
        choices = choices or ([told["const"]] if "const" in told else told.get("items", {}).get("enum"))
        assert set(told.get("labels", {})) == set(choices or []), field


def test_the_values_of_a_schema_can_be_read_by_others() -> None:
    told = schema("enterprise")
    assert told["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert (told["x-key"], told["required"][0]) == (["uscc"], "uscc")


def assessed(**change: object) -> list[str]:
    """What is wrong with the example assessment, so changed."""
    record = {**example("digital_assessment"), **change}
    _, refused = check_records("digital_assessment", [json.dumps(record).encode()])
    return [one.parameters["detail"] for one in refused]


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({}, None),
        ({"equipment_total": 10, "equipment_digital": 1, "equipment_networked": 2, "q2_digital_equipment": "0-10",
          "q3_networked_equipment": "10-20"}, None),  # the upper edge belongs to the band
        ({"equipment_total": 0, "equipment_digital": 0, "equipment_networked": 0, "q2_digital_equipment": "0-10",
          "q3_networked_equipment": "0-10"}, None),
        ({"q2_digital_equipment": "60-100"}, "q2_digital_equipment is 60-100 %, but the figures give 50.0 %"),
        ({"equipment_networked": 49}, "equipment_networked is more than equipment_total"),
        ({"q1_networks": []}, "tick something, or none"),
        ({"q1_networks": ["none", "5g"]}, "none stands alone"),
        ({"q1_networks": ["none"]}, None),
        ({"q12_energy": "increased"}, "q12_energy says increased"),
        ({"q12_energy": "flat"}, None),
        ({"q14_market": "decreased"}, "q14_market says decreased"),
        ({"q15_value": "increased"}, "q15_value says increased"),
        ({"method": "self"}, "assessor belongs to the method on_site"),
        ({"scene_quality": 5}, "less than or equal to 4"),
        ({"q8_planning": "6"}, "Input should be"),
        ({"q10_talent": ["F"]}, "Input should be"),
        ({"edition": "2022"}, "Input should be"),
    ],
)  # fmt: skip
def test_answers_of_the_assessment_agree_with_its_figures(
    change: dict[str, object], wrong: str | None
) -> None:
    found = assessed(**change)
    assert found == [] if wrong is None else [wrong in one for one in found] == [True]


def test_the_order_of_what_was_ticked_says_nothing() -> None:
    records = [
        {**example("digital_assessment"), "q9_management": ticked} for ticked in (["A", "C"], ["C", "A"])
    ]
    good, _ = check_records("digital_assessment", [json.dumps(one).encode() for one in records])
    assert good[0][1] == good[1][1]


@pytest.mark.parametrize(
    ("dataset", "change", "wrong"),
    [
        ("loan", {"annual_rate": None}, "a loan needs its annual_rate"),
        ("loan", {"amount_wan": 0.1234567}, "at most 6 decimals"),
        ("special_account_entry", {"amount_yuan": 1.005}, "at most 2 decimals"),
        ("special_account_entry", {"direction": "received"}, "category belongs to what is paid"),
        ("special_account_entry", {"bank_reference": None}, "bank_matched needs the bank_reference"),
        ("training_session", {"certified": 61}, "certified is more than qualified"),
        ("certificate", {"valid_to": "2026-01-01"}, "valid_to must be after valid_from"),
        ("shared_capacity", {"used_h": 8.5}, "used_h is more than offered_h"),
        ("api_statistic", {"span": "day"}, "midnight of +08:00"),
        ("supply_link", {"from_uscc": "91440300MA5EXAMP0C"}, "same enterprise"),
        ("task_target", {"target": 120.0}, "nothing is to be reached"),
        ("enterprise_statement", {"period": "2026-Q5"}, "pattern"),
    ],
)
def test_fields_agree_with_each_other(dataset: str, change: dict[str, object], wrong: str) -> None:
    _, [refusal] = check_records(dataset, [json.dumps({**example(dataset), **change}).encode()])
    assert wrong in refusal.parameters["detail"]


def test_a_withdrawal_is_its_key() -> None:
    gone = {"enterprise_uscc": "91440300MA5EXAMP0C", "period": "2026", "withdrawn": True, "revenue_wan": "?"}
    others = [{**gone, "period": "never"}, {**gone, "withdrawn": False}, {**gone, "withdrawn": "true"}]
    good, refused = check_records(
        "enterprise_statement", [json.dumps(one).encode() for one in (gone, *others)]
    )
    assert good == [(0, {"enterprise_uscc": "91440300MA5EXAMP0C", "period": "2026", "withdrawn": True})]
    assert natural_key("enterprise_statement", good[0][1]) == "91440300MA5EXAMP0C|2026"
    assert refused[0].place == "enterprise_statement records[1].period"
    assert len(refused) == 3


def test_parts_of_a_key_cannot_run_into_each_other() -> None:
    keys = {natural_key("supply_link", {"from_uscc": a, "to_uscc": b, "product": "p"}) for a, b in
            (("x|y", "z"), ("x", "y|z"), ("x\\", "|y|z"))}  # fmt: skip
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("period", "end"),
    [
        ("2026", "2027-01-01"), ("2026-Q1", "2026-04-01"), ("2026-Q4", "2027-01-01"), ("2026-12", "2027-01-01"),
        ("2026-02", "2026-03-01"),
    ],
)  # fmt: skip
def test_when_a_period_is_over(period: str, end: str) -> None:
    over = settled_at("enterprise_statement", {"period": period})
    assert over is not None
    assert over.isoformat() == f"{end}T00:00:00+08:00"
    day = settled_at("loan_balance", {"as_of": "2026-10-31"})
    assert day is not None
    assert day.isoformat() == "2026-11-01T00:00:00+08:00"
    assert settled_at("production_order", {"end": None}) is None
    assert settled_at("milestone", {"code": "m"}) is None


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("合计", "应为 18 位,收到 2 位"),
        ("91350100m000100y43", "字母须大写"),
        ("91350100M000100I43", "不含字符 I"),
        ("91350100M000100Y44", "校验码不符"),
    ],
)
def test_what_is_wrong_with_a_code_is_said(code: str, said: str) -> None:
    record = {**example("enterprise"), "uscc": code}
    _, [refusal] = check_records("enterprise", [json.dumps(record).encode()])
    assert said in refusal.parameters["detail_zh"]
