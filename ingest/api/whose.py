"""Whose it is that is asked for: a unit's own, or that of a unit in the caller's sight."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request

from ingest.api.gate import Gate
from ingest.api.problems import Problem, bad_parameter
from store.registry import Unit
from store.scope import unit_id

UnitCode = Annotated[
    str | None,
    Query(
        max_length=200,
        description="单位代码;默认为自己的单位 | code of a unit in your sight; default: your own",
    ),
]


async def whose(gate: Gate, request: Request, code: str | None) -> Unit:
    """The caller's own unit, or for a caller without one the unit of this code. Raises Problem: not in sight."""
    who = await gate.who(request)
    if who.unit_id is not None and who.unit is not None:
        if code not in (None, who.unit):
            raise absent("unit", code or "")
        return Unit(who.unit_id, who.unit)
    if code is None or "\0" in code:
        raise bad_parameter(
            "unit",
            "请给出单位代码:您不属于任何单位",
            "say whose: the code of the unit, as you belong to none",
        )
    return await in_sight(gate, code)


async def in_sight(gate: Gate, code: str) -> Unit:
    """The unit of this code. Raises Problem: there is none, or the caller may not know of it."""
    found = await gate.query(unit_id, code) if "\0" not in code else None
    if found is None:
        raise absent("unit", code)
    return Unit(found, code)


def absent(field: str, name: str) -> Problem:
    """What is not there and what may not be seen are answered alike."""
    return Problem("not_in_sight", {"field": field, "name": name[:200]})
