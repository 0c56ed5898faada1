"""Uploaded files of datasets: kept until they are judged, and what became of them; bounded for each unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from psycopg.types.json import Jsonb

from store.database import Connection, only

KEPT_DAYS = 7
KEPT_MOST = 50
KEPT_BYTES = 128 * 2**20
WAITING_MOST = 5
"""Files of one unit that are not finished."""
SILENT_S = 30
"""The process that worked on a file is gone when it has said nothing for so long."""
ATTEMPTS_MOST = 3

Added = Literal["new", "same", "other", "busy"]
"""What became of a file that came: kept; there already; another one has its name; no room."""
FINISHED = ("done", "refused", "failed")


class Upload(NamedTuple):
    """A file and what became of it so far; see the columns of file_upload."""

    upload_id: str
    unit_id: int
    dataset: str
    file_name: str
    n_bytes: int
    dry_run: bool
    sent_by: str
    stage: str
    total: int | None
    done: int
    accepted: int
    duplicates: int
    corrections: int
    quarantined: int
    problem: dict[str, Any] | None
    notes: dict[str, Any]
    errors: list[dict[str, Any]]
    has_marked: bool
    created_at: datetime
    finished_at: datetime | None
    reason: str | None
    voucher: str | None


_COLUMNS = (
    "upload_id, unit_id, dataset, file_name, n_bytes, dry_run, sent_by, stage, total, done, accepted, duplicates,"
    " corrections, quarantined, problem, notes, errors, marked IS NOT NULL, created_at, finished_at, reason, voucher"
)


class Progress(NamedTuple):
    """Rows judged, and the counts among them."""

    total: int | None = None
    done: int = 0
    accepted: int = 0
    duplicates: int = 0
    corrections: int = 0
    quarantined: int = 0


def add(
    conn: Connection, upload_id: str, unit_id: int, dataset: str, file_name: str, sent_by: str, content: bytes,
    *, dry_run: bool, reason: str | None = None, voucher: str | None = None, digest: bytes | None = None,
) -> Added:  # fmt: skip
    """Keep a new file, and forget what is old; one that is there already stays as it is, be it the same or another.

    `busy`, and nothing kept, when too many of the unit's files are not finished. `digest`: of what came, where it
    has a name of its own.
    """
    conn.execute("SELECT pg_advisory_xact_lock(7236016, %s)", (unit_id,))
    there = conn.execute("SELECT body_digest FROM file_upload WHERE upload_id = %s", (upload_id,)).fetchone()
    if there is not None:
        return "same" if there[0] is None or there[0] == digest else "other"
    waiting = conn.execute(
        "SELECT count(*) FROM file_upload WHERE unit_id = %s AND finished_at IS NULL", (unit_id,)
    )
    if only(waiting)[0] >= WAITING_MOST:
        return "busy"
    conn.execute(
        "INSERT INTO file_upload (upload_id, unit_id, dataset, file_name, n_bytes, dry_run, sent_by, content, reason,"
        " voucher, body_digest) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            upload_id, unit_id, dataset, file_name, len(content), dry_run, sent_by, content, reason, voucher, digest,
        ),
    )  # fmt: skip
    _forget(conn, unit_id)
    return "new"


def _forget(conn: Connection, unit_id: int) -> None:
    """Finished files that are old, or beyond what a unit may keep, the oldest first."""
    conn.execute(
        "DELETE FROM file_upload f USING ("
        "   SELECT upload_id, row_number() OVER newest AS n,"
        "       sum(coalesce(octet_length(content), 0) + coalesce(octet_length(marked), 0)) OVER newest AS bytes"
        "   FROM file_upload WHERE unit_id = %(unit)s WINDOW newest AS (ORDER BY created_at DESC, upload_id)"
        " ) o WHERE f.upload_id = o.upload_id AND f.finished_at IS NOT NULL"
        "   AND (o.n > %(most)s OR o.bytes > %(bytes)s OR f.created_at < now() - make_interval(days => %(days)s))",
        {"unit": unit_id, "most": KEPT_MOST, "bytes": KEPT_BYTES, "days": KEPT_DAYS},
    )


def one(conn: Connection, upload_id: str, unit_id: int) -> Upload | None:
    """One of the unit's files; None when there is none, or none any more."""
    row = conn.execute(
        f"SELECT {_COLUMNS} FROM file_upload WHERE upload_id = %s AND unit_id = %s"  # noqa: S608 constant columns
        " AND created_at > now() - make_interval(days => %s)",
        (upload_id, unit_id, KEPT_DAYS),
    ).fetchone()
    return None if row is None else Upload(*row)


def recent(conn: Connection, unit_id: int, limit: int) -> list[Upload]:
    """The unit's last files, newest first, without their errors."""
    rows = conn.execute(
        f"SELECT {_COLUMNS.replace(' errors,', _NO_ERRORS)} FROM file_upload WHERE unit_id = %s"  # noqa: S608
        " AND created_at > now() - make_interval(days => %s) ORDER BY created_at DESC, upload_id LIMIT %s",
        (unit_id, KEPT_DAYS, limit),
    )
    return [Upload(*row) for row in rows]


_NO_ERRORS = " '[]'::jsonb,"


def claim(conn: Connection, upload_id: str, unit_id: int) -> bool:
    """Take a file that nobody works on; one that was begun too often is given up. False: it is not ours."""
    row = conn.execute(
        "UPDATE file_upload SET attempts = attempts + 1, beat_at = now(),"
        " stage = CASE WHEN attempts >= %(most)s THEN 'failed' ELSE stage END,"
        " finished_at = CASE WHEN attempts >= %(most)s THEN now() END,"
        " content = CASE WHEN attempts >= %(most)s THEN NULL ELSE content END"
        " WHERE upload_id = %(id)s AND unit_id = %(unit)s AND finished_at IS NULL"
        "   AND (attempts = 0 OR beat_at < now() - make_interval(secs => %(silent)s)) RETURNING finished_at",
        {"id": upload_id, "unit": unit_id, "most": ATTEMPTS_MOST, "silent": SILENT_S},
    ).fetchone()
    return row is not None and row[0] is None


def orphans(conn: Connection, unit_id: int) -> list[str]:
    """Files of the unit whose process is gone."""
    rows = conn.execute(
        "SELECT upload_id FROM file_upload WHERE unit_id = %s AND finished_at IS NULL"
        " AND beat_at < now() - make_interval(secs => %s) ORDER BY created_at",
        (unit_id, SILENT_S),
    )
    return [row[0] for row in rows]


def content(conn: Connection, upload_id: str) -> bytes | None:
    """The file itself; None when it is finished or gone."""
    row = conn.execute("SELECT content FROM file_upload WHERE upload_id = %s", (upload_id,)).fetchone()
    return None if row is None else row[0]


def marked(conn: Connection, upload_id: str, unit_id: int) -> bytes | None:
    """The file with what was refused marked; None when there is none."""
    row = conn.execute(
        "SELECT marked FROM file_upload WHERE upload_id = %s AND unit_id = %s", (upload_id, unit_id)
    ).fetchone()
    return None if row is None else row[0]


def beat(conn: Connection, upload_id: str) -> None:
    """Say that somebody works on it."""
    conn.execute("UPDATE file_upload SET beat_at = now() WHERE upload_id = %s", (upload_id,))


def keep_progress(
    conn: Connection, upload_id: str, stage: str, progress: Progress, notes: Mapping[str, Any] | None = None
) -> None:
    """How far it has come."""
    conn.execute(
        "UPDATE file_upload SET stage = %s, total = %s, done = %s, accepted = %s, duplicates = %s, corrections = %s,"
        " quarantined = %s, notes = coalesce(%s, notes), beat_at = now() WHERE upload_id = %s",
        (stage, *progress, None if notes is None else Jsonb(dict(notes)), upload_id),
    )


def finish(
    conn: Connection,
    upload_id: str,
    stage: str,
    *,
    problem: Mapping[str, Any] | None = None,
    errors: Sequence[Mapping[str, Any]] = (),
    marked: bytes | None = None,
) -> None:
    """The end of it: `done`, `refused` or `failed`; the file itself is not kept."""
    conn.execute(
        "UPDATE file_upload SET stage = %s, problem = %s, errors = %s, marked = %s, content = NULL, finished_at = now(),"
        " beat_at = now() WHERE upload_id = %s",
        (stage, None if problem is None else Jsonb(dict(problem)), Jsonb(list(errors)), marked, upload_id),
    )
