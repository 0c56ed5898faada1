"""`POST /api/v1/measurements`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from ingest.api.bodies import READINGS
from ingest.api.body import JSON, content_type
from ingest.api.gate import Gate
from ingest.api.taking import Wish, take
from ingest.arrow import CONTENT_TYPE as ARROW
from ingest.decoder import Form

FORMS: Mapping[str, Form] = MappingProxyType(
    {ARROW: "arrow", "application/x-ndjson": "ndjson", "application/ndjson": "ndjson"}
)


def router(gate: Gate) -> APIRouter:
    """The route, on this process's gate."""
    routes = APIRouter()

    @routes.post(
        "/api/v1/measurements",
        tags=["telemetry"],
        openapi_extra=READINGS,
        responses={202: {"description": "durable, and not judged yet: the verdict will be at `Location`"}},
        dependencies=[gate.allow("measurements:write")],
    )
    async def push(
        request: Request,
        response: Response,
        idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
        prefer: Annotated[str | None, Header(max_length=200)] = None,
        mode: Annotated[str | None, Query(max_length=20)] = None,
        precision: Annotated[str | None, Query(max_length=20)] = None,
        equipment_tag: Annotated[str | None, Query(max_length=200)] = None,
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
