"""What is sent in one pass: every machine scanned so many times within a UTC day of the pass's own.

A day is a partition of `measurement`: each pass finds the same state, an hour of history and nothing
else, whatever was measured before it. With `late`, 20 % of the scans have a source time within that
hour, shuffled, and 5 % are sent a second time. Late and repeated scans are spread over the whole pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.fleet import SIGNALS, Fleet, tag_names, values_of

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000
STEP_US = 1_000_000
LATE_SHARE, DUPLICATE_SHARE = 0.20, 0.05
ROWS_A_MESSAGE = 50_000

Times = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Chunk:
    """k scans of one unit, in order of arrival: machine int32[k], ts int64[k] µs UTC; k * SIGNALS readings."""

    unit: int
    machine: npt.NDArray[np.int32]
    ts: Times

    @property
    def rows(self) -> int:
        """Readings."""
        return len(self.ts) * SIGNALS


@dataclass(frozen=True, slots=True)
class Columns:
    """The readings of a chunk as columns of n: names of its tags, index into them, tag_id, ts, value."""

    names: tuple[str, ...]
    tag_index: npt.NDArray[np.int32]
    tag_id: npt.NDArray[np.int32]
    ts: Times
    value: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pass:
    """`scans` of each machine, on UTC day number `day` since the epoch; `history` scans of each are there before."""

    day: int
    scans: int
    late: bool = False
    history: int = 20

    @property
    def begins(self) -> int:
        """Source time of the first scan in order, µs: two hours into the day, one hour behind the history's begin."""
        return self.day * DAY_US + 2 * HOUR_US

    @property
    def kinds(self) -> tuple[int, int, int]:
        """Scans of each machine that are in order, late, and sent a second time."""
        if not self.late:
            return self.scans, 0, 0
        late = max(round(self.scans * LATE_SHARE), int(self.scans > 1))
        twice = max(round(self.scans * DUPLICATE_SHARE), int(self.scans > 3))
        return self.scans - late - twice, late, twice

    @property
    def stored_before(self) -> Times:
        """Source times of the history."""
        return self.begins - HOUR_US + np.arange(self.history) * (HOUR_US // max(1, self.history))


def history(fleet: Fleet, of: Pass) -> list[Chunk]:
    """One chunk a unit: what is stored before the pass begins."""
    machines = np.tile(np.arange(fleet.machines, dtype=np.int32), of.history)
    ts = np.repeat(of.stored_before, fleet.machines)
    return [Chunk(unit, machines, ts) for unit in range(len(fleet.units))]


def times(fleet: Fleet, of: Pass, unit: int) -> Times:
    """Source times int64[scans, machines] of a unit's scans, in order of arrival."""
    if not of.late:
        return np.repeat(of.begins + np.arange(of.scans) * STEP_US, fleet.machines).reshape(of.scans, -1)
    random = np.random.default_rng((of.day, unit))
    kinds = np.repeat([0, 1, 2], of.kinds)
    random.shuffle(kinds[1:])  # the first is always one in order: what comes twice came once before
    # Half a second beside the whole ones, so that nothing late meets what is there.
    slots = random.permuted(np.tile(np.arange(HOUR_US // STEP_US), (fleet.machines, 1)), axis=1).T
    found = np.empty((of.scans, fleet.machines), np.int64)
    ordered = np.cumsum(kinds == 0) - 1
    in_order, again = kinds == 0, np.flatnonzero(kinds == 2)
    found[in_order] = (of.begins + ordered[in_order] * STEP_US)[:, None]
    found[kinds == 1] = of.begins - HOUR_US + slots[: of.kinds[1]] * STEP_US + STEP_US // 2
    found[again] = (of.begins + random.integers(0, ordered[again] + 1) * STEP_US)[:, None]
    return found


def chunks(fleet: Fleet, of: Pass, rows: int = ROWS_A_MESSAGE) -> Iterator[Chunk]:
    """Everything that is sent, at most `rows` readings a chunk; the units take turns."""
    most = max(1, rows // SIGNALS)
    machines = np.tile(np.arange(fleet.machines, dtype=np.int32), of.scans)
    by_unit = [times(fleet, of, unit).ravel() for unit in range(len(fleet.units))]
    for start in range(0, len(machines), most):
        for unit, ts in enumerate(by_unit):
            yield Chunk(unit, machines[start : start + most], ts[start : start + most])


def columns(fleet: Fleet, chunk: Chunk) -> Columns:
    """The chunk as columns."""
    present, position = np.unique(chunk.machine, return_inverse=True)
    signals = np.arange(SIGNALS, dtype=np.int32)
    tag_index = (position.astype(np.int32)[:, None] * SIGNALS + signals).ravel()
    place = (chunk.machine[:, None] * SIGNALS + signals).ravel()
    tag_id = fleet.tag_ids[chunk.unit][place]
    ts = np.repeat(chunk.ts, SIGNALS)
    return Columns(tuple(tag_names(present)), tag_index, tag_id, ts, values_of(tag_id, ts))


def keys(fleet: Fleet, of: Pass) -> npt.NDArray[np.int64]:
    """Every key that the store must hold of this day afterwards, each once, ascending: see `key`."""
    found = []
    for unit in range(len(fleet.units)):
        tag_ids = fleet.tag_ids[unit].reshape(fleet.machines, SIGNALS)
        before = np.repeat(of.stored_before, fleet.machines).reshape(-1, fleet.machines)
        ts = np.concatenate([before, times(fleet, of, unit)])
        found.append(key(tag_ids[None, :, :], ts[:, :, None], of.day).ravel())
    return sorted_once(np.concatenate(found))


def sorted_once(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Ascending, each once; as np.unique, whose hashing is very slow on numbers that differ in high bits only."""
    numbers = np.sort(numbers)
    return numbers[np.r_[numbers[:1] == numbers[:1], numbers[1:] != numbers[:-1]]]


def key(tag_id: npt.NDArray[np.int32], ts: Times, day: int) -> npt.NDArray[np.int64]:
    """(tag_id, ts) of one day as one number: a day has fewer than 2^37 µs."""
    number: npt.NDArray[np.int64] = (tag_id.astype(np.int64) << 37) | (ts - day * DAY_US)
    return number
