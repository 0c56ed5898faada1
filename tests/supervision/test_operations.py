"""Facts for the operators from what parts say of themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from store.canary import Arrived
from store.status import Component, Status
from supervision.operations import canary_facts, disk_facts, log_fact

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
BEGAN = int((NOW - timedelta(hours=1)).timestamp() * 1e6)


def word(
    component: str, detail: dict[str, Any], *, age_s: float = 1, status: Status = "ok", instance: str = "h/x"
) -> Component:
    return Component(component, instance, status, detail, NOW - timedelta(seconds=age_s), age_s)


def test_only_who_promised_canaries_and_did_not_say_goodbye_is_waited_for() -> None:
    words = [
        word("a", {"canaries_since": BEGAN}),
        word("b", {"canaries_since": BEGAN}),
        word("c", {"canaries_since": BEGAN}, status="stopped"),
        word("writer", {}),
    ]
    stored = Arrived("a", NOW, NOW, NOW - timedelta(seconds=4), 9, 4.0)
    facts = {f.connector: f.since for f in canary_facts(words, [stored])}
    assert facts == {"a": NOW - timedelta(seconds=4), "b": NOW - timedelta(hours=1)}


def test_the_newest_word_on_the_log_counts() -> None:
    words = [
        word("writer", {"log": {"bytes": 5, "limit_bytes": 10}}, age_s=3),
        word("api", {"log": {"bytes": 7, "limit_bytes": 10}}, age_s=1),
        word("old", {"log": {"bytes": 10, "limit_bytes": 10}}, age_s=3600),
    ]
    fact = log_fact(words, NOW)
    assert fact is not None
    assert (fact.n_bytes, fact.limit_bytes) == (7, 10)
    assert log_fact([], NOW) is None


def test_disks_by_instance() -> None:
    words = [
        word("api", {"disk": {"free_bytes": 1, "total_bytes": 9}}, instance="one"),
        word("api", {}, instance="two"),
    ]
    [disk] = disk_facts(words, NOW)
    assert (disk.instance, disk.free_bytes, disk.total_bytes) == ("one", 1, 9)
