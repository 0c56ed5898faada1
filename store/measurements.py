"""Storing readings exactly once: COPY where nothing is in the way, a staging table where something is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from psycopg import sql

from store.database import Connection
from store.rows import Rows, measurement_copy, staged_copy
from store.times import DAY_US, moment

STORED, DUPLICATE, CORRECTION = 0, 1, 2
"""What became of a row: newly stored; the same was there; another value was there and gave way."""

Verdicts = npt.NDArray[np.int8]


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

    Within one call and against what is stored: the same key with the same content (value or text, and
    quality) is a duplicate; with other content a correction, the later arrival wins and what it
    replaces goes to measurement_revision. However often a key comes, the database sees it once.
    Needs the days' partitions and `prepare`. Leaves the commit to the caller.
    """
    verdicts = np.zeros(len(rows), np.int8)
    textual = np.zeros(len(rows), np.bool_) if rows.text is None else np.asarray(pd.notna(rows.text))
    for mask, settle in ((~textual, _settle_numbers), (textual, _settle_texts)):
        if mask.any():
            verdicts[mask] = _write(conn, rows.at(mask), batches, settle)
    return verdicts


@dataclass(frozen=True, slots=True)
class _Met:
    """Keys that were stored before: their number among the keys, and what was stored."""

    key: npt.NDArray[np.intp]
    content: npt.NDArray[Any]
    quality: npt.NDArray[np.int16]


_Settle = Callable[[Connection, Rows], _Met]


def _write(conn: Connection, rows: Rows, batches: Sequence[str], settle: _Settle) -> Verdicts:
    content = _content(rows)
    begins = np.r_[True, (rows.tag_id[1:] != rows.tag_id[:-1]) | (rows.ts[1:] != rows.ts[:-1])]
    first = np.flatnonzero(begins)
    met = settle(conn, rows.at(np.r_[first[1:], len(rows)] - 1))
    # What each row found: the row before it of the same key, or for the first what was stored.
    before, before_quality = np.roll(content, 1), np.roll(rows.quality, 1)
    before[first[met.key]], before_quality[first[met.key]] = met.content, met.quality
    found = ~begins
    found[first[met.key]] = True
    same = (content == before) & (rows.quality == before_quality)
    verdicts = np.where(found, np.where(same, DUPLICATE, CORRECTION), STORED).astype(np.int8)
    corrected = np.flatnonzero(verdicts == CORRECTION)
    _keep_revisions(conn, rows.at(corrected), batches, before[corrected], before_quality[corrected])
    return verdicts


def _content(rows: Rows) -> npt.NDArray[Any]:
    textual = rows.text is not None and pd.notna(rows.text[0])
    content: npt.NDArray[Any] = rows.text if textual and rows.text is not None else rows.value
    return content


def _settle_numbers(conn: Connection, rows: Rows) -> _Met:
    """Make the store hold these rows, one a key; returns what it held before."""
    fresh = ~np.isin(rows.tag_id, tags_met(conn, rows))
    if fresh.any():
        with conn.cursor() as cursor:
            statement = "COPY measurement (tag_id, ts, value, quality) FROM STDIN (FORMAT binary)"
            with cursor.copy(statement) as copy:
                copy.write(measurement_copy(rows if fresh.all() else rows.at(fresh)))
    if fresh.all():
        return _Met(np.empty(0, np.intp), np.empty(0), np.empty(0, np.int16))
    known = np.flatnonzero(~fresh)
    part = rows.at(known)
    with conn.cursor() as cursor, cursor.copy("COPY staged FROM STDIN (FORMAT binary)") as copy:
        copy.write(staged_copy(part))
    span = (moment(int(part.ts.min())), moment(int(part.ts.max())))
    met = conn.execute(
        "SELECT s.row, m.value, m.quality FROM staged s JOIN measurement m USING (tag_id, ts)"
        " WHERE m.ts BETWEEN %s AND %s",
        span,
    ).fetchall()
    row = np.array([r[0] for r in met], np.intp)
    value = np.array([r[1] for r in met], np.float64)
    quality = np.array([r[2] for r in met], np.int16)
    other = (part.value[row] != value) | (part.quality[row] != quality)
    conn.execute(
        "UPDATE measurement m SET value = s.value, quality = s.quality FROM staged s"
        " WHERE m.tag_id = s.tag_id AND m.ts = s.ts AND m.ts BETWEEN %s AND %s AND s.row = ANY(%s)",
        (*span, row[other].tolist()),
    )
    conn.execute(
        "INSERT INTO measurement (tag_id, ts, value, quality)"
        " SELECT tag_id, ts, value, quality FROM staged WHERE NOT row = ANY(%s)",
        (row.tolist(),),
    )
    conn.execute("TRUNCATE staged")
    return _Met(known[row], value, quality)


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


def _settle_texts(conn: Connection, rows: Rows) -> _Met:
    """As `_settle_numbers`, for text tags."""
    texts: list[str] = [] if rows.text is None else rows.text.tolist()
    with conn.cursor() as cursor, cursor.copy("COPY staged_event FROM STDIN") as copy:
        for i, text in enumerate(texts):
            copy.write_row((int(rows.tag_id[i]), moment(int(rows.ts[i])), text, int(rows.quality[i]), i))
    met = conn.execute(
        "SELECT s.row, e.text, e.quality FROM staged_event s JOIN event e USING (tag_id, ts)"
    ).fetchall()
    other = [row for row, text, quality in met if (texts[row], int(rows.quality[row])) != (text, quality)]
    conn.execute(
        "UPDATE event e SET text = s.text, quality = s.quality FROM staged_event s"
        " WHERE e.tag_id = s.tag_id AND e.ts = s.ts AND s.row = ANY(%s)",
        (other,),
    )
    conn.execute(
        "INSERT INTO event (tag_id, ts, text, quality)"
        " SELECT tag_id, ts, text, quality FROM staged_event WHERE NOT row = ANY(%s)",
        ([row for row, _, _ in met],),
    )
    conn.execute("TRUNCATE staged_event")
    return _Met(
        np.array([row for row, _, _ in met], np.intp),
        np.array([text for _, text, _ in met], object),
        np.array([quality for _, _, quality in met], np.int16),
    )


def _keep_revisions(
    conn: Connection,
    rows: Rows,
    batches: Sequence[str],
    content: npt.NDArray[Any],
    quality: npt.NDArray[np.int16],
) -> None:
    """Keep what these corrections replace."""
    if len(rows) == 0:
        return
    now = datetime.now(UTC)
    column = "text" if content.dtype == object else "value"
    statement = sql.SQL(
        "COPY measurement_revision (tag_id, ts, {}, quality, replaced_at, replaced_by, batch) FROM STDIN"
    ).format(sql.Identifier(column))
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        for i, old in enumerate(content.tolist()):
            copy.write_row(
                (
                    int(rows.tag_id[i]), moment(int(rows.ts[i])), old, int(quality[i]), now,
                    int(rows.source_id[i]), batches[int(rows.batch[i])],
                )
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
