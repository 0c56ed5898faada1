"""The latest value of each tag, as columns."""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Query, Request, Response

from ingest.api.answers import Answer
from ingest.api.gate import Gate
from ingest.api.reading.parameters import EquipmentCode, printed
from ingest.api.whose import UnitCode, whose
from store import latest as store_latest
from store.database import Connection


class Latest(Answer):
    """Columns of the same length, one entry a tag."""

    tags: list[str]
    """names of the tags"""
    ts: list[int]
    """time of the reading, µs since 1970, UTC, by the source's clock"""
    value: list[float | None]
    """in the tag's unit; of enums the number, null of text tags"""
    text: list[str | None]
    """of text tags the text, of enums the name; else null"""
    quality: list[int]
    """OPC UA StatusCode; 0 is good"""
    received_at: list[int]
    """µs since 1970, UTC, by the platform's clock"""
    next: int | None
    """for `cursor`; null: this was the last page"""


def router(gate: Gate) -> APIRouter:
    """The route, on this process's gate."""
    routes = APIRouter()

    @routes.get(
        "/api/v1/latest",
        summary="最新值 | Latest values",
        response_model=Latest,
        dependencies=[gate.allow("telemetry:read")],
    )
    async def latest(
        request: Request,
        tags: Annotated[str | None, Query(max_length=4000, description="names, separated by commas")] = None,
        equipment: EquipmentCode = None,
        unit: UnitCode = None,
        cursor: Annotated[int, Query(ge=0, lt=2**31, description="`next` of the answer before")] = 0,
    ) -> Response:
        """The latest value of each tag by source time, as columns; go on with `cursor` = `next`.

        Of your own unit, or of the one you name in `unit`; at most 20,000 tags a page.
        """
        printed(tags=tags, equipment=equipment)
        unit_id = (await whose(gate, request, unit)).unit_id
        names = None if tags is None else [name for name in tags.split(",") if name]
        content = await gate.query(_latest, unit_id, names, equipment, cursor)
        return Response(content, media_type="application/json")

    return routes


def status_codes(quality: npt.NDArray[np.int16]) -> list[int]:
    """Qualities as OPC UA StatusCodes, of which the upper half is kept."""
    found: list[int] = ((quality.astype(np.int64) & 0xFFFF) << 16).tolist()
    return found


def _latest(
    conn: Connection, unit_id: int, names: list[str] | None, equipment: str | None, after: int
) -> bytes:
    """Read and encoded in the same thread: the event loop sees the bytes alone."""
    found = store_latest.latest(conn, unit_id, names=names, equipment=equipment, after=after)
    n = len(found.names)
    return msgspec.json.encode(
        {
            "tags": found.names,
            "ts": found.ts.tolist(),
            "value": found.value.tolist(),  # NaN becomes null
            "text": [found.text.get(i) for i in range(n)],
            "quality": status_codes(found.quality),
            "received_at": found.received_at.tolist(),
            "next": int(found.tag_id[-1]) if n == store_latest.PAGE else None,
        }
    )
