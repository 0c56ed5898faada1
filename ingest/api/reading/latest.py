"""The latest value of each tag, as columns."""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Query, Request, Response

from ingest.api.gate import Gate
from ingest.api.reading.parameters import Code, printed, whose
from store import latest as store_latest
from store.database import Connection


def router(gate: Gate) -> APIRouter:
    """The route, on this process's gate."""
    routes = APIRouter()

    @routes.get("/api/v1/latest", dependencies=[gate.allow("telemetry:read")])
    async def latest(
        request: Request,
        tags: Annotated[str | None, Query(max_length=4000)] = None,
        equipment: Code = None,
        unit: Code = None,
        after: Annotated[int, Query(ge=0, lt=2**31)] = 0,
    ) -> Response:
        """The latest value of each tag by source time, as columns; go on with `after` = `next`.

        Of your own unit, or of the one you name in `unit`. `tags`: names, separated by commas. Times are µs since 1970, UTC.
        """
        printed(tags=tags, equipment=equipment)
        unit_id = await whose(gate, request, unit)
        names = None if tags is None else [name for name in tags.split(",") if name]
        content = await gate.query(_latest, unit_id, names, equipment, after)
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
