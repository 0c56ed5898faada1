"""Records of datasets: those that hold, those that held at a moment, and the revisions of one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec
import psycopg
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from ingest.api.gate import Gate
from ingest.api.problems import Problem
from ingest.api.reading.parameters import (
    AsOf,
    Code,
    Cursor,
    Limit,
    Moment,
    absent,
    behind,
    cursor,
    fingerprint,
    printed,
    whose,
)
from ingest.datasets import DATASETS
from store import records, scope
from store.database import Connection, limit_statements
from store.records import Wanted

_STATEMENT_S = 30


class RecordRow(BaseModel):
    """One record as it was reported. `revision` and `received_at` are null for who sees the record but not the unit."""

    unit: str | None
    key: str
    revision: int | None
    received_at: datetime | None
    record: dict[str, Any]


class RecordPage(BaseModel):
    """Records that hold; go on with `cursor` = `next` until that is null."""

    dataset: str
    records: list[RecordRow]
    next: str | None


class Revision(BaseModel):
    """One state of a record: who sent it in which batch, and why it was corrected."""

    revision: int
    received_at: datetime
    batch: str
    record: dict[str, Any]
    reason: str | None = None
    voucher: str | None = None
    reported_by: str | None = None


class RevisionPage(BaseModel):
    """All states of one record, the first first; go on with `after` = `next` until that is null."""

    dataset: str
    key: str
    revisions: list[Revision]
    next: int | None


class _PastPlace(NamedTuple):
    unit_id: int
    key: str


class _HeldPlace(NamedTuple):
    values: list[str]


def router(gate: Gate) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter()

    @routes.get(
        "/api/v1/datasets/{name}/records",
        dependencies=[gate.allow("datasets:read")],
        response_model=RecordPage,
    )
    async def held(
        request: Request,
        name: str,
        unit: Code = None,
        key: Annotated[str | None, Query(max_length=1000, description="the natural key")] = None,
        since: Annotated[Moment | None, Query(description="last reported then or later")] = None,
        as_of: AsOf = None,
        limit: Limit = 500,
        cursor: Cursor = None,
    ) -> Response:
        """The records of a dataset in your sight, references as public codes.

        `as_of`: those that had been reported by then. That, and `since`, is for who sees all of a unit.
        """
        wanted = await choose(gate, request, name, unit, key, since, as_of)
        of = fingerprint(name, unit, key, since, as_of)
        if as_of is None:
            place = behind(cursor, of, _HeldPlace)
            content = await gate.query(_held, wanted, place, limit, of)
        else:
            content = await gate.query(_past, wanted, as_of, behind(cursor, of, _PastPlace), limit, of)
        return Response(content, media_type="application/json")

    @routes.get(
        "/api/v1/datasets/{name}/revisions",
        dependencies=[gate.allow("datasets:read")],
        response_model=RevisionPage,
    )
    async def revisions(
        request: Request,
        name: str,
        key: Annotated[str, Query(max_length=1000, description="the natural key")],
        unit: Code = None,
        after: Annotated[int, Query(ge=0, lt=2**31)] = 0,
        limit: Limit = 100,
    ) -> Response:
        """Every state that one record ever had, with when, by whom and why."""
        await choose(gate, request, name, None, key, None, None)
        unit_id = await whose(gate, request, unit)
        found = await gate.query(records.revisions, unit_id, name, key, after, limit)
        if not found and after == 0:
            raise absent(request, "key", key)
        following = found[-1]["revision"] if len(found) == limit else None
        content = {"dataset": name, "key": key, "revisions": found, "next": following}
        return Response(msgspec.json.encode(content), media_type="application/json")

    return routes


async def choose(
    gate: Gate,
    request: Request,
    name: str,
    unit: str | None,
    key: str | None,
    since: datetime | None,
    as_of: datetime | None,
) -> Wanted:
    """As the store takes it. Raises Problem: no such dataset, a unit not in sight, a past that is not the caller's."""
    if name not in DATASETS:
        raise Problem("unknown_dataset", {"dataset": name, "known": ", ".join(DATASETS)})
    printed(unit=unit, key=key)
    unit_id = None if unit is None else await whose(gate, request, unit)
    for field, given in (("as_of", as_of), ("since", since)):
        if given is not None and not await gate.query(scope.sees_units):
            detail = "only for who sees all of a unit: you see single records, as they hold now"
            raise Problem("bad_parameter", {"field": field, "detail": detail})
    return Wanted(name, DATASETS[name].key, unit_id, key, since)


def _held(conn: Connection, wanted: Wanted, after: _HeldPlace | None, limit: int, of: str) -> bytes:
    limit_statements(conn, _STATEMENT_S)
    names = [column.field for column in records.fields(conn, wanted.dataset)]
    try:
        found = records.present(conn, wanted, None if after is None else after.values, limit)
    except (psycopg.DataError, psycopg.ProgrammingError) as wrong:
        if after is None:
            raise
        detail = "is not `next` of an answer to the same question: begin anew without it"
        raise Problem("bad_parameter", {"field": "cursor", "detail": detail}) from wrong
    following = cursor(of, [list(found[-1].place)]) if len(found) == limit else None
    rows = [
        {
            "unit": one.unit,
            "key": one.key,
            "revision": one.revision,
            "received_at": one.received_at,
            "record": dict(zip(names, one.values, strict=True)),
        }
        for one in found
    ]
    return msgspec.json.encode({"dataset": wanted.dataset, "records": rows, "next": following})


def _past(
    conn: Connection, wanted: Wanted, moment: datetime, after: _PastPlace | None, limit: int, of: str
) -> bytes:
    limit_statements(conn, _STATEMENT_S)
    found = records.as_of(conn, wanted, moment, after, limit)
    following = cursor(of, (found[-1].unit_id, found[-1].key)) if len(found) == limit else None
    rows = [
        {
            "unit": one.unit,
            "key": one.key,
            "revision": one.revision,
            "received_at": one.received_at,
            "record": one.record,
        }
        for one in found
    ]
    return msgspec.json.encode({"dataset": wanted.dataset, "records": rows, "next": following})
