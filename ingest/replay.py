"""Replaying the quarantine: what was refused and would be taken now goes into the log again.

Once only, whatever happens: an entry is locked while it is put into the log, and marked in the same
transaction. Killed in between, it stays open and goes into the log a second time; there the same message
is dropped (for two hours), and after that the store's key makes its readings duplicates. So a reading is
never doubled, and never lost either. A replayed reading is an arrival like any other: it counts as
received again, as back-fill, and where another value has been stored meanwhile, the replayed one wins and
the other is kept as a revision. The entry itself stays, as the history of the refusal.

Oldest first, so that of two refused values of one key the later one wins, as it would have.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from ingest.arrow import decode_arrow
from ingest.batch import Batch, Refusal, decode, encode
from ingest.datasets import DATASETS, check_records, natural_key
from ingest.decode import decode_measurements
from ingest.decoded import Malformed
from ingest.log import MAX_MESSAGE_BYTES, Kind, Lane
from ingest.records import Records, encode_records
from ingest.validate import check
from store import audit, datasets, periods, quarantine
from store.database import Connection
from store.quarantine import ARROW_STREAM, Filter, Held
from store.reasons import Reason
from store.tags import UnitTags, unit_tags
from store.times import moment, shown

PAGE = 2000
"""Entries taken at once: locked together, and in memory."""

_PAGE_BYTES = 2**20
_OWN_MESSAGES = frozenset({"unknown_unit", "unstorable"})
"""Reasons for which the original is a message of our log, not what a sender sent."""
_REPORTED = re.compile(r"([a-z_]+) records\[[0-9]+\]")
_RECORD = re.compile(r"records\[([0-9]+)\]")

HINDRANCES: Mapping[str, Reason] = MappingProxyType(
    {
        "original_cut": Reason(
            "原文只保留了开头,共 {original_bytes} 字节", "only the beginning of the original was kept, of {original_bytes} bytes",
            "请由数据方重发", "Have the sender send it again"),
        "part_of_whole": Reason(
            "整批数据的一部分,字节保存在该批第一条", "part of a whole batch, whose bytes are kept with its first entry",
            "请重放同一批次的第一条", "Replay the first entry of the same batch"),
        "not_readable": Reason(
            "原文不是 JSON,也不是可读的批次:{detail}", "the original is no JSON and no batch that can be read: {detail}",
            "请由数据方更正后重发", "Have the sender correct it and send it again"),
        "not_readings": Reason(
            "原文中没有标签、时间和值", "the original has no tag, time and value",
            "请由数据方按接口文档重发", "Have the sender send it again as the interface document says"),
        "whole_submission": Reason(
            "整份数据集报送无法读取", "a whole submission of a dataset, which could not be read",
            "请由数据方更正后重发", "Have the sender correct it and send it again"),
        "superseded": Reason(
            "同一记录此后已重新报送", "the same record has been reported again since",
            "无需处理", "Nothing needs to be done"),
    }
)  # fmt: skip
"""Why an entry cannot be replayed at all; what it is refused for at present is a code of store.reasons."""


class Append(Protocol):
    """Appends a message to the log; returns when it is durable, and raises when it is not."""

    def __call__(
        self, data: bytes, *, kind: Kind, lane: Lane, unit: str, source: str, msg_id: str, rows: int
    ) -> object:
        """See `ingest.log.Log.append`."""


TagsOf = Callable[[Connection, str, tuple[str, ...]], UnitTags | None]
"""The tags of a unit (None = not registered), as they are now for these names."""


class Left(NamedTuple):
    """An entry that stays open: refused now as well (a code of store.reasons), or not replayable (HINDRANCES)."""

    quarantine_id: int
    state: Literal["refused", "not_replayable"]
    reason: str
    parameters: dict[str, str]


@dataclass(slots=True)
class Outcome:
    """What became of some entries. `after`: the last one looked at; `more`: go on after it."""

    looked: int = 0
    readings: int = 0
    done: dict[int, str] = field(default_factory=dict)
    """Entries replayed, each with the batch that carries it again."""
    left: list[Left] = field(default_factory=list)
    after: int | None = None
    more: bool = False

    @property
    def replayed(self) -> int:
        """How many entries."""
        return len(self.done)


class _Hindered(Exception):
    """Why an entry cannot be replayed: a code of HINDRANCES or store.reasons."""

    def __init__(self, reason: str, **parameters: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.parameters = parameters


class _Row(msgspec.Struct):
    tag: str
    ts: msgspec.Raw
    value: msgspec.Raw = msgspec.Raw(b"null")
    quality: msgspec.Raw = msgspec.Raw(b"null")


@dataclass(frozen=True, slots=True)
class _Reading:
    """An entry that is one reading; `row` as the interface takes it."""

    entry: Held
    row: bytes

    @property
    def group(self) -> tuple[object, ...]:
        return ("reading", self.entry.unit_id, self.entry.unit, self.entry.source)


@dataclass(frozen=True, slots=True)
class _Whole:
    """An entry that is a whole batch or body."""

    entry: Held
    batch: Batch

    @property
    def group(self) -> tuple[object, ...]:
        return ("whole", self.entry.quarantine_id)


@dataclass(frozen=True, slots=True)
class _Reported:
    """An entry that is a record of a dataset."""

    entry: Held
    dataset: str

    @property
    def group(self) -> tuple[object, ...]:
        return ("reported", self.entry.unit_id, self.entry.source, self.dataset)


class Replay:
    """One run through the quarantine, page by page. Without `tags_of` it remembers a unit's tags, so make one a run.

    `append` and the database block: run it in a thread.
    """

    def __init__(self, append: Append, tags_of: TagsOf | None = None) -> None:
        self._append = append
        self._tags_of: TagsOf = tags_of or self._remembered
        self._tags: dict[str, UnitTags | None] = {}

    def page(
        self, conn: Connection, wanted: Filter, *, after: int | None = None, limit: int = PAGE
    ) -> Outcome:
        """Replay the next open entries after the one of id `after`, in one transaction.

        Raises psycopg.Error, and what `append` raises; then nothing of the page is marked.
        """
        now = time.time_ns() // 1000
        with conn.transaction():
            found = quarantine.page(
                conn, replace(wanted, is_open=True), limit=limit, after=after, newest_first=False,
                most_bytes=_PAGE_BYTES,
            )  # fmt: skip
            mine = quarantine.lock_open(conn, [entry.quarantine_id for entry in found.entries])
            outcome = Outcome(more=found.more, after=after)
            read: list[_Reading | _Whole | _Reported] = []
            for entry in found.entries:
                outcome.after = entry.quarantine_id
                if entry.quarantine_id not in mine:  # replayed by somebody else in the meantime
                    continue
                outcome.looked += 1
                try:
                    read.append(_read(entry, now))
                except _Hindered as hindered:
                    outcome.left.append(_left(entry, hindered.reason, hindered.parameters))
            for _, group in groupby(read, key=lambda one: one.group):
                self._group(conn, list(group), outcome, now)
            quarantine.mark_replayed(conn, outcome.done)
            whose = Counter(e.unit_id for e in found.entries if e.quarantine_id in outcome.done)
            for unit_id, n in sorted(whose.items()):
                audit.record(conn, "quarantine.replayed", f"{n} entries", {"entries": n}, unit_id)
        return outcome

    def _group(
        self, conn: Connection, group: Sequence[_Reading | _Whole | _Reported], outcome: Outcome, now: int
    ) -> None:
        match group[0]:
            case _Reading():
                self._readings(conn, [one for one in group if isinstance(one, _Reading)], outcome, now)
            case _Whole(entry=entry, batch=batch):
                self._whole(conn, entry, batch, outcome, now)
            case _Reported(dataset=dataset):
                self._reported(conn, [one.entry for one in group], dataset, outcome, now)

    def _remembered(self, conn: Connection, unit: str, names: tuple[str, ...]) -> UnitTags | None:
        if unit not in self._tags:
            self._tags = {unit: unit_tags(conn, unit)}
        return self._tags[unit]

    def _readings(self, conn: Connection, group: list[_Reading], outcome: Outcome, now: int) -> None:
        entry = group[0].entry
        body = b'{"mode":"backfill","records":[' + b",".join(one.row for one in group) + b"]}"
        decoded = decode_measurements(body, unit=entry.unit, source=_source(entry), received_at=now)
        tags = self._tags_of(conn, entry.unit, decoded.batch.tags)
        if tags is None:
            outcome.left += [_left(one.entry, "unknown_unit", {"unit": entry.unit}) for one in group]
            return
        batch, index = _open(decoded.batch, decoded.index, periods.closed_until(conn, tags.unit_id))
        checked = check(batch, tags, now, index)
        outcome.left += [
            _left(group[_row(refusal)].entry, refusal.reason, refusal.parameters)
            for refusal in (*batch.refused, *checked.refused)
        ]
        batch = replace(batch.take(checked.keep), refused=())
        ids = [group[i].entry.quarantine_id for i in index[checked.keep].tolist()]
        if ids:
            self._send(batch, ids, outcome)

    def _whole(self, conn: Connection, entry: Held, batch: Batch, outcome: Outcome, now: int) -> None:
        tags = self._tags_of(conn, entry.unit, batch.tags)
        if tags is None:
            outcome.left.append(_left(entry, "unknown_unit", {"unit": entry.unit}))
            return
        batch, index = _open(batch, np.arange(len(batch)), periods.closed_until(conn, tags.unit_id))
        checked = check(batch, tags, now, index)
        refused = (*batch.refused, *checked.refused)
        if not batch.rows:
            outcome.left.append(_left(entry, "not_readings", {}))
            return
        if not checked.keep.any() and entry.unit_id:
            outcome.left.append(_left(entry, refused[0].reason, refused[0].parameters))
            return
        # It is opened: what is still refused of it becomes an entry by itself.
        rest = quarantine.lock_rest(conn, entry, batch.rows)
        self._send(batch.take(checked.keep, checked.refused), [entry.quarantine_id, *rest], outcome)

    def _reported(
        self, conn: Connection, entries: list[Held], dataset: str, outcome: Outcome, now: int
    ) -> None:
        unit_id = entries[0].unit_id
        good, refused = check_records(dataset, [entry.original for entry in entries])
        outcome.left += [_left(entries[_row(r)], r.reason, r.parameters) for r in refused]
        wrong = datasets.problems(conn, unit_id, dataset, [record for _, record in good])
        outcome.left += [_left(entries[good[p.row][0]], p.reason, p.parameters) for p in wrong]
        bad = {p.row for p in wrong}
        good = [one for i, one in enumerate(good) if i not in bad]
        keys = [natural_key(dataset, record) for _, record in good]
        newest = datasets.last_reported(conn, unit_id, dataset, keys)
        fresh = []
        for (i, record), key in zip(good, keys, strict=True):
            if key in newest and newest[key] > entries[i].received_at:
                outcome.left.append(_left(entries[i], "superseded", {}))
            else:
                fresh.append((i, record))
        if not fresh:
            return
        ids = [entries[i].quarantine_id for i, _ in fresh]
        name = _name(ids)
        submitted = Records(
            unit=entries[0].unit, source=_source(entries[0]), dataset=dataset, batch=name, received=len(fresh),
            received_at=now, index=list(range(len(fresh))), records=[record for _, record in fresh], refused=[],
        )  # fmt: skip
        self._append(
            encode_records(submitted), kind="records", lane="live", unit=submitted.unit,
            source=submitted.source, msg_id=name, rows=0,
        )  # fmt: skip
        outcome.done |= dict.fromkeys(ids, name)

    def _send(self, batch: Batch, ids: list[int], outcome: Outcome) -> None:
        name = f"replay.{_name(ids)}"
        for i, (part, data) in enumerate(_pieces(batch)):
            self._append(
                data, kind="batch", lane="backfill", unit=batch.unit, source=batch.source,
                msg_id=f"{name}.{i}", rows=part.rows,
            )  # fmt: skip
        outcome.done |= dict.fromkeys(ids, name)
        outcome.readings += len(batch)


def _read(entry: Held, now: int) -> _Reading | _Whole | _Reported:
    """What an entry's original is. Raises _Hindered."""
    original = entry.original
    if entry.is_cut:
        raise _Hindered("original_cut", original_bytes=entry.parameters.get("original_bytes", "?"))
    if not original:
        raise _Hindered("part_of_whole")
    if (reported := _REPORTED.match(entry.place)) and reported[1] in DATASETS:
        return _Reported(entry, reported[1])
    if entry.place in DATASETS:
        raise _Hindered("whole_submission")
    if original.startswith(ARROW_STREAM):
        return _Whole(entry, _arrow(entry, now))
    try:
        fields = msgspec.json.decode(original, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        raise _Hindered("not_readings") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _Hindered("not_readable", detail=str(error)[:200]) from None
    if "records" in fields or "columns" in fields:
        return _Whole(entry, _body(entry, now))
    if len(fields) == 1 and entry.tag is not None and entry.ts is not None:
        [value] = fields.values()
        return _Reading(entry, _row_bytes(entry.tag, _utc_text(entry.ts), bytes(value), b"null"))
    try:
        row = msgspec.json.decode(original, type=_Row)
    except msgspec.ValidationError:
        raise _Hindered("not_readings") from None
    ts = bytes(row.ts).strip()
    if not ts.startswith(b'"'):  # columns have µs where rows have text
        ts = _utc_text(_moment(ts))
    return _Reading(entry, _row_bytes(row.tag, ts, bytes(row.value), bytes(row.quality)))


def _arrow(entry: Held, now: int) -> Batch:
    try:
        if entry.reason in _OWN_MESSAGES:
            batch = decode(entry.original)
        else:
            batch = decode_arrow(
                entry.original, unit=entry.unit, source=_source(entry), received_at=now
            ).batch
    except Malformed as malformed:
        raise _Hindered("not_readable", detail=f"{malformed.reason} {malformed.parameters}"[:200]) from None
    except Exception as error:  # whatever bytes do to a decoder
        raise _Hindered("not_readable", detail=f"{type(error).__name__}: {error}"[:200]) from None
    # Whatever the bytes say, it is the entry that knows whose they are.
    source = _source(entry) if entry.unit_id else batch.source
    return replace(batch, unit=entry.unit, source=source, mode="backfill", received_at=now, claim=None)


def _body(entry: Held, now: int) -> Batch:
    try:
        decoded = decode_measurements(entry.original, unit=entry.unit, source=_source(entry), received_at=now)
    except Malformed as malformed:
        raise _Hindered("not_readable", detail=f"{malformed.reason} {malformed.parameters}"[:200]) from None
    return replace(decoded.batch, mode="backfill")


def _moment(us: bytes) -> datetime:
    try:
        return moment(int(us))
    except (ValueError, OverflowError):
        raise _Hindered("not_readings") from None


def _utc_text(at: datetime) -> bytes:
    """As RFC 3339, in JSON."""
    return msgspec.json.encode(at.isoformat())


def _row_bytes(tag: str, ts: bytes, value: bytes, quality: bytes) -> bytes:
    return b"".join(
        (
            b'{"tag":',
            msgspec.json.encode(tag),
            b',"ts":',
            ts,
            b',"value":',
            value,
            b',"quality":',
            quality,
            b"}",
        )
    )


def _open(
    batch: Batch, index: npt.NDArray[np.int64], closed_until: int | None
) -> tuple[Batch, npt.NDArray[np.int64]]:
    """The batch without readings of a closed period (source times before it, µs UTC), which it refuses."""
    if closed_until is None or not (closed := batch.ts < closed_until).any():
        return batch, index
    until = shown(closed_until)
    refused = []
    for i in np.flatnonzero(closed).tolist():
        tag, ts = batch.tags[batch.tag_index[i]], int(batch.ts[i])
        text = None if batch.text is None else batch.text[i]
        content = {
            "tag": tag, "ts": ts, "value": float(batch.value[i]) if text is None else text,
            "quality": (int(batch.quality[i]) & 0xFFFF) << 16,
        }  # fmt: skip
        parameters = {"tag": tag, "ts": shown(ts), "closed_until": until}
        place, original = f"records[{index[i]}].ts", msgspec.json.encode(content)
        refused.append(Refusal(place, "period_closed", parameters, original, tag, ts))
    return batch.take(~closed, tuple(refused)), index[~closed]


def _source(entry: Held) -> str:
    return entry.source or "quarantine"


def _left(entry: Held, reason: str, parameters: dict[str, str]) -> Left:
    state: Literal["refused", "not_replayable"] = "not_replayable" if reason in HINDRANCES else "refused"
    return Left(entry.quarantine_id, state, reason, parameters)


def _row(refusal: Refusal) -> int:
    """Which of the rows handed over was refused."""
    found = _RECORD.search(refusal.place)
    if found is None:
        raise LookupError(f"a refusal without a row: {refusal.place}")
    return int(found[1])


def _name(ids: Sequence[int]) -> str:
    """One name for the same entries, so that the log drops what it has just taken."""
    return hashlib.blake2b(",".join(map(str, ids)).encode(), digest_size=16).hexdigest()


def _pieces(batch: Batch) -> Iterator[tuple[Batch, bytes]]:
    """The batch in pieces that a message of the log can hold, in order."""
    data = encode(batch)
    n, m = len(batch), len(batch.refused)
    if len(data) <= MAX_MESSAGE_BYTES or n + m < 2:
        yield batch, data
        return
    rows, half, refused = np.arange(n) < n // 2, m // 2, batch.refused
    if not n or not m:
        cuts = ((rows, refused[:half]), (~rows, refused[half:]))
    else:
        cuts = ((rows | True, ()), (rows & False, refused))
    for keep, some in cuts:
        yield from _pieces(replace(batch, refused=()).take(keep, some))
