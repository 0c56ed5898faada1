"""The account of a moment, drawn up from what waits and what is booked."""

from __future__ import annotations

from typing import Any

from ingest.accounting import Booked, draw_up, pending
from ingest.log import Waiting, partition_of
from store.accounts import SourceAccount
from store.operations import Unassigned


def message(sequence: int, rows: int = 3, unit: str = "U", **other: Any) -> Waiting:
    values = {"lane": "live", "unit": unit, "source": "mqtt:U", "kind": "batch", "n_bytes": 9} | other
    return Waiting(sequence=sequence, rows=rows, **values)


def booked(*sources: SourceAccount, unassigned: tuple[Unassigned, ...] = ()) -> Booked:
    return Booked(list(sources), list(unassigned), {"U", "V"}, {}, {})


def ledger(received: int, stored: int, duplicates: int, corrections: int, quarantined: int) -> SourceAccount:
    return SourceAccount("U", "mqtt:U", received, stored, duplicates, corrections, quarantined, None, None)


def test_only_what_is_beyond_the_position_is_pending() -> None:
    waiting = [message(1), message(2, lane="backfill"), message(3), message(4, unit="V", source="a")]
    assert pending(waiting, {("live", "U"): 1}, {}) == {("U", "mqtt:U"): 6, ("V", "a"): 3}


def test_positions_of_partitions_still_count() -> None:
    floor = {("live", partition_of("U")): 2}
    assert pending([message(2), message(3)], {("live", "U"): 1}, floor) == {("U", "mqtt:U"): 3}


def test_records_and_canaries_have_no_rows_here() -> None:
    assert pending([message(1, 5, kind="records"), message(2, 0, kind="canary")], {}, {}) == {}


def test_what_waits_counts_as_received() -> None:
    [account] = draw_up(booked(ledger(10, 6, 2, 1, 1)), {("U", "mqtt:U"): 7})
    assert (account.received, account.pending) == (17, 7)
    assert account.balanced


def test_a_row_that_the_ledger_lost_shows() -> None:
    [account] = draw_up(booked(ledger(10, 6, 2, 0, 1)), {})
    assert not account.balanced


def test_a_source_of_which_all_waits() -> None:
    [account] = draw_up(booked(), {("V", "opcua:x"): 4})
    assert (account.unit, account.source, account.received, account.pending) == ("V", "opcua:x", 4, 4)
    assert account.balanced


def test_unknown_units_have_an_account_of_their_own() -> None:
    found = draw_up(booked(unassigned=(Unassigned("NOBODY", 5),)), {("NOBODY", "mqtt:x"): 2})
    [account] = found
    assert (account.unit, account.source) == ("NOBODY", "")
    assert (account.received, account.quarantined, account.pending) == (7, 5, 2)
    assert account.balanced


def test_without_the_log_it_is_said() -> None:
    [account] = draw_up(booked(ledger(10, 6, 2, 1, 1)), None)
    assert account.pending is None
    assert account.received == 10
    assert account.balanced
