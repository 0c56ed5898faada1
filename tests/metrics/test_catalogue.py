"""Catalogue, formulas and documentation belong together, both ways."""

from __future__ import annotations

import re

import pytest

from metrics.catalogue import catalogue, groups
from metrics.formulas import FORMULAS
from metrics.reasons import INDEX, REASONS
from metrics.reference import PATH, render

FIRST = {
    "equip.availability", "equip.effectiveness", "equip.quality_ratio", "equip.oee", "equip.run_rate",
    "conn.equip_online_rate", "plat.devices_connected", "plat.enterprises_registered", "dq.transmission_rate",
    "dq.validity_rate", "dq.effective_rate", "dq.timeliness", "dq.latency_p95", "energy.total",
    "proj.milestone_on_time",
}  # fmt: skip


def test_the_first_indicators_are_there():
    assert set(catalogue()) >= FIRST


def test_every_code_has_a_formula_and_every_formula_a_code():
    assert {(one.code, one.version) for one in catalogue().values()} <= set(FORMULAS)
    assert {code for code, _ in FORMULAS} == set(catalogue())


def test_every_code_is_documented_and_nothing_else_is():
    text = PATH.read_text("utf-8")
    assert set(re.findall(r"^### `([a-z_.0-9]+)`", text, re.MULTILINE)) == set(catalogue())
    assert text == render(), "run python -m metrics.reference"


@pytest.mark.parametrize("code", sorted(FIRST))
def test_definitions_are_complete(code: str):
    one = catalogue()[code]
    assert code.startswith(one.group + ".")
    assert one.group in groups()
    for text in (one.name, *(t for t in (one.numerator, one.denominator) if t)):
        assert re.search(r"[一-鿿]", text.zh)
        assert not re.search(r"[一-鿿]", text.en)
    assert "province" in one.periods
    if one.kind == "ratio":
        assert one.numerator is not None
        assert one.denominator is not None
        assert one.format.percent
    compute = FORMULAS[code, one.version].compute
    assert compute.__doc__
    assert compute.__name__.endswith(f"_v{one.version}")


def test_definitions_are_frozen():
    one = catalogue()["energy.total"]
    with pytest.raises(AttributeError):
        one.code = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        one.coefficients["electricity_kgce_per_kwh"] = 1.0  # type: ignore[index]


def test_reasons_have_both_languages():
    assert all(text.zh and text.en for text in REASONS.values())
    assert max(INDEX.values()) < 128
