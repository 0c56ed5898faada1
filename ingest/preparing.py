"""From messages of the log to what one transaction stores: decoded, checked, sorted, encoded.

All that can be done before the database is asked to store, so that the next group is prepared while
the one before is being committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import psycopg

from ingest.batch import Batch, Claim, Refusal, decode
from ingest.canary import decode_canary
from ingest.findings import doubted
from ingest.log import Entry, Lane
from ingest.records import Records, decode_records
from ingest.units import KnownUnit, Units
from ingest.validate import check
from ingest.verdicts import Claimed
from store.accounts import Entries, Runs
from store.canary import Canary
from store.measurements import Sorted
from store.quarantine import Refused
from store.rows import Parts, Rows, concatenate, key_order
from store.tags import NEVER, UnitTags


class Submitted(NamedTuple):
    """Dataset records of a registered unit, and the source they came by."""

    records: Records
    unit_id: int
    source_id: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """One group of messages, ready to be stored in one transaction.

    `numbers`, `texts`: rows in key order, of numeric and of text tags; `rows`: both; `runs` of `rows`.
    `newest`: for each tag that became newer its newest row, `first` where it is the first of all.
    `watched`: tag_id and since when its value has been the same. `entries`: what the log says of the
    messages of known sources; `refused`: rows among theirs, `unbooked` what no account has. `ahead_s`:
    source_id → seconds its clock is ahead. `claimed`: messages on which a verdict is kept. `reached`: (lane, unit) →
    last sequence.
    """

    messages: Sequence[Entry]
    numbers: Sorted
    texts: Rows
    rows: Rows
    parts: Parts
    runs: Runs
    newest: Rows
    first: npt.NDArray[np.bool_]
    watched: tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]
    refused: list[Refused]
    unbooked: list[Refused]
    entries: Entries
    ahead_s: dict[int, float]
    canaries: list[Canary]
    submissions: list[Submitted]
    claimed: list[Claimed]
    reached: dict[tuple[Lane, str], int]

    @property
    def units(self) -> list[str]:
        """Units whose messages these are."""
        return list({unit for _, unit in self.reached})


class _Gathering:
    """What the messages of a group add up to, part by part."""

    def __init__(self) -> None:
        self.pieces: list[Rows] = []
        self.new: list[npt.NDArray[np.bool_]] = []
        self.asked: list[npt.NDArray[np.bool_]] = []
        self.newest: list[Rows] = []
        self.first: list[npt.NDArray[np.bool_]] = []
        self.watched: list[tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]] = []
        self.refused: list[Refused] = []
        self.unbooked: list[Refused] = []
        self.parts: list[tuple[int, int, bool, str]] = []
        self.entries: list[tuple[int, int, int, int]] = []
        self.ahead_s: dict[int, float] = {}
        self.claimed: list[Claimed] = []

    def part(self, source: int, batch: Batch, name: str) -> int:
        """The number of a new part."""
        self.parts.append((source, batch.received_at, batch.mode == "live", name))
        return len(self.parts) - 1


def prepare(messages: Sequence[Entry], units: Units, now_us: int) -> Prepared:
    """Prepare one group; messages of a unit in the order of each lane. Raises psycopg.Error.

    Advances `units` to what will be the newest readings once this is stored: when it is not, the
    caller has to make `units` forget. A message that cannot be read is refused row by row.
    """
    gathering = _Gathering()
    canaries: list[Canary] = []
    submissions: list[Submitted] = []
    batches: dict[str, list[tuple[Entry, Batch]]] = {}
    for entry in messages:
        try:
            if entry.kind == "canary":
                canaries.append(decode_canary(entry.data))
            elif entry.kind == "records":
                submissions += _submitted(decode_records(entry.data), units)
            else:
                batches.setdefault(entry.unit, []).append((entry, _batch(entry)))
        except psycopg.Error:
            raise
        except Exception as error:  # whatever the bytes do to the decoders, one message holds up nobody
            _refuse_whole(gathering, entry, units, f"{type(error).__name__}: {error}", now_us)
    for code, given in batches.items():
        _prepare_unit(code, given, units, gathering)
    rows = concatenate(gathering.pieces) if gathering.pieces else Rows.none()
    new, asked = (
        np.concatenate(masks) if masks else np.empty(0, np.bool_)
        for masks in (gathering.new, gathering.asked)
    )
    texts = Rows.none()
    numbers = rows
    if rows.text is not None:
        textual = np.asarray(pd.notna(rows.text))
        numbers, texts, new, asked = rows.at(~textual), rows.at(textual), new[~textual], asked[~textual]
        rows = concatenate([numbers, texts])
    parts = _parts(gathering.parts)
    newest = concatenate(gathering.newest) if gathering.newest else Rows.none()
    return Prepared(
        messages=messages,
        numbers=Sorted.of(numbers, new, asked),
        texts=texts,
        rows=rows,
        parts=parts,
        runs=Runs.of(rows, parts),
        newest=newest,
        first=np.concatenate(gathering.first) if gathering.first else np.empty(0, np.bool_),
        watched=(
            np.concatenate([tag for tag, _ in gathering.watched] or [np.empty(0, np.int32)]),
            np.concatenate([since for _, since in gathering.watched] or [np.empty(0, np.int64)]),
        ),
        refused=gathering.refused,
        unbooked=gathering.unbooked,
        entries=_entries(gathering.entries),
        ahead_s=gathering.ahead_s,
        canaries=canaries,
        submissions=submissions,
        claimed=gathering.claimed,
        reached={(entry.lane, entry.unit): entry.sequence for entry in messages},
    )


def held(entry: Entry, units: Units, detail: str, now_us: int) -> Prepared:
    """A message that the database will never take, as one refusal a row."""
    gathering = _Gathering()
    _refuse_whole(gathering, entry, units, detail, now_us)
    none = Rows.none()
    nothing = np.empty(0, np.bool_)
    parts = _parts([])
    return Prepared(
        [entry], Sorted.of(none, nothing, nothing), none, none, parts, Runs.of(none, parts), none, nothing,
        (np.empty(0, np.int32), np.empty(0, np.int64)), gathering.refused, gathering.unbooked,
        _entries(gathering.entries), {}, [], [], gathering.claimed, {(entry.lane, entry.unit): entry.sequence},
    )  # fmt: skip


def _submitted(records: Records, units: Units) -> list[Submitted]:
    unit_id = units.unit_id(records.unit)
    if unit_id is None:
        return []  # the interface takes submissions of known units only
    return [Submitted(records, unit_id, units.source(unit_id, records.source))]


def _batch(entry: Entry) -> Batch:
    batch = decode(entry.data)
    if batch.rows != entry.rows or batch.unit != entry.unit:
        raise ValueError(
            f"announced as {entry.rows} rows of {entry.unit}, holds {batch.rows} rows of {batch.unit}"
        )
    return batch


def _prepare_unit(
    code: str, given: Sequence[tuple[Entry, Batch]], units: Units, gathering: _Gathering
) -> None:
    names = tuple({name: None for _, batch in given for name in batch.tags})
    oldest = min((int(batch.ts.min()) for _, batch in given if len(batch)), default=None)
    known = units.unit(code, names, oldest)
    if known is None:
        for entry, batch in given:
            gathering.unbooked += _whole(entry, 0, 0, "unknown_unit", {"unit": code}, batch.received_at)
        return
    tags = known.tags
    pieces: list[tuple[Rows, npt.NDArray[np.int64]]] = []
    for entry, batch in given:
        source = units.source(tags.unit_id, batch.source)
        claim = batch.claim
        record = None if claim is None or claim.record is None else claim.records()
        index = None if record is None else record.astype(np.int64)
        checked = check(batch, tags, batch.received_at, index, closed_until=known.closed_until)
        refusals = (*batch.refused, *checked.refused)
        refused = _refused(refusals, tags, source, entry.msg_id, batch.received_at)
        gathering.refused += refused
        n = len(checked.row)
        part = gathering.part(source, batch, entry.msg_id) if n else -1
        if claim is not None:
            gathering.claimed.append(Claimed(claim, tags.unit_id, part, refused))
        gathering.entries.append((source, batch.received_at, entry.rows, n if batch.mode == "live" else 0))
        if batch.mode == "live" and len(batch.ts):
            gathering.ahead_s[source] = (int(batch.ts.max()) - batch.received_at) / 1e6
        if n:
            rows = Rows(
                tags.tag_id[checked.row], tags.equipment_id[checked.row], np.full(n, part, np.int32), checked.ts,
                checked.value, checked.quality, checked.text,
                None if record is None else record[checked.keep].astype(np.int32),
            )  # fmt: skip
            pieces.append((rows, checked.row))
    if pieces:
        rows, row = concatenate([p for p, _ in pieces]), np.concatenate([row for _, row in pieces])
        _sort(known, rows, row, units.most_recent, gathering)


def _sort(
    known: KnownUnit, rows: Rows, row: npt.NDArray[np.int64], most_recent: int, gathering: _Gathering
) -> None:
    """Bring a unit's rows into key order and what is known of its keys up to date."""
    tags = known.tags
    order = key_order(rows.tag_id, rows.ts)
    rows, row = rows.at(order), row[order]
    new = rows.ts > tags.newest[row]
    last = np.flatnonzero(np.r_[row[1:] != row[:-1], True])
    if _any_watched(tags) and new.any():
        rows, watched = _judge(tags, rows, row, new)
        gathering.watched.append(watched)
    last = last[rows.ts[last] >= tags.newest[row[last]]]
    at = row[last]
    gathering.newest.append(rows.at(last))
    gathering.first.append(tags.newest[at] == NEVER)
    tags.newest[at], tags.value[at] = rows.ts[last], rows.value[last]
    gathering.pieces.append(rows)
    gathering.new.append(new)
    gathering.asked.append(_asked(known, row, rows.ts, new))
    known.recent.add(row, rows.ts, most_recent)


def _asked(
    known: KnownUnit, row: npt.NDArray[np.int64], ts: npt.NDArray[np.int64], new: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Which rows of a unit are looked up before they are stored: those that probably are stored already."""
    late = ~new
    if not late.any():
        return late
    if known.cautious:
        known.cautious -= 1
        return late
    asked = np.zeros(len(late), np.bool_)
    asked[late] = known.recent.holds(row[late], ts[late])
    return asked


def _any_watched(tags: UnitTags) -> bool:
    return not (np.isnan(tags.frozen_s).all() and np.isnan(tags.rate_per_s).all())


def _judge(
    tags: UnitTags, rows: Rows, row: npt.NDArray[np.int64], new: npt.NDArray[np.bool_]
) -> tuple[Rows, tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]]:
    """The rows with the qualities that findings give the new ones; tag_id and `since` of watched tags."""
    quality = rows.quality.copy()
    quality[new], at, since = doubted(tags, row[new], rows.ts[new], rows.value[new], rows.quality[new])
    tags.since[at] = since
    return replace(rows, quality=quality), (tags.tag_id[at], since)


def _parts(parts: Sequence[tuple[int, int, bool, str]]) -> Parts:
    return Parts(
        np.array([source for source, _, _, _ in parts], np.int32),
        np.array([received_at for _, received_at, _, _ in parts], np.int64),
        np.array([live for _, _, live, _ in parts], np.bool_),
        tuple(name for _, _, _, name in parts),
    )


def _entries(entries: Sequence[tuple[int, int, int, int]]) -> Entries:
    columns = np.array(entries, np.int64).reshape(len(entries), 4)
    return Entries(columns[:, 0].astype(np.int32), columns[:, 1], columns[:, 2], columns[:, 3])


def _refuse_whole(gathering: _Gathering, entry: Entry, units: Units, detail: str, now_us: int) -> None:
    """Every row of a message counts as refused; what is no batch, or of no registered unit, is in no account."""
    unit_id = units.unit_id(entry.unit) or 0
    source = units.source(unit_id, entry.source or "log") if unit_id else 0
    refused = _whole(entry, unit_id, source, "unstorable", {"detail": detail}, now_us)
    if source and entry.rows and entry.kind == "batch":
        gathering.entries.append((source, now_us, entry.rows, 0))
        gathering.refused += refused
        if (claim := _claim(entry)) is not None:
            gathering.claimed.append(Claimed(claim, unit_id, -1, refused))
    else:
        gathering.unbooked += refused


def _claim(entry: Entry) -> Claim | None:
    """The claim of a message that cannot be stored, if that at least can be read."""
    try:
        return decode(entry.data).claim
    except Exception:  # whatever the bytes do to the decoder
        return None


def _whole(
    entry: Entry, unit_id: int, source: int, reason: str, parameters: dict[str, str], now_us: int
) -> list[Refused]:
    """A refusal for each row of an entry; the first holds the bytes of all."""
    return [
        Refused(
            unit_id, source, None, entry.msg_id, f"row {i} of batch" if i else "$", reason, parameters,
            None, None, b"" if i else entry.data, now_us,
        )
        for i in range(max(entry.rows, 1))
    ]  # fmt: skip


def _refused(
    refusals: Sequence[Refusal], tags: UnitTags, source: int, batch: str, received_at: int
) -> list[Refused]:
    rows = tags.rows.find([r.tag or "" for r in refusals]).tolist()
    return [
        Refused(
            tags.unit_id, source, int(tags.equipment_id[row]) if row >= 0 else None, batch, r.place,
            r.reason, r.parameters, r.tag, r.ts, r.original, received_at,
        )
        for r, row in zip(refusals, rows, strict=True)
    ]  # fmt: skip
