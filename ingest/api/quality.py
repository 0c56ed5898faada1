"""`/api/v1/quality` and `/api/v1/submissions`: what a unit sent, and how good it was."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Query, Request

from ingest.api.answers import Answer, Text
from ingest.api.gate import Gate
from ingest.api.moments import Since, Until
from ingest.api.problems import bad_parameter
from ingest.api.reading.account import LastBeat
from ingest.api.whose import UnitCode, whose
from store import heartbeats, quality
from store.database import Connection
from store.quality import EquipmentQuality, OpenReason, SourceQuality
from store.reasons import reason_of

MOST = timedelta(days=31)
_HOUR = timedelta(hours=1)


class Rates(Answer):
    """Fractions of 1; null where nothing was due or received."""

    transmission_rate: float | None
    """slots filled of those due"""
    validity_rate: float | None
    """valid of those judged"""
    effective_rate: float | None
    """transmission_rate × validity_rate"""
    timeliness: float | None
    """live rows that came within 60 s, of all live rows"""


class SourceRates(Rates):
    """How good a source's data was in the period."""

    source: str
    """name of the source"""
    received: int
    """rows of registered tags, by the source's clock, duplicates among them"""
    quarantined: int
    """of them refused"""
    due: float | None
    """slots due that the source answers for"""
    filled: float | None
    """slots filled of those"""
    judged: float | None
    """readings in hours that were computed, and rows refused of registered tags"""
    valid: float | None
    """of those judged the readings whose quality is good"""
    latency_p95_s: float | None
    """95 % of live rows came within so many seconds"""
    last_received_at: datetime | None
    """when the last row came"""
    clock_ahead_s: float | None
    """seconds the source's clock is ahead; negative: behind"""


class EquipmentRates(Rates):
    """How good an equipment's data was in the period."""

    equipment: str
    """code of the equipment"""
    enterprise_uscc: str
    """统一社会信用代码 of its enterprise"""
    due: int
    """slots due"""
    filled: int
    """slots filled of those"""
    received: int
    """readings stored and rows refused, by the source's clock: those judged"""
    valid: int
    """of them the readings whose quality is good"""
    quarantined: int
    """of them refused"""
    stopped_s: float
    """seconds declared stopped, in which nothing was due"""
    last_received_at: datetime | None
    """when the last row came"""


class Beaten(LastBeat):
    """The last heartbeat of a sender, and how regularly it sent them."""

    minutes_share: float
    """fraction of the period's minutes with a heartbeat"""


class OpenRefusals(Answer):
    """What is refused and not mended yet, of one reason."""

    reason: str
    """a code of docs/reasons.md"""
    open: int
    """entries of the quarantine that are not replayed"""
    message: Text
    """what is wrong with the newest one"""


class Quality(Answer):
    """A unit's data quality over a period of whole hours."""

    unit: str
    """code of the unit"""
    since: datetime
    """inclusive"""
    until: datetime
    """exclusive"""
    sources: list[SourceRates]
    """all sources"""
    heartbeats: list[Beaten]
    """all senders of heartbeats"""
    equipment: list[EquipmentRates]
    """a page of equipment, by code"""
    next: str | None
    """for `cursor`; null: this was the last page"""
    refused: list[OpenRefusals]
    """what is open in the quarantine, by reason"""


class Submitted(Answer):
    """A submission of records and its counts; duplicates and corrections are among the accepted."""

    batch: str
    """its name: GET /api/v1/submissions/{batch}"""
    dataset: str
    """of what the records were"""
    received: int
    """records that came"""
    accepted: int
    """stored"""
    duplicates: int
    """were there already, the same"""
    corrections: int
    """replaced another record"""
    quarantined: int
    """refused and kept"""
    applied_at: datetime
    """when it was judged"""


class Submissions(Answer):
    """Submissions of records, newest first."""

    submissions: list[Submitted]
    """the submissions"""
    next: str | None
    """for `cursor`; null: this was the last page"""


def router(gate: Gate) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter(tags=["quality"])

    @routes.get(
        "/api/v1/quality",
        summary="数据质量 | Your data quality",
        response_model=Quality,
        dependencies=[gate.allow("submissions:read")],
    )
    async def own_quality(
        request: Request,
        unit: UnitCode = None,
        since: Since = None,
        until: Until = None,
        limit: Annotated[int, Query(ge=1, le=2000, description="equipments a page, at most")] = 500,
        cursor: Annotated[str, Query(max_length=64, description="`next` of the answer before")] = "",
    ) -> dict[str, Any]:
        """Slots due and filled, validity, timeliness, latency, stoppages, and what is refused; the last 24 h if not said.

        Whole hours, at most 31 days. `sources` and `refused` are of all; `equipment` goes on with `cursor` = `next`.
        Rates are fractions of 1, null where nothing was due or received.
        """
        mine = await whose(gate, request, unit)
        since, until = _span(since, until)
        if "\0" in cursor:
            raise bad_parameter("cursor", "含有字符 U+0000", "contains the character U+0000")
        found = await gate.query(_read, mine.unit_id, since, until, limit + 1, cursor)
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
        "/api/v1/submissions",
        summary="提交清单 | Your submissions",
        response_model=Submissions,
        dependencies=[gate.allow("submissions:read")],
    )
    async def submissions(
        request: Request,
        unit: UnitCode = None,
        dataset: Annotated[
            str | None,
            Query(max_length=64, pattern=r"^[a-z_0-9]+$", description="数据集 | of this dataset only"),
        ] = None,
        refused: Annotated[bool | None, Query(description="true: with refused records only")] = None,
        since: Since = None,
        until: Until = None,
        limit: Annotated[int, Query(ge=1, le=500, description="submissions a page, at most")] = 100,
        cursor: Annotated[
            str | None, Query(max_length=200, description="`next` of the answer before")
        ] = None,
    ) -> dict[str, Any]:
        """Submissions of dataset records with their verdicts, newest first; go on with `cursor` = `next`.

        One in full, with what was refused of it: `GET /api/v1/submissions/{batch}`.
        """
        mine = await whose(gate, request, unit)
        found = await gate.query(
            quality.submitted, mine.unit_id, limit=limit + 1, before=_place(cursor), dataset=dataset,
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
            raise bad_parameter("since", "须早于 until", "must lie before until")
        if high - low > MOST:
            raise bad_parameter(
                "since", f"最多早于 until {MOST.days} 天", f"at most {MOST.days} days before until"
            )
    except OverflowError as far:
        raise bad_parameter("since", "不是可能的时间", "is no time that can be") from far
    return low, high


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _place(given: str | None) -> tuple[datetime, str] | None:
    if given is None:
        return None
    try:
        at, _, batch = urlsafe_b64decode(given.encode()).decode().partition(" ")
        moment = datetime.fromisoformat(at)
    except (binascii.Error, ValueError) as wrong:
        raise bad_parameter("cursor", "不是回答中的 next", "is not `next` of an answer") from wrong
    if moment.tzinfo is None or "\0" in batch:
        raise bad_parameter("cursor", "不是回答中的 next", "is not `next` of an answer")
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
        "filled": one.filled, "judged": one.judged, "valid": one.valid,
        **_rates(one.filled, one.due, one.valid, one.judged, one.timely, one.live),
        "latency_p95_s": one.p95_s, "last_received_at": one.last_received_at, "clock_ahead_s": one.clock_ahead_s,
    }  # fmt: skip


def _equipment(one: EquipmentQuality) -> dict[str, Any]:
    return {
        "equipment": one.equipment, "enterprise_uscc": one.enterprise_uscc, "due": one.due, "filled": one.filled,
        "received": one.readings + one.quarantined, "valid": one.valid, "quarantined": one.quarantined,
        "stopped_s": one.stopped_s,
        **_rates(one.filled, one.due, one.valid, one.readings + one.quarantined, one.timely, one.live),
        "last_received_at": one.last_received_at,
    }  # fmt: skip
