"""How much of the log each unit may take. Pure.

The writer tells from time to time how many bytes of each unit wait; what is appended since is added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

SHARE = 4
"""A unit may take one SHAREth of the log."""
LEAST_BYTES = 32 * 2**20


class Budget:
    """The units' shares of a log, as one process that appends to it sees them."""

    def __init__(self, log_bytes: int) -> None:
        self.unit_bytes = max(log_bytes // SHARE, LEAST_BYTES)
        self._waiting: dict[str, int] = {}
        self._since: Counter[str] = Counter()

    def has_room(self, unit: str, n_bytes: int) -> bool:
        """Whether the unit may append that much now."""
        return self._waiting.get(unit, 0) + self._since[unit] + n_bytes <= self.unit_bytes

    def appended(self, unit: str, n_bytes: int) -> None:
        """The unit has appended that much."""
        self._since[unit] += n_bytes

    def heard(self, waiting: Mapping[str, int], told_by_it: Callable[[str], bool]) -> None:
        """A writer tells unit → bytes; of a unit that it would tell of and does not, little waits."""
        for unit in [unit for unit in {*self._waiting, *self._since} if told_by_it(unit)]:
            self._waiting.pop(unit, None)
            self._since.pop(unit, None)
        self._waiting |= waiting
