"""Frozen values and changes too fast to be true: quality is set, nothing is refused."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ingest.findings import doubted
from store.measurements import FROZEN, TOO_FAST
from store.tags import NEVER, Names, UnitTags

S = 1_000_000


def tags(*, frozen_s: float = np.nan, rate_per_s: float = np.nan) -> UnitTags:
    one = np.array([1], np.int32)
    nan = np.array([np.nan])
    text = np.array(["p"], object)
    return UnitTags(
        1, Names.of(["M1.p"]), one, one, np.array([2], np.int8), nan, nan, text, text, np.array([frozen_s], np.float32),
        np.array([rate_per_s], np.float32), np.array([NEVER]), nan.copy(), np.array([NEVER]),
    )  # fmt: skip


def judge(of: UnitTags, *readings: tuple[int, float]) -> npt.NDArray[np.int16]:
    """Qualities of (seconds, value), and the tag brought up to date as the writer does."""
    ts = np.array([at * S for at, _ in readings])
    value = np.array([v for _, v in readings])
    row, good = np.zeros(len(ts), np.int64), np.zeros(len(ts), np.int16)
    quality, at, since = doubted(of, row, ts, value, good)
    of.since[at] = since
    of.newest[:], of.value[:] = ts[-1], value[-1]
    return quality


def test_a_value_that_stays_too_long_is_doubted_across_batches() -> None:
    watched = tags(frozen_s=10)
    assert judge(watched, (0, 5.0), (10, 5.0)).tolist() == [0, 0]
    assert judge(watched, (11, 5.0), (12, 5.0), (13, 6.0), (20, 6.0)).tolist() == [FROZEN, FROZEN, 0, 0]
    assert judge(watched, (24, 6.0)).tolist() == [FROZEN]


def test_a_jump_is_doubted_and_the_way_back_too() -> None:
    watched = tags(rate_per_s=2)
    assert judge(watched, (0, 0.0), (1, 2.0), (2, 9.0), (3, 3.0)).tolist() == [0, 0, TOO_FAST, TOO_FAST]
    assert judge(watched, (13, 20.0)).tolist() == [0]


def test_tags_that_are_not_watched_are_left_alone() -> None:
    quality, rows, since = doubted(
        tags(), np.zeros(2, np.int64), np.array([0, 9 * S]), np.ones(2), np.zeros(2, np.int16)
    )
    assert quality.tolist() == [0, 0]
    assert len(rows) == len(since) == 0
