"""Records of datasets: those that hold, those that held at a moment, and the revisions of one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec
import psycopg
from fastapi import APIRouter, Query, Request, Response

from ingest.api.answers import Answer
from ingest.api.definitions import DatasetName
from ingest.api.gate import Gate
from ingest.api.moments import Moment
from ingest.api.problems import Problem, bad_parameter
from ingest.api.reading.parameters import AsOf, Cursor, Limit, behind, cursor, fingerprint, no_cursor, printed
from ingest.api.whose import UnitCode, absent, whose
from ingest.datasets import DATASETS
from store import records, scope
from store.database import Connection, limit_statements
from store.records import Wanted

_STATEMENT_S = 30


class RecordRow(Answer):
    """One record as it was reported."""

    unit: str | None
    """code of the lead unit that reported it; null, as `revision` and `received_at`, for who does not see that"""
    key: str
    """the natural key, its fields joined by |"""
    revision: int | None
    """1 for the first state of the record"""
    received_at: datetime | None
    """when this state came"""
    record: dict[str, Any]
    """its fields, as the dataset's schema has them"""


class RecordPage(Answer):
    """Records that hold, or held."""

    dataset: str
    """which dataset"""
    records: list[RecordRow]
    """the records, by their keys"""
    next: str | None
    """for `cursor`; null: this was the last page"""


class Revision(Answer):
    """One state of a record."""

    revision: int
    """1 for the first"""
    received_at: datetime
    """when it came"""
    batch: str
    """the submission it came in"""
    record: dict[str, Any]
    """its fields; of a withdrawal the key and `withdrawn`"""
    reason: str | None = None
    """why it was corrected"""
    voucher: str | None = None
    """number of the document that proves it"""
    reported_by: str | None = None
    """who sent it"""


class RevisionPage(Answer):
    """All states of one record, the first first."""

    dataset: str
    """which dataset"""
    key: str
    """the natural key"""
    revisions: list[Revision]
    """the states"""
    next: int | None
    """for `cursor`; null: this was the last page"""


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
        summary="数据集记录 | Records of a dataset",
        dependencies=[gate.allow("datasets:read")],
        response_model=RecordPage,
    )
    async def held(
        request: Request,
        name: DatasetName,
        unit: UnitCode = None,
        key: Annotated[
            str | None, Query(max_length=1000, description="the natural key, its fields joined by |")
        ] = None,
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
        summary="一条记录的历次修订 | Revisions of a record",
        dependencies=[gate.allow("datasets:read")],
        response_model=RevisionPage,
    )
    async def revisions(
        request: Request,
        name: DatasetName,
        key: Annotated[
            str,
            Query(max_length=1000, description="the natural key, its fields joined by |", examples=["M-03"]),
        ],
        unit: UnitCode = None,
        cursor: Annotated[int, Query(ge=0, lt=2**31, description="`next` of the answer before")] = 0,
        limit: Limit = 100,
    ) -> Response:
        """Every state that one record ever had, with when, by whom and why."""
        await choose(gate, request, name, None, key, None, None)
        unit_id = (await whose(gate, request, unit)).unit_id
        found = await gate.query(records.revisions, unit_id, name, key, cursor, limit)
        if not found and cursor == 0:
            raise absent("key", key)
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
    unit_id = None if unit is None else (await whose(gate, request, unit)).unit_id
    for field, given in (("as_of", as_of), ("since", since)):
        if given is not None and not await gate.query(scope.sees_units):
            raise bad_parameter(
                field,
                "仅供能看到单位全部数据的调用者使用:您只能看到个别记录的现行内容",
                "only for who sees all of a unit: you see single records, as they hold now",
            )
    return Wanted(name, DATASETS[name].key, unit_id, key, since)


def _held(conn: Connection, wanted: Wanted, after: _HeldPlace | None, limit: int, of: str) -> bytes:
    limit_statements(conn, _STATEMENT_S)
    names = [column.field for column in records.fields(conn, wanted.dataset)]
    try:
        found = records.present(conn, wanted, None if after is None else after.values, limit)
    except (psycopg.DataError, psycopg.ProgrammingError) as wrong:
        if after is None:
            raise
        raise no_cursor() from wrong
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
