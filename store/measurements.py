"""Storing readings exactly once: COPY where nothing is in the way, a staging table where something is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from store.database import Connection
from store.rows import DAY_US, Rows, measurement_copy, staged_copy

STORED, DUPLICATE, CORRECTION = 0, 1, 2
"""What became of a row: newly stored; the same was there; another value was there and gave way."""

Verdicts = npt.NDArray[np.int8]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(us: int) -> datetime:
    """µs since the Unix epoch → aware datetime, UTC."""
    return _EPOCH + timedelta(microseconds=us)


def days_of(rows: Rows) -> list[datetime]:
    """The UTC days the rows fall in."""
    return [moment(int(day) * DAY_US) for day in np.unique(rows.ts // DAY_US)]


def prepare(conn: Connection) -> None:
    """Create this session's staging tables; once per connection."""
    conn.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS staged (tag_id integer NOT NULL, ts timestamptz NOT NULL,"
        " value double precision NOT NULL, quality smallint NOT NULL, row integer NOT NULL)"
        " ON COMMIT DELETE ROWS"
    )
    conn.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS staged_event (tag_id integer NOT NULL, ts timestamptz NOT NULL,"
        " text text NOT NULL, quality smallint NOT NULL, row integer NOT NULL) ON COMMIT DELETE ROWS"
    )


def write(conn: Connection, rows: Rows, batches: Sequence[str]) -> Verdicts:
    """Store readings sorted by key (`Rows.in_key_order`); returns what became of each, int8[n].

    Within one call and against what is stored: the same key with the same value and quality is a
    duplicate; with another one a correction, the later arrival wins and the earlier goes to
    measurement_revision. Needs the days' partitions and `prepare`. Leaves the commit to the caller.
    """
    verdicts = np.zeros(len(rows), np.int8)
    if len(rows) == 0:
        return verdicts
    textual = np.zeros(len(rows), np.bool_) if rows.text is None else np.asarray(pd.notna(rows.text))
    for mask, store in ((~textual, _write_numbers), (textual, _write_texts)):
        if mask.any():
            part = rows.at(mask)
            # Rows of one key in one call: each later one is judged against the one before it.
            rank = _rank_in_key(part)
            judged = np.zeros(len(part), np.int8)
            for turn in range(int(rank.max()) + 1):
                chosen = rank == turn
                judged[chosen] = store(conn, part.at(chosen), batches)
            verdicts[mask] = judged
    return verdicts


def _rank_in_key(rows: Rows) -> npt.NDArray[np.int64]:
    """0 for the first row of each key, 1 for the second, …; rows are in key order."""
    n = len(rows)
    first = np.ones(n, np.bool_)
    first[1:] = (rows.tag_id[1:] != rows.tag_id[:-1]) | (rows.ts[1:] != rows.ts[:-1])
    start = np.maximum.accumulate(np.where(first, np.arange(n), 0))
    return np.arange(n) - start


def _write_numbers(conn: Connection, rows: Rows, batches: Sequence[str]) -> Verdicts:
    met = tags_met(conn, rows)
    verdicts = np.zeros(len(rows), np.int8)
    fresh = ~np.isin(rows.tag_id, met)
    if fresh.any():
        with (
            conn.cursor() as cursor,
            cursor.copy("COPY measurement (tag_id, ts, value, quality) FROM STDIN (FORMAT binary)") as copy,
        ):
            copy.write(measurement_copy(rows if fresh.all() else rows.at(fresh)))
    if not fresh.all():
        verdicts[~fresh] = _merge_numbers(conn, rows.at(~fresh), batches)
    return verdicts


def tags_met(conn: Connection, rows: Rows) -> npt.NDArray[np.int32]:
    """Tags that already have some reading within the time these rows span: only they can collide."""
    edge = np.flatnonzero(np.r_[True, rows.tag_id[1:] != rows.tag_id[:-1]])
    last = np.r_[edge[1:], len(rows)] - 1
    found = conn.execute(
        "SELECT span.tag_id FROM unnest(%s::integer[], %s::timestamptz[], %s::timestamptz[])"
        " AS span (tag_id, low, high) WHERE EXISTS (SELECT FROM measurement m"
        " WHERE m.tag_id = span.tag_id AND m.ts BETWEEN span.low AND span.high"
        " AND m.ts BETWEEN %s AND %s)",
        (
            rows.tag_id[edge].tolist(),
            [moment(t) for t in rows.ts[edge].tolist()],
            [moment(t) for t in rows.ts[last].tolist()],
            moment(int(rows.ts.min())),
            moment(int(rows.ts.max())),
        ),
    ).fetchall()
    return np.array([tag for (tag,) in found], np.int32)


def _merge_numbers(conn: Connection, rows: Rows, batches: Sequence[str]) -> Verdicts:
    with conn.cursor() as cursor, cursor.copy("COPY staged FROM STDIN (FORMAT binary)") as copy:
        copy.write(staged_copy(rows))
    span = (moment(int(rows.ts.min())), moment(int(rows.ts.max())))
    met = conn.execute(
        "SELECT s.row, m.value, m.quality FROM staged s JOIN measurement m USING (tag_id, ts)"
        " WHERE m.ts BETWEEN %s AND %s",
        span,
    ).fetchall()
    verdicts = np.zeros(len(rows), np.int8)
    if met:
        row = np.array([r[0] for r in met])
        value = np.array([r[1] for r in met], np.float64)
        quality = np.array([r[2] for r in met], np.int16)
        same = (rows.value[row] == value) & (rows.quality[row] == quality)
        verdicts[row] = np.where(same, DUPLICATE, CORRECTION)
        corrected = row[~same]
        _keep_revisions(
            conn, rows.at(corrected), batches, value[~same].tolist(), [None] * len(corrected), quality[~same]
        )
        conn.execute(
            "UPDATE measurement m SET value = s.value, quality = s.quality FROM staged s"
            " WHERE m.tag_id = s.tag_id AND m.ts = s.ts AND m.ts BETWEEN %s AND %s AND s.row = ANY(%s)",
            (*span, corrected.tolist()),
        )
    conn.execute(
        "INSERT INTO measurement (tag_id, ts, value, quality)"
        " SELECT tag_id, ts, value, quality FROM staged WHERE NOT row = ANY(%s)",
        (np.flatnonzero(verdicts != STORED).tolist(),),
    )
    conn.execute("TRUNCATE staged")
    return verdicts


def _write_texts(conn: Connection, rows: Rows, batches: Sequence[str]) -> Verdicts:
    texts: list[str] = [] if rows.text is None else rows.text.tolist()
    with conn.cursor() as cursor, cursor.copy("COPY staged_event FROM STDIN") as copy:
        for i, text in enumerate(texts):
            copy.write_row((int(rows.tag_id[i]), moment(int(rows.ts[i])), text, int(rows.quality[i]), i))
    met = conn.execute(
        "SELECT s.row, e.text, e.quality FROM staged_event s JOIN event e USING (tag_id, ts)"
    ).fetchall()
    verdicts = np.zeros(len(rows), np.int8)
    changed = [r for r in met if (texts[r[0]], int(rows.quality[r[0]])) != (r[1], r[2])]
    verdicts[[r[0] for r in met]] = DUPLICATE
    corrected = np.array([r[0] for r in changed], np.intp)
    verdicts[corrected] = CORRECTION
    if changed:
        quality = np.array([r[2] for r in changed], np.int16)
        _keep_revisions(
            conn, rows.at(corrected), batches, [None] * len(changed), [r[1] for r in changed], quality
        )
        conn.execute(
            "UPDATE event e SET text = s.text, quality = s.quality FROM staged_event s"
            " WHERE e.tag_id = s.tag_id AND e.ts = s.ts AND s.row = ANY(%s)",
            (corrected.tolist(),),
        )
    conn.execute(
        "INSERT INTO event (tag_id, ts, text, quality)"
        " SELECT tag_id, ts, text, quality FROM staged_event WHERE NOT row = ANY(%s)",
        (np.flatnonzero(verdicts != STORED).tolist(),),
    )
    conn.execute("TRUNCATE staged_event")
    return verdicts


def _keep_revisions(
    conn: Connection,
    rows: Rows,
    batches: Sequence[str],
    values: Sequence[float | None],
    texts: Sequence[str | None],
    quality: npt.NDArray[np.int16],
) -> None:
    if len(rows) == 0:
        return
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO measurement_revision"
            " (tag_id, ts, value, text, quality, replaced_at, replaced_by, batch)"
            " VALUES (%s, %s, %s, %s, %s, clock_timestamp(), %s, %s)",
            [
                (
                    int(rows.tag_id[i]), moment(int(rows.ts[i])), values[i], texts[i], int(quality[i]),
                    int(rows.source_id[i]), batches[int(rows.batch[i])],
                )
                for i in range(len(rows))
            ],
        )  # fmt: skip


def keep_latest(conn: Connection, rows: Rows) -> None:
    """Bring latest_value up to date: newest by source time, whatever arrived last. Rows in key order."""
    if len(rows) == 0:
        return
    last = np.flatnonzero(np.r_[rows.tag_id[1:] != rows.tag_id[:-1], True])
    newest = rows.at(last)
    text = [None] * len(newest) if newest.text is None else newest.text.tolist()
    value = [None if t is not None else v for v, t in zip(newest.value.tolist(), text, strict=True)]
    conn.execute(
        "INSERT INTO latest_value (tag_id, ts, value, text, quality, received_at)"
        " SELECT * FROM unnest(%s::integer[], %s::timestamptz[], %s::float8[], %s::text[], %s::smallint[],"
        " %s::timestamptz[])"
        " ON CONFLICT (tag_id) DO UPDATE SET ts = excluded.ts, value = excluded.value, text = excluded.text,"
        " quality = excluded.quality, received_at = excluded.received_at"
        " WHERE excluded.ts >= latest_value.ts",
        (
            newest.tag_id.tolist(),
            [moment(t) for t in newest.ts.tolist()],
            value,
            text,
            newest.quality.tolist(),
            [moment(t) for t in newest.received_at.tolist()],
        ),
    )
