from __future__ import annotations

import time

import pytest

from simulators.faults import KINDS, Faults, parse_kinds
from tests.simulators.province import small_province


def test_kinds_are_parsed():
    assert parse_kinds("all") == frozenset(KINDS)
    assert parse_kinds("none") == frozenset()
    assert parse_kinds("late, malformed") == {"late", "malformed"}
    with pytest.raises(ValueError, match="unknown fault: flood"):
        parse_kinds("late,flood")


def test_each_kind_strikes_each_protocol_within_90_seconds(monkeypatch: pytest.MonkeyPatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    sources = small_province().sources
    struck: set[tuple[str, str]] = set()
    some = Faults(parse_kinds("all"), 7, sources)
    some.begin()
    for _ in range(180):
        now[0] += 0.5
        for source in sources:
            for kind in ("malformed", "unknown_tag", "wrong_type"):
                if some.strikes(kind, source):
                    struck.add((kind, source.protocol))
            if some.is_skewed(source):
                struck.add(("clock_skew", source.protocol))
            if some.is_dropped(source):
                struck.add(("dropout", source.protocol))
    for protocol in ("mqtt", "http_push", "http_pull"):
        for kind in ("unknown_tag", "wrong_type", "clock_skew", "dropout"):
            assert (kind, protocol) in struck
    assert ("dropout", "opcua") in struck
    assert not any(some.is_dropped(source) for source in sources)


def test_nothing_goes_wrong_by_default():
    quiet = Faults(frozenset(), 7, small_province().sources)
    quiet.begin()
    assert not quiet.duplicates()
    assert quiet.delay().fault == ""
    assert not any(quiet.is_dropped(source) for source in small_province().sources)
