"""One group of the log's messages → one transaction. Synchronous: the writer runs it in threads."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from typing import Any

import msgspec
import numpy as np
import psycopg
import structlog

from ingest.batch import Breach, Refusal
from ingest.datasets import natural_key
from ingest.datasets.rules import CORRECTION_WINDOW, rules_of
from ingest.log import Entry
from ingest.preparing import Prepared, Submitted, held, prepare
from ingest.units import Known, Units
from ingest.verdicts import judge
from store import accounts, audit, canary, datasets, measurements, quarantine, submissions
from store.database import Connection, classify, connect
from store.layout import DayPartitions
from store.quarantine import Refused
from store.submissions import Submission, told

log_ = structlog.get_logger("ingest.storing")
_ERRORS_KEPT = 100


@dataclass(frozen=True, slots=True)
class _Session:
    """Two connections: one that stores, and one that reads the registry and makes partitions meanwhile."""

    rows: Connection
    other: Connection
    partitions: DayPartitions
    units: Units

    @classmethod
    def open(cls, dsn: str, partitions: Sequence[int], hands: Sequence[int], known: Known) -> _Session:
        with ExitStack() as opened:
            other = opened.enter_context(closing(connect(dsn, application="writer-other", autocommit=True)))
            rows = opened.enter_context(closing(connect(dsn, application="writer", autocommit=True)))
            for hand, partition in product(hands, partitions):
                if not accounts.own_partition(rows, partition, hand):
                    raise OwnedElsewhere(f"another writer owns partition {partition} of the log")
            session = cls(rows, other, DayPartitions(other), Units(other, known))
            opened.pop_all()
        return session

    @property
    def lost(self) -> bool:
        return any(conn.closed or conn.broken for conn in (self.rows, self.other))

    def close(self) -> None:
        self.rows.close()
        self.other.close()


class OwnedElsewhere(OSError):
    """Another process writes a partition that this one should."""


class Storing:
    """Prepares and commits groups of messages; holds the connections and what is known of the units.

    Owns `partitions` of the log while connected (raises OwnedElsewhere): two writers of one partition
    would count every row twice. `hands` are numbers that no two Storings of one writer share, and that all of
    them together make up; `known` is common to them. `window`: how long reports can be corrected. One call of `ready` and one of `commit` may run at once,
    in the order in which groups are taken; nothing else may.
    """

    def __init__(
        self,
        dsn: str,
        partitions: Sequence[int] = (),
        hands: Sequence[int] = (0,),
        known: Known | None = None,
        window: timedelta = CORRECTION_WINDOW,
    ) -> None:
        self._known = known or Known()
        self._window = window
        self._dsn = dsn
        self._owned = partitions
        self._hands = hands
        self._session: _Session | None = None

    def open(self) -> None:
        """Connect and own the partitions. Raises psycopg.Error, OwnedElsewhere."""
        self._connected()

    def reached(self, stream: str) -> tuple[dict[tuple[str, str], int], dict[tuple[str, int], int]]:
        """(lane, unit) → last sequence stored; (lane, partition) → sequence up to which all is.

        Raises psycopg.Error, OwnedElsewhere.
        """
        conn = self._connected().rows
        return accounts.positions(conn, stream), accounts.floors(conn, stream)

    def ready(self, messages: Sequence[Entry]) -> Prepared:
        """Prepare a group. Raises psycopg.Error when trying again may help."""
        session = self._connected()
        prepared = prepare(messages, session.units, _now_us())
        session.partitions.ensure(session.other, [day.date() for day in measurements.days_of(prepared.rows)])
        return prepared

    def commit(self, prepared: Prepared, stream: str) -> int:
        """Store a group in one transaction; returns its rows, stored or refused.

        Raises psycopg.Error or OSError, with nothing stored: `forget` then, and when the error is of
        the class `data`, store the messages `one_by_one`.
        """
        return self._transaction(prepared, stream)

    def one_by_one(self, messages: Sequence[Entry], stream: str) -> int:
        """Store a group of which something cannot be stored: that goes to the quarantine, the rest is kept.

        Each message is committed with the position up to it, so that an interruption does not store, or
        book, what came before again. Raises psycopg.Error or OSError when trying again may help.
        """
        rows = 0
        for entry in messages:
            try:
                rows += self._transaction(self.ready([entry]), stream)
            except (psycopg.Error, OSError) as error:
                self.forget([entry.unit])
                if classify(error) != "data":
                    raise
                detail = (str(error).splitlines() or [type(error).__name__])[0]
                log_.error(
                    "a message cannot be stored and is held", unit=entry.unit, rows=entry.rows, error=detail
                )
                rows += self._hold(entry, detail, stream)
        return rows

    def store(self, messages: Sequence[Entry], stream: str) -> int:
        """Prepare and commit one group, whatever is in it."""
        try:
            return self.commit(self.ready(messages), stream)
        except (psycopg.Error, OSError) as error:
            self.forget([entry.unit for entry in messages])
            if classify(error) != "data":
                raise
        return self.one_by_one(messages, stream)

    def forget(self, codes: Sequence[str]) -> None:
        """A group with messages of these units was prepared and not committed."""
        self._known.forget(codes)
        if self._session is not None and self._session.lost:
            self.close()

    def abandon(self) -> None:
        """Cut the connections: whoever waits for the database gets an error at once. From any thread."""
        if (session := self._session) is not None:
            for conn in (session.rows, session.other):
                with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(conn.fileno())) as line:
                    line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            self._session.close()
        self._session = None

    def _connected(self) -> _Session:
        if self._session is None or self._session.lost:
            self.close()
            self._session = _Session.open(self._dsn, self._owned, self._hands, self._known)
        return self._session

    def _transaction(self, prepared: Prepared, stream: str) -> int:
        session = self._connected()
        conn = session.rows
        with conn.transaction():
            verdicts, surprised = measurements.write(conn, prepared.numbers, prepared.parts)
            if len(prepared.texts):
                texts = measurements.write_texts(conn, prepared.texts, prepared.parts)
                verdicts = np.concatenate([verdicts, texts])
            if len(prepared.newest):
                measurements.keep_latest(conn, prepared.newest, prepared.first, prepared.parts)
            if len(prepared.watched[0]):
                measurements.keep_unchanged(conn, *prepared.watched)
            quarantine.keep(conn, prepared.refused + prepared.unbooked)
            if len(prepared.entries.rows):
                accounts.book(
                    conn, prepared.entries, prepared.rows, prepared.parts, prepared.runs, verdicts,
                    prepared.refused, _now_us(),
                )  # fmt: skip
                accounts.keep_skew(conn, prepared.ahead_s)
            if prepared.claimed:
                parts = len(prepared.parts.names)
                submissions.keep(conn, judge(prepared.claimed, prepared.rows, verdicts, parts))
            corrected = [
                (submitted, _apply(conn, submitted, self._window)) for submitted in prepared.submissions
            ]
            if prepared.canaries:
                canary.keep(conn, prepared.canaries)
            accounts.keep_positions(conn, stream, prepared.reached)
            # Last: whoever writes into the audit log keeps the others waiting until the commit.
            audit.record_corrections(conn, _corrections(prepared, verdicts))
            for (records, unit_id, _), n in corrected:
                if n:
                    detail = {
                        "dataset": records.dataset, "records": n, "reason": records.reason, "voucher": records.voucher,
                        "by": records.by,
                    }  # fmt: skip
                    audit.record(conn, "record.corrected", records.batch, detail, unit_id)
        for records, _, _ in prepared.submissions:
            if records.dataset == "tag":
                self._known.changed(records.unit, [str(record.get("name")) for record in records.records])
        if len(surprised):
            self._known.surprised(prepared.units, surprised)
        return sum(entry.rows for entry in prepared.messages)

    def _hold(self, entry: Entry, detail: str, stream: str) -> int:
        """Put a whole message into the quarantine; every row of it counts as refused."""
        session = self._connected()
        prepared = held(entry, session.units, detail, _now_us())
        if entry.kind == "records" and prepared.unbooked:
            refused = prepared.unbooked
            n = len(refused)
            verdict = Submission(
                entry.msg_id,
                refused[0].unit_id,
                "?",
                n,
                0,
                0,
                0,
                n,
                _shown(refused, _ERRORS_KEPT),
                None,
                None,
            )
            with session.rows.transaction():
                datasets.keep_submission(session.rows, verdict)
                self._transaction(prepared, stream)
        else:
            self._transaction(prepared, stream)
        return len(prepared.refused) + len(prepared.unbooked)


def _corrections(prepared: Prepared, verdicts: measurements.Verdicts) -> dict[tuple[int, str], int]:
    """(source_id, batch) → readings that replaced another value."""
    counts = np.bincount(prepared.rows.part[verdicts == measurements.CORRECTION])
    found: dict[tuple[int, str], int] = {}
    for part in np.flatnonzero(counts).tolist():
        key = int(prepared.parts.source_id[part]), prepared.parts.names[part]
        found[key] = found.get(key, 0) + int(counts[part])
    return found


def _apply(conn: Connection, submitted: Submitted, window: timedelta) -> int:
    """Apply dataset records, and keep the verdict; returns how many were corrections."""
    records, unit_id, source_id = submitted
    keys = [natural_key(records.dataset, record) for record in records.records]
    judged = datasets.apply(
        conn, unit_id, records.dataset, records.records, keys, rules_of(records.dataset, window),
        datasets.Report(records.batch, records.received_at, records.reason, records.voucher, records.by),
    )  # fmt: skip
    refusals = list(records.refused) + [
        Refusal(
            f"{records.dataset} records[{records.index[p.row]}].{p.field}",
            p.reason,
            p.parameters,
            msgspec.json.encode(records.records[p.row]),
        )
        for p in judged.problems
    ]
    held_back = [
        Refused(
            unit_id, source_id, None, records.batch, r.place, r.reason, r.parameters, r.tag, r.ts, r.original,
            records.received_at,
        )
        for r in refusals
    ]  # fmt: skip
    quarantine.keep(conn, held_back)
    counts = Counter(judged.verdicts)
    verdicts = None
    if records.each:
        each = bytearray([datasets.QUARANTINED] * records.received)
        for i, verdict in zip(records.index, judged.verdicts, strict=True):
            each[i] = verdict
        verdicts = bytes(each)
    datasets.keep_submission(
        conn,
        Submission(
            records.batch, unit_id, records.dataset, records.received, len(judged.revisions),
            counts[datasets.DUPLICATE], counts[datasets.CORRECTION], len(refusals),
            _shown(_breaches(refusals), None if records.each else _ERRORS_KEPT),
            records.body_digest, verdicts,
        ),
    )  # fmt: skip
    return counts[datasets.CORRECTION]


def _breaches(refusals: Sequence[Refusal]) -> list[Refusal | Breach]:
    """All that is wrong with the first refused records, and one rule that each of the others breaks."""
    found: list[Refusal | Breach] = []
    for i, one in enumerate(refusals):
        found.append(one)
        if i < _ERRORS_KEPT:
            found.extend(one.also)
    return found


def _shown(refusals: Sequence[Refusal | Breach | Refused], most: int | None) -> list[dict[str, Any]]:
    return [told(r.place, r.reason, r.parameters) for r in refusals[:most]]


def _now_us() -> int:
    return time.time_ns() // 1000
