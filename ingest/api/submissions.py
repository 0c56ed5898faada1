"""`GET /api/v1/submissions/{batch}`: the second stage of the acknowledgement."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter, Request

from ingest.api.datasets import answer_of
from ingest.api.gate import Gate
from ingest.api.problems import Problem
from ingest.api.taking import as_stored
from store import submissions
from store.submissions import MEASUREMENTS

_BATCH = re.compile(r"[0-9a-f]{32}")


def router(gate: Gate) -> APIRouter:
    """The route, on this process's gate."""
    routes = APIRouter()

    @routes.get(
        "/api/v1/submissions/{batch}", tags=["submissions"], dependencies=[gate.allow("submissions:read")]
    )
    async def submission(batch: str, request: Request) -> dict[str, Any]:
        """The verdict on one of your submissions, as its sender was or would have been told."""
        unit = await gate.unit(request)
        found = None
        if _BATCH.fullmatch(batch):
            found = (await gate.query(submissions.find, [batch], unit.unit_id)).get(batch)
        if found is None:
            raise Problem("not_found", {"path": request.url.path})
        if found.dataset == MEASUREMENTS:
            return as_stored(found, replayed=False).answer
        gate.forget_tags(unit)  # it may be one of tags that was answered 202
        return answer_of(found, {})

    return routes
