"""`/api/v1/stoppages`: a declared stoppage is not missing data."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Path, Query, Request
from pydantic import ConfigDict, Field, model_validator

from ingest.api.answers import Answer
from ingest.api.forms import Form, described, read_form
from ingest.api.gate import Gate
from ingest.api.measurements import IdempotencyKey
from ingest.api.moments import Since, Until
from ingest.api.problems import Problem
from ingest.api.whose import in_sight
from ingest.breaches import broken
from ingest.datasets.fields import Code, Moment, Uscc
from store import stoppages
from store.stoppages import Kind, NewStoppage, Refused, Scope, Stoppage

StoppageId = Annotated[
    int, Path(ge=1, lt=2**63, description="停产申报编号 | number of the stoppage", examples=[7])
]


class StoppageForm(Form):
    """A stoppage to declare, of `equipment_codes`, of an enterprise, or of `all` that is registered now."""

    model_config = ConfigDict(populate_by_name=True)
    kind: Kind
    """see code table `stoppage_kind`"""
    start: Annotated[Moment, Field(alias="from")]
    """RFC 3339 with a zone; inclusive; at most 10 days back"""
    end: Annotated[Moment | None, Field(alias="to")] = None
    """RFC 3339 with a zone; exclusive; left out: until further notice"""
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    """in words"""
    voucher: Annotated[str | None, Field(max_length=200)] = None
    """number of the document that proves it"""
    equipment_codes: Annotated[list[Code] | None, Field(min_length=1, max_length=5000)] = None
    """what is stopped, by code"""
    enterprise_uscc: Uscc | None = None
    """all of an enterprise, by its 统一社会信用代码"""
    all: bool = False
    """all of the unit"""

    @model_validator(mode="after")
    def _one_scope(self) -> Self:
        if (self.equipment_codes is not None) + (self.enterprise_uscc is not None) + self.all != 1:
            raise broken(
                "equipment_codes、enterprise_uscc、all: true 须给出其一",
                "needs one of equipment_codes, enterprise_uscc, all: true",
                field="equipment_codes",
            )
        return self


class ChangeForm(Form):
    """What changes of a stoppage: its end, its reason, its voucher."""

    model_config = ConfigDict(populate_by_name=True)
    end: Annotated[Moment | None, Field(alias="to")] = None
    """RFC 3339 with a zone; exclusive; null: until further notice; left out: as it is"""
    reason: Annotated[str | None, Field(min_length=1, max_length=500)] = None
    """in words"""
    voucher: Annotated[str | None, Field(max_length=200)] = None
    """number of the document that proves it"""


class StoppageOut(Answer):
    """A declared stoppage."""

    model_config = ConfigDict(populate_by_name=True)
    stoppage_id: int
    """number of the stoppage"""
    unit: str
    """code of the lead unit"""
    kind: Kind
    """see code table `stoppage_kind`"""
    start: Annotated[datetime, Field(alias="from")]
    """inclusive"""
    end: Annotated[datetime | None, Field(alias="to")]
    """exclusive; null: until further notice"""
    reason: str
    """in words"""
    voucher: str | None
    """number of the document that proves it"""
    scope: Scope
    """what it was declared of"""
    declared_at: datetime
    """when it was declared"""
    changed_at: datetime
    """when it was changed last"""
    withdrawn_at: datetime | None
    """when it was withdrawn"""
    equipment: int
    """how many equipments it stops"""
    equipment_codes: list[str]
    """the first 200 of them"""

    @classmethod
    def of(cls, one: Stoppage) -> StoppageOut:
        """For an answer."""
        return cls(**one._asdict())


class StoppagesOut(Answer):
    """Stoppages, newest first."""

    stoppages: list[StoppageOut]
    """the stoppages"""
    next: int | None
    """for `cursor`; null: this was the last page"""


def router(gate: Gate) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter(tags=["service"])

    @routes.get(
        "/api/v1/stoppages",
        summary="停产申报清单 | Declared stoppages",
        dependencies=[gate.allow("submissions:read")],
    )
    async def declared(
        unit: Annotated[
            str | None,
            Query(max_length=40, description="单位代码;默认全部 | of this unit; default: all in sight"),
        ] = None,
        since: Since = None,
        until: Until = None,
        limit: Annotated[int, Query(ge=1, le=500, description="stoppages a page, at most")] = 100,
        cursor: Annotated[
            int | None, Query(ge=1, lt=2**63, description="`next` of the answer before")
        ] = None,
    ) -> StoppagesOut:
        """Stoppages in your sight that touch [since, until), newest first, also those withdrawn."""
        if unit is not None:
            await in_sight(gate, unit)
        found = await gate.query(
            stoppages.stoppages, limit=limit + 1, before=cursor, unit=unit, since=since, until=until
        )
        page = found[:limit]
        return StoppagesOut(
            stoppages=[StoppageOut.of(one) for one in page],
            next=page[-1].stoppage_id if len(found) > limit else None,
        )

    @routes.post(
        "/api/v1/stoppages",
        status_code=201,
        summary="申报停产 | Declare a stoppage",
        dependencies=[gate.allow("service:write")],
        openapi_extra=described(
            StoppageForm,
            {"kind": "maintenance", "from": "2026-11-26T08:00:00+08:00", "to": "2026-11-26T12:00:00+08:00",
             "reason": "年度检修", "equipment_codes": ["CNC-0012"]},
        ),
    )  # fmt: skip
    async def declare(request: Request, idempotency_key: IdempotencyKey = None) -> StoppageOut:
        """While it holds nothing is due of its equipment: silence is not missing data. Up to 10 days back."""
        unit = await gate.unit(request)
        given = await read_form(gate, request, StoppageForm)
        new = NewStoppage(
            given.kind, given.start, given.end, given.reason, given.voucher, given.equipment_codes,
            given.enterprise_uscc,
        )  # fmt: skip
        return await _made(gate, stoppages.declare, unit.unit_id, new, idempotency_key)

    @routes.patch(
        "/api/v1/stoppages/{stoppage_id}",
        summary="变更停产申报 | End or extend a stoppage",
        dependencies=[gate.allow("service:write")],
        openapi_extra=described(ChangeForm, {"to": "2026-11-26T11:00:00+08:00"}),
    )
    async def change(stoppage_id: StoppageId, request: Request) -> StoppageOut:
        """Another end, reason or voucher; what the time gains or loses may lie up to 10 days back."""
        unit = await gate.unit(request)
        given = await read_form(gate, request, ChangeForm)
        return await _made(
            gate, stoppages.change, unit.unit_id, stoppage_id, path=request.url.path,
            ends="end" in given.model_fields_set, end=given.end, reason=given.reason, voucher=given.voucher,
        )  # fmt: skip

    @routes.delete(
        "/api/v1/stoppages/{stoppage_id}",
        summary="撤回停产申报 | Withdraw a stoppage",
        dependencies=[gate.allow("service:write")],
    )
    async def withdraw(stoppage_id: StoppageId, request: Request) -> StoppageOut:
        """As if it had not been declared; it stays in the list as withdrawn."""
        unit = await gate.unit(request)
        return await _made(gate, stoppages.withdraw, unit.unit_id, stoppage_id, path=request.url.path)

    return routes


async def _made(gate: Gate, function: Any, *args: Any, path: str = "", **kwargs: Any) -> StoppageOut:
    try:
        found: Stoppage | None = await gate.query(function, *args, **kwargs)
    except Refused as refused:
        raise Problem(refused.reason, refused.parameters) from refused
    if found is None:
        raise Problem("not_found", {"path": path})
    return StoppageOut.of(found)
