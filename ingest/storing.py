"""One group of log entries → one transaction. Synchronous: the writer runs it in a thread."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import psycopg
import structlog

from ingest.batch import Batch, Refusal, decode
from ingest.datasets import natural_key
from ingest.log import Entry, Lane
from ingest.records import Records, decode_records
from ingest.validate import Checked, check
from store import accounts, datasets, measurements, quarantine, registry
from store.database import Connection, classify, connect
from store.layout import DayPartitions
from store.quarantine import Refused
from store.rows import Rows, concatenate

log_ = structlog.get_logger("ingest.storing")
_RELOAD_AFTER_S = 2.0
_ERRORS_KEPT = 100


@dataclass(frozen=True, slots=True)
class _Session:
    """The writer's connections: one for the rows, one for the partitions they need."""

    rows: Connection
    ddl: Connection
    partitions: DayPartitions

    @classmethod
    def open(cls, dsn: str, partitions: Sequence[int]) -> _Session:
        with ExitStack() as opened:
            ddl = opened.enter_context(closing(connect(dsn, application="writer-ddl", autocommit=True)))
            rows = opened.enter_context(closing(connect(dsn, application="writer", autocommit=True)))
            for partition in partitions:
                if not accounts.own_partition(rows, partition):
                    raise OwnedElsewhere(f"another writer owns partition {partition} of the log")
            measurements.prepare(rows)
            session = cls(rows, ddl, DayPartitions(ddl))
            opened.pop_all()
        return session

    @property
    def lost(self) -> bool:
        return any(conn.closed or conn.broken for conn in (self.rows, self.ddl))

    def close(self) -> None:
        self.rows.close()
        self.ddl.close()


class OwnedElsewhere(OSError):
    """Another process writes a partition that this one should."""


class Unreadable(Exception):
    """The bytes of a log entry are no message of ours."""


class Storing:
    """Validates and stores entries of the log; holds the connections and the registry's cache.

    Owns `partitions` of the log while connected (raises OwnedElsewhere): two writers of one partition
    would count every row twice. Not safe for concurrent use: one writer, one instance, one thread at a time.
    """

    def __init__(self, dsn: str, partitions: Sequence[int] = ()) -> None:
        self._dsn = dsn
        self._owned = partitions
        self._session: _Session | None = None
        self._tags: dict[str, tuple[float, registry.UnitTags | None]] = {}
        self._sources: dict[tuple[int, str], int] = {}

    def positions(self, stream: str, lane: Lane) -> dict[int, int]:
        """Where the log was left. Raises psycopg.Error."""
        conn = self._connected().rows
        with conn.transaction():
            return accounts.positions(conn, stream, lane)

    def store(self, entries: Sequence[Entry], stream: str, lane: Lane, reached: dict[int, int]) -> int:
        """Store entries and the position in one transaction; returns the rows stored or refused.

        An entry that the database will never take goes to the quarantine by itself, so that it
        holds up nobody. Raises psycopg.Error when trying again may help.
        """
        try:
            return self._transaction(entries, stream, lane, reached)
        except Unreadable:
            self._forget()
        except (psycopg.Error, OSError) as error:
            self._forget()
            if classify(error) != "data":
                raise
        # Something in here cannot be stored: find it, keep the rest. Each entry is committed with the
        # position up to it, so that an interruption does not store, or book, what came before again.
        rows = 0
        for entry in entries:
            upto = dict.fromkeys(reached, entry.sequence)
            try:
                rows += self._transaction([entry], stream, lane, upto)
            except (psycopg.Error, OSError, Unreadable) as error:
                self._forget()
                if not isinstance(error, Unreadable) and classify(error) != "data":
                    raise
                detail = (str(error).splitlines() or [type(error).__name__])[0]
                log_.error(
                    "an entry cannot be stored and is held", unit=entry.unit, rows=entry.rows, error=detail
                )
                rows += self._hold_whole(entry, {"detail": detail}, stream, lane, upto)
        return rows

    def maintain(self) -> None:
        """Delete what is kept for a limited time only. Raises psycopg.Error."""
        conn = self._connected().rows
        with conn.transaction():
            accounts.drop_expired(conn)

    def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            self._session.close()
        self._session = None

    def _connected(self) -> _Session:
        if self._session is None or self._session.lost:
            self.close()
            self._session = _Session.open(self._dsn, self._owned)
        return self._session

    def _forget(self) -> None:
        """After a failed transaction: what was read or registered in it may not be there."""
        self._tags.clear()
        self._sources.clear()
        if self._session is not None and self._session.lost:
            self.close()

    def _transaction(self, entries: Sequence[Entry], stream: str, lane: Lane, reached: dict[int, int]) -> int:
        session = self._connected()
        conn = session.rows
        total = 0
        with conn.transaction():
            parts: list[Rows] = []
            refused: list[Refused] = []
            names: list[str] = []
            for entry in entries:
                total += entry.rows
                batch = _decoded(entry)
                if isinstance(batch, Records):
                    self._apply(conn, batch, refused)
                    continue
                tags = self._unit_tags(conn, batch)
                if tags is None:
                    unknown = {"unit": batch.unit}
                    refused += _whole(entry, 0, 0, "unknown_unit", unknown, batch.received_at)
                    continue
                checked = check(batch, tags, batch.received_at)
                source = self._source(conn, tags.unit_id, batch.source)
                names.append(entry.msg_id)
                if len(checked.ts):
                    parts.append(_rows(batch, checked, source, len(names) - 1))
                refused += [
                    _refused(r, tags.unit_id, source, entry.msg_id, batch.received_at, tags)
                    for r in (*batch.refused, *checked.refused)
                ]
            _keep(session, parts, refused, names)
            accounts.keep_positions(conn, stream, lane, reached)
        return total

    def _apply(self, conn: Connection, submitted: Records, refused: list[Refused]) -> None:
        unit_id = registry.unit_ids(conn).get(submitted.unit)
        if unit_id is None:
            return  # the interface registers submissions of known units only
        source = self._source(conn, unit_id, submitted.source)
        wrong = datasets.problems(conn, unit_id, submitted.dataset, submitted.records)
        refusals = list(submitted.refused) + [
            Refusal(
                f"{submitted.dataset} records[{submitted.index[p.row]}].{p.field}",
                p.reason,
                p.parameters,
                msgspec.json.encode(submitted.records[p.row]),
            )
            for p in wrong
        ]
        bad = {p.row for p in wrong}
        good = [record for i, record in enumerate(submitted.records) if i not in bad]
        accepted, duplicates, corrections = datasets.apply(
            conn,
            unit_id,
            submitted.dataset,
            good,
            [natural_key(submitted.dataset, record) for record in good],
            submitted.batch,
            submitted.received_at,
        )
        quarantine.keep(
            conn,
            [_refused(r, unit_id, source, submitted.batch, submitted.received_at, None) for r in refusals],
        )
        errors = [
            {"place": r.place, "reason": r.reason, "parameters": r.parameters}
            for r in refusals[:_ERRORS_KEPT]
        ]
        verdict = datasets.Submission(
            submitted.received, accepted, duplicates, corrections, len(refusals), errors
        )
        datasets.keep_submission(conn, submitted.batch, unit_id, submitted.dataset, verdict)
        if submitted.dataset == "tag":
            self._tags.pop(submitted.unit, None)

    def _unit_tags(self, conn: Connection, batch: Batch) -> registry.UnitTags | None:
        loaded_at, tags = self._tags.get(batch.unit, (0.0, None))
        age = time.monotonic() - loaded_at
        unknown = tags is None or any(name not in tags.rows for name in batch.tags)
        if loaded_at == 0.0 or (unknown and age > _RELOAD_AFTER_S):
            tags = registry.unit_tags(conn, batch.unit)
            self._tags[batch.unit] = (time.monotonic(), tags)
        return tags

    def _source(self, conn: Connection, unit_id: int, key: str) -> int:
        if (unit_id, key) not in self._sources:
            self._sources[unit_id, key] = registry.source_id(conn, unit_id, key)
        return self._sources[unit_id, key]

    def _hold_whole(
        self, entry: Entry, parameters: dict[str, str], stream: str, lane: Lane, reached: dict[int, int]
    ) -> int:
        """Put a whole entry into the quarantine; every row of it counts as refused."""
        conn = self._connected().rows
        with conn.transaction():
            unit_id = registry.unit_ids(conn).get(entry.unit, 0)
            source = self._source(conn, unit_id, _source_of(entry)) if unit_id else 0
            now = time.time_ns() // 1000
            held = _whole(entry, unit_id, source, "unstorable", parameters, now)
            quarantine.keep(conn, held)
            if entry.kind == "records":
                errors = [{"place": r.place, "reason": r.reason, "parameters": r.parameters} for r in held]
                verdict = datasets.Submission(len(held), 0, 0, 0, len(held), errors[:_ERRORS_KEPT])
                datasets.keep_submission(conn, entry.msg_id, unit_id, "?", verdict)
            elif source:
                accounts.book(conn, _no_rows(), np.zeros(0, np.int8), held, now)
            accounts.keep_positions(conn, stream, lane, reached)
        return len(held)


def _whole(
    entry: Entry, unit_id: int, source: int, reason: str, parameters: dict[str, str], now: int
) -> list[Refused]:
    """A refusal for each row of an entry; the first holds the bytes of all."""
    return [
        Refused(
            unit_id, source, None, entry.msg_id, f"row {i} of batch" if i else "$", reason, parameters,
            None, None, b"" if i else entry.data, now,
        )
        for i in range(max(entry.rows, 1))
    ]  # fmt: skip


def _decoded(entry: Entry) -> Batch | Records:
    """What the entry holds. Raises Unreadable, whatever the bytes do to the decoders."""
    try:
        return decode(entry.data) if entry.kind == "batch" else decode_records(entry.data)
    except Exception as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error


def _keep(session: _Session, parts: list[Rows], refused: list[Refused], names: Sequence[str]) -> None:
    """Store rows and refusals, and account for them, in the transaction at hand."""
    conn = session.rows
    quarantine.keep(conn, refused)
    known = [r for r in refused if r.source_id]
    if not parts and not known:
        return
    rows, verdicts = _no_rows(), np.zeros(0, np.int8)
    if parts:
        rows = concatenate(parts).in_key_order()
        session.partitions.ensure(session.ddl, [day.date() for day in measurements.days_of(rows)])
        verdicts = measurements.write(conn, rows, names)
        measurements.keep_latest(conn, rows)
    accounts.book(conn, rows, verdicts, known, time.time_ns() // 1000)


def _source_of(entry: Entry) -> str:
    """The source an entry names, or `log` when it cannot be read."""
    try:
        return _decoded(entry).source
    except Unreadable:
        return "log"


def _rows(batch: Batch, checked: Checked, source: int, name: int) -> Rows:
    n = len(checked.ts)
    return Rows(
        tag_id=checked.tag_id,
        equipment_id=checked.equipment_id,
        source_id=np.full(n, source, np.int32),
        batch=np.full(n, name, np.int32),
        ts=checked.ts,
        received_at=np.full(n, batch.received_at, np.int64),
        value=checked.value,
        quality=checked.quality,
        live=np.full(n, batch.mode == "live", np.bool_),
        text=checked.text,
    )


def _no_rows() -> Rows:
    none: Any = np.empty(0, np.int32)
    return Rows(
        none, none, none, none, np.empty(0, np.int64), np.empty(0, np.int64),
        np.empty(0), np.empty(0, np.int16), np.empty(0, np.bool_), None,
    )  # fmt: skip


def _refused(
    refusal: Refusal, unit_id: int, source: int, batch: str, received_at: int, tags: registry.UnitTags | None
) -> Refused:
    equipment = None
    if tags is not None and refusal.tag in tags.rows:
        equipment = int(tags.equipment_id[tags.rows[refusal.tag]])
    return Refused(
        unit_id, source, equipment, batch, refusal.place, refusal.reason, refusal.parameters,
        refusal.tag, refusal.ts, refusal.original, received_at,
    )  # fmt: skip
