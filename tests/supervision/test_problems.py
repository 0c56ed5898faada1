"""Open data problems from facts: each kind on, off, and in between."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from pydantic import ValidationError

from supervision.problems import (
    CanaryFact,
    ComponentFact,
    DayFact,
    DiskFact,
    Facts,
    LogFact,
    MilestoneFact,
    SourceFact,
    Thresholds,
    TransmissionFact,
    open_problems,
    worst,
)

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
WELL = SourceFact(
    "GD-ELE-01", "mqtt:a", 10, NOW - timedelta(seconds=5), NOW - timedelta(seconds=5), 0.5, NOW, 3600, 0
)


def kinds(facts: Facts, **options: object) -> list[tuple[str, str]]:
    """(kind, severity) of the open problems."""
    return [(p.kind, p.severity) for p in open_problems(facts, NOW, **options)]  # type: ignore[arg-type]


def of_source(**changes: object) -> list[tuple[str, str]]:
    return kinds(Facts(sources=(replace(WELL, **changes),)))  # type: ignore[arg-type]


def test_all_well() -> None:
    assert of_source() == []


@pytest.mark.parametrize(
    ("silence_s", "interval_s", "expected"),
    [
        (89, 10, []),
        (91, 10, [("silent_source", "warn")]),
        (200, 60, [("silent_source", "warn")]),
        (170, 60, []),
        (901, 10, [("silent_source", "bad")]),
        (91, None, [("silent_source", "warn")]),
    ],
)
def test_silence(silence_s: float, interval_s: float | None, expected: list[tuple[str, str]]) -> None:
    at = NOW - timedelta(seconds=silence_s)
    assert of_source(last_received_at=at, last_source_ts=at, interval_s=interval_s) == expected


def test_silence_hides_what_was_said_before_it() -> None:
    silent = NOW - timedelta(hours=1)
    found = open_problems(Facts(sources=(replace(WELL, last_received_at=silent, p95_s=900.0),)), NOW)
    assert [p.kind for p in found] == ["silent_source"]
    assert found[0].since == silent
    assert found[0].evidence["silence_s"] == 3600


def test_a_source_of_back_fill_is_never_silent() -> None:
    assert of_source(last_received_at=NOW - timedelta(days=1), sends_live=False) == []


def test_a_source_that_never_sent_is_not_silent() -> None:
    assert of_source(last_received_at=None, last_source_ts=None, p95_s=None) == []


def test_late_data_has_two_thresholds() -> None:
    facts = Facts(sources=(replace(WELL, p95_s=50.0),))
    assert kinds(facts) == []
    assert kinds(facts, open_before={"late_data:GD-ELE-01/mqtt:a"}) == [("late_data", "warn")]
    assert of_source(p95_s=61.0) == [("late_data", "warn")]


def test_quarantine_surge_needs_rows_and_share() -> None:
    assert of_source(recent_accepted=10, recent_quarantined=19) == []
    assert of_source(recent_accepted=1000, recent_quarantined=49) == []
    assert of_source(recent_accepted=900, recent_quarantined=100) == [("quarantine_surge", "warn")]
    assert of_source(recent_accepted=10, recent_quarantined=100) == [("quarantine_surge", "bad")]


def test_clock_ahead() -> None:
    assert of_source(last_source_ts=NOW + timedelta(seconds=20)) == []
    assert of_source(last_source_ts=NOW + timedelta(seconds=60)) == [("clock_ahead", "warn")]


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(None, []), (0.95, []), (0.89, [("low_transmission", "warn")]), (0.5, [("low_transmission", "bad")])],
)
def test_transmission(rate: float | None, expected: list[tuple[str, str]]) -> None:
    assert kinds(Facts(transmissions=(TransmissionFact("U", "P", rate, NOW),))) == expected


def test_transmission_does_not_flap() -> None:
    facts = Facts(transmissions=(TransmissionFact("U", "P", 0.92, NOW),))
    assert kinds(facts) == []
    assert kinds(facts, open_before={"low_transmission:P"}) == [("low_transmission", "warn")]


@pytest.mark.parametrize(
    ("indicator", "value", "expected"),
    [
        ("equip.effectiveness", 1.0, []),
        ("equip.effectiveness", 1.02, []),
        ("equip.effectiveness", 1.03, [("master_data", "warn")]),
        ("equip.availability", 1.0, []),
        ("equip.availability", 1.001, [("master_data", "warn")]),
    ],
)
def test_more_than_all_of_the_time_is_doubtful_master_data(
    indicator: str, value: float, expected: list[tuple[str, str]]
) -> None:
    facts = Facts(days=(DayFact("U", "M1", indicator, value, NOW, 2),))
    assert kinds(facts) == expected


def test_doubtful_master_data_name_machine_and_value_and_do_not_flap() -> None:
    [problem] = open_problems(Facts(days=(DayFact("U", "M1", "equip.effectiveness", 1.3, NOW, 2),)), NOW)
    assert (problem.unit_code, problem.since) == ("U", NOW)
    assert dict(problem.evidence) == {
        "equipment": "M1", "indicator": "equip.effectiveness", "share": 1.3, "days": 2,
    }  # fmt: skip
    near = Facts(days=(DayFact("U", "M1", "equip.effectiveness", 1.015, NOW, 1),))
    assert kinds(near) == []
    assert kinds(near, open_before={problem.key}) == [("master_data", "warn")]


def test_milestone_is_overdue_from_the_day_after_in_local_time() -> None:
    due = MilestoneFact("U", "M1", "上线", date(2026, 11, 23))
    late = datetime(2026, 11, 23, 16, 1, tzinfo=UTC)  # 00:01 of the 24th in Guangdong
    assert kinds(Facts(milestones=(due,))) == []
    assert [p.evidence["days"] for p in open_problems(Facts(milestones=(due,)), late)] == [1]
    assert kinds(Facts(milestones=(replace(due, planned_on=date(2026, 10, 1)),))) == [
        ("milestone_overdue", "bad")
    ]


def test_component_down_and_said_goodbye() -> None:
    old = NOW - timedelta(seconds=40)
    assert kinds(Facts(components=(ComponentFact("writer", "a", "ok", old),))) == [("component_down", "bad")]
    assert kinds(Facts(components=(ComponentFact("writer", "a", "stopped", old),))) == []
    assert kinds(Facts(components=(ComponentFact("writer", "a", "permanent", NOW),))) == [
        ("component_down", "bad")
    ]


def test_component_that_moved_is_forgotten() -> None:
    gone = ComponentFact("writer", "old host", "ok", NOW - timedelta(hours=1))
    assert kinds(Facts(components=(gone,))) == [("component_down", "bad")]
    assert kinds(Facts(components=(gone, ComponentFact("writer", "new host", "ok", NOW)))) == []


def test_gravest_first_then_longest() -> None:
    facts = Facts(
        sources=(
            replace(WELL, unit_code="A", last_received_at=NOW - timedelta(seconds=100)),
            replace(WELL, unit_code="B", last_received_at=NOW - timedelta(hours=2)),
            replace(WELL, unit_code="C", last_received_at=NOW - timedelta(hours=1)),
        )
    )
    found = open_problems(facts, NOW)
    assert [p.unit_code for p in found] == ["B", "C", "A"]
    assert [worst(found, code) for code in "ABD"] == ["warn", "bad", None]


def test_thresholds_are_closed() -> None:
    with pytest.raises(ValidationError):
        Thresholds(unknown=1)  # type: ignore[call-arg]


def canary(seconds: float, name: str = "a") -> CanaryFact:
    return CanaryFact(name, NOW - timedelta(seconds=seconds))


def test_a_canary_that_does_not_come() -> None:
    assert kinds(Facts(canaries=(canary(59),))) == []
    [problem] = open_problems(Facts(canaries=(canary(61), canary(5, "b"))), NOW)
    assert (problem.kind, problem.severity, problem.key) == ("canary_silent", "bad", "canary_silent:a")
    assert problem.evidence == {"connector": "a", "silence_s": 61, "allowed_s": 60}


def test_when_all_canaries_are_silent_they_are_one_problem() -> None:
    [problem] = open_problems(Facts(canaries=(canary(300), canary(70, "b"))), NOW)
    assert (problem.kind, problem.evidence["n"], problem.evidence["silence_s"]) == ("canaries_silent", 2, 70)


@pytest.mark.parametrize(
    ("used", "before", "expected"),
    [(79, False, False), (80, False, True), (79, True, True), (74, True, False), (100, False, True)],
)
def test_log_alarm(used: int, before: bool, expected: bool) -> None:
    found = kinds(Facts(log=LogFact(used, 100)), open_before={"log_filling:log"} if before else ())
    assert found == ([("log_filling", "bad")] if expected else [])


@pytest.mark.parametrize(
    ("free_gib", "total_gib", "expected"),
    [(11, 100, []), (9, 100, [("disk_filling", "warn")]), (1.9, 4, [("disk_filling", "bad")])],
)
def test_disk_alarm(free_gib: float, total_gib: float, expected: list[tuple[str, str]]) -> None:
    disk = DiskFact("host/api", int(free_gib * 2**30), int(total_gib * 2**30))
    assert kinds(Facts(disks=(disk,))) == expected
