"""`POST /api/v1/measurements`."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from fastapi import APIRouter, Header, Query, Request
from fastapi.concurrency import run_in_threadpool

from ingest.api.body import JSON, coding, content_type, read_body
from ingest.api.gate import MALFORMED_AS_ROWS, Gate
from ingest.api.problems import ERRORS_SHOWN, Problem, error_of
from ingest.arrow import CONTENT_TYPE as ARROW
from ingest.batch import Batch, Refusal, encode
from ingest.decoded import Decoded, Malformed, empty
from ingest.decoder import Form, Job
from ingest.log import MAX_MESSAGE_BYTES
from ingest.validate import check
from store.registry import Unit
from store.tags import UnitTags

_FORMS: Mapping[str, Form] = MappingProxyType(
    {ARROW: "arrow", "application/x-ndjson": "ndjson", "application/ndjson": "ndjson"}
)
_ROWS_A_MESSAGE = 50_000
_PART_BYTES = MAX_MESSAGE_BYTES * 2 // 3
_ROW_BYTES = 26
_CHARACTER_BYTES = 4
_AT_ONCE_ROWS = 2_000
"""So many rows are checked and encoded on the event loop: cheaper than the way to a thread and back."""
_TEXT_KEPT = 400
"""Characters of a refusal's parameters, tag and place: what a message says is not what was sent."""


NOT_KEPT = frozenset({"bad_gzip", "bad_zstd", "body_too_large"})
"""Bodies that are sent again in another form: nothing of them is worth keeping."""


class _Part(NamedTuple):
    """A message of the log: its bytes, the identity of its content, its rows."""

    data: bytes
    digest: str
    rows: int


def router(gate: Gate) -> APIRouter:
    """The route, on this process's gate."""
    routes = APIRouter()

    @routes.post("/api/v1/measurements", tags=["telemetry"], dependencies=[gate.allow("measurements:write")])
    async def push(
        request: Request,
        idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
        mode: Annotated[str | None, Query(max_length=20)] = None,
        precision: Annotated[str | None, Query(max_length=20)] = None,
        equipment_tag: Annotated[str | None, Query(max_length=200)] = None,
    ) -> dict[str, Any]:
        """Take readings; answers 200 only when they are durable (docs/interface.md)."""
        unit = await gate.sender(request)
        source = f"http_push:{unit.code}"
        with gate.rooms.enter(unit.code) as room:
            body = await read_body(request, room, (*JSON, *_FORMS))
            job = Job(
                unit=unit.code,
                source=source,
                received_at=time.time_ns() // 1000,
                form=_FORMS.get(content_type(request), "json"),
                coding=coding(request),
                mode=mode,
                precision=precision,
                equipment_tag=equipment_tag,
            )
            outcome = await gate.decoders.decode(job, body)
            del body
            name = batch_name(unit, idempotency_key, outcome.digest)
            if outcome.malformed is not None:
                await _hold(gate, job, name, outcome.malformed, outcome.original)
            decoded = outcome.decoded
            assert decoded is not None  # noqa: S101
            tags = await gate.tags(unit, decoded.batch.tags)
            if decoded.batch.rows <= _AT_ONCE_ROWS:
                batch, parts = _prepared(decoded, tags)
            else:
                async with gate.decoders.turns.turn(unit.code):
                    batch, parts = await run_in_threadpool(_prepared, decoded, tags)
            del decoded, outcome
            for part in parts:
                await gate.append(
                    part.data, kind="batch", lane=batch.mode, unit=unit.code, source=source,
                    msg_id=f"{name}.{part.digest}", rows=part.rows,
                )  # fmt: skip
        gate.refused_rows.spend(unit.code, len(batch.refused))
        errors = [error_of(refusal) for refusal in batch.refused[:ERRORS_SHOWN]]
        counts = {
            "batch": name,
            "received": batch.rows,
            "accepted": len(batch),
            "quarantined": len(batch.refused),
        }
        if batch.refused and not len(batch):
            raise Problem("all_refused", errors=errors, extra=counts)
        return {**counts, "errors": errors}

    return routes


def batch_name(unit: Unit, idempotency_key: str | None, digest: bytes) -> str:
    """Identity of a submission: the same key with the same body (its SHA-256) is the same submission."""
    if not idempotency_key:
        return uuid.uuid4().hex
    seed = f"{unit.code}\n{idempotency_key}\n".encode() + digest
    return hashlib.sha256(seed).hexdigest()[:32]


async def _hold(gate: Gate, job: Job, name: str, malformed: Malformed, original: bytes) -> None:
    """Keep an unreadable body in the quarantine, as one row. Always raises Problem: what is wrong with it."""
    if malformed.reason in NOT_KEPT:
        raise Problem(malformed.reason, malformed.parameters)
    refusal = _kept(Refusal("$", malformed.reason, malformed.parameters, original))
    held = empty(job.unit, job.source, job.received_at, (refusal,))
    await gate.append(
        encode(held), kind="batch", lane="live", unit=job.unit, source=job.source,
        msg_id=f"{name}.held", rows=1,
    )  # fmt: skip
    gate.refused_rows.spend(job.unit, MALFORMED_AS_ROWS)
    raise Problem(malformed.reason, malformed.parameters, extra={"batch": name})


def _prepared(decoded: Decoded, tags: UnitTags | None) -> tuple[Batch, list[_Part]]:
    """Refuse here what the writer would refuse, so that the sender is told; as messages of the log."""
    batch = decoded.batch
    if tags is not None and len(batch):  # else the writer will judge
        checked = check(batch, tags, batch.received_at, decoded.index, origin=decoded.origin)
        if not checked.keep.all():
            batch = batch.take(checked.keep, checked.refused)
    batch = replace(batch, refused=tuple(map(_kept, batch.refused)))
    return batch, [_Part(encode(part), _digest(part), part.rows) for part in _parts(batch)]


def _kept(refusal: Refusal) -> Refusal:
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
    return replace(empty(batch.unit, batch.source, batch.received_at, tuple(group)), mode=batch.mode)


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
