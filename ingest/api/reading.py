"""What a unit may read back: who it is, its sources."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from ingest.api.gate import Gate
from store import accounts


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

    return routes
