"""Pauses between attempts: exponential, jittered, bounded."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Growing pauses between `first_seconds` and `most_seconds`.

    Each pause is drawn from the upper half of its step, so that many sources that went away
    together do not come back together.
    """

    first_seconds: float = 0.5
    most_seconds: float = 15.0
    _attempts: int = field(default=0, init=False)

    def next(self) -> float:
        """The next pause, seconds."""
        step = min(self.most_seconds, self.first_seconds * 2.0 ** min(self._attempts, 32))
        self._attempts += 1
        return max(self.first_seconds, step * random.uniform(0.5, 1.0))

    def longest(self) -> float:
        """A pause at the upper end, for what only a person can cure."""
        return self.most_seconds * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Start again with the shortest pause."""
        self._attempts = 0
