"""What a unit may read back: who it is, its quarantine, its sources, its indicators."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from ingest.api.gate import Gate
from store import accounts, quarantine
from store.reasons import REASONS


def router(gate: Gate) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter(tags=["reading"])

    @routes.get("/api/v1/me")
    async def me(request: Request) -> dict[str, Any]:
        """The unit your key belongs to."""
        return {"unit": (await gate.unit(request)).code}

    @routes.get("/api/v1/sources")
    async def sources(request: Request) -> dict[str, Any]:
        """The account of each of your sources: received = stored + duplicates + corrections + quarantined."""
        unit = await gate.unit(request)
        rows = await gate.query(accounts.source_accounts)
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
            ]
        }

    @routes.get("/api/v1/quarantine")
    async def held(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        before: Annotated[int | None, Query(ge=1)] = None,
    ) -> dict[str, Any]:
        """Your refused rows, newest first; go on with `before` = the last id."""
        unit = await gate.unit(request)
        rows = await gate.query(quarantine.held, unit_id=unit.unit_id, limit=limit, before=before)
        return {
            "quarantine": [
                {
                    "id": row.quarantine_id,
                    "source": row.source,
                    "batch": row.batch,
                    "place": row.place,
                    "reason": row.reason,
                    "message": REASONS[row.reason].message(row.parameters),
                    "hint": REASONS[row.reason].hint(row.parameters),
                    "tag": row.tag,
                    "ts": row.ts,
                    "original_base64": base64.b64encode(row.original).decode(),
                    "received_at": row.received_at,
                }
                for row in rows
            ]
        }

    return routes
