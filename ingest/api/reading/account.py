"""Who you are, and what came of what you sent."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from ingest.api.gate import Gate
from store import accounts, heartbeats


def router(gate: Gate) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter()

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

    return routes
