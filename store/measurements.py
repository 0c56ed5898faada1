"""Storing readings exactly once: COPY where nothing is in the way, a look at what is there where something may be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql

from store.arrays import column
from store.database import Connection
from store.rows import Parts, Rows, measurement_copy
from store.times import DAY_US, moment

STORED, DUPLICATE, CORRECTION = 0, 1, 2
"""What became of a row: newly stored; the same was there; another value was there and gave way."""

FROZEN, TOO_FAST = 0x4090, 0x4093
"""Qualities that validation sets: UncertainLastUsableValue, UncertainSensorNotAccurate."""

Verdicts = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Sorted:
    """Numeric rows in key order, ready to be stored.

    `begins` bool[n]: where a key begins. Of the k keys, `sure` bool[k]: nothing can be stored under it
    yet; `asked` bool[k]: something probably is. `copy`: the last row of each key that is not asked for,
    encoded for COPY.
    """

    rows: Rows
    begins: npt.NDArray[np.bool_]
    sure: npt.NDArray[np.bool_]
    asked: npt.NDArray[np.bool_]
    copy: bytearray

    @classmethod
    def of(cls, rows: Rows, new: npt.NDArray[np.bool_], asked: npt.NDArray[np.bool_]) -> Sorted:
        """Of rows in key order; `new` bool[n]: newer than all that is stored of its tag; `asked` bool[n]."""
        begins = rows.begins()
        if begins.all():
            return cls(rows, begins, new, asked, measurement_copy(rows.at(~asked) if asked.any() else rows))
        last = _last_of_keys(begins)
        sure, asked = new[last], asked[last]
        return cls(rows, begins, sure, asked, measurement_copy(rows.at(last[~asked])))


def _last_of_keys(begins: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    return np.flatnonzero(np.r_[begins[1:], True]) if len(begins) else np.empty(0, np.intp)


def days_of(rows: Rows) -> list[datetime]:
    """The UTC days the rows fall in."""
    if not len(rows):
        return []
    first, last = int(rows.ts.min()) // DAY_US, int(rows.ts.max()) // DAY_US
    if last - first < 2:
        return [moment(day * DAY_US) for day in range(first, last + 1)]
    return [moment(int(day) * DAY_US) for day in np.unique(rows.ts // DAY_US)]


def write(conn: Connection, numbers: Sorted, parts: Parts) -> tuple[Verdicts, npt.NDArray[np.int32]]:
    """Store numeric rows; returns what became of each, int8[n], and the tags of stored keys not asked for, int32[].

    Within one call and against what is stored: the same key with the same value and quality is a
    duplicate (a quality that validation had set stands for the good one it replaced); with other
    content a correction, the later arrival wins and what it replaces goes to measurement_revision.
    However often a key comes, the database sees it once. All but the keys asked for are tried by one
    COPY, which costs nothing when none is stored. Needs the days' partitions. Leaves the commit to
    the caller.
    """
    rows, asked = numbers.rows, numbers.asked
    last = _last_of_keys(numbers.begins)
    if not asked.all() and not _copied(conn, numbers.copy):
        # Something is there after all: what is certain goes the short way, unless that was all there was.
        tried, asked = ~asked, ~numbers.sure
        certain = last[numbers.sure]
        if (tried == numbers.sure).all() or not _copied(conn, measurement_copy(rows.at(certain))):
            asked = np.ones_like(asked)  # somebody stored behind the writer's back
    found = Met.nothing()
    if asked.any():
        found = _settle(conn, rows.at(last[asked]))
        found = Met(np.flatnonzero(asked)[found.key], found.content, found.quality)
    surprising = found.key[~numbers.asked[found.key]]
    verdicts = _judge(conn, rows, rows.value, numbers.begins, found, parts)
    return verdicts, rows.tag_id[last[surprising]]


def write_texts(conn: Connection, rows: Rows, parts: Parts) -> Verdicts:
    """As `write`, for rows of text tags in key order."""
    begins = rows.begins()
    texts: npt.NDArray[Any] = np.empty(0, object) if rows.text is None else rows.text
    met = _settle_texts(conn, rows.at(_last_of_keys(begins)))
    return _judge(conn, rows, texts, begins, met, parts)


@dataclass(frozen=True, slots=True)
class Met:
    """Keys that were stored before: their number among the keys, and what was stored."""

    key: npt.NDArray[np.intp]
    content: npt.NDArray[Any]
    quality: npt.NDArray[np.int16]

    @classmethod
    def nothing(cls) -> Met:
        """No key was."""
        return cls(np.empty(0, np.intp), np.empty(0), np.empty(0, np.int16))


def _judge(
    conn: Connection,
    rows: Rows,
    content: npt.NDArray[Any],
    begins: npt.NDArray[np.bool_],
    met: Met,
    parts: Parts,
) -> Verdicts:
    if not len(met.key) and begins.all():
        return np.zeros(len(rows), np.int8)
    # What each row found: the row before it of the same key, or for the first what was stored.
    first = np.flatnonzero(begins)
    before, before_quality = np.roll(content, 1), np.roll(rows.quality, 1)
    before[first[met.key]], before_quality[first[met.key]] = met.content, met.quality
    found = ~begins
    found[first[met.key]] = True
    same = (content == before) & _same_quality(rows.quality, before_quality)
    verdicts = np.where(found, np.where(same, DUPLICATE, CORRECTION), STORED).astype(np.int8)
    corrected = np.flatnonzero(verdicts == CORRECTION)
    _keep_revisions(conn, rows.at(corrected), parts, before[corrected], before_quality[corrected])
    return verdicts


def _same_quality(arrived: npt.NDArray[np.int16], stored: npt.NDArray[np.int16]) -> npt.NDArray[np.bool_]:
    # A finding of ours is no statement of the sender: the good reading it was made on is the same reading.
    ours = (stored == FROZEN) | (stored == TOO_FAST)
    theirs = (arrived == FROZEN) | (arrived == TOO_FAST)
    same: npt.NDArray[np.bool_] = np.equal(arrived, stored)
    same |= (ours & (arrived == 0)) | (theirs & (stored == 0)) | (ours & theirs)
    return same


def _copied(conn: Connection, data: bytearray) -> bool:
    """COPY encoded rows; False, with nothing stored, when a key is there already."""
    try:
        with conn.transaction(), conn.cursor() as cursor:
            statement = "COPY measurement (tag_id, ts, value, quality) FROM STDIN (FORMAT binary)"
            with cursor.copy(statement) as copy:
                copy.write(data)
    except psycopg.errors.UniqueViolation:
        return False
    return True


def met(conn: Connection, rows: Rows) -> Met:
    """What is stored under the keys of these rows, one a key."""
    span = (moment(int(rows.ts.min())), moment(int(rows.ts.max())))
    keys = (column(rows.tag_id, "int4"), column(rows.ts, "timestamptz"))
    # One index probe a key, whatever the planner thinks of the number of keys.
    with conn.cursor(binary=True) as cursor:
        found = cursor.execute(
            "SELECT s.row - 1, m.value, m.quality"
            " FROM unnest(%b::integer[], %b::timestamptz[]) WITH ORDINALITY AS s (tag_id, ts, row),"
            " LATERAL (SELECT value, quality FROM measurement m WHERE m.tag_id = s.tag_id AND m.ts = s.ts"
            "   AND m.ts BETWEEN %b AND %b OFFSET 0) m",
            (*keys, *span),
        ).fetchall()
    return Met(
        np.array([row for row, _, _ in found], np.intp),
        np.array([value for _, value, _ in found], np.float64),
        np.array([quality for _, _, quality in found], np.int16),
    )


def _settle(conn: Connection, rows: Rows) -> Met:
    """Make the store hold these rows, one a key; returns what it held before."""
    before = met(conn, rows)
    key = before.key
    new = np.ones(len(rows), np.bool_)
    new[key] = False
    if new.any():
        with conn.cursor() as cursor:
            statement = "COPY measurement (tag_id, ts, value, quality) FROM STDIN (FORMAT binary)"
            with cursor.copy(statement) as copy:
                copy.write(measurement_copy(rows if new.all() else rows.at(new)))
    other = (rows.value[key] != before.content) | ~_same_quality(rows.quality[key], before.quality)
    if other.any():
        changed = rows.at(key[other])
        with conn.transaction():
            # A few rows: the index finds them, the planner must not read the day instead.
            conn.execute("SET LOCAL enable_hashjoin = off")
            conn.execute("SET LOCAL enable_mergejoin = off")
            conn.execute(
                "UPDATE measurement m SET value = s.value, quality = s.quality"
                " FROM unnest(%b::integer[], %b::timestamptz[], %b::float8[], %b::smallint[])"
                "   AS s (tag_id, ts, value, quality)"
                " WHERE m.tag_id = s.tag_id AND m.ts = s.ts AND m.ts BETWEEN %b AND %b",
                (
                    column(changed.tag_id, "int4"), column(changed.ts, "timestamptz"),
                    column(changed.value, "float8"), column(changed.quality, "int2"),
                    moment(int(changed.ts.min())), moment(int(changed.ts.max())),
                ),
            )  # fmt: skip
            conn.execute("SET LOCAL enable_hashjoin TO DEFAULT")
            conn.execute("SET LOCAL enable_mergejoin TO DEFAULT")
    return before


def _settle_texts(conn: Connection, rows: Rows) -> Met:
    """As `_settle`, for text tags."""
    texts: list[str] = [] if rows.text is None else rows.text.tolist()
    keys = (column(rows.tag_id, "int4"), column(rows.ts, "timestamptz"))
    met = conn.execute(
        "SELECT s.row - 1, e.text, e.quality"
        " FROM unnest(%b::integer[], %b::timestamptz[]) WITH ORDINALITY AS s (tag_id, ts, row)"
        " JOIN event e USING (tag_id, ts)",
        keys,
    ).fetchall()
    known = {row for row, _, _ in met}
    changed = [row for row, text, quality in met if (texts[row], int(rows.quality[row])) != (text, quality)]
    fresh = [row for row in range(len(texts)) if row not in known]
    for picked, statement in (
        (
            changed,
            "UPDATE event e SET text = s.text, quality = s.quality"
            " FROM unnest(%s::integer[], %s::timestamptz[], %s::text[], %s::smallint[])"
            "   AS s (tag_id, ts, text, quality) WHERE e.tag_id = s.tag_id AND e.ts = s.ts",
        ),
        (
            fresh,
            "INSERT INTO event (tag_id, ts, text, quality)"
            " SELECT * FROM unnest(%s::integer[], %s::timestamptz[], %s::text[], %s::smallint[])",
        ),
    ):
        if picked:
            some = rows.at(np.array(picked, np.intp))
            values = (
                column(some.tag_id, "int4"), column(some.ts, "timestamptz"), [texts[i] for i in picked],
                column(some.quality, "int2"),
            )  # fmt: skip
            conn.execute(statement, values)
    return Met(
        np.array([row for row, _, _ in met], np.intp),
        np.array([text for _, text, _ in met], object),
        np.array([quality for _, _, quality in met], np.int16),
    )


def _keep_revisions(
    conn: Connection, rows: Rows, parts: Parts, content: npt.NDArray[Any], quality: npt.NDArray[np.int16]
) -> None:
    """Keep what these corrections replace."""
    if len(rows) == 0:
        return
    now = datetime.now(UTC)
    name = "text" if content.dtype == object else "value"
    statement = sql.SQL(
        "COPY measurement_revision (tag_id, ts, {}, quality, replaced_at, replaced_by, batch) FROM STDIN"
    ).format(sql.Identifier(name))
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        for i, old in enumerate(content.tolist()):
            part = int(rows.part[i])
            copy.write_row(
                (
                    int(rows.tag_id[i]), moment(int(rows.ts[i])), old, int(quality[i]), now,
                    int(parts.source_id[part]), parts.names[part],
                )
            )  # fmt: skip


def keep_latest(conn: Connection, newest: Rows, first: npt.NDArray[np.bool_], parts: Parts) -> None:
    """Bring latest_value up to date: newest by source time, whatever arrived last.

    `newest`: one row a tag, not older than what is there; `first` bool[n]: where nothing is.
    """
    if first.any():
        _insert_latest(conn, newest.at(first), parts)
    if not first.all():
        known = newest.at(~first)
        updated = conn.execute(
            "UPDATE latest_value l SET ts = s.ts, value = CASE WHEN s.text IS NULL THEN s.value END,"
            " text = s.text, quality = s.quality, received_at = s.received_at FROM unnest(%b::integer[],"
            " %b::timestamptz[], %b::float8[], %s::text[], %b::smallint[], %b::timestamptz[])"
            "   AS s (tag_id, ts, value, text, quality, received_at)"
            " WHERE l.tag_id = s.tag_id AND l.ts <= s.ts",
            _latest(known, parts),
        ).rowcount
        if updated < len(known):
            _insert_latest(conn, known, parts)


def _insert_latest(conn: Connection, newest: Rows, parts: Parts) -> None:
    conn.execute(
        "INSERT INTO latest_value (tag_id, ts, value, text, quality, received_at)"
        " SELECT tag_id, ts, CASE WHEN text IS NULL THEN value END, text, quality, received_at"
        " FROM unnest(%b::integer[], %b::timestamptz[], %b::float8[], %s::text[], %b::smallint[],"
        "   %b::timestamptz[]) AS s (tag_id, ts, value, text, quality, received_at)"
        " ON CONFLICT (tag_id) DO UPDATE SET ts = excluded.ts, value = excluded.value, text = excluded.text,"
        " quality = excluded.quality, received_at = excluded.received_at"
        " WHERE excluded.ts >= latest_value.ts",
        _latest(newest, parts),
    )


def _latest(rows: Rows, parts: Parts) -> tuple[Any, ...]:
    return (
        column(rows.tag_id, "int4"), column(rows.ts, "timestamptz"), column(rows.value, "float8"),
        # Arrays of one unnest are filled up with nulls: no array is a column of nulls.
        None if rows.text is None else rows.text.tolist(),
        column(rows.quality, "int2"), column(parts.received_at[rows.part], "timestamptz"),
    )  # fmt: skip


def keep_unchanged(conn: Connection, tag_id: npt.NDArray[np.int32], since: npt.NDArray[np.int64]) -> None:
    """Keep since when the newest values of these tags have been the same (µs, UTC)."""
    conn.execute(
        "UPDATE latest_value l SET unchanged_since = s.since"
        " FROM unnest(%b::integer[], %b::timestamptz[]) AS s (tag_id, since) WHERE l.tag_id = s.tag_id",
        (column(tag_id, "int4"), column(since, "timestamptz")),
    )
