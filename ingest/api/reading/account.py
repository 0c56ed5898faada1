"""Who you are, and what came of what you sent."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter, Request

from ingest.api.answers import Answer
from ingest.api.gate import Gate
from ingest.api.whose import UnitCode, whose
from store import accounts, heartbeats


class Me(Answer):
    """The caller, as the platform knows him."""

    kind: Literal["unit", "person"]
    """by an API key, or by a session"""
    name: str
    """code of the unit, or name of the account"""
    role: str | None
    """of a person: province, city, county, lead_unit, enterprise, think_tank, bank, operator"""
    unit: str | None
    """code of the lead unit that is spoken for"""
    permissions: list[str]
    """what may be done with these credentials"""
    key_id: int | None
    """number of the key, of a unit"""


class Source(Answer):
    """The account of a source since the beginning: received = stored + duplicates + corrections + quarantined."""

    source: str
    """name of the source: way in and unit or connector"""
    received: int
    """rows that came"""
    stored: int
    """rows that were new"""
    duplicates: int
    """rows that were there already, the same"""
    corrections: int
    """rows that replaced another value"""
    quarantined: int
    """rows that were refused and kept"""
    last_received_at: datetime | None
    """when the last row came, by the platform's clock"""
    last_source_ts: datetime | None
    """the newest time of a row, by the source's clock"""


class LastBeat(Answer):
    """The last heartbeat of a sender."""

    source: str
    """the sender's name, as it gave it"""
    received_at: datetime
    """by the platform's clock"""
    skew_s: float
    """seconds its clock is ahead of the platform's; negative: behind"""
    queue_depth: int | None
    """readings or bodies that waited there, as it said"""
    oldest_queued: datetime | None
    """time of the oldest that waited"""
    version: str | None
    """of the sender's software"""


class Sources(Answer):
    """A unit's sources."""

    sources: list[Source]
    """the accounts"""
    heartbeats: list[LastBeat]
    """the senders that send heartbeats"""


def router(gate: Gate) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter()

    @routes.get("/api/v1/me", summary="我是谁 | Who you are", response_model=Me, dependencies=[gate.known()])
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

    @routes.get(
        "/api/v1/sources",
        summary="数据来源账目 | Accounts of a unit's sources",
        response_model=Sources,
        dependencies=[gate.allow("submissions:read")],
    )
    async def sources(request: Request, unit: UnitCode = None) -> dict[str, Any]:
        """The account of each of a unit's sources: received = stored + duplicates + corrections + quarantined."""
        mine = await whose(gate, request, unit)
        rows = await gate.query(accounts.source_accounts)
        beats = await gate.query(heartbeats.beats, mine.unit_id)
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
                if a.unit == mine.code
            ],
            "heartbeats": [beat._asdict() for beat in beats],
        }

    return routes
