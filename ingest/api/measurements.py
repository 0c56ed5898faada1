"""`POST /api/v1/measurements`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from ingest.api.answers import JUDGED
from ingest.api.bodies import READINGS
from ingest.api.body import JSON, content_type
from ingest.api.gate import Gate
from ingest.api.taking import Wish, take
from ingest.arrow import CONTENT_TYPE as ARROW
from ingest.decoder import Form
from ingest.points import PRECISIONS

IdempotencyKey = Annotated[
    str | None,
    Header(
        max_length=200,
        description="幂等键:原样重试不会重复入库 | of your choice: the same again with it is stored once",
    ),
]
Prefer = Annotated[
    str | None,
    Header(
        max_length=200,
        description="respond-async: do not wait for the verdict (RFC 7240)",
        examples=["respond-async"],
    ),
]
Mode = Annotated[
    str | None,
    Query(
        max_length=20,
        description="what is not live does not count in latency and timeliness; overrides what the body says",
        json_schema_extra={"enum": ["live", "backfill", "correction"]},
    ),
]
EquipmentTag = Annotated[
    str | None,
    Query(
        max_length=200,
        description="the tag that holds the equipment code, empty: the measurement is it; default: the first"
        " of equipment, device, source, host, else the measurement",
        examples=["machine"],
    ),
]
FORMS: Mapping[str, Form] = MappingProxyType(
    {ARROW: "arrow", "application/x-ndjson": "ndjson", "application/ndjson": "ndjson"}
)


def router(gate: Gate) -> APIRouter:
    """The route, on this process's gate."""
    routes = APIRouter()

    @routes.post(
        "/api/v1/measurements",
        tags=["telemetry"],
        summary="上报读数 | Send readings",
        openapi_extra=READINGS,
        response_model=None,
        responses=JUDGED,
        dependencies=[gate.allow("measurements:write")],
    )
    async def push(
        request: Request,
        response: Response,
        idempotency_key: IdempotencyKey = None,
        prefer: Prefer = None,
        mode: Mode = None,
        precision: Annotated[
            str | None,
            Query(
                max_length=20,
                description="of Telegraf's timestamps that are numbers; default s",
                json_schema_extra={"enum": list(PRECISIONS)},
            ),
        ] = None,
        equipment_tag: EquipmentTag = None,
    ) -> dict[str, Any]:
        """Take readings; 200 with the verdict on each, or 202 when they are durable and not judged yet.

        Columns and bodies of more than 1,000 records are answered with counts as soon as they are
        durable (docs/interface.md).
        """
        is_async = "respond-async" in preferences(prefer)
        taken = await take(
            gate,
            request,
            Wish(
                form=FORMS.get(content_type(request), "json"),
                types=(*JSON, *FORMS),
                key=idempotency_key,
                mode=mode,
                precision=precision,
                equipment_tag=equipment_tag,
                wait=not is_async,
            ),
        )
        answer = taken.answer
        response.headers.update(taken.headers)
        if taken.pending:
            response.status_code = 202
            response.headers["Location"] = f"/api/v1/submissions/{taken.name}"
            if is_async:
                response.headers["Preference-Applied"] = "respond-async"
        return answer

    return routes


def preferences(prefer: str | None) -> frozenset[str]:
    """The preferences of a `Prefer` header (RFC 7240), small and without their parameters."""
    return frozenset(one.partition(";")[0].strip().lower() for one in (prefer or "").split(","))
