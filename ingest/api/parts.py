"""From a decoded body to messages of the log: refused where the writer would, cut to size, each with an identity. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import NamedTuple

import msgspec
import numpy as np

from ingest.batch import Batch, Claim, Refusal, encode
from ingest.decoded import Decoded, empty
from ingest.log import MAX_MESSAGE_BYTES
from ingest.validate import check
from ingest.verdicts import MOST_RECORDS
from store.tags import UnitTags

_ROWS_A_MESSAGE = 50_000
_PART_BYTES = MAX_MESSAGE_BYTES * 2 // 3
_ROW_BYTES = 26
_CHARACTER_BYTES = 4
_TEXT_KEPT = 400
"""Characters of a refusal's parameters, tag and place: what a message says is not what was sent."""


class Part(NamedTuple):
    """A message of the log: its bytes, the identity of its content, its rows."""

    data: bytes
    digest: str
    rows: int


class Prepared(NamedTuple):
    """A body on its way into the log. `has_verdict`: the writer will keep one, record by record."""

    batch: Batch
    parts: list[Part]
    has_verdict: bool


def prepared(decoded: Decoded, tags: UnitTags | None, claim: Claim, *, verdict: bool) -> Prepared:
    """Refuse here what the writer would refuse, so that the sender is told; as messages of the log.

    A `verdict` record by record is possible where there are few records, and they fit into one message:
    that is stored whole or not at all. Without one, only what has a key takes the claim along.
    """
    batch, index = decoded.batch, decoded.index
    if tags is not None and len(batch):  # else the writer will judge
        checked = check(batch, tags, batch.received_at, index, origin=decoded.origin)
        if not checked.keep.all():
            batch, index = batch.take(checked.keep, checked.refused), index[checked.keep]
    batch = replace(batch, refused=tuple(map(kept, batch.refused)))
    if verdict and decoded.by_row and 0 < batch.rows <= MOST_RECORDS:
        record = np.ascontiguousarray(index, np.dtype("<i2")).tobytes()
        data = encode(replace(batch, claim=msgspec.structs.replace(claim, record=record)))
        if len(data) <= MAX_MESSAGE_BYTES:
            return Prepared(batch, [Part(data, _digest(batch), batch.rows)], True)
    if claim.digest is not None:
        batch = replace(batch, claim=claim)
    return Prepared(batch, [Part(encode(part), _digest(part), part.rows) for part in _parts(batch)], False)


def kept(refusal: Refusal) -> Refusal:
    """What is kept of a refusal: one row must not be larger than a message of the log."""
    refusal = refusal.bounded()
    texts = (refusal.place, refusal.tag or "", *refusal.parameters.values())
    if max(map(len, texts)) <= _TEXT_KEPT:
        return refusal
    return msgspec.structs.replace(
        refusal,
        place=refusal.place[:_TEXT_KEPT],
        parameters={key: text[:_TEXT_KEPT] for key, text in refusal.parameters.items()},
        tag=None if refusal.tag is None else refusal.tag[:_TEXT_KEPT],
    )


def _digest(part: Batch) -> str:
    """Identity of a part's content, whenever it came and by whichever split.

    What is taken and what is refused depends on the registry and the clock of the moment, and the
    split depends on both: only the same content may be held for the same part.
    """
    text = None if part.text is None else part.text.tolist()
    refused = [(r.place, r.reason, r.tag, r.ts, r.original) for r in part.refused]
    content = hashlib.blake2b(digest_size=12)
    content.update(msgspec.json.encode((part.tags, text, refused)))
    for column in (part.tag_index, part.ts, part.value, part.quality):
        content.update(b"/")
        content.update(np.ascontiguousarray(column).tobytes())
    return content.hexdigest()


def _parts(batch: Batch) -> list[Batch]:
    """Cut to the size of a message of the log; refusals go in parts of their own."""
    parts = []
    start = 0
    for end in _ends(batch):
        parts.append(_rows(batch, slice(start, end)))
        start = end
    group: list[Refusal] = []
    size = 0
    for refusal in batch.refused:
        size += len(refusal.original) * 4 // 3 + sum(map(len, refusal.parameters.values())) * 4 + 2000
        if size > MAX_MESSAGE_BYTES // 2 and group:
            parts.append(_refusals(batch, group))
            group, size = [], 0
        group.append(refusal)
    if group:
        parts.append(_refusals(batch, group))
    return parts


def _refusals(batch: Batch, group: list[Refusal]) -> Batch:
    refusals = empty(batch.unit, batch.source, batch.received_at, tuple(group))
    return replace(refusals, mode=batch.mode, claim=batch.claim)


def _rows(batch: Batch, rows: slice) -> Batch:
    """Some of the readings, with the names of their tags alone, and without refusals."""
    index = batch.tag_index[rows]
    used = np.flatnonzero(np.bincount(index, minlength=len(batch.tags)))
    tags = batch.tags
    if len(used) < len(tags):
        renumbered = np.zeros(len(tags), np.int32)
        renumbered[used] = np.arange(len(used))
        tags, index = tuple(tags[i] for i in used.tolist()), renumbered[index]
    return replace(
        batch,
        tags=tags,
        tag_index=index,
        ts=batch.ts[rows],
        value=batch.value[rows],
        quality=batch.quality[rows],
        text=None if batch.text is None else batch.text[rows],
        refused=(),
    )


def _ends(batch: Batch) -> list[int]:
    """Where the parts end: after so many rows, or so many bytes where names or texts are large."""
    n = len(batch)
    size = np.full(n, _ROW_BYTES)
    names = np.fromiter(map(len, batch.tags), np.int64, len(batch.tags)) * _CHARACTER_BYTES
    if names.sum() > MAX_MESSAGE_BYTES // 4:  # else all of them fit beside the rows
        size += names[batch.tag_index]
    if batch.text is not None:
        texts = (0 if text is None else len(text) * _CHARACTER_BYTES for text in batch.text)
        size += np.fromiter(texts, np.int64, n)
    sizes = np.concatenate(([0], np.cumsum(size)))
    ends, start = [], 0
    while start < n:
        fitting = int(np.searchsorted(sizes, sizes[start] + _PART_BYTES, side="right")) - 1
        start = min(n, start + _ROWS_A_MESSAGE, max(start + 1, fitting))
        ends.append(start)
    return ends
