"""Indicator values and what they mean."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from ingest.api.gate import Gate
from ingest.api.reading.catalogue import Catalogue, Meaning, Text
from ingest.api.reading.parameters import (
    AsOf,
    Code,
    Cursor,
    From,
    Limit,
    To,
    absent,
    behind,
    cursor,
    fingerprint,
    names,
    one_of,
    printed,
)
from store import figures, scope
from store.database import Connection, limit_statements
from store.figures import Figure, Place, Wanted

LEVELS = ("equipment", "enterprise", "cluster", "province", "source")
MOST_CODES = 100
_STATEMENT_S = 30


class IndicatorValue(BaseModel):
    """One value. `entity` names what it speaks of by public codes; `value` is null with a `reason` (see the catalogue)."""

    code: str
    name: Text | None
    unit: str | None
    direction: Literal["higher", "lower", "monitor"] | None
    level: Literal["equipment", "enterprise", "cluster", "province", "source"]
    entity: dict[str, str]
    period: Literal["now", "hour", "day", "month"]
    period_start: datetime
    value: float | None
    numerator: float | None
    denominator: float | None
    n_inputs: int
    completeness: float | None
    formula_version: int
    provenance: Literal["observed", "reported"]
    provisional: bool
    reason: str | None
    computed_at: datetime
    superseded_at: datetime | None
    age_s: float


class IndicatorPage(BaseModel):
    """Values, newest period first; go on with `cursor` = `next` until that is null."""

    indicators: list[IndicatorValue]
    next: str | None


class CataloguePage(BaseModel):
    """Every indicator, and why one can have no value."""

    indicators: list[Meaning]
    reasons: dict[str, Text]


class Chosen:
    """The filters of indicator values, as every route that gives them takes them."""

    def __init__(
        self,
        code: Annotated[str | None, Query(max_length=4000, description="codes, separated by commas")] = None,
        level: Annotated[
            str | None, Query(max_length=100, description=f"of {', '.join(LEVELS)}, separated by commas")
        ] = None,
        period: Annotated[
            Literal["now", "hour", "day", "month"],
            Query(description="hour is of UTC, day and month of +08:00; now is a moving window"),
        ] = "now",
        from_: From = None,
        to: To = None,
        as_of: AsOf = None,
        unit: Code = None,
        pilot: Code = None,
        enterprise: Annotated[
            str | None, Query(max_length=200, description="统一社会信用代码 (USCC)")
        ] = None,
        equipment: Code = None,
        source: Code = None,
    ) -> None:
        self.codes = names("code", code, MOST_CODES)
        self.levels = names("level", level, len(LEVELS))
        one_of("level", self.levels, LEVELS)
        self.period, self.start, self.end, self.as_of = period, from_, to, as_of
        self.entity = {
            "unit": unit, "pilot": pilot, "enterprise": enterprise, "equipment": equipment, "source": source,
        }  # fmt: skip
        printed(**self.entity)

    @property
    def fingerprint(self) -> str:
        """What a cursor of these filters is bound to."""
        return fingerprint(
            self.codes, self.levels, self.period, self.start, self.end, self.as_of, self.entity
        )

    async def wanted(self, gate: Gate, request: Request, catalogue: Catalogue) -> Wanted:
        """As the store takes them. Raises Problem: a code that is not in the catalogue, an entity not in sight."""
        if catalogue.indicators:
            one_of("code", self.codes, tuple(catalogue.indicators))
        entities = None
        if named := {field: code for field, code in self.entity.items() if code is not None}:
            entities = await gate.query(scope.entities, **named)
            if not entities.ids:
                field, code = next(reversed(named.items()))
                raise absent(request, field, code)
        return Wanted(
            self.period, self.codes, self.levels, entities, self.start, self.end, self.as_of
        )  # fmt: skip


def router(gate: Gate, catalogue: Catalogue) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter()

    @routes.get(
        "/api/v1/indicators/catalogue",
        dependencies=[gate.allow("indicators:read")],
        response_model=CataloguePage,
    )
    async def meanings() -> CataloguePage:
        """Every indicator: names, unit, direction, formula, and at which levels and for which periods it is computed."""
        return CataloguePage(indicators=[*catalogue.indicators.values()], reasons=dict(catalogue.reasons))

    @routes.get(
        "/api/v1/indicators", dependencies=[gate.allow("indicators:read")], response_model=IndicatorPage
    )
    async def values(
        request: Request, chosen: Annotated[Chosen, Depends()], limit: Limit = 500, cursor: Cursor = None
    ) -> Response:
        """Indicator values in your sight, newest period first.

        `as_of`: the values that held at that moment. A value of a period that was still open (`provisional`) is
        replaced in place, so one that has been computed anew since then is not found as of then.
        """
        after = behind(cursor, chosen.fingerprint, Place)
        wanted = await chosen.wanted(gate, request, catalogue)
        content = await gate.query(_values, wanted, after, limit, chosen.fingerprint, catalogue)
        return Response(content, media_type="application/json")

    return routes


def _values(
    conn: Connection, wanted: Wanted, after: Place | None, limit: int, of: str, catalogue: Catalogue
) -> bytes:
    limit_statements(conn, _STATEMENT_S)
    found = figures.page(conn, wanted, after, limit)
    following = cursor(of, figures.place(found[-1])) if len(found) == limit else None
    return msgspec.json.encode({"indicators": [shown(one, catalogue) for one in found], "next": following})


def shown(figure: Figure, catalogue: Catalogue) -> dict[str, Any]:
    """A value as IndicatorValue."""
    meaning = catalogue.indicators.get(figure.code)
    entity = {
        field: code
        for field in ("unit", "pilot", "enterprise", "equipment", "source")
        if (code := getattr(figure, field)) is not None
    }
    return {
        "code": figure.code,
        "name": None if meaning is None else {"zh": meaning.name.zh, "en": meaning.name.en},
        "unit": None if meaning is None else meaning.unit,
        "direction": None if meaning is None else meaning.direction,
        "level": figure.level,
        "entity": entity,
        "period": figure.period,
        "period_start": figure.period_start,
        "value": figure.value,
        "numerator": figure.numerator,
        "denominator": figure.denominator,
        "n_inputs": figure.n_inputs,
        "completeness": figure.completeness,
        "formula_version": figure.formula_version,
        "provenance": figure.provenance,
        "provisional": figure.provisional,
        "reason": figure.reason,
        "computed_at": figure.computed_at,
        "superseded_at": figure.superseded_at,
        "age_s": figure.age_s,
    }
