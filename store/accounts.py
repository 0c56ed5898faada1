"""The account of what arrived: kept in the very transaction that stores the rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from store.database import Connection, only
from store.latency import BUCKET_BASE_S, BUCKET_GROWTH
from store.measurements import CORRECTION, DUPLICATE, Verdicts
from store.quarantine import Refused
from store.rows import Rows
from store.times import HOUR_US, moment

TIMELY_US = 60_000_000
"""A live reading is timely when it arrives within 60 s of its source time (dq.timeliness)."""
ARRIVAL_SLOT_US = 10_000_000
LATENCY_SLOT_US = 300_000_000
ARRIVAL_KEPT = timedelta(days=2)
LATENCY_KEPT = timedelta(days=400)
STATUS_KEPT = timedelta(days=7)

_UNKNOWN_EQUIPMENT = 0
_WRITER_LOCK = 7_236_010


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


def book(conn: Connection, rows: Rows, verdicts: Verdicts, refused: list[Refused], now_us: int) -> None:
    """Account for one group of rows and refusals, just stored in this transaction."""
    _book_ledger(conn, rows, verdicts, refused)
    _book_supply(conn, rows, verdicts, refused)
    _book_arrival(conn, rows, refused)
    _book_latency(conn, rows, verdicts, now_us)
    new = verdicts != DUPLICATE
    # A refused reading changes an hour too: its validity.
    known = [r for r in refused if r.equipment_id]
    mark_dirty(
        conn,
        np.r_[rows.equipment_id[new], np.array([r.equipment_id for r in known], np.int32)],
        np.r_[rows.ts[new], np.array([r.hour_us for r in known], np.int64)],
    )


def _book_ledger(conn: Connection, rows: Rows, verdicts: Verdicts, refused: list[Refused]) -> None:
    refused_source = np.array([r.source_id for r in refused], np.int32)
    refused_at = np.array([r.received_at for r in refused], np.int64)
    for source in np.union1d(rows.source_id, refused_source).tolist():
        mine, theirs = rows.source_id == source, refused_source == source
        judged = verdicts[mine]
        duplicates, corrections = int((judged == DUPLICATE).sum()), int((judged == CORRECTION).sum())
        stored = len(judged) - duplicates - corrections
        received_at = [int(t.max()) for t in (rows.received_at[mine], refused_at[theirs]) if len(t)]
        source_ts = moment(int(rows.ts[mine].max())) if mine.any() else None
        conn.execute(
            "UPDATE ingest_ledger SET received = received + %s, stored = stored + %s,"
            " duplicates = duplicates + %s, corrections = corrections + %s, quarantined = quarantined + %s,"
            " last_received_at = greatest(last_received_at, %s),"
            " last_source_ts = greatest(last_source_ts, %s) WHERE source_id = %s",
            (
                len(judged) + int(theirs.sum()), stored, duplicates, corrections, int(theirs.sum()),
                moment(max(received_at)),
                source_ts, source,
            ),
        )  # fmt: skip


def _book_supply(conn: Connection, rows: Rows, verdicts: Verdicts, refused: list[Refused]) -> None:
    columns = [
        np.r_[rows.equipment_id, [r.equipment_id or _UNKNOWN_EQUIPMENT for r in refused]],
        np.r_[rows.source_id, [r.source_id for r in refused]],
        np.r_[rows.ts, [r.hour_us for r in refused]] // HOUR_US,
    ]
    duplicate = verdicts == DUPLICATE
    live = rows.live & ~duplicate
    timely = live & (rows.received_at - rows.ts <= TIMELY_US)
    none = np.zeros(len(refused), np.bool_)
    facts = [
        np.r_[~duplicate, none],
        np.r_[live, none],
        np.r_[timely, none],
        np.r_[duplicate, none],
        np.r_[np.zeros(len(rows), np.bool_), ~none],
    ]
    (equipment, source, hour), group = _grouped(*columns)
    sums = [np.bincount(group, fact, len(hour)).astype(np.int64).tolist() for fact in facts]
    conn.execute(
        "INSERT INTO supply_hour AS s"
        " (equipment_id, source_id, hour, accepted, live, timely, duplicates, quarantined)"
        " SELECT * FROM unnest(%s::integer[], %s::integer[], %s::timestamptz[], %s::bigint[], %s::bigint[],"
        " %s::bigint[], %s::bigint[], %s::bigint[])"
        " ON CONFLICT (equipment_id, source_id, hour) DO UPDATE SET accepted = s.accepted + excluded.accepted,"
        " live = s.live + excluded.live, timely = s.timely + excluded.timely,"
        " duplicates = s.duplicates + excluded.duplicates, quarantined = s.quarantined + excluded.quarantined",
        (
            equipment.tolist(), source.tolist(), [moment(h * HOUR_US) for h in hour.tolist()], *sums,
        ),
    )  # fmt: skip


def _book_arrival(conn: Connection, rows: Rows, refused: list[Refused]) -> None:
    source = np.r_[rows.source_id, [r.source_id for r in refused]]
    slot = np.r_[rows.received_at, [r.received_at for r in refused]] // ARRIVAL_SLOT_US
    live = np.r_[rows.live, np.zeros(len(refused), np.bool_)]
    (source, slot), group = _grouped(source, slot)
    conn.execute(
        "INSERT INTO arrival AS a (source_id, slot, received, live)"
        " SELECT * FROM unnest(%s::integer[], %s::timestamptz[], %s::bigint[], %s::bigint[])"
        " ON CONFLICT (source_id, slot) DO UPDATE"
        " SET received = a.received + excluded.received, live = a.live + excluded.live",
        (
            source.tolist(),
            [moment(s * ARRIVAL_SLOT_US) for s in slot.tolist()],
            np.bincount(group).tolist(),
            np.bincount(group, live).astype(np.int64).tolist(),
        ),
    )


def latency_bucket(latency_s: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Bucket b covers [0.01 * 1.1^b, 0.01 * 1.1^(b+1)) seconds; 0 holds all below."""
    ratio = np.maximum(latency_s, BUCKET_BASE_S) / BUCKET_BASE_S
    return np.asarray(np.floor(np.log(ratio) / np.log(BUCKET_GROWTH) + 1e-9), np.int64)


def _book_latency(conn: Connection, rows: Rows, verdicts: Verdicts, now_us: int) -> None:
    live = rows.at(rows.live & (verdicts != DUPLICATE))
    if len(live) == 0:
        return
    slot = live.received_at // LATENCY_SLOT_US
    bucket = latency_bucket((now_us - live.ts) / 1e6)
    (source, slot, bucket), group = _grouped(live.source_id, slot, bucket)
    n = np.bincount(group)
    conn.execute(
        "INSERT INTO latency_bucket AS l (source_id, slot, bucket, n)"
        " SELECT * FROM unnest(%s::integer[], %s::timestamptz[], %s::smallint[], %s::bigint[])"
        " ON CONFLICT (source_id, slot, bucket) DO UPDATE SET n = l.n + excluded.n",
        (
            source.tolist(),
            [moment(s * LATENCY_SLOT_US) for s in slot.tolist()],
            bucket.tolist(),
            n.tolist(),
        ),
    )  # fmt: skip


def mark_dirty(conn: Connection, equipment_id: npt.NDArray[np.int32], ts: npt.NDArray[np.int64]) -> None:
    """Mark the equipment-hours of these readings (µs, UTC), for the metrics engine."""
    if len(ts) == 0:
        return
    (equipment, hour), _ = _grouped(equipment_id, ts // HOUR_US)
    conn.execute(
        "INSERT INTO dirty_hour (equipment_id, hour)"
        " SELECT * FROM unnest(%s::integer[], %s::timestamptz[])"
        " ON CONFLICT (equipment_id, hour) DO UPDATE SET marked_at = clock_timestamp()",
        (equipment.tolist(), [moment(h * HOUR_US) for h in hour.tolist()]),
    )


def _grouped(*columns: npt.ArrayLike) -> tuple[list[npt.NDArray[np.int64]], npt.NDArray[np.int64]]:
    """The distinct rows of integer columns, as columns, and for each row the number of its group.

    The columns are folded into one integer: sorting that is many times cheaper than sorting rows.
    Their ranges multiplied must stay below 2^63 (machines x sources x hours of three years do).
    """
    given = [np.asarray(column, np.int64) for column in columns]
    key = np.zeros(len(given[0]), np.int64)
    for column in given:
        low = column.min()
        key = key * (column.max() - low + 1) + (column - low)
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    return [column[first] for column in given], group


def own_partition(conn: Connection, partition: int) -> bool:
    """Own a partition of the log until this connection ends; False when another connection does."""
    row = only(conn.execute("SELECT pg_try_advisory_lock(%s, %s)", (_WRITER_LOCK, partition)))
    return bool(row[0])


def positions(conn: Connection, stream: str, lane: str) -> dict[int, int]:
    """Partition → last sequence stored of that stream and lane."""
    rows = conn.execute(
        "SELECT partition, sequence FROM writer_position WHERE stream = %s AND lane = %s", (stream, lane)
    )
    return dict(rows.fetchall())


def keep_positions(conn: Connection, stream: str, lane: str, reached: dict[int, int]) -> None:
    """Record how far the log is stored, in the transaction of the rows."""
    conn.execute(
        "INSERT INTO writer_position (stream, lane, partition, sequence)"
        " SELECT %s, %s, * FROM unnest(%s::smallint[], %s::bigint[])"
        " ON CONFLICT (stream, lane, partition) DO UPDATE SET sequence = excluded.sequence",
        (stream, lane, list(reached), list(reached.values())),
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
        "   AND NOT EXISTS (SELECT FROM submission b WHERE b.batch = q.batch)"
        " GROUP BY u.code, s.key ORDER BY u.code, s.key"
    )
    return [SourceHeld(*row) for row in rows]


def drop_expired(conn: Connection) -> None:
    """Delete what is kept for a limited time: arrivals, latencies, the last words of processes long gone."""
    now = datetime.now(UTC)
    conn.execute("DELETE FROM arrival WHERE slot < %s", (now - ARRIVAL_KEPT,))
    conn.execute("DELETE FROM latency_bucket WHERE slot < %s", (now - LATENCY_KEPT,))
    conn.execute("DELETE FROM component_status WHERE beat_at < %s", (now - STATUS_KEPT,))
