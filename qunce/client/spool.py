"""Submissions on disk until the platform has them: one SQLite file, in the order in which they came.

What `put` has returned for survives kill -9 and loss of power. One process at a time has it open.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from qunce.client.errors import SpoolFull, SpoolInUse
from qunce.client.wire import Sending

_SCHEMA = """
CREATE TABLE IF NOT EXISTS submission (
    id INTEGER PRIMARY KEY AUTOINCREMENT, target TEXT NOT NULL, content_type TEXT NOT NULL, coding TEXT NOT NULL,
    idempotency_key TEXT NOT NULL, digest BLOB NOT NULL, body BLOB NOT NULL, row_count INTEGER NOT NULL,
    first_row INTEGER NOT NULL, queued_at REAL NOT NULL,
    UNIQUE (idempotency_key, target, digest))
"""
_PREFER = "respond-async"
"""The next submission is waiting: being durable on the platform is all that this one needs."""
_OVERHEAD_BYTES = 512
"""What a submission takes beside its body, about."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """A submission in the spool; `first_row` is where its rows begin in the caller's list."""

    id: int
    sending: Sending
    rows: int
    first_row: int


class Spool:
    """The queue. All methods may be called from any thread. `aside_bytes` counts against the limit, too."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._db = sqlite3.connect(
            folder / "spool.sqlite", check_same_thread=False, isolation_level=None, timeout=0.2
        )
        try:
            # Held until the process ends, however it ends.
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("BEGIN EXCLUSIVE")
            self._db.execute(_SCHEMA)
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._db.close()
            if "locked" in str(error):
                raise SpoolInUse(f"{folder} is in use by another process or Client") from error
            raise
        query = "SELECT count(*), coalesce(sum(length(body)), 0) FROM submission"
        self.queued, bodies = self._db.execute(query).fetchone()
        self.queued_bytes = bodies + self.queued * _OVERHEAD_BYTES
        self.aside_bytes = 0

    def close(self) -> None:
        """Close the file and let go of it."""
        with self._lock:
            self._db.close()

    def put(self, submissions: Sequence[tuple[Sending, int, int]]) -> None:
        """Add (request, rows, first row), all of them or none; returns when durable. Raises SpoolFull.

        What is already there with the same idempotency key and content is not added again.
        """
        size = sum(len(sending.body) + _OVERHEAD_BYTES for sending, _, _ in submissions)
        with self._lock, self._transaction():
            held = self.queued_bytes + self.aside_bytes
            if held + size > self._max_bytes:
                raise SpoolFull(
                    f"the spool holds {held} of {self._max_bytes} bytes ({self.aside_bytes} of them refused and put"
                    f" aside), {size} more do not fit"
                )
            for sending, rows, first_row in submissions:
                self._db.execute(
                    "INSERT OR IGNORE INTO submission (target, content_type, coding, idempotency_key, digest, body,"
                    " row_count, first_row, queued_at) VALUES (?,?,?,?,?,?,?,?,?)",
                    (sending.target, sending.content_type, sending.coding, sending.idempotency_key,
                     hashlib.sha256(sending.body).digest(), sending.body, rows, first_row, time.time()),
                )  # fmt: skip
                if self._db.execute("SELECT changes()").fetchone()[0]:
                    self.queued += 1
                    self.queued_bytes += len(sending.body) + _OVERHEAD_BYTES

    def oldest(self) -> Spooled | None:
        """The submission to be sent next."""
        with self._lock:
            row = self._db.execute(
                "SELECT id, target, content_type, coding, idempotency_key, body, row_count, first_row"
                " FROM submission ORDER BY id LIMIT 1"
            ).fetchone()
        if row is None:
            return None
        id_, target, content_type, coding, key, body, rows, first_row = row
        sending = Sending("POST", target, body, content_type, coding, key, _PREFER)
        return Spooled(id_, sending, rows, first_row)

    def done(self, spooled: Spooled) -> None:
        """The submission is in other hands: forget it."""
        with self._lock:
            self._db.execute("DELETE FROM submission WHERE id = ?", (spooled.id,))
            self.queued -= 1
            self.queued_bytes -= len(spooled.sending.body) + _OVERHEAD_BYTES

    def oldest_s(self) -> float:
        """For how long the oldest has been waiting; 0 when there is none."""
        with self._lock:
            (queued_at,) = self._db.execute("SELECT min(queued_at) FROM submission").fetchone()
        return 0.0 if queued_at is None else max(0.0, time.time() - queued_at)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        counted = self.queued, self.queued_bytes
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            self.queued, self.queued_bytes = counted
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError) and "full" in str(error):
                raise SpoolFull(f"the disk under the spool is full: {error}") from error
            raise
