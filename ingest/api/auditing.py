"""`/api/v1/audit`: what was done, by whom; of each caller, what concerns him."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query

from ingest.api.answers import Answer
from ingest.api.gate import Gate
from ingest.api.moments import Since, Until
from ingest.api.whose import in_sight
from store import audit, registry


def _text(description: str) -> Any:
    return Query(max_length=200, pattern=r"^[^\x00]+$", description=description)


class Event(Answer):
    """One event."""

    seq: int
    """number in the log as a whole, where none is missing"""
    at: datetime
    """when, by the platform's clock"""
    actor: str
    """who: unit:<code>, person:<name>, or role:<part of the platform>"""
    unit: str | None
    """code of the unit it concerns"""
    action: str
    """what was done: noun.verb, as session.opened"""
    object: str
    """to what"""
    detail: dict[str, Any]
    """particulars of the action"""


class Events(Answer):
    """A page of events, newest first."""

    events: list[Event]
    """the events"""
    next: int | None
    """for `cursor`; null: this was the last page"""


def router(gate: Gate) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter(tags=["audit"])

    @routes.get("/api/v1/audit", dependencies=[gate.allow("audit:read")], summary="审计日志 | The audit log")
    async def events(
        action: Annotated[str | None, _text("noun.verb, as session.opened")] = None,
        actor: Annotated[str | None, _text("unit:<code>, person:<name>, or role:<part>")] = None,
        unit: Annotated[str | None, _text("单位代码 | code of the unit it concerns")] = None,
        since: Since = None,
        until: Until = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="events a page, at most")] = 100,
        cursor: Annotated[
            int | None, Query(ge=1, le=2**63 - 1, description="`next` of the answer before")
        ] = None,
    ) -> Events:
        """Logins, keys, people, corrections, exports and decisions that concern you, newest first."""
        if unit is not None:
            await in_sight(gate, unit)
        wanted = audit.Wanted(action, actor, unit, since, until)
        found = await gate.query(audit.events, limit=limit + 1, before=cursor, wanted=wanted)
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
