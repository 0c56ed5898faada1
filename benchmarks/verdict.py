"""Is every acknowledged reading stored, once, with its value? The day of a pass is read back whole and compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from psycopg import sql

from benchmarks.fleet import Fleet, values_of
from benchmarks.plan import DAY_US, Pass, key, keys, sorted_once
from store.database import Connection, only
from store.times import POSTGRES_EPOCH_US, moment

_PAGE, _PAGES = 8192, 4096
_ROW = np.dtype([("tag_id", ">i4"), ("ts", ">i8"), ("value", ">f8")])


@dataclass(frozen=True, slots=True)
class Verdict:
    """Distinct keys that were acknowledged, and what the table has; the history before the pass is judged, not counted."""

    expected: int
    stored: int
    lost: int
    doubled: int
    strange: int
    """Rows nobody sent, or with another value than was sent."""

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(
            self.expected + other.expected,
            self.stored + other.stored,
            self.lost + other.lost,
            self.doubled + other.doubled,
            self.strange + other.strange,
        )


def judge(conn: Connection, fleet: Fleet, of: Pass) -> Verdict:
    """Compare the day of a pass in the table with what was sent, key by key."""
    found = stored_between(conn, of.day * DAY_US, (of.day + 1) * DAY_US)
    return compare(keys(fleet, of), found, of.day, before=of.history * fleet.tags)


def compare(
    expected: npt.NDArray[np.int64], found: npt.NDArray[np.void], day: int, *, before: int = 0
) -> Verdict:
    """Expected keys (`plan.key` of that day; ascending, each once) and the rows found; `before` of both are not counted."""
    tag_id, ts = found["tag_id"].astype(np.int32), found["ts"].astype(np.int64) + POSTGRES_EPOCH_US
    stored = key(tag_id, ts, day)
    distinct = sorted_once(stored)
    common = len(expected) + len(distinct) - len(sorted_once(np.concatenate([expected, distinct])))
    wrong = int((found["value"] != values_of(tag_id, ts)).sum())
    return Verdict(
        expected=len(expected) - before,
        stored=len(stored) - before,
        lost=len(expected) - common,
        doubled=len(stored) - len(distinct),
        strange=len(distinct) - common + wrong,
    )


def stored_between(conn: Connection, begin: int, end: int) -> npt.NDArray[np.void]:
    """Rows with begin <= ts < end (µs), fields as in `_ROW`.

    Packed by the server: a row of the result holds all of a tag, which is ten times as fast as a row a reading.
    """
    cursor = conn.cursor(binary=True)
    cursor.execute(
        "SELECT string_agg(int4send(tag_id) || timestamptz_send(ts) || float8send(value), ''::bytea)"
        " FROM measurement WHERE ts >= %s AND ts < %s"
        " GROUP BY tag_id",
        (moment(begin), moment(end)),
    )
    return np.frombuffer(b"".join(packed for (packed,) in cursor), _ROW)


def stored_in(conn: Connection, table: str) -> Iterator[npt.NDArray[np.void]]:
    """All rows of one partition, as `stored_between`, some thousand pages of its file at a time."""
    size = only(conn.execute("SELECT pg_relation_size(to_regclass(%s))", [table]))[0]
    rows = "int4send(tag_id) || timestamptz_send(ts) || float8send(value)"
    statement = sql.SQL(
        "SELECT coalesce(string_agg({}, ''::bytea), ''::bytea) FROM {} WHERE ctid >= %s::tid AND ctid < %s::tid"
    ).format(sql.SQL(rows), sql.Identifier(table))
    cursor = conn.cursor(binary=True)
    for page in range(0, size // _PAGE + 1, _PAGES):
        cursor.execute(statement, (f"({page},0)", f"({page + _PAGES},0)"))
        yield np.frombuffer(only(cursor)[0], _ROW)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The platform's own account, summed over all sources."""

    received: int
    stored: int
    duplicates: int
    corrections: int
    quarantined: int

    def since(self, before: Ledger) -> Ledger:
        """What was booked after `before`."""
        return Ledger(
            self.received - before.received,
            self.stored - before.stored,
            self.duplicates - before.duplicates,
            self.corrections - before.corrections,
            self.quarantined - before.quarantined,
        )


def ledger(conn: Connection) -> Ledger:
    """The account now."""
    row = only(
        conn.execute(
            "SELECT coalesce(sum(received), 0)::bigint, coalesce(sum(stored), 0)::bigint,"
            " coalesce(sum(duplicates), 0)::bigint, coalesce(sum(corrections), 0)::bigint,"
            " coalesce(sum(quarantined), 0)::bigint FROM ingest_ledger"
        )
    )
    return Ledger(*row)
