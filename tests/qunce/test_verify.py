"""The balance of senders, books and tables: what is lost, doubled or unexplained shows."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.accounting import Account
from qunce.verify import Verification, balance
from store.accounts import SourceHeld, UnitRows

KEY = ("U", "mqtt:U")


def verdict(
    *, stored: int = 8, duplicates: int = 1, quarantined: int = 1, pending: int = 0, in_tables: int | None = None,
    held: int | None = None, **sent: Any,
) -> Verification:  # fmt: skip
    received = stored + duplicates + quarantined + pending
    return balance(
        [Account(*KEY, received, stored, duplicates, 0, quarantined, pending)],
        [UnitRows("U", stored if in_tables is None else in_tables, 0, 0)],
        [SourceHeld(*KEY, quarantined if held is None else held)],
        {"mqtt:U": sent} if sent else {},
    )


@pytest.mark.parametrize(
    ("balanced", "case"),
    [
        (True, verdict()),
        (True, verdict(sent=10, in_flight=0, faults={"duplicate": 1})),
        (True, verdict(sent=12, pending=2, faults={"duplicate": 1})),
        (True, verdict(sent=9, in_flight=1, faults={"duplicate": 1})),  # arrived, acknowledgement not seen
        (True, verdict(sent=9)),  # sent again: the duplicate nobody meant
        (False, verdict(sent=11)),  # one was lost
        (True, verdict(sent=9, faults={"duplicate": 1})),  # somebody else used the unit's key
        (False, verdict(in_tables=7)),  # booked, but not there
        (False, verdict(in_tables=9)),
        (False, verdict(held=0)),
    ],
)
def test_balance(balanced: bool, case: Verification) -> None:
    assert case.balanced is balanced
    [source] = case.sources
    arrived = source.stored + source.duplicates + source.quarantined + source.pending
    assert (source.sent == arrived) is source.balanced


def test_a_source_of_which_nothing_arrived_shows() -> None:
    found = balance([], [], [], {"opcua:F1": {"sent": 5, "in_flight": 0}})
    assert not found.balanced
    assert found.sources[0].sent == 5


def test_what_is_only_in_the_log_shows_as_pending() -> None:
    found = balance([Account(*KEY, 4, 0, 0, 0, 0, 4)], [], [], {"mqtt:U": {"sent": 4, "in_flight": 0}})
    assert found.balanced
    assert found.sources[0].pending == 4


def test_a_server_of_ones_own_has_no_other_senders() -> None:
    account = Account("U", "opcua:F1", 10, 10, 0, 0, 0, 0)
    held = [SourceHeld("U", "opcua:F1", 0)]
    rows = [UnitRows("U", 10, 0, 0)]
    assert balance([account], rows, held, {"opcua:F1": {"sent": 10}}).balanced
    assert not balance([account], rows, held, {"opcua:F1": {"sent": 9}}).balanced


def test_what_the_way_in_counted_and_nobody_judged_shows() -> None:
    lost = Account(*KEY, 11, 10, 0, 0, 0, 0)
    found = balance([lost], [UnitRows("U", 10, 0, 0)], [], {})
    assert not found.balanced
    assert "11" in found.disagreements[0]


def test_what_was_refused_and_sent_again_is_nobody_elses() -> None:
    [source] = verdict(sent=9, resent=1, faults={"duplicate": 1}).sources
    assert (source.redelivered, source.others) == (1, 0)
    [source] = verdict(sent=8, resent=1, faults={"duplicate": 1}).sources
    assert (source.redelivered, source.others) == (1, 1)
