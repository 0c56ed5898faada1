"""What clients of InfluxDB 1 write to: `POST /write`, for what knows nothing newer.

Line protocol as at `/api/v2/write`. User and password take the place of the token: the password is the API key.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from ingest.api.bodies import LINES
from ingest.api.doors import OPEN
from ingest.api.gate import Gate
from ingest.api.influx import WRITTEN, written
from ingest.api.measurements import EquipmentTag, IdempotencyKey, Mode
from ingest.api.problems import INFLUX_1, INFLUX_1_QUERY, Problem
from ingest.api.taking import Wish

_PRECISIONS = {"n": "ns", "ns": "ns", "u": "us", "us": "us", "µ": "us", "ms": "ms", "s": "s"}
"""As these clients name them → as those of InfluxDB 2 do. Minutes and hours are no times of readings."""
_Unread = Annotated[str, Query(max_length=200, description="not looked at: the key says whose it is")]


def router(gate: Gate) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter()

    @routes.post(
        INFLUX_1,
        tags=["telemetry"],
        summary="写入行协议(InfluxDB 1 客户端) | Write line protocol, of clients of InfluxDB 1",
        status_code=204,
        response_model=None,
        openapi_extra=LINES,
        responses={204: {"description": "已全部持久保存 | all of it is durable", "headers": WRITTEN}},
        dependencies=[gate.allow("measurements:write", any_parameters=True)],
    )
    async def write(
        request: Request,
        db: _Unread = "",
        rp: _Unread = "",
        u: _Unread = "",
        p: Annotated[
            str,
            Query(
                max_length=200,
                description="the API key, of clients that cannot send a header; better: Basic, as the password",
            ),
        ] = "",
        precision: Annotated[
            str,
            Query(
                max_length=20,
                description="of the timestamps",
                json_schema_extra={"enum": list(_PRECISIONS)},
            ),
        ] = "ns",
        mode: Mode = None,
        equipment_tag: EquipmentTag = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        """Take line protocol; 204 when it is durable, 422 when some of it was refused (the rest is durable).

        What can write to `/api/v2/write` should. `db`, `rp` and `u` are not looked at: the key says whose the
        readings are. What is answered 429 there is 503 here, for these clients throw away what they sent after a 4xx.
        """
        ticks = _PRECISIONS.get(precision, precision)
        wish = Wish("lines", None, idempotency_key, mode, ticks, equipment_tag, verdict=False, wait=False)
        return await written(gate, request, wish)

    @routes.api_route(INFLUX_1, methods=["GET", "HEAD"], include_in_schema=False, dependencies=[OPEN])
    async def only_written(request: Request) -> None:
        # Pages take every path that nobody else has declared for GET, and no login stands before this one.
        raise Problem("method_not_allowed", {"path": INFLUX_1, "method": request.method, "allow": "POST"})

    @routes.api_route(
        INFLUX_1_QUERY, methods=["GET", "HEAD", "POST"], include_in_schema=False, dependencies=[OPEN]
    )
    async def query() -> None:
        raise Problem("no_queries")

    return routes
