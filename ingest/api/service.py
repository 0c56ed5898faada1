"""`/api/v1/registration` and `/api/v1/heartbeat`: what a sender needs to set itself up, and to set its clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import AwareDatetime, Field

from ingest.api.answers import Answer, also
from ingest.api.codes import Codes, version_of
from ingest.api.forms import Form, described, read_form
from ingest.api.gate import Gate
from ingest.api.problems import Problem
from ingest.api.rooms import MOST_BYTES_OF_UNIT, MOST_REQUESTS_OF_UNIT
from ingest.datasets import DATASETS, MAX_RECORDS
from ingest.datasets.fields import Moment
from ingest.decoded import MAX_ROWS
from ingest.decoder import MAX_BODY_BYTES
from store import heartbeats
from store.heartbeats import Beat

HEARTBEAT_S = 60
SKEWED_S = 5.0
"""A clock further off than this is flagged."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where units reach the platform. None: by the address they asked at; no broker for units."""

    http: str | None = None
    mqtt: str | None = None


class BeatForm(Form):
    """A heartbeat."""

    source: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
    """name of the sender, of its own choice"""
    clock: AwareDatetime
    """the sender's time, read just before sending; RFC 3339 with a zone"""
    round_trip_s: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 0.0
    """seconds from sending the heartbeat before to its answer"""
    queue_depth: Annotated[int | None, Field(ge=0, lt=2**63)] = None
    """how much waits to be sent"""
    oldest_queued: Moment | None = None
    """time of the oldest that waits; RFC 3339 with a zone"""
    version: Annotated[str | None, Field(max_length=100)] = None
    """of the sender's software"""


class BeatOut(Answer):
    """What the platform's clock says."""

    server_time: datetime
    """the platform's time"""
    skew_s: float
    """seconds the sender's clock is ahead of it; negative: behind"""
    flagged: bool
    """it is off by more than 5 s"""
    codes_version: str
    """of all code tables together"""
    next_s: int
    """seconds until the next heartbeat is due"""


class HttpAddresses(Answer):
    """Where to send over HTTP."""

    base: str
    """of the platform"""
    measurements: str
    """readings"""
    datasets: str
    """datasets, each below it"""
    heartbeat: str
    """heartbeats"""
    openapi: str
    """this document"""


class MqttAddress(Answer):
    """Where to send over MQTT; the password is an API key."""

    url: str
    """of the broker"""
    user: str
    """the user name"""
    topic: str
    """of readings"""
    qos: int
    """quality of service to publish with"""


class Limits(Answer):
    """How much may be sent at once."""

    body_bytes: int
    """bytes of a body, before and after decompression"""
    readings_a_request: int
    """readings"""
    records_a_request: int
    """records of a dataset"""
    requests_at_once: int
    """requests of the unit"""
    bytes_at_once: int
    """bytes of the unit's requests together"""


class Registration(Answer):
    """What a sender needs to set itself up."""

    unit: str
    """code of your unit"""
    key_id: int | None
    """number of the key; null: of a person"""
    permissions: list[str]
    """what these credentials may do"""
    server_time: datetime
    """the platform's time"""
    http: HttpAddresses
    """where to send"""
    mqtt: MqttAddress | None
    """null: not offered"""
    heartbeat_s: int
    """seconds between heartbeats"""
    clock_skew_flagged_s: float
    """a clock off by more seconds than this is flagged"""
    codes_version: str
    """of all code tables together"""
    codes: dict[str, str]
    """code table → its version"""
    datasets: list[str]
    """the datasets, in the order in which they are reported first"""
    limits: Limits
    """how much at once"""


def _arrived(request: Request) -> None:
    """As a route's first dependency: what comes before the answer is not the sender's clock's fault."""
    request.state.arrived_at = datetime.now(UTC)


def router(gate: Gate, codes: Codes, addresses: Addresses) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter(tags=["service"])

    @routes.get(
        "/api/v1/registration",
        summary="注册信息 | Your registration",
        response_model=Registration,
        dependencies=[gate.allow("codes:read")],
    )
    async def registration(request: Request) -> dict[str, Any]:
        """Who you are, where to send, which code tables hold, and the limits: ask at the start of every session."""
        unit, who = await gate.unit(request), await gate.who(request)
        tables = await codes.tables()
        http = (addresses.http or str(request.base_url)).rstrip("/")
        return {
            "unit": unit.code,
            "key_id": who.key_id,
            "permissions": sorted(who.permissions),
            "server_time": datetime.now(UTC),
            "http": {
                "base": http,
                "measurements": f"{http}/api/v1/measurements",
                "datasets": f"{http}/api/v1/datasets",
                "heartbeat": f"{http}/api/v1/heartbeat",
                "openapi": f"{http}/api/openapi.json",
            },
            "mqtt": None if addresses.mqtt is None else {
                "url": addresses.mqtt,
                "user": unit.code,
                "topic": f"qunce/v1/{unit.code}/measurements",
                "qos": 1,
            },
            "heartbeat_s": HEARTBEAT_S,
            "clock_skew_flagged_s": SKEWED_S,
            "codes_version": version_of(tables),
            "codes": {name: table.version for name, table in tables.items()},
            "datasets": list(DATASETS),
            "limits": {
                "body_bytes": MAX_BODY_BYTES,
                "readings_a_request": MAX_ROWS,
                "records_a_request": MAX_RECORDS,
                "requests_at_once": MOST_REQUESTS_OF_UNIT,
                "bytes_at_once": MOST_BYTES_OF_UNIT,
            },
        }  # fmt: skip

    @routes.post(
        "/api/v1/heartbeat",
        summary="心跳 | Heartbeat",
        dependencies=[Depends(_arrived), gate.allow("service:write")],
        responses=also(409),
        openapi_extra=described(
            BeatForm,
            {"source": "gateway-1", "clock": "2026-11-26T08:00:00.250+08:00", "round_trip_s": 0.04,
             "queue_depth": 0, "version": "1.4.2"},
        ),
    )  # fmt: skip
    async def heartbeat(request: Request) -> BeatOut:
        """Say every minute that you are alive, and learn how far your clock is off."""
        received_at: datetime = request.state.arrived_at
        unit = await gate.unit(request)
        given = await read_form(gate, request, BeatForm)
        # The clock was read half a round trip before it came here.
        skew_s = round((given.clock - received_at).total_seconds() + given.round_trip_s / 2, 3)
        one = Beat(given.source, received_at, skew_s, given.queue_depth, given.oldest_queued, given.version)
        try:
            await gate.query(heartbeats.beat, unit.unit_id, one)
        except heartbeats.TooMany as full:
            raise Problem("too_many_sources", {"most": str(heartbeats.MOST_SOURCES)}) from full
        return BeatOut(
            server_time=datetime.now(UTC),
            skew_s=skew_s,
            flagged=abs(skew_s) > SKEWED_S,
            codes_version=await codes.version(),
            next_s=HEARTBEAT_S,
        )

    return routes
