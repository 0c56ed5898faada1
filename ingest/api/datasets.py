"""`POST /api/v1/datasets/{name}`."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from fastapi import APIRouter, Header, Request, Response
from fastapi.concurrency import run_in_threadpool

from ingest.api.body import coding, read_body
from ingest.api.gate import MALFORMED_AS_ROWS, Gate
from ingest.api.measurements import NOT_KEPT, batch_name
from ingest.api.problems import Problem, error
from ingest.batch import Refusal
from ingest.datasets import DATASETS, MAX_RECORDS, check_records
from ingest.decode import malformed_json, not_utf8, too_deep
from ingest.decoded import Malformed
from ingest.records import Records, encode_records
from ingest.unpacking import unpack
from store import datasets
from store.datasets import Submission

_APPLIED_WITHIN_S = 10.0


class _Body(msgspec.Struct):
    records: list[msgspec.Raw]


_BATCH = re.compile(r"[0-9a-f]{32}")
_BODY = msgspec.json.Decoder(_Body)


def router(gate: Gate) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter()

    @routes.post("/api/v1/datasets/{name}", tags=["datasets"], dependencies=[gate.allow("datasets:write")])
    async def report(
        name: str,
        request: Request,
        response: Response,
        idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
    ) -> dict[str, Any]:
        """Take reported records; 200 with the verdict once applied, 202 when durable but not yet applied."""
        unit = await gate.sender(request)
        with gate.rooms.enter(unit.code) as room:
            body = await read_body(request, room)
            if name not in DATASETS:
                raise Problem("unknown_dataset", {"dataset": name, "known": ", ".join(DATASETS)})
            async with gate.decoders.turns.turn(unit.code):
                read = await run_in_threadpool(_read, name, body, coding(request))
            batch = batch_name(unit, idempotency_key, read.digest)
            if read.fault is not None and read.fault.reason in NOT_KEPT:
                raise Problem(read.fault.reason, read.fault.parameters)
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
            )
            await gate.append(
                encode_records(submitted), kind="records", lane="live", unit=unit.code,
                source=submitted.source, msg_id=batch, rows=0,
            )  # fmt: skip
            cost = len(read.refused) if read.fault is None else MALFORMED_AS_ROWS
            gate.refused_rows.spend(unit.code, cost)
            if read.fault is not None:
                raise Problem(read.fault.reason, read.fault.parameters, extra={"batch": batch})
        verdict = await _applied(gate, unit.unit_id, batch)
        if verdict is None:
            response.status_code = 202
            return {"batch": batch, "received": read.received, "state": "durable"}
        if name == "tag":
            gate.forget_tags(unit)
        return _answer(batch, verdict)

    @routes.get(
        "/api/v1/submissions/{batch}", tags=["datasets"], dependencies=[gate.allow("submissions:read")]
    )
    async def submission(batch: str, request: Request) -> dict[str, Any]:
        """The verdict on one of your submissions of dataset records."""
        unit = await gate.unit(request)
        verdict = None
        if _BATCH.fullmatch(batch):
            verdict = await gate.query(datasets.submission, batch, unit.unit_id)
        if verdict is None:
            raise Problem("not_found", {"path": request.url.path})
        gate.forget_tags(unit)  # it may be one of tags that was answered 202
        return _answer(batch, verdict)

    return routes


class _Read(NamedTuple):
    """A body of records: how many, the good ones by their index, the refused ones, or what is wrong with all."""

    digest: bytes
    received: int
    good: list[tuple[int, dict[str, Any]]]
    refused: list[Refusal]
    fault: Malformed | None


def _read(name: str, body: bytes, packing: str) -> _Read:
    digest = b""
    try:
        body = unpack(body, packing)
        digest = hashlib.sha256(body).digest()
        records = _records(body)
    except Malformed as fault:
        kept = Refusal(name, fault.reason, fault.parameters, body).bounded()
        return _Read(digest, 0, [], [kept], fault)
    return _Read(digest, len(records), *check_records(name, records), None)


def _records(body: bytes) -> list[bytes]:
    """The records, each as the bytes it came in. Raises Malformed."""
    try:
        records = _BODY.decode(body).records
    except msgspec.ValidationError as wrong:
        raise Malformed("wrong_shape", {"place": "$", "detail": str(wrong)}) from wrong
    except msgspec.DecodeError as malformed:
        raise malformed_json(body, malformed) from malformed
    except RecursionError as deep:
        raise too_deep() from deep
    except UnicodeDecodeError as wrong:
        raise not_utf8(body) from wrong
    if len(records) > MAX_RECORDS:
        raise Malformed("too_many_rows", {"limit": str(MAX_RECORDS), "got": str(len(records))})
    return [bytes(record) for record in records]


async def _applied(gate: Gate, unit_id: int, batch: str) -> Submission | None:
    """Wait until the writer has applied the submission; None when that takes too long."""
    deadline = time.monotonic() + _APPLIED_WITHIN_S
    pause = 0.05
    while time.monotonic() < deadline:
        await asyncio.sleep(pause)
        verdict = await gate.query(datasets.submission, batch, unit_id)
        if verdict is not None:
            return verdict
        pause = min(pause * 1.5, 0.5)
    return None


def _answer(batch: str, verdict: Submission) -> dict[str, Any]:
    errors = [error(e["place"], e["reason"], e["parameters"]) for e in verdict.errors]
    state: Literal["applied"] = "applied"
    counts = {
        "batch": batch,
        "state": state,
        "received": verdict.received,
        "accepted": verdict.accepted,
        "duplicates": verdict.duplicates,
        "corrections": verdict.corrections,
        "quarantined": verdict.quarantined,
    }
    if verdict.quarantined and verdict.quarantined == verdict.received:
        raise Problem("all_refused", errors=errors, extra=counts)
    return {**counts, "errors": errors}
