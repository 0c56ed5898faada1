"""The account of what arrived: kept in the very transaction that stores the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from store.arrays import column
from store.database import Connection, only
from store.latency import BUCKET_BASE_S, BUCKET_GROWTH
from store.measurements import DUPLICATE, Verdicts
from store.quarantine import Refused
from store.rows import Parts, Rows
from store.times import HOUR_US, moment

TIMELY_US = 60_000_000
"""A live reading is timely when it arrives within 60 s of its source time (dq.timeliness)."""
ARRIVAL_SLOT_US = 10_000_000
LATENCY_SLOT_US = 300_000_000
ARRIVAL_KEPT = timedelta(days=2)
LATENCY_KEPT = timedelta(days=400)
STATUS_KEPT = timedelta(days=7)

_UNKNOWN_EQUIPMENT = 0
_WRITER_LOCK = 7_236_010  # one for each hand of a writer


@dataclass(frozen=True, slots=True)
class SourceAccount:
    """One source's rows so far: received = stored + duplicates + corrections + quarantined."""

    unit: str
    source: str
    received: int
    stored: int
    duplicates: int
    corrections: int
    quarantined: int
    last_received_at: datetime | None
    last_source_ts: datetime | None


class UnitRows(NamedTuple):
    """Rows of one unit actually found in the tables; stored = measurements + events, corrections = revisions."""

    unit: str
    measurements: int
    events: int
    revisions: int


class SourceHeld(NamedTuple):
    """Rows of one source actually found in the quarantine."""

    unit: str
    source: str
    quarantined: int


@dataclass(frozen=True, slots=True)
class Entries:
    """Whole messages of one group, as the log knew them: source_id, received_at (µs, UTC), rows as the
    appender counted them, live; one each.
    """

    source_id: npt.NDArray[np.int32]
    received_at: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    live: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Runs:
    """Rows in key order, gathered by equipment, source and hour of source time.

    `run` int64[n] is each row's run, `timely` bool[n]; of the r runs: equipment_id, source_id, hour
    (hours since the Unix epoch) and the sums n, live, timely over all their rows.
    """

    run: npt.NDArray[np.int64]
    row_timely: npt.NDArray[np.bool_]
    equipment_id: npt.NDArray[np.int64]
    source_id: npt.NDArray[np.int64]
    hour: npt.NDArray[np.int64]
    n: npt.NDArray[np.int64]
    live: npt.NDArray[np.int64]
    timely: npt.NDArray[np.int64]

    @classmethod
    def of(cls, rows: Rows, parts: Parts) -> Runs:
        """Gather rows in key order."""
        if not len(rows):
            nothing = np.empty(0, np.int64)
            return cls(nothing, np.empty(0, np.bool_), *[nothing] * 6)
        hour = rows.ts // HOUR_US
        change = np.ones(len(rows), np.bool_)
        np.not_equal(rows.equipment_id[1:], rows.equipment_id[:-1], out=change[1:])
        change[1:] |= hour[1:] != hour[:-1]
        source = parts.source_id[rows.part]
        if (parts.source_id != parts.source_id[0]).any():
            change[1:] |= source[1:] != source[:-1]
        begin = np.flatnonzero(change)
        run = np.cumsum(change) - 1
        live = parts.live[rows.part]
        timely = live & (parts.received_at[rows.part] - rows.ts <= TIMELY_US)
        columns, group = _grouped(rows.equipment_id[begin], source[begin], hour[begin])
        counts = [np.diff(np.r_[begin, len(rows)])]
        counts += [np.add.reduceat(fact.astype(np.int64), begin) for fact in (live, timely)]
        sums = [np.bincount(group, count, len(columns[0])).astype(np.int64) for count in counts]
        return cls(group[run], timely, *columns, *sums)


def book(
    conn: Connection,
    entries: Entries,
    rows: Rows,
    parts: Parts,
    runs: Runs,
    verdicts: Verdicts,
    refused: list[Refused],
    now_us: int,
) -> None:
    """Account for one group of messages, just stored in this transaction. Rows in key order."""
    _book_ledger(conn, entries, rows, parts, verdicts, refused)
    _book_arrival(conn, entries)
    _book_supply(conn, rows, parts, runs, verdicts, refused)
    _book_latency(conn, rows, parts, verdicts, now_us)
    # A refused reading changes an hour too: its validity.
    known = [r for r in refused if r.equipment_id]
    kept = runs.n > np.bincount(runs.run[verdicts == DUPLICATE], minlength=len(runs.n))
    mark_dirty(
        conn,
        np.r_[runs.equipment_id[kept], np.array([r.equipment_id for r in known], np.int64)],
        np.r_[runs.hour[kept], np.array([r.hour_us // HOUR_US for r in known], np.int64)],
    )


def _book_ledger(
    conn: Connection, entries: Entries, rows: Rows, parts: Parts, verdicts: Verdicts, refused: list[Refused]
) -> None:
    sources, at = np.unique(entries.source_id, return_inverse=True)
    received = np.bincount(at, entries.rows, len(sources)).astype(np.int64)
    arrived = np.full(len(sources), -(2**62))
    np.maximum.at(arrived, at, entries.received_at)
    # The rows as the appender counted them against what became of each: the table's CHECK holds both together.
    outcome = np.searchsorted(sources, parts.source_id)[rows.part] * 3 + verdicts
    judged = np.bincount(outcome, minlength=3 * len(sources)).reshape(len(sources), 3)
    held = np.bincount(
        np.searchsorted(sources, np.array([r.source_id for r in refused], np.int32)), minlength=len(sources)
    )
    newest = np.full(len(sources), -(2**62))
    np.maximum.at(newest, outcome // 3, rows.ts)
    for i, source in enumerate(sources.tolist()):
        conn.execute(
            "UPDATE ingest_ledger SET received = received + %s, stored = stored + %s,"
            " duplicates = duplicates + %s, corrections = corrections + %s, quarantined = quarantined + %s,"
            " last_received_at = greatest(last_received_at, %s),"
            " last_source_ts = greatest(last_source_ts, %s) WHERE source_id = %s",
            (
                int(received[i]), *judged[i].tolist(), int(held[i]), moment(int(arrived[i])),
                moment(int(newest[i])) if judged[i].any() else None, source,
            ),
        )  # fmt: skip


def _book_supply(
    conn: Connection, rows: Rows, parts: Parts, runs: Runs, verdicts: Verdicts, refused: list[Refused]
) -> None:
    again = verdicts == DUPLICATE
    live = parts.live[rows.part] if again.any() else again
    r = len(runs.n)
    duplicates, duplicates_live, duplicates_timely = (
        np.bincount(runs.run[mask], minlength=r)[:r]
        for mask in (again, again & live, again & runs.row_timely)
    )
    none = np.zeros(len(refused), np.int64)
    columns = [
        np.r_[runs.equipment_id, [x.equipment_id or _UNKNOWN_EQUIPMENT for x in refused]],
        np.r_[runs.source_id, [x.source_id for x in refused]],
        np.r_[runs.hour, [x.hour_us // HOUR_US for x in refused]],
    ]
    facts = [
        np.r_[runs.n - duplicates, none],
        np.r_[runs.live - duplicates_live, none],
        np.r_[runs.timely - duplicates_timely, none],
        np.r_[duplicates, none],
        np.r_[np.zeros(r, np.int64), none + 1],
    ]
    if not len(columns[0]):
        return
    if refused:
        columns, group = _grouped(*columns)
        facts = [np.bincount(group, fact, len(columns[0])) for fact in facts]
    conn.execute(
        "INSERT INTO supply_hour AS s"
        " (equipment_id, source_id, hour, accepted, live, timely, duplicates, quarantined)"
        " SELECT * FROM unnest(%b::integer[], %b::integer[], %b::timestamptz[], %b::bigint[], %b::bigint[],"
        " %b::bigint[], %b::bigint[], %b::bigint[])"
        " ON CONFLICT (equipment_id, source_id, hour) DO UPDATE SET accepted = s.accepted + excluded.accepted,"
        " live = s.live + excluded.live, timely = s.timely + excluded.timely,"
        " duplicates = s.duplicates + excluded.duplicates, quarantined = s.quarantined + excluded.quarantined",
        (
            column(columns[0], "int4"), column(columns[1], "int4"),
            column(columns[2].astype(np.int64) * HOUR_US, "timestamptz"),
            *(column(fact.astype(np.int64), "int8") for fact in facts),
        ),
    )  # fmt: skip


def _book_arrival(conn: Connection, entries: Entries) -> None:
    if not len(entries.rows):
        return
    (source, slot), group = _grouped(entries.source_id, entries.received_at // ARRIVAL_SLOT_US)
    sums = (np.bincount(group, count, len(slot)).astype(np.int64) for count in (entries.rows, entries.live))
    conn.execute(
        "INSERT INTO arrival AS a (source_id, slot, received, live)"
        " SELECT * FROM unnest(%b::integer[], %b::timestamptz[], %b::bigint[], %b::bigint[])"
        " ON CONFLICT (source_id, slot) DO UPDATE"
        " SET received = a.received + excluded.received, live = a.live + excluded.live",
        (
            column(source, "int4"), column(slot * ARRIVAL_SLOT_US, "timestamptz"),
            *(column(total, "int8") for total in sums),
        ),
    )  # fmt: skip


def latency_bucket(latency_s: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Bucket b covers [0.01 * 1.1^b, 0.01 * 1.1^(b+1)) seconds; 0 holds all below."""
    ratio = np.maximum(latency_s, BUCKET_BASE_S) / BUCKET_BASE_S
    return np.asarray(np.floor(np.log(ratio) / np.log(BUCKET_GROWTH) + 1e-9), np.int64)


def _book_latency(conn: Connection, rows: Rows, parts: Parts, verdicts: Verdicts, now_us: int) -> None:
    if not parts.live.any() or not len(rows):
        return
    counted = parts.live[rows.part] & (verdicts != DUPLICATE)
    if not counted.any():
        return
    part, ts = rows.part[counted], rows.ts[counted]
    bucket = latency_bucket((now_us - ts) / 1e6)
    # Counted by part and bucket first: both are small numbers, which needs no sorting of the rows.
    width = int(bucket.max()) + 1
    counts = np.bincount(part.astype(np.int64) * width + bucket)
    hit = np.flatnonzero(counts)
    part, bucket = hit // width, hit % width
    columns, group = _grouped(parts.source_id[part], parts.received_at[part] // LATENCY_SLOT_US, bucket)
    conn.execute(
        "INSERT INTO latency_bucket AS l (source_id, slot, bucket, n)"
        " SELECT * FROM unnest(%b::integer[], %b::timestamptz[], %b::smallint[], %b::bigint[])"
        " ON CONFLICT (source_id, slot, bucket) DO UPDATE SET n = l.n + excluded.n",
        (
            column(columns[0], "int4"), column(columns[1] * LATENCY_SLOT_US, "timestamptz"),
            column(columns[2], "int2"),
            column(np.bincount(group, counts[hit], len(columns[0])).astype(np.int64), "int8"),
        ),
    )  # fmt: skip


def mark_dirty(conn: Connection, equipment_id: npt.NDArray[np.int64], hour: npt.NDArray[np.int64]) -> None:
    """Mark equipment-hours (hours since the Unix epoch), for the metrics engine."""
    if len(hour) == 0:
        return
    (equipment, hour), _ = _grouped(equipment_id, hour)
    conn.execute(
        "INSERT INTO dirty_hour (equipment_id, hour)"
        " SELECT * FROM unnest(%b::integer[], %b::timestamptz[])"
        " ON CONFLICT (equipment_id, hour) DO UPDATE SET marked_at = clock_timestamp()",
        (column(equipment, "int4"), column(hour * HOUR_US, "timestamptz")),
    )


def _grouped(*columns: npt.ArrayLike) -> tuple[list[npt.NDArray[np.int64]], npt.NDArray[np.int64]]:
    """The distinct rows of integer columns, as columns, and for each row the number of its group.

    The columns are folded into one integer: sorting that is many times cheaper than sorting rows.
    Their ranges multiplied must stay below 2^63 (machines x sources x hours of three years do).
    """
    given = [np.asarray(values, np.int64) for values in columns]
    key = np.zeros(len(given[0]), np.int64)
    for values in given:
        low = values.min()
        key = key * (values.max() - low + 1) + (values - low)
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    return [values[first] for values in given], group


def own_partition(conn: Connection, partition: int, hand: int) -> bool:
    """Own a partition of the log until this connection ends; False when another connection does.

    `hand` numbers the connections of one writer: each of them must own the partition.
    """
    row = only(conn.execute("SELECT pg_try_advisory_lock(%s, %s)", (_WRITER_LOCK + hand, partition)))
    return bool(row[0])


def positions(conn: Connection, stream: str) -> dict[tuple[str, str], int]:
    """(lane, unit) → last sequence of that stream that is stored."""
    rows = conn.execute("SELECT lane, unit, sequence FROM unit_position WHERE stream = %s", (stream,))
    return {(lane, unit): sequence for lane, unit, sequence in rows}


def floors(conn: Connection, stream: str) -> dict[tuple[str, int], int]:
    """(lane, partition) → sequence up to which all was stored when positions were kept by partition."""
    rows = conn.execute("SELECT lane, partition, sequence FROM writer_position WHERE stream = %s", (stream,))
    return {(lane, partition): sequence for lane, partition, sequence in rows}


def keep_positions(conn: Connection, stream: str, reached: Mapping[Any, int]) -> None:
    """Record how far the log is stored, (lane, unit) → sequence, in the transaction of the rows."""
    conn.execute(
        "INSERT INTO unit_position (stream, lane, unit, sequence)"
        " SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::bigint[])"
        " ON CONFLICT (stream, lane, unit) DO UPDATE SET sequence = excluded.sequence",
        (stream, [lane for lane, _ in reached], [unit for _, unit in reached], list(reached.values())),
    )


def keep_skew(conn: Connection, ahead_s: Mapping[int, float]) -> None:
    """Keep how far the sources' clocks are ahead of ours: source_id → seconds, as their last live batch shows."""
    if ahead_s:
        conn.execute(
            "INSERT INTO clock_skew AS c (source_id, ahead_s, worst_s, measured_at)"
            " SELECT source_id, ahead_s, ahead_s, clock_timestamp()"
            " FROM unnest(%s::integer[], %s::float8[]) AS s (source_id, ahead_s)"
            " ON CONFLICT (source_id) DO UPDATE SET ahead_s = excluded.ahead_s,"
            " worst_s = greatest(c.worst_s, excluded.worst_s), measured_at = excluded.measured_at",
            (list(ahead_s), list(ahead_s.values())),
        )


def source_accounts(conn: Connection) -> list[SourceAccount]:
    """The ledger of every source."""
    rows = conn.execute(
        "SELECT u.code, s.key, l.received, l.stored, l.duplicates, l.corrections, l.quarantined,"
        " l.last_received_at, l.last_source_ts"
        " FROM ingest_ledger l JOIN source s USING (source_id) JOIN lead_unit u USING (unit_id)"
        " ORDER BY u.code, s.key"
    )
    return [SourceAccount(*row) for row in rows]


def count_rows(conn: Connection) -> list[UnitRows]:
    """Count what is really in the tables: an audit that reads them whole, never for a page."""
    rows = conn.execute(
        "SELECT u.code, coalesce(sum(m.n), 0)::bigint, coalesce(sum(e.n), 0)::bigint,"
        " coalesce(sum(r.n), 0)::bigint"
        " FROM lead_unit u LEFT JOIN tag t USING (unit_id)"
        " LEFT JOIN (SELECT tag_id, count(*) AS n FROM measurement GROUP BY tag_id) m USING (tag_id)"
        " LEFT JOIN (SELECT tag_id, count(*) AS n FROM event GROUP BY tag_id) e USING (tag_id)"
        " LEFT JOIN (SELECT tag_id, count(*) AS n FROM measurement_revision GROUP BY tag_id) r USING (tag_id)"
        " GROUP BY u.code ORDER BY u.code"
    )
    return [UnitRows(*row) for row in rows]


def count_held(conn: Connection) -> list[SourceHeld]:
    """Count refused readings in the quarantine; refused dataset records are no readings."""
    rows = conn.execute(
        "SELECT u.code, s.key, count(q.quarantine_id) FROM source s JOIN lead_unit u USING (unit_id)"
        " LEFT JOIN quarantine q ON q.source_id = s.source_id"
        "   AND NOT EXISTS (SELECT FROM submission b WHERE b.batch = q.batch AND b.dataset <> 'measurements')"
        " GROUP BY u.code, s.key ORDER BY u.code, s.key"
    )
    return [SourceHeld(*row) for row in rows]


def drop_expired(conn: Connection) -> None:
    """Delete what is kept for a limited time: arrivals, latencies, the last words of processes long gone."""
    now = datetime.now(UTC)
    conn.execute("DELETE FROM arrival WHERE slot < %s", (now - ARRIVAL_KEPT,))
    conn.execute("DELETE FROM latency_bucket WHERE slot < %s", (now - LATENCY_KEPT,))
    conn.execute("DELETE FROM component_status WHERE beat_at < %s", (now - STATUS_KEPT,))
