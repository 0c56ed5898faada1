from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from simulators import uscc
from simulators.names import PILOTS, TOWN_OR_COUNTY
from simulators.plan import plan_province
from simulators.province import Province
from tests.simulators.province import AS_OF, small_province


def full() -> Province:
    return plan_province(7, as_of=AS_OF)


def test_plan_is_a_pure_function_of_the_seed():
    assert msgspec.json.encode(full()) == msgspec.json.encode(full())
    assert msgspec.json.encode(small_province(1)) != msgspec.json.encode(small_province(2))


def test_plan_survives_its_file():
    province = full()
    assert msgspec.json.decode(msgspec.json.encode(province), type=Province) == province


def test_published_code_is_valid():
    # of large companies, as published in the national register
    assert all(map(uscc.is_valid, ("914403001922038216", "91330100799655058B", "9144030071526726XG")))
    assert not uscc.is_valid("914403001922038217")
    assert not uscc.is_valid("91440300192203821")
    assert not uscc.is_valid("91440300192203821O")


def test_every_uscc_is_valid_and_unique():
    province = full()
    codes = [one.uscc for one in province.enterprises] + [pilot.unit.uscc for pilot in province.pilots]
    assert all(uscc.is_valid(code) for code in codes)
    assert len(set(codes)) == len(codes)


def test_size_and_stages():
    province = full()
    assert (len(province.pilots), len(province.enterprises), len(province.equipment)) == (6, 60, 300)
    assert len({pilot.stage for pilot in province.pilots}) >= 4
    assert len({pilot.region_code for pilot in province.pilots}) == 6


def test_enterprises_lie_in_the_city_of_their_pilot():
    province = full()
    for one in province.enterprises:
        assert one.region_code[:4] == province.pilot_of(one.unit).region_code[:4]
    assert all(county in TOWN_OR_COUNTY for pilot in PILOTS for county in pilot.counties)


def test_every_machine_has_exactly_one_source():
    province = full()
    fed = Counter((source.unit, code) for source in province.sources for code in source.equipment)
    assert set(fed.values()) == {1}
    assert set(fed) == {(one.unit, one.code) for one in province.equipment}
    ways = Counter(source.protocol for source in province.sources for _ in source.equipment)
    assert ways == {"opcua": 90, "mqtt": 110, "http_push": 60, "http_pull": 40}


def test_names_of_sources_follow_the_ledger_rule():
    for source in full().sources:
        if source.protocol in ("mqtt", "http_push"):
            assert source.name == source.unit
        else:
            assert source.port_offset is not None
    keys = [source.key for source in full().sources]
    assert len(set(keys)) == len(keys)


def test_too_small_a_province_is_refused():
    with pytest.raises(ValueError, match="at least"):
        plan_province(1, pilots=6, enterprises=10, equipment=300, as_of=AS_OF)
