"""`/api/v1/stoppages`: a declared stoppage is not missing data."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Header, Path, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from ingest.api.forms import Form, described, read_form
from ingest.api.gate import Gate
from ingest.api.problems import Problem
from ingest.datasets.fields import Code, Moment, Uscc
from store import stoppages
from store.stoppages import Kind, NewStoppage, Refused, Scope, Stoppage

StoppageId = Annotated[int, Path(ge=1, lt=2**63)]


class StoppageForm(Form):
    """A stoppage to declare, of `equipment_codes`, of an enterprise, or of `all` that is registered now."""

    model_config = ConfigDict(populate_by_name=True)
    kind: Kind
    start: Annotated[Moment, Field(alias="from")]
    end: Annotated[Moment | None, Field(alias="to")] = None
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    voucher: Annotated[str | None, Field(max_length=200)] = None
    equipment_codes: Annotated[list[Code] | None, Field(min_length=1, max_length=5000)] = None
    enterprise_uscc: Uscc | None = None
    all: bool = False

    @model_validator(mode="after")
    def _one_scope(self) -> Self:
        if (self.equipment_codes is not None) + (self.enterprise_uscc is not None) + self.all != 1:
            raise ValueError("needs one of equipment_codes, enterprise_uscc, all: true")
        return self


class ChangeForm(Form):
    """What changes of a stoppage: its end, its reason, its voucher."""

    model_config = ConfigDict(populate_by_name=True)
    end: Annotated[Moment | None, Field(alias="to")] = None
    reason: Annotated[str | None, Field(min_length=1, max_length=500)] = None
    voucher: Annotated[str | None, Field(max_length=200)] = None


class StoppageOut(BaseModel):
    """A declared stoppage; `to` null: until further notice. Of `equipment_codes` the first 200 are listed."""

    model_config = ConfigDict(populate_by_name=True)
    stoppage_id: int
    unit: str
    kind: Kind
    start: Annotated[datetime, Field(alias="from")]
    end: Annotated[datetime | None, Field(alias="to")]
    reason: str
    voucher: str | None
    scope: Scope
    declared_at: datetime
    changed_at: datetime
    withdrawn_at: datetime | None
    equipment: int
    equipment_codes: list[str]

    @classmethod
    def of(cls, one: Stoppage) -> StoppageOut:
        """For an answer."""
        return cls(**one._asdict())


class StoppagesOut(BaseModel):
    """Stoppages, newest first; go on with `before` = `next` until that is null."""

    stoppages: list[StoppageOut]
    next: int | None


def router(gate: Gate) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter(tags=["service"])

    @routes.get(
        "/api/v1/stoppages", summary="Declared stoppages", dependencies=[gate.allow("submissions:read")]
    )
    async def declared(
        unit: Annotated[str | None, Query(max_length=40)] = None,
        since: AwareDatetime | None = None,
        until: AwareDatetime | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
        before: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
    ) -> StoppagesOut:
        """Stoppages in your sight that touch [since, until), newest first, also those withdrawn."""
        if unit is not None and "\0" in unit:
            raise Problem("bad_parameter", {"field": "unit", "detail": "U+0000"})
        found = await gate.query(
            stoppages.stoppages, limit=limit + 1, before=before, unit=unit, since=since, until=until
        )
        page = found[:limit]
        return StoppagesOut(
            stoppages=[StoppageOut.of(one) for one in page],
            next=page[-1].stoppage_id if len(found) > limit else None,
        )

    @routes.post(
        "/api/v1/stoppages",
        status_code=201,
        summary="Declare a stoppage",
        dependencies=[gate.allow("service:write")],
        openapi_extra=described(
            StoppageForm,
            {"kind": "maintenance", "from": "2026-11-26T08:00:00+08:00", "to": "2026-11-26T12:00:00+08:00",
             "reason": "年度检修", "equipment_codes": ["CNC-0012"]},
        ),
    )  # fmt: skip
    async def declare(
        request: Request, idempotency_key: Annotated[str | None, Header(max_length=200)] = None
    ) -> StoppageOut:
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
        summary="End or extend a stoppage",
        dependencies=[gate.allow("service:write")],
        openapi_extra=described(ChangeForm, {"to": "2026-11-26T11:00:00+08:00"}),
    )
    async def change(stoppage_id: StoppageId, request: Request) -> StoppageOut:
        """Another end, reason or voucher; what the time gains or loses may lie up to 10 days back."""
        unit = await gate.unit(request)
        given = await read_form(gate, request, ChangeForm)
        return await _made(
            gate, stoppages.change, unit.unit_id, stoppage_id, path=request.url.path, end=given.end,
            reason=given.reason, voucher=given.voucher,
        )  # fmt: skip

    @routes.delete(
        "/api/v1/stoppages/{stoppage_id}",
        summary="Withdraw a stoppage",
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
