"""What clients of InfluxDB 2 write to: `POST /api/v2/write`, and what they look at before.

Errors have the members such clients read (`code`, `message` as text) beside those of ours: see `problems`.
What a client makes of the status decides what becomes of its data, so it is chosen by that: Telegraf sends
again after 401, 403, 429, 5xx, halves its batch after 413, and drops it after every other 4xx.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse

from ingest.api.answers import BATCH, REPLAYED, VERDICT
from ingest.api.bodies import LINES
from ingest.api.doors import OPEN
from ingest.api.gate import Gate
from ingest.api.measurements import EquipmentTag, IdempotencyKey, Mode, preferences
from ingest.api.problems import Problem
from ingest.api.taking import Wish, take
from ingest.points import PRECISIONS

_VERSION = {"X-Influxdb-Build": "Qunce", "X-Influxdb-Version": "2.7"}
"""The version of the interface that is offered here, for clients that ask before they write."""
WRITTEN = {**REPLAYED, **BATCH}
"""Headers of an answer to line protocol, as the document tells them."""
_Unread = Annotated[str, Query(max_length=200, description="not looked at: the token says whose it is")]


def router(gate: Gate) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter()

    @routes.post(
        "/api/v2/write",
        tags=["telemetry"],
        summary="写入行协议 | Write line protocol",
        status_code=204,
        response_model=None,
        openapi_extra=LINES,
        responses={
            200: {
                "description": "结论,按 `Prefer: return=representation` | the verdict, as that was asked for",
                "content": VERDICT,
                "headers": WRITTEN,
            },
            202: {
                "description": "已持久保存,尚未判定 | durable, and not judged yet",
                "content": VERDICT,
                "headers": WRITTEN,
            },
            204: {"description": "已全部持久保存 | all of it is durable", "headers": WRITTEN},
        },
        dependencies=[gate.allow("measurements:write", any_parameters=True)],
    )
    async def write(
        request: Request,
        bucket: _Unread = "",
        org: _Unread = "",
        precision: Annotated[
            str,
            Query(
                max_length=20,
                description="of the timestamps",
                json_schema_extra={"enum": list(PRECISIONS)},
            ),
        ] = "ns",
        mode: Mode = None,
        equipment_tag: EquipmentTag = None,
        idempotency_key: IdempotencyKey = None,
        prefer: Annotated[
            str | None,
            Header(
                max_length=200,
                description="return=representation: answer with the verdict",
                examples=["return=representation"],
            ),
        ] = None,
    ) -> Response:
        """Take line protocol; 204 when it is durable, 422 when some of it was refused (the rest is durable).

        `org` and `bucket` are not looked at: the token says whose the readings are. With
        `Prefer: return=representation` the answer is 200 with the verdict on each reading.
        """
        verdict = "return=representation" in preferences(prefer)
        wish = Wish("lines", None, idempotency_key, mode, precision, equipment_tag, verdict, verdict)
        return await written(gate, request, wish)

    @routes.get("/ping", include_in_schema=False, dependencies=[OPEN])
    @routes.head("/ping", include_in_schema=False, dependencies=[OPEN])
    async def ping() -> Response:
        return Response(status_code=204, headers=_VERSION)

    @routes.get("/health", include_in_schema=False, dependencies=[OPEN])
    async def health() -> JSONResponse:
        found = await gate.health()
        well = found["log"] == "ok"  # what it takes to take readings
        status: dict[str, Any] = {
            "name": "qunce",
            "status": "pass" if well else "fail",
            "message": "ready for writes" if well else "the ingest log is away",
            "checks": [],
            "version": _VERSION["X-Influxdb-Version"],
        }
        return JSONResponse(status, 200 if well else 503, _VERSION)

    return routes


async def written(gate: Gate, request: Request, wish: Wish) -> Response:
    """Take line protocol in and answer as its clients expect. Raises Problem: some of it was refused."""
    taken = await take(gate, request, wish)
    headers = {**taken.headers, "Qunce-Batch": taken.name}
    if wish.verdict:
        return JSONResponse(taken.answer, 202 if taken.pending else 200, headers)
    if taken.quarantined:
        parameters = {
            "received": str(taken.received),
            "refused": str(taken.quarantined),
            "accepted": str(taken.received - taken.quarantined),
        }
        raise Problem("partly_refused", parameters, errors=taken.errors, extra=taken.counts, headers=headers)
    return Response(status_code=204, headers=headers)
