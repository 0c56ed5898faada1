"""What waits in the log, unit by unit, and whose turn it is. Pure: knows neither the log nor the database."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from ingest.log import LANES, Lane, Waiting, partition_of

Hand = Literal["express", "bulk", "bulk_2"]
"""Who stores: `express` for units of which little waits, the others for back-fill and for backlogs."""

EXPRESS_BYTES = 512 * 2**10
"""A unit with no more than this waiting live is stored by the express hand."""
MOST_WAITING = 1_000_000
"""Messages the backlog knows of at most; about 200 bytes each, and the rest waits unread in the log."""

MOST_ROWS: dict[Hand, int] = {"express": 100_000, "bulk": 200_000, "bulk_2": 200_000}
"""Rows of one group at most."""
_BYTES: dict[Hand, int] = {"express": 4 * 2**20, "bulk": 12 * 2**20, "bulk_2": 12 * 2**20}
# While a unit sends live, its own back-fill and backlog are taken in pieces that hold it up for a moment only.
_ROWS_BESIDE_LIVE = 100_000


@dataclass(slots=True)
class _Unit:
    """The messages of one unit: what waits, by lane, and what a hand has taken, oldest first."""

    name: str
    waiting: dict[Lane, deque[Waiting]] = field(default_factory=lambda: {lane: deque() for lane in LANES})
    n_bytes: dict[Lane, int] = field(default_factory=lambda: dict.fromkeys(LANES, 0))
    taken: deque[Waiting] = field(default_factory=deque)
    hand: Hand | None = None
    alone: bool = False
    """Something is taken that changes the unit's registry: nothing else may be taken before it is stored."""

    def oldest(self, lane: Lane) -> int | None:
        """The lowest sequence of the lane that is not stored."""
        heads = [w.sequence for w in self.taken if w.lane == lane]
        heads += [self.waiting[lane][0].sequence] if self.waiting[lane] else []
        return min(heads, default=None)


class Backlog:
    """All that waits for one writer.

    Of each unit one hand stores at a time, in the order of each lane. Units take turns, so that one
    with a long backlog, or with costly rubbish, holds up nobody but itself.
    """

    def __init__(self, positions: dict[tuple[str, str], int], floors: dict[tuple[str, int], int]) -> None:
        self._positions = positions
        self._floors = floors
        self._units: OrderedDict[str, _Unit] = OrderedDict()
        self._pending: Counter[tuple[str, str]] = Counter()
        self.messages = 0

    def add(self, entries: Iterable[Waiting]) -> int:
        """What the index found, in log order; returns how many of them are not stored yet."""
        added = 0
        for entry in entries:
            stored = self._positions.get((entry.lane, entry.unit), 0)
            if entry.sequence <= max(stored, self._floors.get((entry.lane, partition_of(entry.unit)), 0)):
                continue
            unit = self._units.setdefault(entry.unit, _Unit(entry.unit))
            unit.waiting[entry.lane].append(entry)
            unit.n_bytes[entry.lane] += entry.n_bytes
            self._pending[entry.unit, entry.source] += entry.rows
            added += 1
        self.messages += added
        return added

    @property
    def full(self) -> bool:
        """Whether nothing more should be read from the index for now."""
        return self.messages >= MOST_WAITING

    def take(self, hand: Hand, rows: int | None = None) -> list[Waiting]:
        """The messages that this hand should store next, oldest first of each unit; empty when there are none.

        `rows`: about so many, no more than MOST_ROWS. They count as taken until they are `done`. As few
        units as may be, each in its turn: many readings of a tag in one transaction share their costs.
        """
        mine = [unit for unit in self._units.values() if self._is_for(unit, hand)]
        if not mine:
            return []
        beside_live = hand != "express" and any(u.waiting["live"] and u.waiting["backfill"] for u in mine)
        rows_left = min(_ROWS_BESIDE_LIVE if beside_live else MOST_ROWS[hand], rows or MOST_ROWS[hand])
        bytes_left = _BYTES[hand]
        found: list[Waiting] = []
        for unit in mine:
            picked = _turn(unit, hand, rows_left, bytes_left)
            if not picked:
                continue
            unit.hand = hand
            unit.taken.extend(picked)
            self._units.move_to_end(unit.name)
            found += picked
            rows_left -= sum(w.rows for w in picked)
            bytes_left -= sum(w.n_bytes for w in picked)
            if rows_left <= 0 or bytes_left <= 0:
                break
        return found

    def done(self, entries: Iterable[Waiting]) -> None:
        """These are stored."""
        for entry in entries:
            unit = self._units[entry.unit]
            unit.taken.remove(entry)
            self._positions[entry.lane, entry.unit] = entry.sequence
            self._forget(unit, entry)

    def pending(self) -> dict[tuple[str, str], int]:
        """(unit, source) → rows that wait or are taken."""
        return dict(self._pending)

    def bytes_waiting(self) -> dict[str, int]:
        """Unit → bytes that wait or are taken."""
        return {
            unit.name: sum(unit.n_bytes.values()) + sum(w.n_bytes for w in unit.taken)
            for unit in self._units.values()
        }

    def stored_to(self, lane: Lane, partitions: Iterable[int], indexed: int) -> dict[int, int]:
        """Partition → sequence up to which everything of the lane is stored; `indexed`: what is known at all."""
        reached = dict.fromkeys(partitions, indexed)
        for unit in self._units.values():
            if (oldest := unit.oldest(lane)) is not None:
                partition = partition_of(unit.name)
                reached[partition] = min(reached[partition], oldest - 1)
        return reached

    def _is_for(self, unit: _Unit, hand: Hand) -> bool:
        if unit.alone or unit.hand not in (None, hand) or not any(unit.waiting.values()):
            return False
        if unit.hand is not None:
            return True
        little = bool(unit.waiting["live"]) and unit.n_bytes["live"] <= EXPRESS_BYTES
        # Whoever comes first takes a unit that sends live beside its back-fill: else that would never end.
        return little if hand == "express" else not little or bool(unit.waiting["backfill"])

    def _forget(self, unit: _Unit, entry: Waiting) -> None:
        self.messages -= 1
        key = (entry.unit, entry.source)
        self._pending[key] -= entry.rows
        if not self._pending[key]:
            del self._pending[key]
        if not unit.taken:
            self._free(unit)

    def _free(self, unit: _Unit) -> None:
        unit.hand, unit.alone = None, False
        if not any(unit.waiting.values()):
            del self._units[unit.name]


def _turn(unit: _Unit, hand: Hand, rows_left: int, bytes_left: int) -> list[Waiting]:
    """Take from one unit up to the limits, at least one message: live first, back-fill what room is left."""
    picked: list[Waiting] = []
    for lane in LANES[:1] if hand == "express" else LANES:
        queue = unit.waiting[lane]
        while queue and (not picked or (rows_left > 0 and bytes_left > 0)):
            if queue[0].kind == "records" and (picked or unit.taken):
                return picked  # what it changes bears on what comes after it, and not on what came before
            entry = queue.popleft()
            picked.append(entry)
            unit.n_bytes[lane] -= entry.n_bytes
            rows_left -= entry.rows
            bytes_left -= entry.n_bytes
            if entry.kind == "records":
                unit.alone = True
                return picked
    return picked
