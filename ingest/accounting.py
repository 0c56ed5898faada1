"""The account of every source at one moment: received = stored + duplicates + corrections + quarantined + pending.

Two things are read, the log and the store, and they cannot be read at the same instant. The order
makes up for it: **first** the list of what the log holds, **then** one snapshot (repeatable read) of the
store, in which ledger and positions are of the same transaction. Take any message that was durable when
the list was made:

* Listed, and its sequence is above its unit's position in the snapshot: it is not stored there. It is pending.
* Listed, and its sequence is not above the position: it was stored between the list and the snapshot, or
  not yet deleted. The snapshot's ledger has it, so it is not counted a second time as pending.
* Not listed, as it was deleted before: the log deletes only what is committed, and the snapshot is younger
  than the list. The ledger has it.

A message that came after the list may be in the snapshot, with its rows on both sides, or not at all.
So no message is ever missed or counted twice. The other order would lose those that are stored and
deleted between the snapshot and the list.

`received` is what those counted who appended the messages (it travels beside the data and is summed up by
the writer, or from what waits); the outcomes are what the writer judged row by row. That both agree is the
proof. Dataset records and canaries have no rows in this account.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from ingest.log import Log, Waiting, partition_of
from store import accounts, operations, registry
from store.accounts import SourceAccount
from store.database import Connection
from store.operations import Unassigned

Pending = Mapping[tuple[str, str], int]
"""(unit, source) → rows that wait in the log."""

ALL = 2**62


@dataclass(frozen=True, slots=True)
class Account:
    """One source of one unit, in rows. `source` is empty for a unit that is not registered.

    `pending` None: it could not be found out, the log was away; `received` is then without it.
    """

    unit: str
    source: str
    received: int
    stored: int
    duplicates: int
    corrections: int
    quarantined: int
    pending: int | None

    @property
    def balanced(self) -> bool:
        """To the row."""
        return self.received == (
            self.stored + self.duplicates + self.corrections + self.quarantined + (self.pending or 0)
        )


@dataclass(frozen=True, slots=True)
class Booked:
    """One snapshot of the store: the ledger, rows of unknown units, how far the log is stored.

    positions: (lane, unit) → last sequence stored; floors: (lane, partition) → the same, from before
    positions were kept a unit. registered: the codes of all units.
    """

    sources: list[SourceAccount]
    unassigned: list[Unassigned]
    registered: Collection[str]
    positions: Mapping[tuple[str, str], int]
    floors: Mapping[tuple[str, int], int]


def read_booked(
    conn: Connection, stream: str, *, most_unassigned: int = ALL, timeout_s: float = 60
) -> Booked:
    """Everything in one snapshot; `conn` must not be in a transaction. Raises psycopg.Error.

    `stream`: identity of the log, as positions in another stream mean nothing; empty when it is away.
    """
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        conn.execute("SELECT set_config('statement_timeout', %s, true)", (f"{timeout_s * 1000:.0f}",))
        return booked_in(conn, stream, most_unassigned)


def booked_in(conn: Connection, stream: str, most_unassigned: int = ALL) -> Booked:
    """The same in the transaction at hand, which must be of one snapshot (repeatable read)."""
    return Booked(
        sources=accounts.source_accounts(conn),
        unassigned=operations.unassigned(conn, most_unassigned),
        registered=registry.unit_ids(conn).keys(),
        positions=accounts.positions(conn, stream),
        floors=accounts.floors(conn, stream),
    )


def pending(
    waiting: Iterable[Waiting],
    positions: Mapping[tuple[str, str], int],
    floors: Mapping[tuple[str, int], int],
) -> Counter[tuple[str, str]]:
    """Rows of readings beyond the positions, by (unit, source)."""
    rows: Counter[tuple[str, str]] = Counter()
    for message in waiting:
        stored = max(
            positions.get((message.lane, message.unit), 0),
            floors.get((message.lane, partition_of(message.unit)), 0),
        )
        if message.kind == "batch" and message.sequence > stored:
            rows[message.unit, message.source] += message.rows
    return rows


def draw_up(booked: Booked, waits: Pending | None) -> list[Account]:
    """The accounts, by unit and source. `waits` None: not known."""
    by_key = {(a.unit, a.source): a for a in booked.sources}
    held = {(u.unit, ""): u.rows for u in booked.unassigned}
    left: Counter[tuple[str, str]] = Counter()
    for (unit, source), rows in (waits or {}).items():
        # What becomes of an unknown unit's rows is booked without their source.
        left[unit, source if unit in booked.registered else ""] += rows
    found = []
    for unit, source in sorted({*by_key, *held, *left}):
        account, rows = by_key.get((unit, source)), held.get((unit, source), 0)
        came = left[unit, source]
        found.append(
            Account(
                unit,
                source,
                received=(account.received if account else 0) + rows + came,
                stored=account.stored if account else 0,
                duplicates=account.duplicates if account else 0,
                corrections=account.corrections if account else 0,
                quarantined=(account.quarantined if account else 0) + rows,
                pending=None if waits is None else came,
            )
        )
    return found


async def take(log: Log, conn: Connection) -> list[Account]:
    """The accounts now. Raises LogUnavailable or psycopg.Error."""
    waiting = await log.waiting()  # before the snapshot: see above
    booked = await asyncio.to_thread(read_booked, conn, log.identity)
    return draw_up(booked, pending(waiting, booked.positions, booked.floors))
