"""`POST /api/v1/measurements`."""

from __future__ import annotations

import hashlib
import time
import uuid
from dataclasses import replace
from typing import Annotated, Any

import msgspec
import numpy as np
from fastapi import APIRouter, Header, Request
from fastapi.concurrency import run_in_threadpool

from ingest.api.body import read_body
from ingest.api.gate import Gate
from ingest.api.problems import ERRORS_SHOWN, Problem, error_of
from ingest.batch import Batch, Refusal, encode
from ingest.decode import Decoded, Malformed, decode_measurements, empty
from ingest.log import MAX_MESSAGE_BYTES
from ingest.validate import check
from store.registry import Unit

_ROWS_A_MESSAGE = 50_000
ORIGINAL_KEPT_BYTES = 256 * 2**10


def router(gate: Gate) -> APIRouter:
    """The route, on this process's gate."""
    routes = APIRouter()

    @routes.post("/api/v1/measurements", tags=["telemetry"])
    async def push(
        request: Request, idempotency_key: Annotated[str | None, Header(max_length=200)] = None
    ) -> dict[str, Any]:
        """Take readings; answers 200 only when they are durable (docs/interface.md)."""
        unit = await gate.unit(request)
        source = f"http_push:{unit.code}"
        with gate.rooms.enter(unit.code) as room:
            body = await read_body(request, room)
            received_at = time.time_ns() // 1000
            name = batch_name(unit, idempotency_key, body)
            try:
                decoded = await run_in_threadpool(
                    decode_measurements, body, unit=unit.code, source=source, received_at=received_at
                )
            except Malformed as malformed:
                await _hold(gate, unit, source, received_at, name, body, malformed)
                raise Problem(malformed.reason, malformed.parameters, extra={"batch": name}) from malformed
            batch = await _checked(gate, unit, decoded)
            for part in _parts(batch):
                await gate.append(
                    encode(part), kind="batch", lane=batch.mode, unit=unit.code, source=source,
                    msg_id=f"{name}.{_digest(part)}", rows=part.rows,
                )  # fmt: skip
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


def batch_name(unit: Unit, idempotency_key: str | None, body: bytes) -> str:
    """Identity of a submission: the same key with the same body is the same submission."""
    if not idempotency_key:
        return uuid.uuid4().hex
    seed = f"{unit.code}\n{idempotency_key}\n".encode() + hashlib.sha256(body).digest()
    return hashlib.sha256(seed).hexdigest()[:32]


async def _checked(gate: Gate, unit: Unit, decoded: Decoded) -> Batch:
    """Refuse here what the writer would refuse, so that the sender is told."""
    batch = decoded.batch
    tags = await gate.tags(unit, batch.tags)
    if tags is None or len(batch) == 0:
        return batch  # the writer will judge
    checked = await run_in_threadpool(check, batch, tags, batch.received_at, decoded.index)
    return batch if checked.keep.all() else batch.take(checked.keep, checked.refused)


async def _hold(
    gate: Gate, unit: Unit, source: str, received_at: int, name: str, body: bytes, malformed: Malformed
) -> None:
    """Keep an unreadable body in the quarantine: it counts as one row."""
    refusal = Refusal("$", malformed.reason, malformed.parameters, body[:ORIGINAL_KEPT_BYTES])
    held = empty(unit.code, source, received_at, (refusal,))
    await gate.append(
        encode(held), kind="batch", lane="live", unit=unit.code, source=source, msg_id=f"{name}.held", rows=1
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
    for start in range(0, len(batch), _ROWS_A_MESSAGE):
        rows = np.zeros(len(batch), np.bool_)
        rows[start : start + _ROWS_A_MESSAGE] = True
        parts.append(replace(batch.take(rows), refused=()))
    none = np.zeros(len(batch), np.bool_)
    group: list[Refusal] = []
    size = 0
    for refusal in batch.refused:
        size += len(refusal.original) * 2 + 500
        if size > MAX_MESSAGE_BYTES // 2 and group:
            parts.append(replace(batch.take(none), refused=tuple(group)))
            group, size = [], 0
        group.append(refusal)
    if group:
        parts.append(replace(batch.take(none), refused=tuple(group)))
    return parts
