"""The physical limit: the same rows, encoded and sorted beforehand, by binary COPY straight into `measurement`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.copying import rows_of, store
from benchmarks.cpu import Seconds
from benchmarks.fleet import Fleet
from benchmarks.plan import Chunk, Pass, chunks
from benchmarks.platform import Platform
from store.database import connect
from store.rows import measurement_copy


class Limit(NamedTuple):
    """What the bare COPY took, and the processor seconds it cost."""

    rows_per_second: float
    cpu_seconds: Seconds


def raw_copy(platform: Platform, of: Pass, *, connections: int, rows_a_transaction: int) -> Limit:
    """Rows a second from the first COPY's begin to the last commit; every connection has units of its own."""
    fleet = platform.fleet
    shares = [range(first, len(fleet.units), connections) for first in range(connections)]
    arguments = [(platform.dsn, fleet, of, tuple(share), rows_a_transaction) for share in shares]
    with platform.crew.prepared(prepare, arguments) as workers:
        before = platform.cpu(workers.pids)
        workers.begin()
        done = workers.done()
        used = before.until(platform.cpu(workers.pids))
    seconds = max(d.ended for d in done) - min(d.began for d in done)
    return Limit(sum(d.result for d in done) / seconds, used)


class Copying:
    """One connection's work: everything encoded, stored group by group. Connected until it is closed."""

    def __init__(self, dsn: str, encoded: Sequence[bytearray], rows: int) -> None:
        self._encoded, self._rows = encoded, rows
        self._conn = connect(dsn, application="limit", autocommit=True)

    def __call__(self) -> int:
        """Store all; returns the number of rows."""
        for data in self._encoded:
            store(self._conn, data)
        return self._rows

    def close(self) -> None:
        """Close the connection; its server process, whose time is looked at, ends with it."""
        self._conn.close()


def prepare(dsn: str, fleet: Fleet, of: Pass, units: Sequence[int], rows_a_transaction: int) -> Copying:
    """Encode all that these units send."""
    mine = [chunk for chunk in chunks(fleet, of) if chunk.unit in units]
    encoded = [measurement_copy(rows_of(fleet, group)) for group in groups(mine, rows_a_transaction)]
    return Copying(dsn, encoded, sum(chunk.rows for chunk in mine))


def groups(of: Sequence[Chunk], rows: int) -> list[list[Chunk]]:
    """Cut into groups of at most `rows` readings (or one chunk), in their order."""
    found: list[list[Chunk]] = []
    size = 0
    for chunk in of:
        if not found or size + chunk.rows > rows:
            found.append([])
            size = 0
        found[-1].append(chunk)
        size += chunk.rows
    return found
