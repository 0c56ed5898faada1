"""`/api/v1/quality` and `/api/v1/submissions`: what a unit sent, and how good it was."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime

from ingest.api.gate import Gate
from ingest.api.problems import Problem
from ingest.api.whose import UnitQuery, whose
from store import heartbeats, quality
from store.database import Connection
from store.quality import EquipmentQuality, OpenReason, SourceQuality
from store.reasons import reason_of

MOST = timedelta(days=31)
_HOUR = timedelta(hours=1)


def router(gate: Gate) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter(tags=["quality"])

    @routes.get("/api/v1/quality", summary="Your data quality", dependencies=[gate.allow("submissions:read")])
    async def own_quality(
        request: Request,
        unit: UnitQuery = None,
        since: AwareDatetime | None = None,
        until: AwareDatetime | None = None,
        limit: Annotated[int, Query(ge=1, le=2000)] = 500,
        after: Annotated[str, Query(max_length=64)] = "",
    ) -> dict[str, Any]:
        """Slots due and filled, validity, timeliness, latency, stoppages, and what is refused; the last 24 h if not said.

        Whole hours, at most 31 days. `sources` and `refused` are of all; `equipment` goes on with `after` = `next`.
        Rates are fractions of 1, null where nothing was due or received.
        """
        mine = await whose(gate, request, unit)
        since, until = _span(since, until)
        if "\0" in after:
            raise Problem("bad_parameter", {"field": "after", "detail": "U+0000"})
        found = await gate.query(_read, mine.unit_id, since, until, limit + 1, after)
        page = found.equipment[:limit]
        minutes = max((min(until, datetime.now(UTC)) - since) / timedelta(minutes=1), 1)
        return {
            "unit": mine.code,
            "since": since,
            "until": until,
            "sources": [_source(one) for one in found.sources],
            "heartbeats": [
                {**beat._asdict(), "minutes_share": round(min(found.minutes.get(beat.source, 0) / minutes, 1), 4)}
                for beat in found.beats
            ],
            "equipment": [_equipment(one) for one in page],
            "next": page[-1].equipment if len(found.equipment) > limit else None,
            "refused": [
                {"reason": one.reason, "open": one.open, "message": reason_of(one.reason).message(one.parameters)}
                for one in found.refused
            ],
        }  # fmt: skip

    @routes.get(
        "/api/v1/submissions", summary="Your submissions", dependencies=[gate.allow("submissions:read")]
    )
    async def submissions(
        request: Request,
        unit: UnitQuery = None,
        dataset: Annotated[str | None, Query(max_length=64, pattern=r"^[a-z_0-9]+$")] = None,
        refused: Annotated[bool | None, Query(description="true: with refused records only")] = None,
        since: AwareDatetime | None = None,
        until: AwareDatetime | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
        before: Annotated[str | None, Query(max_length=200)] = None,
    ) -> dict[str, Any]:
        """Submissions of dataset records with their verdicts, newest first; go on with `before` = `next`.

        One in full, with what was refused of it: `GET /api/v1/submissions/{batch}`.
        """
        mine = await whose(gate, request, unit)
        found = await gate.query(
            quality.submitted, mine.unit_id, limit=limit + 1, before=_cursor(before), dataset=dataset,
            refused=refused, since=since, until=until,
        )  # fmt: skip
        page = found[:limit]
        following = f"{page[-1].applied_at.isoformat()} {page[-1].batch}" if len(found) > limit else None
        return {
            "submissions": [one._asdict() for one in page],
            "next": None if following is None else urlsafe_b64encode(following.encode()).decode(),
        }

    return routes


class _Found(NamedTuple):
    sources: list[SourceQuality]
    equipment: list[EquipmentQuality]
    refused: list[OpenReason]
    beats: list[heartbeats.Beat]
    minutes: dict[str, int]


def _read(conn: Connection, unit_id: int, since: datetime, until: datetime, limit: int, after: str) -> _Found:
    return _Found(
        quality.of_sources(conn, unit_id, since, until),
        quality.of_equipment(conn, unit_id, since, until, limit=limit, after=after),
        quality.open_reasons(conn, unit_id),
        heartbeats.beats(conn, unit_id),
        heartbeats.minutes_beaten(conn, unit_id, since, until),
    )


def _span(since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
    """Whole hours (UTC). Raises Problem."""
    try:
        high = _hour((until or datetime.now(UTC)).astimezone(UTC) + _HOUR - timedelta(microseconds=1))
        low = high - 24 * _HOUR if since is None else _hour(since.astimezone(UTC))
        if low >= high:
            raise Problem("bad_parameter", {"field": "since", "detail": "must lie before until"})
        if high - low > MOST:
            raise Problem(
                "bad_parameter", {"field": "since", "detail": f"at most {MOST.days} days before until"}
            )
    except OverflowError as far:
        raise Problem("bad_parameter", {"field": "since", "detail": "a time that can be"}) from far
    return low, high


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _cursor(given: str | None) -> tuple[datetime, str] | None:
    if given is None:
        return None
    try:
        at, _, batch = urlsafe_b64decode(given.encode()).decode().partition(" ")
        moment = datetime.fromisoformat(at)
    except (binascii.Error, ValueError) as wrong:
        raise Problem("bad_parameter", {"field": "before", "detail": "not a cursor of ours"}) from wrong
    if moment.tzinfo is None or "\0" in batch:
        raise Problem("bad_parameter", {"field": "before", "detail": "not a cursor of ours"})
    return moment, batch


def _share(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else round(part / whole, 6)


def _rates(filled: float | None, due: float | None, valid: float | None, judged: float | None,
           timely: int, live: int) -> dict[str, float | None]:  # fmt: skip
    transmission, validity = _share(filled, due), _share(valid, judged)
    known = transmission is not None and validity is not None
    return {
        "transmission_rate": transmission,
        "validity_rate": validity,
        "effective_rate": round((transmission or 0) * (validity or 0), 6) if known else None,
        "timeliness": _share(timely, live),
    }


def _source(one: SourceQuality) -> dict[str, Any]:
    return {
        "source": one.source, "received": one.received, "quarantined": one.quarantined, "due": one.due,
        "filled": one.filled, **_rates(one.filled, one.due, one.valid, one.judged, one.timely, one.live),
        "latency_p95_s": one.p95_s, "last_received_at": one.last_received_at, "clock_ahead_s": one.clock_ahead_s,
    }  # fmt: skip


def _equipment(one: EquipmentQuality) -> dict[str, Any]:
    return {
        "equipment": one.equipment, "enterprise_uscc": one.enterprise_uscc, "due": one.due, "filled": one.filled,
        "received": one.readings + one.quarantined, "quarantined": one.quarantined, "stopped_s": one.stopped_s,
        **_rates(one.filled, one.due, one.valid, one.readings + one.quarantined, one.timely, one.live),
        "last_received_at": one.last_received_at,
    }  # fmt: skip
