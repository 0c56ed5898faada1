"""Whose turn it is: order, fairness, hands, accounts. Pure."""

from __future__ import annotations

from ingest.backlog import EXPRESS_BYTES, Backlog
from ingest.log import Kind, Lane, Waiting, partition_of

_next = iter(range(1, 10**6))


def waiting(
    unit: str, rows: int = 10, n_bytes: int = 1000, lane: Lane = "live", kind: Kind = "batch"
) -> Waiting:
    return Waiting(lane, unit, f"http_push:{unit}", kind, next(_next), rows, n_bytes)


def backlog(*entries: Waiting) -> Backlog:
    made = Backlog({}, {})
    made.add(entries)
    return made


def test_little_is_for_the_express_hand_and_much_for_the_bulk_hand() -> None:
    little, much = waiting("U1"), [waiting("U2", 50_000, EXPRESS_BYTES) for _ in range(3)]
    made = backlog(little, *much)
    assert made.take("express") == [little]
    assert made.take("bulk") == much
    assert made.take("express") == []


def test_back_fill_is_for_the_bulk_hand_and_comes_after_what_is_live() -> None:
    past, live = waiting("U1", lane="backfill"), waiting("U1")
    made = backlog(past, live)
    assert made.take("bulk") == [live, past]


def test_a_unit_is_in_one_hand_at_a_time() -> None:
    first = waiting("U1")
    made = backlog(first)
    assert made.take("express") == [first]
    more = [waiting("U1", 50_000, EXPRESS_BYTES) for _ in range(2)]
    made.add(more)
    assert made.take("bulk") == []
    made.done([first])
    assert made.take("bulk") == more


def test_units_take_turns_however_much_waits_of_one() -> None:
    flood = [waiting("U1", 50_000, EXPRESS_BYTES) for _ in range(50)]
    others = [[waiting(f"U{i}", 50_000, EXPRESS_BYTES) for _ in range(2)] for i in (2, 3)]
    made = backlog(*flood, *others[0], *others[1])
    first = made.take("bulk")
    made.add([waiting("U4", 50_000, 2 * EXPRESS_BYTES)])
    turns = [first, *(made.take("bulk") for _ in range(4))]
    # Whoever had its turn goes to the end.
    assert [{entry.unit for entry in turn} for turn in turns] == [
        {"U1"}, {"U2", "U3"}, {"U1"}, {"U4", "U1"}, {"U1"}
    ]  # fmt: skip


def test_two_hands_for_bulk_share_the_units() -> None:
    made = backlog(*(waiting(f"U{i % 2}", 50_000, EXPRESS_BYTES) for i in range(8)))
    one, two = made.take("bulk"), made.take("bulk_2")
    assert [{entry.unit for entry in taken} for taken in (one, two)] == [{"U0"}, {"U1"}]


def test_a_group_is_bounded_and_a_large_message_goes_by_itself() -> None:
    big = [waiting("U1", 1_000_000, 2**24, "backfill") for _ in range(3)]
    made = backlog(*big)
    assert made.take("bulk") == big[:1]


def test_what_changes_the_registry_is_stored_before_what_comes_after_it() -> None:
    before, change, after = waiting("U1"), waiting("U1", 0, kind="records"), waiting("U1")
    made = backlog(before, change, after)
    assert made.take("express") == [before]
    assert made.take("express") == []  # not while something of the unit is taken
    made.done([before])
    assert made.take("express") == [change]
    assert made.take("express") == []
    made.done([change])
    assert made.take("express") == [after]


def test_what_is_stored_is_not_taken_again() -> None:
    entries = [waiting("U1") for _ in range(4)]
    made = Backlog({("live", "U1"): entries[1].sequence}, {("live", partition_of("U2")): 10**9})
    assert made.add([*entries, waiting("U2")]) == 2
    assert made.take("express") == entries[2:]


def test_pending_is_what_waits_or_is_taken() -> None:
    entries = [waiting("U1", 3), waiting("U1", 4), waiting("U2", 5)]
    made = backlog(*entries)
    assert made.pending() == {("U1", "http_push:U1"): 7, ("U2", "http_push:U2"): 5}
    taken = made.take("express")
    assert made.pending() == {("U1", "http_push:U1"): 7, ("U2", "http_push:U2"): 5}
    made.done(taken)
    assert made.pending() == {}
    assert made.messages == 0


def test_the_log_keeps_everything_from_the_oldest_that_is_not_stored() -> None:
    first, second = waiting("U1"), waiting("U1")
    made = backlog(first, second)
    partition = partition_of("U1")
    assert made.stored_to("live", range(8), second.sequence)[partition] == first.sequence - 1
    assert made.stored_to("backfill", range(8), second.sequence)[partition] == second.sequence
    made.done(made.take("express"))
    assert made.stored_to("live", range(8), second.sequence)[partition] == second.sequence
