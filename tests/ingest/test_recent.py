"""What is remembered of the keys stored lately."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.recent import Recent

NOW = 1_795_000_000_000_000
Keys = list[tuple[int, int]]


def _columns(keys: Keys) -> tuple[np.ndarray, np.ndarray]:
    columns = np.array(sorted(keys), np.int64).reshape(len(keys), 2)
    return columns[:, 0], columns[:, 1] + NOW


keys_ = st.lists(st.tuples(st.integers(0, 2**20 - 1), st.integers(0, 50)), unique=True, max_size=60)


@given(st.lists(keys_, max_size=12), keys_)
def test_it_holds_what_was_added_and_nothing_else(added: list[Keys], asked: Keys) -> None:
    recent = Recent()
    for keys in added:
        recent.add(*_columns(keys), most=10_000)
    known = {key for keys in added for key in keys}
    assert recent.holds(*_columns(asked)).tolist() == [key in known for key in sorted(asked)]


def test_the_latest_keys_are_kept_and_no_more_than_its_share() -> None:
    recent = Recent()
    row = np.arange(10)
    for second in range(1_000):
        recent.add(row, np.full(10, NOW + second), most=100)
    held = [bool(recent.holds(row, np.full(10, NOW + second)).all()) for second in range(1_000)]
    assert held[-5:] == [True] * 5
    assert sum(held) <= 11


def test_many_small_additions_are_few_pieces() -> None:
    recent = Recent()
    for second in range(3_000):
        recent.add(np.zeros(1, np.int64), np.full(1, NOW + second), most=100_000)
    assert recent.holds(np.zeros(3_000, np.int64), NOW + np.arange(3_000)).all()
    assert recent.pieces < 20


def test_more_than_its_share_at_once_is_not_remembered() -> None:
    recent = Recent()
    recent.add(np.arange(101), np.full(101, NOW), most=100)
    assert not recent.holds(np.arange(101), np.full(101, NOW)).any()


def test_times_that_begin_anew_within_a_batch_are_remembered() -> None:
    turn = (NOW >> 43 << 43) + (1 << 43)
    recent = Recent()
    ts = np.array([turn - 1, turn, turn + 1])
    recent.add(np.zeros(3, np.int64), ts, most=100)
    assert recent.holds(np.zeros(3, np.int64), ts).all()
