"""How fast the writers work: from the counts they report to rows a second."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime

from store.status import Component

OVER_S = 60.0
"""A pace is taken over the last so many seconds."""
_LEAST_S = 3.0
_MOST = 64


class Paces:
    """Remembers the last reports of each writer; not for several threads."""

    def __init__(self) -> None:
        self._told: dict[str, deque[tuple[datetime, int]]] = {}

    def note(self, words: Sequence[Component]) -> Mapping[str, float]:
        """Take note of what the parts say now; instance → rows a second, where two reports lie far enough apart."""
        writers = {w.instance: w for w in words if w.component == "writer" and "rows" in w.detail}
        self._told = {name: told for name, told in self._told.items() if name in writers}
        found = {}
        for name, word in writers.items():
            told = self._told.setdefault(name, deque(maxlen=_MOST))
            at, rows = word.beat_at, int(word.detail["rows"])
            if told and rows < told[-1][1]:
                told.clear()  # it was started anew
            if not told or at > told[-1][0]:
                told.append((at, rows))
            while len(told) > 1 and (told[-1][0] - told[0][0]).total_seconds() > OVER_S:
                told.popleft()
            passed = (told[-1][0] - told[0][0]).total_seconds()
            if passed >= _LEAST_S:
                found[name] = (told[-1][1] - told[0][1]) / passed
        return found
