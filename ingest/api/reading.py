"""What a unit may read back: who it is, its sources, the latest values of its tags."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import numpy as np
from fastapi import APIRouter, Query, Request, Response

from ingest.api.gate import Gate
from ingest.api.problems import Problem
from store import accounts, heartbeats
from store import latest as store_latest
from store.database import Connection


def router(gate: Gate) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter(tags=["reading"])

    @routes.get("/api/v1/me", dependencies=[gate.known()])
    async def me(request: Request) -> dict[str, Any]:
        """Who you are: your unit, your role, what your key or account may do, and the key's id."""
        who = await gate.who(request)
        return {
            "kind": who.kind,
            "name": who.name,
            "role": who.role,
            "unit": who.unit,
            "permissions": sorted(who.permissions),
            "key_id": who.key_id,
        }

    @routes.get("/api/v1/sources", dependencies=[gate.allow("submissions:read")])
    async def sources(request: Request) -> dict[str, Any]:
        """The account of each of your sources: received = stored + duplicates + corrections + quarantined."""
        unit = await gate.unit(request)
        rows = await gate.query(accounts.source_accounts)
        beats = await gate.query(heartbeats.beats, unit.unit_id)
        return {
            "sources": [
                {
                    "source": a.source,
                    "received": a.received,
                    "stored": a.stored,
                    "duplicates": a.duplicates,
                    "corrections": a.corrections,
                    "quarantined": a.quarantined,
                    "last_received_at": a.last_received_at,
                    "last_source_ts": a.last_source_ts,
                }
                for a in rows
                if a.unit == unit.code
            ],
            "heartbeats": [beat._asdict() for beat in beats],
        }

    @routes.get("/api/v1/latest", dependencies=[gate.allow("telemetry:read")])
    async def latest(
        request: Request,
        tags: Annotated[str | None, Query(max_length=8000)] = None,
        equipment: Annotated[str | None, Query(max_length=200)] = None,
        after: Annotated[int, Query(ge=0, lt=2**31)] = 0,
    ) -> Response:
        """The latest value of each of your tags by source time, as columns; go on with `after` = `next`.

        `tags`: names, separated by commas. Times are µs since 1970, UTC.
        """
        unit = await gate.unit(request)
        names = None if tags is None else [name for name in tags.split(",") if name]
        if any("\0" in text for text in (tags or "", equipment or "")):
            raise Problem("bad_parameter", {"field": "tags", "detail": "U+0000"})
        content = await gate.query(_latest, unit.unit_id, names, equipment, after)
        return Response(content, media_type="application/json")

    return routes


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
            "quality": ((found.quality.astype(np.int64) & 0xFFFF) << 16).tolist(),
            "received_at": found.received_at.tolist(),
            "next": int(found.tag_id[-1]) if n == store_latest.PAGE else None,
        }
    )
