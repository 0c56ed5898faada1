"""Whose it is that is asked for: a unit's own, or that of a unit in the caller's sight."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request

from ingest.api.gate import Gate
from ingest.api.problems import Problem, bad_parameter
from store.keys import unit_id
from store.registry import Unit

UnitQuery = Annotated[
    str | None,
    Query(
        max_length=40,
        description="单位代码;牵头单位无需填写 | code of the unit; a lead unit has its own",
    ),
]


async def whose(gate: Gate, request: Request, code: str | None) -> Unit:
    """The caller's own unit, or for a caller without one the unit of this code. Raises Problem: not in sight."""
    who = await gate.who(request)
    if who.unit_id is not None and who.unit is not None:
        if code not in (None, who.unit):
            raise Problem("no_such_unit", {"unit": code or ""})
        return Unit(who.unit_id, who.unit)
    if code is None or "\0" in code:
        raise bad_parameter("unit", "请给出单位代码", "say whose: the code of the unit")
    found = await gate.query(unit_id, code)
    if found is None:
        raise Problem("no_such_unit", {"unit": code})
    return Unit(found, code)
