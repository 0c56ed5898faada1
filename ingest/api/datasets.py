"""`POST /api/v1/datasets/…`: one route a dataset, one handler."""

from __future__ import annotations

import codecs
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, NamedTuple

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from ingest.api.body import coding, read_body
from ingest.api.definitions import TEXT_MOST, documented
from ingest.api.gate import MALFORMED_AS_ROWS, Gate
from ingest.api.idempotency import REPLAYED, body_digest, check_same, content_of, same_part, submission_name
from ingest.api.measurements import IdempotencyKey, Prefer, preferences
from ingest.api.problems import Problem, error, in_order
from ingest.api.taking import NOT_KEPT, records_of
from ingest.api.waiting import Asked
from ingest.batch import Refusal
from ingest.datasets import DATASETS, MAX_RECORDS, check_records
from ingest.decode import UNREADABLE, misshapen, unreadable
from ingest.decoded import Malformed
from ingest.records import Records, encode_records
from ingest.unpacking import unpack
from ingest.verdicts import MOST_RECORDS
from store.submissions import Submission

_APPLIED_WITHIN_S = 10.0


_Text = Annotated[str, msgspec.Meta(max_length=TEXT_MOST, pattern=r"^[^\x00]*$")]


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    records: list[msgspec.Raw]
    reason: _Text | None = None
    voucher: _Text | None = None


_BODY = msgspec.json.Decoder(_Body)


def router(gate: Gate) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter(tags=["datasets"], dependencies=[gate.allow("datasets:write")])

    async def take(
        name: str, request: Request, response: Response, idempotency_key: str | None, prefer: str | None
    ) -> dict[str, Any]:
        unit = await gate.sender(request)
        with gate.rooms.enter(unit.code) as room:
            body = await read_body(request, room)
            if name not in DATASETS:
                raise Problem("unknown_dataset", {"dataset": name, "known": ", ".join(DATASETS)})
            async with gate.decoders.turns.turn(unit.code):
                read = await run_in_threadpool(_read, name, body, coding(request))
            if read.fault is not None and read.fault.reason in NOT_KEPT:
                raise Problem(read.fault.reason, read.fault.parameters)
            key, digest = idempotency_key, body_digest(read.digest, (name,))
            if key and read.fault is not None:  # what is mended may come with the same key
                key = f"{key}\n{read.digest.hex()}"
            batch = submission_name(unit, key, f"dataset {name}")
            who = await gate.who(request)
            asked = Asked(who, unit.unit_id, batch)
            before = await gate.waiting.find(asked) if key else None
            if before is None:
                submitted = Records(
                    unit=unit.code,
                    source=f"http_push:{unit.code}",
                    dataset=name,
                    batch=batch,
                    received=read.received,
                    received_at=time.time_ns() // 1000,
                    index=[i for i, _ in read.good],
                    records=[record for _, record in read.good],
                    refused=read.refused,
                    body_digest=digest if key else None,
                    reason=read.reason,
                    voucher=read.voucher,
                    by=f"{who.kind}:{who.name}",
                    each=0 < read.received <= MOST_RECORDS,
                )
                taken = await gate.append_once(
                    encode_records(submitted), kind="records", lane="live", unit=unit.code,
                    source=submitted.source, msg_id=batch, rows=0, content=content_of(digest, ""),
                )  # fmt: skip
                same_part(taken, digest, "")
                is_new = taken.new
            else:
                check_same(before, digest)
                is_new = False
            if is_new:
                cost = len(read.refused) if read.fault is None else MALFORMED_AS_ROWS
                gate.refused_rows.spend(unit.code, cost)
            if read.fault is not None:
                raise Problem(read.fault.reason, read.fault.parameters, extra={"batch": batch})
        headers = {} if is_new else REPLAYED
        is_async = "respond-async" in preferences(prefer)
        verdict = before or (None if is_async else await gate.waiting.applied(asked, _APPLIED_WITHIN_S))
        response.headers.update(headers)
        if verdict is None:
            response.status_code = 202
            response.headers["Location"] = f"/api/v1/submissions/{batch}"
            if is_async:
                response.headers["Preference-Applied"] = "respond-async"
            return {"batch": batch, "received": read.received, "state": "durable"}
        check_same(verdict, digest)
        if name == "tag":
            gate.forget_tags(unit)
        return _answer_of(verdict, headers)

    # A route a dataset, so that the OpenAPI document has each with its own schema.
    for dataset in DATASETS:
        routes.add_api_route(
            f"/api/v1/datasets/{dataset}", _reporting(take, dataset), methods=["POST"], **documented(dataset)
        )

    @routes.post("/api/v1/datasets/{name}", include_in_schema=False)
    async def unknown(name: str, request: Request, response: Response) -> dict[str, Any]:
        return await take(name, request, response, None, None)

    return routes


Take = Callable[[str, Request, Response, str | None, str | None], Awaitable[dict[str, Any]]]


def _reporting(take: Take, dataset: str) -> Callable[..., Awaitable[dict[str, Any]]]:
    async def report(
        request: Request,
        response: Response,
        idempotency_key: IdempotencyKey = None,
        prefer: Prefer = None,
    ) -> dict[str, Any]:
        return await take(dataset, request, response, idempotency_key, prefer)

    return report


class _Read(NamedTuple):
    """A body of records: how many, the good ones by their index, the refused ones, or what is wrong with all.

    `reason`, `voucher`: why those that correct something do, and what proves it.
    """

    digest: bytes
    received: int
    good: list[tuple[int, dict[str, Any]]]
    refused: list[Refusal]
    fault: Malformed | None
    reason: str | None = None
    voucher: str | None = None


def _read(name: str, body: bytes, packing: str) -> _Read:
    digest = b""
    try:
        body = unpack(body, packing)
        digest = hashlib.sha256(body).digest()
        said = _said(body)
    except Malformed as fault:
        kept = Refusal(name, fault.reason, fault.parameters, body).bounded()
        return _Read(digest, 0, [], [kept], fault)
    reason, voucher = ((text or "").strip() or None for text in (said.reason, said.voucher))
    records = [bytes(record) for record in said.records]
    return _Read(digest, len(records), *check_records(name, records), None, reason, voucher)


def _said(body: bytes) -> _Body:
    """The body, its records each as the bytes it came in. Raises Malformed."""
    try:
        said = _BODY.decode(body.removeprefix(codecs.BOM_UTF8))
    except msgspec.ValidationError as wrong:
        raise misshapen(wrong, _Body) from wrong
    except UNREADABLE as malformed:
        raise unreadable(body, malformed) from malformed
    if len(said.records) > MAX_RECORDS:
        raise Malformed("too_many_rows", {"limit": str(MAX_RECORDS), "got": str(len(said.records))})
    return said


def verdict_of(verdict: Submission) -> dict[str, Any]:
    """What became of a submission of records that is applied."""
    counts: dict[str, Any] = {
        "batch": verdict.batch,
        "state": "applied",
        "received": verdict.received,
        "accepted": verdict.accepted,
        "duplicates": verdict.duplicates,
        "corrections": verdict.corrections,
        "quarantined": verdict.quarantined,
    }
    if verdict.verdicts is not None:
        counts["records"] = records_of(verdict)
    errors = in_order([error(e["place"], e["reason"], e["parameters"]) for e in verdict.errors])
    return {**counts, "errors": errors}


def _answer_of(verdict: Submission, headers: Mapping[str, str]) -> dict[str, Any]:
    """The answer to the submission. Raises Problem when nothing was accepted."""
    told = verdict_of(verdict)
    if verdict.quarantined and verdict.quarantined == verdict.received:
        raise Problem("all_refused", errors=told.pop("errors"), extra=told, headers=headers)
    return told
