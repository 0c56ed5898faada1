"""Taking readings in, whichever form they come in: read, decoded, checked, durable in the log; then the verdict."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any, NamedTuple

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from ingest.api.body import coding, read_body
from ingest.api.gate import MALFORMED_AS_ROWS, Gate
from ingest.api.idempotency import (
    REPLAYED,
    body_digest,
    check_same,
    content_of,
    same_part,
    submission_name,
)
from ingest.api.parts import Part, Prepared, kept, prepared
from ingest.api.problems import ERRORS_SHOWN, Problem, bad_parameter, error, error_of, in_order
from ingest.api.waiting import Asked
from ingest.batch import Claim, Refusal, encode
from ingest.decoded import Malformed, empty, mode_of, record_of
from ingest.decoder import Form, Job
from ingest.points import ticks_of
from ingest.verdicts import NAMES, QUARANTINED
from store.registry import Unit
from store.submissions import Submission

_AT_ONCE_ROWS = 2_000
"""So many rows are checked and encoded on the event loop: cheaper than the way to a thread and back."""
APPLIED_WITHIN_S = 5.0
NOT_KEPT = frozenset({"bad_gzip", "bad_zstd", "body_too_large"})
"""Bodies that are sent again in another form: nothing of them is worth keeping."""


class Wish(NamedTuple):
    """What a request says about its body beside the body. `types` of content, None = any.

    `verdict`: one a record is wanted; `wait`: in the answer.
    """

    form: Form
    types: Collection[str] | None
    key: str | None = None
    mode: str | None = None
    precision: str | None = None
    equipment_tag: str | None = None
    verdict: bool = True
    wait: bool = True


class Taken(NamedTuple):
    """What became of a body. `submission`: as stored, when that is known; `errors` as answered.

    `pending`: a verdict was wanted and is not there yet.
    """

    name: str
    received: int
    quarantined: int
    errors: list[dict[str, Any]]
    submission: Submission | None
    pending: bool
    replayed: bool

    @property
    def headers(self) -> dict[str, str]:
        """What the answer's head says of it."""
        return REPLAYED if self.replayed else {}

    @property
    def counts(self) -> dict[str, Any]:
        """The verdict without `errors`."""
        counts: dict[str, Any] = {
            "batch": self.name,
            "state": "durable",
            "received": self.received,
            "accepted": self.received - self.quarantined,
            "quarantined": self.quarantined,
        }
        stored = self.submission
        if stored is not None and stored.is_applied:
            counts |= {
                "state": "applied",
                "duplicates": stored.duplicates,
                "corrections": stored.corrections,
            }
            if stored.verdicts is not None:
                counts["records"] = records_of(stored)
        return counts

    @property
    def verdict(self) -> dict[str, Any]:
        """What became of it."""
        return {**self.counts, "errors": self.errors}

    @property
    def answer(self) -> dict[str, Any]:
        """The answer's body: the verdict. Raises Problem when nothing was accepted."""
        if self.received and self.quarantined >= self.received and self.errors:
            raise Problem("all_refused", errors=self.errors, extra=self.counts, headers=self.headers)
        return self.verdict


async def take(gate: Gate, request: Request, wish: Wish) -> Taken:
    """Take a body in; returns when it is durable and, where that is wished for, judged. Raises Problem."""
    try:
        mode_of(wish.mode or "live")
        ticks_of(wish.precision or "ns")
    except Malformed as wrong:
        told = wrong.parameters
        raise bad_parameter(told["place"], told["detail_zh"], told["detail"]) from wrong
    unit = await gate.sender(request)
    who = await gate.who(request)
    with gate.rooms.enter(unit.code) as room:
        body = await read_body(request, room, wish.types)
        job = Job(
            unit=unit.code,
            source=f"http_push:{unit.code}",
            received_at=time.time_ns() // 1000,
            form=wish.form,
            coding=coding(request),
            mode=wish.mode,
            precision=wish.precision,
            equipment_tag=wish.equipment_tag,
        )
        outcome = await gate.decoders.decode(job, body)
        del body
        if outcome.malformed is not None:
            await _hold(gate, job, outcome.malformed, outcome.original, wish.key, outcome.digest)
        decoded = outcome.decoded
        assert decoded is not None  # noqa: S101
        received = decoded.batch.rows
        gate.rows.spend(unit.code, received)
        key = wish.key or decoded.envelope.msg_id
        scope = f"readings\n{decoded.envelope.source_id or ''}" if key != wish.key else "readings"
        name = submission_name(unit, key, scope)
        digest = body_digest(outcome.digest, (wish.form, wish.mode, wish.precision, wish.equipment_tag))
        asked = Asked(who, unit.unit_id, name)
        if key:
            before = await gate.waiting.find(asked)
            if before is not None:
                check_same(before, digest)
                if before.is_applied:
                    return as_stored(before, replayed=True)
        tags = await gate.tags(unit, decoded.batch.tags)
        claim = Claim(name, received, digest if key else None)
        if received <= _AT_ONCE_ROWS:
            ready = prepared(decoded, tags, claim, verdict=wish.verdict)
        else:
            async with gate.decoders.turns.turn(unit.code):
                ready = await run_in_threadpool(prepared, decoded, tags, claim, verdict=wish.verdict)
        del decoded, outcome
        new = await _append(gate, job, ready, asked, digest if key else None)
    refused = ready.batch.refused
    if new:
        gate.refused_rows.spend(unit.code, len(refused))
    if ready.has_verdict and wish.wait:
        stored = await gate.waiting.applied(asked, APPLIED_WITHIN_S)
        if stored is not None:
            return as_stored(stored, replayed=not new)
    shown = refused if ready.has_verdict else refused[:ERRORS_SHOWN]
    errors = in_order([error_of(refusal) for refusal in shown])
    return Taken(name, received, len(refused), errors, None, ready.has_verdict, not new)


def as_stored(stored: Submission, *, replayed: bool) -> Taken:
    """What became of a submission of readings, as far as it is stored."""
    errors = in_order([error(e["place"], e["reason"], e["parameters"]) for e in stored.errors])
    pending = not stored.is_applied
    return Taken(stored.batch, stored.received, stored.quarantined, errors, stored, pending, replayed)


def records_of(stored: Submission) -> list[dict[str, Any]]:
    """The verdict on each record, in the order in which they were sent."""
    # Of a record that breaks several rules the first.
    reasons: dict[int | None, str] = {record_of(e["place"]): e["reason"] for e in reversed(stored.errors)}
    whole = reasons.get(None, "unstorable")
    return [
        {"index": i, "verdict": NAMES[code], **({"reason": reasons.get(i, whole)} if code == QUARANTINED else {})}
        for i, code in enumerate(stored.verdicts or b"")
    ]  # fmt: skip


async def _append(gate: Gate, job: Job, ready: Prepared, asked: Asked, digest: bytes | None) -> bool:
    """Make all parts durable; False when they had been before. `digest`: of the body, where there is a key."""
    new = True
    parts = ready.parts
    lane = ready.batch.mode
    if digest is not None and parts:
        first = parts[0]
        taken = await gate.append_once(
            first.data, kind="batch", lane=lane, unit=job.unit, source=job.source, msg_id=asked.batch,
            rows=first.rows, content=content_of(digest, first.digest),
        )  # fmt: skip
        new = taken.new
        if not new and taken.content is None:  # stored already, so the store knows
            before = await gate.waiting.find(asked)
            if before is not None:
                check_same(before, digest)
                if before.is_applied:
                    return False
        if new or same_part(taken, digest, first.digest):
            parts = parts[1:]
    for part in parts:
        await _append_part(gate, job, part, ready, asked.batch)
    return new


async def _append_part(gate: Gate, job: Job, part: Part, ready: Prepared, name: str) -> None:
    await gate.append(
        part.data, kind="batch", lane=ready.batch.mode, unit=job.unit, source=job.source,
        msg_id=f"{name}.{part.digest}", rows=part.rows,
    )  # fmt: skip


async def _hold(
    gate: Gate, job: Job, malformed: Malformed, original: bytes, key: str | None, digest: bytes
) -> None:
    """Keep an unreadable body in the quarantine, as one row. Always raises Problem: what is wrong with it.

    The same again with the same key is held once; it takes no key, which may come again with what is mended.
    """
    if malformed.reason in NOT_KEPT:
        raise Problem(malformed.reason, malformed.parameters)
    name = submission_name(Unit(0, job.unit), key and f"{key}\n{digest.hex()}", "held")
    refusal = kept(Refusal("$", malformed.reason, malformed.parameters, original))
    held = empty(job.unit, job.source, job.received_at, (refusal,))
    await gate.append(
        encode(held), kind="batch", lane="live", unit=job.unit, source=job.source,
        msg_id=f"{name}.held", rows=1,
    )  # fmt: skip
    gate.refused_rows.spend(job.unit, MALFORMED_AS_ROWS)
    raise Problem(malformed.reason, malformed.parameters, extra={"batch": name})
