"""Indicator values and what they mean."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response

from ingest.api.answers import Answer, Text
from ingest.api.gate import Gate
from ingest.api.reading.catalogue import Catalogue, Meaning
from ingest.api.reading.parameters import (
    AsOf,
    Cursor,
    EquipmentCode,
    From,
    Limit,
    PilotCode,
    SourceKey,
    To,
    behind,
    cursor,
    fingerprint,
    names,
    one_of,
    printed,
)
from ingest.api.whose import UnitCode, absent
from store import figures, scope
from store.database import Connection, limit_statements
from store.figures import Figure, Place, Wanted

LEVELS = ("equipment", "enterprise", "cluster", "province", "source")
_ONE_LEVEL = "|".join(LEVELS)
MOST_CODES = 100
_STATEMENT_S = 30


class IndicatorValue(Answer):
    """One value of an indicator, for one entity and period."""

    code: str
    """see GET /api/v1/indicators/catalogue"""
    name: Text | None
    """of the indicator"""
    unit: str | None
    """UCUM unit of the value; ratios are fractions of 1"""
    direction: Literal["higher", "lower", "monitor"] | None
    """which way is better"""
    level: Literal["equipment", "enterprise", "cluster", "province", "source"]
    """what kind of entity it speaks of"""
    entity: dict[str, str]
    """unit, pilot, enterprise, equipment, source → public code: what it speaks of"""
    period: Literal["now", "hour", "day", "month"]
    """how long the period is; now: a moving window"""
    period_start: datetime
    """hours begin in UTC, days and months in +08:00"""
    value: float | None
    """in `unit`; null with a `reason`"""
    numerator: float | None
    """of a ratio, what is above the line"""
    denominator: float | None
    """of a ratio, what is below the line"""
    n_inputs: int
    """how many inputs it was computed from"""
    completeness: float | None
    """fraction of what was due that was there"""
    formula_version: int
    """version of the formula"""
    provenance: Literal["observed", "reported"]
    """computed from readings, or from what units report"""
    provisional: bool
    """the period is open still"""
    reason: str | None
    """why there is no value: a code of the catalogue's `reasons`"""
    computed_at: datetime
    """when it was computed"""
    superseded_at: datetime | None
    """when another value of the same took its place"""
    age_s: float
    """seconds since it was computed"""


class IndicatorPage(Answer):
    """Values, newest period first."""

    indicators: list[IndicatorValue]
    """the values"""
    next: str | None
    """for `cursor`; null: this was the last page"""


class CataloguePage(Answer):
    """What indicators mean."""

    indicators: list[Meaning]
    """every indicator"""
    reasons: dict[str, Text]
    """why an indicator can have no value: code → text"""


class Chosen:
    """The filters of indicator values, as every route that gives them takes them."""

    def __init__(
        self,
        code: Annotated[str | None, Query(max_length=4000, description="codes, separated by commas")] = None,
        level: Annotated[
            str | None,
            Query(
                max_length=100,
                description=f"of {', '.join(LEVELS)}, separated by commas",
                json_schema_extra={"pattern": f"^({_ONE_LEVEL})(,({_ONE_LEVEL}))*$"},
            ),
        ] = None,
        period: Annotated[
            Literal["now", "hour", "day", "month"],
            Query(description="hour is of UTC, day and month of +08:00; now is a moving window"),
        ] = "now",
        from_: From = None,
        to: To = None,
        as_of: AsOf = None,
        unit: UnitCode = None,
        pilot: PilotCode = None,
        enterprise: Annotated[
            str | None, Query(max_length=200, description="统一社会信用代码 (USCC)")
        ] = None,
        equipment: EquipmentCode = None,
        source: SourceKey = None,
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
                raise absent(field, code)
        return Wanted(
            self.period, self.codes, self.levels, entities, self.start, self.end, self.as_of
        )  # fmt: skip


def router(gate: Gate, catalogue: Catalogue) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter()

    @routes.get(
        "/api/v1/indicators/catalogue",
        summary="指标目录 | Catalogue of indicators",
        dependencies=[gate.allow("indicators:read")],
        response_model=CataloguePage,
    )
    async def meanings() -> CataloguePage:
        """Every indicator: names, unit, direction, formula, and at which levels and for which periods it is computed."""
        return CataloguePage(indicators=[*catalogue.indicators.values()], reasons=dict(catalogue.reasons))

    @routes.get(
        "/api/v1/indicators",
        summary="指标值 | Indicator values",
        dependencies=[gate.allow("indicators:read")],
        response_model=IndicatorPage,
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
