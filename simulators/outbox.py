"""The edge's durable memory: messages not yet acknowledged, what was sent, and where each source stands.

One SQLite file in WAL mode; it survives kill -9 of the process. A message is journaled before it is sent, and
an acknowledgement moves its rows from in flight to sent in the same transaction.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cursor (source TEXT PRIMARY KEY, ts INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, lane TEXT NOT NULL, topic TEXT NOT NULL,
    body BLOB NOT NULL, row_count INTEGER NOT NULL, not_before REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS message_lane ON message (lane, not_before);
CREATE TABLE IF NOT EXISTS ledger (
    source TEXT PRIMARY KEY, sent INTEGER NOT NULL DEFAULT 0, in_flight INTEGER NOT NULL DEFAULT 0,
    resent INTEGER NOT NULL DEFAULT 0, unconfirmed INTEGER NOT NULL DEFAULT 0, refused INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS fault (
    source TEXT, kind TEXT, row_count INTEGER NOT NULL, PRIMARY KEY (source, kind));
CREATE TABLE IF NOT EXISTS chunk (
    id INTEGER PRIMARY KEY AUTOINCREMENT, unit TEXT NOT NULL, machines TEXT NOT NULL, start INTEGER NOT NULL,
    end INTEGER NOT NULL, row_count INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    done INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS feed (
    seq INTEGER NOT NULL, source TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (source, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS feed_state (
    source TEXT PRIMARY KEY, last INTEGER NOT NULL DEFAULT 0, served INTEGER NOT NULL DEFAULT 0,
    confirmed INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS day_total (
    unit TEXT, code TEXT, day INTEGER, produced INTEGER, scrap INTEGER, energy_kwh REAL,
    PRIMARY KEY (unit, code, day)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Message:
    """A journaled message. ``lane`` is the client that sends it; ``rows`` the readings in it."""

    id: int
    source: str
    topic: str
    body: bytes
    rows: int
    attempts: int


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be journaled; ``not_before`` is wall time in s, ``fault`` what it stands for, if anything."""

    source: str
    lane: str
    topic: str
    body: bytes
    rows: int
    not_before: float = 0.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of history: the window [start, end) in ms of a unit's machines (``machines``: a source key or '')."""

    id: int
    unit: str
    machines: str
    start: int
    end: int
    rows: int
    attempts: int
    done: bool


@dataclass(slots=True)
class Account:
    """Rows of one source.

    ``sent``: acknowledged; ``in_flight``: handed to the connection, no acknowledgement seen; ``unconfirmed``: those
    of them for which none can come any more; ``resent``: sent again for want of an answer; ``refused``: never
    taken, not to be sent again; ``buffered``: journaled, never sent.
    """

    sent: int = 0
    in_flight: int = 0
    resent: int = 0
    unconfirmed: int = 0
    refused: int = 0
    buffered: int = 0
    faults: dict[str, int] = field(default_factory=dict)


class Outbox:
    """The durable state of a run. All methods may be called from any thread."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._depth = 0
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        self.install_id = self.get("install_id") or self._set_new("install_id", uuid.uuid4().hex)

    def close(self) -> None:
        """Close the file; the object is of no use afterwards."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; nests (the outermost commits)."""
        with self._lock:
            if self._depth == 0:
                self._db.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield self._db
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._db.execute("ROLLBACK")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._db.execute("COMMIT")

    def get(self, key: str) -> str | None:
        """A remembered value, None if there is none."""
        with self._lock:
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set(self, key: str, value: str) -> None:
        """Remember a value."""
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def _set_new(self, key: str, value: str) -> str:
        self.set(key, value)
        return value

    def cursor(self, source: str) -> int | None:
        """Up to which time (ms, exclusive) the source's live samples are journaled."""
        with self._lock:
            row = self._db.execute("SELECT ts FROM cursor WHERE source = ?", (source,)).fetchone()
        return None if row is None else int(row[0])

    def set_cursor(self, source: str, ts: int) -> None:
        """Move the source's cursor."""
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO cursor VALUES (?, ?)", (source, ts))

    def journal(self, messages: Iterable[NewMessage]) -> None:
        """Take messages over for delivery."""
        rows = [(m.source, m.lane, m.topic, m.body, m.rows, m.not_before) for m in messages]
        with self.transaction() as db:
            db.executemany(
                "INSERT INTO message (source, lane, topic, body, row_count, not_before) VALUES (?,?,?,?,?,?)",
                rows,
            )

    def due(self, lane: str, limit: int, skip: Iterable[int] = ()) -> list[Message]:
        """The lane's oldest due messages, without those in ``skip`` (already on their way)."""
        passed = set(skip)
        with self._lock:
            found = self._db.execute(
                "SELECT id, source, topic, body, row_count, attempts FROM message"
                " WHERE lane = ? AND not_before <= ? ORDER BY not_before, id LIMIT ?",
                (lane, time.time(), limit + len(passed)),
            ).fetchall()
        return [Message(*row) for row in found if row[0] not in passed][:limit]

    def attempt(self, messages: Iterable[Message]) -> None:
        """Mark messages as about to be sent; those sent before without an answer count as resent."""
        with self.transaction() as db:
            for message in messages:
                db.execute("UPDATE message SET attempts = attempts + 1 WHERE id = ?", (message.id,))
                again = message.attempts > 0
                column = "resent" if again else "in_flight"
                self._add(db, message.source, column, message.rows)

    def acknowledge(self, messages: Iterable[Message], *, as_column: str = "sent") -> None:
        """The receiver has the messages (or will never take them: ``refused``): forget them."""
        with self.transaction() as db:
            for message in messages:
                if db.execute("DELETE FROM message WHERE id = ?", (message.id,)).rowcount:
                    self._add(db, message.source, as_column, message.rows)
                    self._add(db, message.source, "in_flight", -message.rows)

    def untried(self, messages: Iterable[Message]) -> None:
        """The receiver said that it took nothing (429, 503, or no connection): the attempt did not happen."""
        with self.transaction() as db:
            for message in messages:
                db.execute("UPDATE message SET attempts = ? WHERE id = ?", (message.attempts, message.id))
                again = message.attempts > 0
                self._add(db, message.source, "resent" if again else "in_flight", -message.rows)

    def count(self, source: str, column: str, rows: int) -> None:
        """Add to one column of a source's ledger."""
        with self.transaction() as db:
            self._add(db, source, column, rows)

    @staticmethod
    def _add(db: sqlite3.Connection, source: str, column: str, rows: int) -> None:
        db.execute("INSERT OR IGNORE INTO ledger (source) VALUES (?)", (source,))
        statement = {
            "sent": "UPDATE ledger SET sent = sent + ? WHERE source = ?",
            "in_flight": "UPDATE ledger SET in_flight = in_flight + ? WHERE source = ?",
            "resent": "UPDATE ledger SET resent = resent + ? WHERE source = ?",
            "unconfirmed": "UPDATE ledger SET unconfirmed = unconfirmed + ? WHERE source = ?",
            "refused": "UPDATE ledger SET refused = refused + ? WHERE source = ?",
        }[column]
        db.execute(statement, (rows, source))

    def count_fault(self, source: str, kind: str, rows: int) -> None:
        """Add rows to a source's count of a fault."""
        with self.transaction() as db:
            db.execute(
                "INSERT INTO fault VALUES (?, ?, ?)"
                " ON CONFLICT (source, kind) DO UPDATE SET row_count = row_count + excluded.row_count",
                (source, kind, rows),
            )

    def chunks(self) -> list[Chunk]:
        """All pieces of history, oldest first for each unit."""
        with self._lock:
            found = self._db.execute(
                "SELECT id, unit, machines, start, end, row_count, attempts, done FROM chunk ORDER BY id"
            ).fetchall()
        return [Chunk(*row) for row in found]

    def add_chunks(self, chunks: Iterable[tuple[str, str, int, int, int]]) -> None:
        """Add pieces of history: (unit, machines, start, end, estimated rows)."""
        with self.transaction() as db:
            db.executemany(
                "INSERT INTO chunk (unit, machines, start, end, row_count) VALUES (?,?,?,?,?)", chunks
            )

    def attempt_chunk(self, chunk: Chunk, source: str, rows: int) -> None:
        """A chunk of exactly ``rows`` readings is about to be sent."""
        with self.transaction() as db:
            row = db.execute("SELECT attempts FROM chunk WHERE id = ?", (chunk.id,)).fetchone()
            db.execute(
                "UPDATE chunk SET attempts = attempts + 1, row_count = ? WHERE id = ?", (rows, chunk.id)
            )
            self._add(db, source, "in_flight" if row[0] == 0 else "resent", rows)

    def untried_chunk(self, chunk: Chunk, source: str, rows: int) -> None:
        """The receiver took nothing of the chunk."""
        with self.transaction() as db:
            db.execute("UPDATE chunk SET attempts = attempts - 1 WHERE id = ?", (chunk.id,))
            row = db.execute("SELECT attempts FROM chunk WHERE id = ?", (chunk.id,)).fetchone()
            self._add(db, source, "in_flight" if row[0] == 0 else "resent", -rows)

    def finish_chunk(self, chunk: Chunk, source: str, rows: int, *, as_column: str = "sent") -> None:
        """The receiver has the chunk (or will never take it: ``refused``)."""
        with self.transaction() as db:
            if db.execute("UPDATE chunk SET done = 1 WHERE id = ? AND done = 0", (chunk.id,)).rowcount:
                self._add(db, source, as_column, rows)
                self._add(db, source, "in_flight", -rows)

    def abandon_in_flight(self, source: str) -> None:
        """After a restart: what was in flight without a journal can no longer be confirmed."""
        with self.transaction() as db:
            db.execute(
                "UPDATE ledger SET unconfirmed = unconfirmed + in_flight, in_flight = 0 WHERE source = ?",
                (source,),
            )

    def totals(self) -> dict[tuple[str, str, int], tuple[int, int, float]]:
        """The known totals of whole machine-days by (unit, code, day)."""
        with self._lock:
            found = self._db.execute("SELECT unit, code, day, produced, scrap, energy_kwh FROM day_total")
            return {(row[0], row[1], row[2]): (row[3], row[4], row[5]) for row in found}

    def add_totals(self, totals: Iterable[tuple[str, str, int, int, int, float]]) -> None:
        """Remember totals of machine-days: (unit, code, day, produced, scrap, energy_kwh)."""
        with self.transaction() as db:
            db.executemany("INSERT OR REPLACE INTO day_total VALUES (?,?,?,?,?,?)", totals)

    def ledger(self) -> dict[str, Account]:
        """The account of each source."""
        found: dict[str, Account] = {}
        with self._lock:
            for source, *columns in self._db.execute(
                "SELECT source, sent, in_flight, resent, unconfirmed, refused FROM ledger"
            ):
                account = found[source] = Account(*columns)
                account.in_flight += account.unconfirmed
            for source, rows in self._db.execute(
                "SELECT source, sum(row_count) FROM message WHERE attempts = 0 GROUP BY source"
                " UNION ALL SELECT source, last - served FROM feed_state"
            ):
                found.setdefault(source, Account()).buffered += rows
            for source, kind, rows in self._db.execute("SELECT source, kind, row_count FROM fault"):
                found.setdefault(source, Account()).faults[kind] = rows
        return found
