"""`GET /api/v1/submissions/{batch}`: the second stage of the acknowledgement."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from ingest.api.answers import VERDICT
from ingest.api.datasets import verdict_of
from ingest.api.gate import Gate
from ingest.api.problems import Problem
from ingest.api.taking import as_stored
from ingest.api.whose import UnitCode, whose
from store import submissions
from store.submissions import MEASUREMENTS

_BATCH = re.compile(r"[0-9a-f]{32}")
_Batch = Annotated[
    str,
    Path(
        description="提交编号 | `batch` of the answer to the submission",
        examples=["9f6c1f0e5b7a4c3d8e2a1b0c9d8e7f60"],
    ),
]


def router(gate: Gate) -> APIRouter:
    """The route, on this process's gate."""
    routes = APIRouter()

    @routes.get(
        "/api/v1/submissions/{batch}",
        tags=["submissions"],
        summary="一次提交的结论 | Verdict on a submission",
        dependencies=[gate.allow("submissions:read")],
        response_model=None,
        responses={200: {"description": "结论 | the verdict", "content": VERDICT}},
    )
    async def submission(batch: _Batch, request: Request, unit: UnitCode = None) -> dict[str, Any]:
        """The verdict on one of a unit's submissions, as its sender was or would have been told; 200 also where all was refused."""
        mine = await whose(gate, request, unit)
        found = None
        if _BATCH.fullmatch(batch):
            found = (await gate.query(submissions.find, [batch], mine.unit_id)).get(batch)
        if found is None:
            raise Problem("not_found", {"path": request.url.path})
        if found.dataset == MEASUREMENTS:
            return as_stored(found, replayed=False).verdict
        gate.forget_tags(mine)  # it may be one of tags that was answered 202
        return verdict_of(found)

    return routes
