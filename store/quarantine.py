"""What was refused, kept with reason, place and bytes: bounded in bytes, and never forgotten.

An entry stays for good as the history of a refusal; `replayed_at` says that it went into the log again.
An original is kept up to ORIGINAL_MOST_BYTES, and a unit's open entries hold at most UNIT_MOST_BYTES:
beyond, only the beginning of an original is kept. A cut is stated in the entry's parameters, with the
size and the SHA-256 of what came.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import LiteralString, NamedTuple

import msgspec
from psycopg import sql

from store.database import Connection
from store.times import HOUR_US, POSTGRES_EPOCH_US

ORIGINAL_MOST_BYTES = 256 * 2**10
"""More than this of an original is not kept."""
WHOLE_MOST_BYTES = 4 * 2**20
"""The same for a whole batch as it is in the log, which bounds it itself: only whole can it be read again."""
BRIEF_BYTES = 1024
"""What is kept of an original once a unit has used up its bytes."""
UNIT_MOST_BYTES = 256 * 2**20
"""Bytes of originals that the open entries of a unit may hold."""

ARROW_STREAM = b"\xff\xff\xff\xff"
"""How a whole batch begins, as no text of a sender does: the continuation marker of Arrow IPC."""

_TEXT_MOST = 1000
_YEAR_1_US, _YEAR_9999_US = (
    int(datetime(*day, tzinfo=UTC).timestamp()) * 1_000_000 for day in ((1, 1, 1), (9999, 12, 31))
)


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal on its way to the quarantine. Times are µs since the Unix epoch, UTC."""

    unit_id: int
    source_id: int
    equipment_id: int | None
    batch: str
    place: str
    reason: str
    parameters: dict[str, str]
    tag: str | None
    ts: int | None
    original: bytes
    received_at: int

    @property
    def hour_us(self) -> int:
        """The time it counts for: its own when that is sane, else its arrival."""
        sane = self.ts is not None and abs(self.ts - self.received_at) < 366 * 24 * HOUR_US
        return self.ts if sane and self.ts is not None else self.received_at


class Held(NamedTuple):
    """One entry of the quarantine. Times aware, UTC; `unit` and `source` are empty where they are not known."""

    quarantine_id: int
    unit_id: int
    unit: str
    source: str
    batch: str
    place: str
    reason: str
    parameters: dict[str, str]
    tag: str | None
    ts: datetime | None
    original: bytes
    received_at: datetime
    replayed_at: datetime | None
    replay_batch: str | None

    @property
    def is_cut(self) -> bool:
        """Whether more came than is kept; how much is in the parameters."""
        return "original_bytes" in self.parameters


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries; None = all. `since` (inclusive) and `until` (exclusive) are times of arrival, aware.

    `unit_id` limits to one unit's own; `unit` is a code, also of a unit that was not registered then.
    `batch`: as answered to the sender, or as kept with the entry. `is_open`: not replayed yet.
    """

    unit_id: int | None = None
    unit: str | None = None
    source: str | None = None
    reason: str | None = None
    tag: str | None = None
    batch: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    is_open: bool | None = None
    ids: Sequence[int] | None = None


class Page(NamedTuple):
    """Some entries in order; `more`: go on after the last of them."""

    entries: list[Held]
    more: bool


def keep(conn: Connection, refused: list[Refused], *, unit_most_bytes: int = UNIT_MOST_BYTES) -> None:
    """Put refusals into the quarantine, in this transaction; about 4 µs of this process each."""
    if not refused:
        return
    held = _Columns(refused, [r.original for r in refused], [r.parameters for r in refused])
    for i, original in enumerate(held.original):
        if len(original) > ORIGINAL_MOST_BYTES:
            held.cut(i, WHOLE_MOST_BYTES if original.startswith(ARROW_STREAM) else ORIGINAL_MOST_BYTES)
    _within_budget(conn, held, unit_most_bytes)
    with (
        conn.cursor() as cursor,
        cursor.copy(
            "COPY quarantine (unit_id, source_id, batch, place, reason, parameters, tag, ts, original, received_at)"
            " FROM STDIN (FORMAT binary)"
        ) as copy,
    ):
        copy.write(_HEAD)
        for start in range(0, len(refused), _ROWS_A_WRITE):
            copy.write(_encoded(held, slice(start, start + _ROWS_A_WRITE)))
        copy.write(_END)


def kept(
    original: bytes, parameters: dict[str, str], most: int = ORIGINAL_MOST_BYTES
) -> tuple[bytes, dict[str, str]]:
    """What is kept of an original, and the parameters with the size and SHA-256 of the whole if it was cut."""
    if len(original) <= most:
        return original, parameters
    if "original_bytes" not in parameters:  # else it came here cut already
        digest = hashlib.sha256(original).hexdigest()
        parameters = parameters | {"original_bytes": str(len(original)), "original_sha256": digest}
    return original[:most], parameters


@dataclass(frozen=True, slots=True)
class _Columns:
    """Refusals, what is kept of their originals, and their parameters, which state a cut."""

    refused: list[Refused]
    original: list[bytes]
    parameters: list[dict[str, str]]

    def cut(self, i: int, most: int) -> int:
        """Keep at most so many bytes of an original; returns how many are spared."""
        before, whole = len(self.original[i]), self.refused[i].original
        if before <= most:
            return 0
        self.original[i], self.parameters[i] = kept(whole, self.parameters[i], most)
        return before - most


def _within_budget(conn: Connection, held: _Columns, unit_most_bytes: int) -> None:
    """Book what the originals take; cut those that a unit has no bytes left for."""
    taken: Counter[int] = Counter()
    for one, original in zip(held.refused, held.original, strict=True):
        taken[one.unit_id] += len(original)
    left = {
        unit_id: unit_most_bytes - (total - taken[unit_id])
        for unit_id, total in _book(conn, taken)
        if total > unit_most_bytes
    }
    if not left:
        return
    spared: Counter[int] = Counter()
    for i, one in enumerate(held.refused):
        unit_id = one.unit_id
        if unit_id in left:
            if len(held.original[i]) > left[unit_id]:
                spared[unit_id] -= held.cut(i, BRIEF_BYTES)
            left[unit_id] -= len(held.original[i])
    _book(conn, spared)


def _book(conn: Connection, change: Mapping[int, int]) -> list[tuple[int, int]]:
    """Add to the bytes kept; → (unit_id, bytes now). In order of units, so that two at once do not lock up."""
    units = sorted(change)
    return conn.execute(
        "INSERT INTO quarantine_kept AS k (unit_id, original_bytes)"
        " SELECT unit_id, greatest(change, 0) FROM unnest(%s::integer[], %s::bigint[]) AS c (unit_id, change)"
        " ON CONFLICT (unit_id) DO UPDATE SET original_bytes = greatest(0, k.original_bytes"
        "  + (%s::bigint[])[array_position(%s::integer[], k.unit_id)])"
        " RETURNING unit_id, original_bytes",
        (units, [change[u] for u in units], [change[u] for u in units], units),
    ).fetchall()


_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_ROWS_A_WRITE = 1000
_IDS = struct.Struct(">hiiii").pack
_LENGTH = struct.Struct(">i").pack
_JSONB = struct.Struct(">iB").pack  # length, and the version of jsonb on the wire
_TIME = struct.Struct(">iq").pack
_NULL = b"\xff\xff\xff\xff"
_JSON = msgspec.json.Encoder().encode


class _Once(dict[str | None, bytes]):
    """Texts as they go over the wire, each encoded once: batches, reasons and tags come again and again."""

    def __missing__(self, text: str | None) -> bytes:
        self[text] = data = _NULL if text is None else _texts([text])[0]
        return data


def _encoded(held: _Columns, part: slice) -> bytes:
    """Rows as PostgreSQL's binary COPY, made by columns: a row at a time costs twice as much."""
    refused, once = held.refused[part], _Once()
    originals = held.original[part]
    owners = [(r.unit_id, r.source_id) for r in refused]
    begins = {owner: _IDS(10, 4, owner[0], 4, owner[1]) for owner in set(owners)}
    arrivals = [r.received_at for r in refused]
    times = {us: _TIME(8, us - POSTGRES_EPOCH_US) for us in set(arrivals)}
    rows = zip(
        [begins[owner] for owner in owners],
        [once[r.batch] for r in refused],
        _texts([r.place for r in refused]),
        [once[r.reason] for r in refused],
        _stated(held.parameters[part]),
        [once[r.tag] for r in refused],
        [
            _NULL if (ts := r.ts) is None or not _YEAR_1_US <= ts <= _YEAR_9999_US
            else _TIME(8, ts - POSTGRES_EPOCH_US)
            for r in refused
        ],
        map(_LENGTH, map(len, originals)),
        originals,
        [times[us] for us in arrivals],
        strict=True,
    )  # fmt: skip
    return b"".join(chain.from_iterable(rows))


def _stated(parameters: list[dict[str, str]]) -> list[bytes]:
    try:
        stated = list(map(_JSON, parameters))
        clean = b"\\u0000" not in b"".join(stated) and max(map(len, stated)) <= _TEXT_MOST
    except UnicodeEncodeError:  # half of a surrogate pair
        clean = False
    if not clean:
        stated = [_JSON({storable(k): storable(v) for k, v in given.items()}) for given in parameters]
    return [_JSONB(len(data) + 1, 1) + data for data in stated]


def _texts(texts: list[str]) -> list[bytes]:
    try:
        data = [text.encode() for text in texts]
        clean = b"\0" not in b"".join(data) and max(map(len, data)) <= _TEXT_MOST
    except UnicodeEncodeError:
        clean = False
    if not clean:
        data = [storable(text).encode() for text in texts]
    return [_LENGTH(len(one)) + one for one in data]


def storable(text: str) -> str:
    """As text that PostgreSQL can hold: without NUL and halves of characters, cut; the original bytes keep them."""
    text = text[:_TEXT_MOST].replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text.encode("utf-8", "replace").decode()


_COLUMNS = sql.SQL(
    "q.quarantine_id, q.unit_id, coalesce(u.code, q.parameters ->> 'unit', ''), coalesce(s.key, ''), q.batch,"
    " q.place, q.reason, q.parameters, q.tag, q.ts, q.original, q.received_at, q.replayed_at, q.replay_batch"
)
_FROM = sql.SQL(
    " FROM quarantine q LEFT JOIN lead_unit u ON u.unit_id = q.unit_id LEFT JOIN source s USING (source_id)"
)
_PAGE_BYTES = 4 * 2**20


def page(
    conn: Connection,
    wanted: Filter,
    *,
    limit: int,
    after: int | None = None,
    newest_first: bool = True,
    most_bytes: int = _PAGE_BYTES,
) -> Page:
    """The next entries after the one of id `after`: at most `limit`, and of originals `most_bytes`, or one entry."""
    where, parameters = _where(wanted)
    if after is not None:
        where.append(
            sql.SQL("q.quarantine_id < %(after)s" if newest_first else "q.quarantine_id > %(after)s")
        )
    order = sql.SQL("DESC" if newest_first else "ASC")
    query = sql.SQL(
        "SELECT * FROM (SELECT x.*, count(*) OVER (), sum(octet_length(original)) OVER"
        " (ORDER BY quarantine_id {order}) - octet_length(original) AS before FROM (SELECT {columns}{tables}"
        " WHERE {where} ORDER BY q.quarantine_id {order} LIMIT %(limit)s) x) y"
        " WHERE before = 0 OR before + octet_length(original) <= %(most)s ORDER BY quarantine_id {order}"
    ).format(order=order, columns=_COLUMNS, tables=_FROM, where=sql.SQL(" AND ").join(where))
    parameters |= {"after": after, "limit": limit + 1, "most": most_bytes}
    rows = conn.execute(query, parameters).fetchall()
    found = rows[0][-2] if rows else 0
    entries = [Held(*row[:-2]) for row in rows[:limit]]
    return Page(entries, found > len(entries))


def one(conn: Connection, quarantine_id: int, unit_id: int | None = None) -> Held | None:
    """One entry, of that unit if one is given."""
    found = page(conn, Filter(unit_id=unit_id, ids=[quarantine_id]), limit=1)
    return found.entries[0] if found.entries else None


def lock_open(conn: Connection, ids: Sequence[int]) -> set[int]:
    """Those of the entries that are open, locked until this transaction ends, so that nobody else replays them."""
    rows = conn.execute(
        "SELECT quarantine_id FROM quarantine WHERE quarantine_id = ANY(%s) AND replayed_at IS NULL"
        " ORDER BY quarantine_id FOR UPDATE",
        (list(ids),),
    )
    return {quarantine_id for (quarantine_id,) in rows}


def lock_rest(conn: Connection, first: Held, rows: int) -> list[int]:
    """The other open entries of a whole batch of so many rows, of which the first holds the bytes; locked.

    They were kept together, so they are looked for close by.
    """
    found = conn.execute(
        "SELECT quarantine_id FROM quarantine WHERE quarantine_id > %(first)s"
        " AND quarantine_id <= %(first)s + 2 * %(rows)s + 100000 AND batch = %(batch)s AND unit_id = %(unit)s"
        " AND original = '' AND replayed_at IS NULL ORDER BY quarantine_id FOR UPDATE",
        {"first": first.quarantine_id, "rows": rows, "batch": first.batch, "unit": first.unit_id},
    )
    return [quarantine_id for (quarantine_id,) in found]


def mark_replayed(conn: Connection, batches: Mapping[int, str]) -> None:
    """These entries are in the log again, each in that batch: they are open no more, and their bytes are free.

    The last thing in a transaction: until its end the writer waits to keep refusals of these units.
    """
    rows = conn.execute(
        "WITH marked AS (UPDATE quarantine q SET replayed_at = now(), replay_batch = m.batch"
        " FROM unnest(%s::bigint[], %s::text[]) AS m (quarantine_id, batch)"
        " WHERE q.quarantine_id = m.quarantine_id AND q.replayed_at IS NULL"
        " RETURNING q.unit_id, octet_length(q.original) AS n)"
        " SELECT unit_id, sum(n)::bigint FROM marked GROUP BY unit_id",
        (list(batches), list(batches.values())),
    ).fetchall()
    if rows:
        _book(conn, {unit_id: -freed for unit_id, freed in rows})


def count(conn: Connection, wanted: Filter, most: int) -> int:
    """How many entries there are, up to `most`."""
    where, parameters = _where(wanted)
    query = sql.SQL("SELECT count(*) FROM (SELECT 1{tables} WHERE {where} LIMIT %(most)s) x").format(
        tables=_FROM, where=sql.SQL(" AND ").join(where)
    )
    row = conn.execute(query, parameters | {"most": most}).fetchone()
    return int(row[0]) if row else 0


def _where(wanted: Filter) -> tuple[list[sql.Composable], dict[str, object]]:
    tests: list[tuple[object, LiteralString]] = [
        (wanted.unit_id, "q.unit_id = %(unit_id)s"),
        # Its own, and what came before it was registered. By id, so that other units' entries are not read.
        (
            wanted.unit,
            "q.unit_id = ANY(ARRAY[0, (SELECT unit_id FROM lead_unit WHERE code = %(unit)s)])"
            " AND (q.unit_id <> 0 OR q.parameters ->> 'unit' = %(unit)s)",
        ),
        (wanted.source, "s.key = %(source)s"),
        (wanted.reason, "q.reason = %(reason)s"),
        (wanted.tag, "q.tag = %(tag)s"),
        # The parts of what was sent at once are called by its name, a dot and more.
        (wanted.batch, "(q.batch = %(batch)s OR starts_with(q.batch, %(batch)s || '.'))"),
        (wanted.since, "q.received_at >= %(since)s"),
        (wanted.until, "q.received_at < %(until)s"),
        (wanted.is_open or None, "q.replayed_at IS NULL"),
        (wanted.is_open is False or None, "q.replayed_at IS NOT NULL"),
        (wanted.ids, "q.quarantine_id = ANY(%(ids)s)"),
    ]
    where: list[sql.Composable] = [sql.SQL(test) for value, test in tests if value is not None]
    parameters: dict[str, object] = {
        "unit_id": wanted.unit_id, "unit": wanted.unit, "source": wanted.source, "reason": wanted.reason,
        "tag": wanted.tag, "batch": wanted.batch, "since": wanted.since, "until": wanted.until,
        "ids": None if wanted.ids is None else list(wanted.ids),
    }  # fmt: skip
    return where or [sql.SQL("true")], parameters
