"""Room for requests' data: what a process holds in memory at once, and how much of it one unit may take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ingest.api.problems import Problem

MOST_BYTES = 128 * 2**20
MOST_BYTES_OF_UNIT = 48 * 2**20
SMALL_BYTES = 2**20
KEPT_FOR_SMALL_BYTES = 32 * 2**20
"""Of all bytes, for bodies that are small: whoever is slow with large ones does not keep these out."""
MOST_REQUESTS_OF_UNIT = 16


class Rooms:
    """All rooms of one process. Used in one loop only, so nothing needs a lock."""

    def __init__(self) -> None:
        self.held_bytes = 0
        self.bytes_of_unit: dict[str, int] = {}
        self.requests_of_unit: dict[str, int] = {}

    @contextmanager
    def enter(self, unit: str) -> Iterator[Room]:
        """A room of this unit, empty; what it holds is given back at the end."""
        self.requests_of_unit[unit] = self.requests_of_unit.get(unit, 0) + 1
        room = Room(self, unit)
        try:
            yield room
        finally:
            room.give_back()
            self.requests_of_unit[unit] -= 1
            if not self.requests_of_unit[unit]:  # who is gone is forgotten: addresses are many
                del self.requests_of_unit[unit]
                self.bytes_of_unit.pop(unit, None)


class Room:
    """What one request holds."""

    def __init__(self, rooms: Rooms, unit: str) -> None:
        self._rooms = rooms
        self._unit = unit
        self._bytes = 0
        self._crowded = rooms.requests_of_unit[unit] > MOST_REQUESTS_OF_UNIT

    def hold(self, n_bytes: int) -> None:
        """Hold at least `n_bytes` from now on, before they are in memory. Raises Problem when there is no room."""
        rooms, more = self._rooms, n_bytes - self._bytes
        mine = rooms.bytes_of_unit.get(self._unit, 0)
        most = MOST_BYTES if n_bytes <= SMALL_BYTES else MOST_BYTES - KEPT_FOR_SMALL_BYTES
        if self._crowded or mine + more > MOST_BYTES_OF_UNIT or rooms.held_bytes + more > most:
            raise Problem("busy", retry_after_s=1)
        if more > 0:
            self._grow(more)

    def give_back(self) -> None:
        """Hold nothing any more."""
        self._grow(-self._bytes)

    def _grow(self, more: int) -> None:
        self._bytes += more
        self._rooms.held_bytes += more
        self._rooms.bytes_of_unit[self._unit] = self._rooms.bytes_of_unit.get(self._unit, 0) + more
