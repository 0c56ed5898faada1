"""A unit's share of the log."""

from __future__ import annotations

from ingest.budget import LEAST_BYTES, SHARE, Budget


def test_a_unit_has_a_share_and_gets_it_back_when_the_writer_tells() -> None:
    budget = Budget(SHARE * LEAST_BYTES)
    assert budget.has_room("U1", LEAST_BYTES)
    budget.appended("U1", LEAST_BYTES)
    assert not budget.has_room("U1", 1)
    assert budget.has_room("U2", LEAST_BYTES)
    budget.heard({"U1": LEAST_BYTES // 2}, lambda unit: True)
    assert budget.has_room("U1", LEAST_BYTES // 2)
    assert not budget.has_room("U1", LEAST_BYTES // 2 + 1)
    budget.heard({}, lambda unit: False)  # another writer, of other partitions
    assert not budget.has_room("U1", LEAST_BYTES)
    budget.heard({}, lambda unit: True)
    assert budget.has_room("U1", LEAST_BYTES)
