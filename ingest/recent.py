"""Which keys of a unit the writer has stored lately: what is not worth trying, because the table has it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MOST_KEYS = 2_000_000
"""Keys that one writer remembers, of all its units together (8 bytes each)."""

_TS_BITS = 43  # 101 days of microseconds; beyond, keys may be taken for one another

Keys = npt.NDArray[np.int64]


class Recent:
    """Keys (row of the unit's tags, ts) stored lately, in two generations.

    A hint, never a verdict: a key that is not remembered may be stored nevertheless, and one that is may
    be another that looks the same. Either costs a look at the table, no more.
    """

    def __init__(self) -> None:
        self._young: list[Keys] = []
        self._old = np.empty(0, np.int64)

    @property
    def pieces(self) -> int:
        """How many arrays have to be looked through."""
        return 1 + len(self._young)

    def add(self, row: npt.NDArray[np.int64], ts: npt.NDArray[np.int64], most: int) -> None:
        """Remember keys, unless there are more than `most`; of those before, at least the last `most` / 2."""
        if not 0 < len(row) <= most:
            return
        keys = _folded(row, ts)
        # In order of (row, ts) they are in order already, but where 101 days begin anew.
        piece = keys if bool((keys[1:] >= keys[:-1]).all()) else np.sort(keys)
        self._young = _merged([*self._young, piece])
        if sum(map(len, self._young)) > most // 2:
            self._old, self._young = np.sort(np.concatenate(self._young), kind="stable"), []

    def holds(self, row: npt.NDArray[np.int64], ts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of these keys are remembered, bool[n]."""
        keys = _folded(row, ts)
        found = np.zeros(len(keys), np.bool_)
        for piece in (self._old, *self._young):
            if len(piece):
                at = np.searchsorted(piece, keys)
                np.minimum(at, len(piece) - 1, out=at)
                found |= piece[at] == keys
        return found


def _merged(pieces: list[Keys]) -> list[Keys]:
    """Neighbours joined until each piece is more than twice as large as the next: few to look through."""
    merged: list[Keys] = []
    for piece in pieces:
        merged.append(piece)
        while len(merged) > 1 and len(merged[-2]) <= 2 * len(merged[-1]):
            last = merged.pop()
            # Stable, because that one joins two sorted runs in one pass.
            merged[-1] = np.sort(np.concatenate([merged[-1], last]), kind="stable")
    return merged


def _folded(row: npt.NDArray[np.int64], ts: npt.NDArray[np.int64]) -> Keys:
    return (row << _TS_BITS) | (ts & ((1 << _TS_BITS) - 1))
