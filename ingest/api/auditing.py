"""`/api/v1/audit`: what was done, by whom; of each caller, what concerns him."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field

from ingest.api.gate import Gate
from store import audit, registry

_Text = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]+$")]


class Event(BaseModel):
    """One event; `seq` without a gap in the log as a whole."""

    seq: int
    at: datetime
    actor: Annotated[str, Field(description="unit:<code>, person:<name>, or role:<part of the platform>")]
    unit: str | None
    action: Annotated[str, Field(examples=["session.opened"])]
    object: str
    detail: dict[str, Any]


class Events(BaseModel):
    """A page of events, newest first; go on with `before` = `next` until that is null."""

    events: list[Event]
    next: int | None


def router(gate: Gate) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter(tags=["audit"])

    @routes.get("/api/v1/audit", dependencies=[gate.allow("audit:read")], summary="The audit log")
    async def events(
        action: _Text = None,
        actor: _Text = None,
        unit: _Text = None,
        since: AwareDatetime | None = None,
        until: AwareDatetime | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        before: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    ) -> Events:
        """Logins, keys, people, corrections, exports and decisions that concern you, newest first."""
        wanted = audit.Wanted(action, actor, unit, since, until)
        found = await gate.query(audit.events, limit=limit + 1, before=before, wanted=wanted)
        codes = {unit_id: code for code, unit_id in (await gate.query(registry.unit_ids)).items()}
        shown = [
            Event(
                seq=e.seq, at=e.at, actor=e.actor, unit=codes.get(e.unit_id or 0), action=e.action, object=e.object,
                detail=msgspec.json.decode(e.detail),
            )
            for e in found[:limit]
        ]  # fmt: skip
        return Events(events=shown, next=shown[-1].seq if len(found) > limit else None)

    return routes
