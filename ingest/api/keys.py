"""`/api/v1/keys`: a unit's keys, issued, rotated and revoked by itself, or by an operator for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, Field

from ingest.api.forms import Form, described, read_form
from ingest.api.gate import Gate
from ingest.api.problems import Problem
from ingest.api.whose import UnitQuery, whose
from store import keys as kept
from store.identity import GRANTED, Permission, Principal, new_key

CONFLICT: dict[int | str, dict[str, Any]] = {409: {"$ref": "#/components/responses/Problem409"}}
"""As a route's `responses`: it may answer 409."""
_NOT_CACHED = {"Cache-Control": "no-store"}

KeyId = Annotated[int, Path(ge=1, lt=2**31)]


class KeyOut(BaseModel):
    """A key, without its secret. `scopes` null: all that a unit may do."""

    key_id: int
    name: str
    scopes: list[str] | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    valid: bool

    @classmethod
    def of(cls, key: kept.Key) -> KeyOut:
        """For an answer."""
        return cls(**key._asdict())


class KeysOut(BaseModel):
    """All keys of a unit, newest first."""

    unit: str
    keys: list[KeyOut]


class IssuedOut(BaseModel):
    """A new key, in clear this once; `old` is the one it replaces."""

    unit: str
    key: str
    issued: KeyOut
    old: KeyOut | None = None


class NewKey(Form):
    """A key to issue. `scopes` left out: all that you yourself may do."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    scopes: Annotated[list[Permission] | None, Field(min_length=1, max_length=50)] = None
    expires_in_days: Annotated[int | None, Field(ge=1, le=3650)] = None


class Rotation(Form):
    """How long the old key goes on beside the new one."""

    overlap_hours: Annotated[float, Field(ge=0, le=24 * 30)] = 24


def router(gate: Gate) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter(tags=["keys"])

    @routes.get("/api/v1/keys", summary="Your keys", dependencies=[gate.allow("keys:read")])
    async def keys(request: Request, unit: UnitQuery = None) -> KeysOut:
        """Your unit's keys, newest first, also those that ended; never the secrets."""
        mine = await whose(gate, request, unit)
        found = await gate.query(kept.keys, mine.unit_id)
        return KeysOut(unit=mine.code, keys=[KeyOut.of(key) for key in found])

    @routes.post(
        "/api/v1/keys",
        status_code=201,
        summary="Issue a key",
        dependencies=[gate.allow("keys:write")],
        responses=CONFLICT,
        openapi_extra=described(
            NewKey, {"name": "MES", "scopes": ["measurements:write", "service:write"], "expires_in_days": 365}
        ),
    )
    async def issue(request: Request, response: Response, unit: UnitQuery = None) -> IssuedOut:
        """A new key, told this once: keep it. It never carries more than your own credentials do."""
        who, mine = await gate.who(request), await whose(gate, request, unit)
        wanted = await read_form(gate, request, NewKey)
        within = _within(who)
        scopes = wanted.scopes
        if scopes is None and within != GRANTED["lead_unit"]:
            scopes = sorted(within)
        days = wanted.expires_in_days
        expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
        secret = new_key()
        try:
            made = await gate.query(
                kept.issue, mine.unit_id, secret, name=wanted.name, scopes=scopes, expires_at=expires_at,
                by=_actor(who), within=within,
            )  # fmt: skip
        except kept.Refused as refused:
            raise Problem(refused.reason, refused.parameters) from refused
        response.headers.update(_NOT_CACHED)
        return IssuedOut(unit=mine.code, key=secret, issued=KeyOut.of(made))

    @routes.post(
        "/api/v1/keys/{key_id}/rotate",
        status_code=201,
        summary="Rotate a key",
        dependencies=[gate.allow("keys:write")],
        responses=CONFLICT,
        openapi_extra=described(Rotation, {"overlap_hours": 24}),
    )
    async def rotate(
        key_id: KeyId, request: Request, response: Response, unit: UnitQuery = None
    ) -> IssuedOut:
        """A successor with the same name, scopes and lifetime, told this once; the old key ends after the overlap."""
        who, mine = await gate.who(request), await whose(gate, request, unit)
        wanted = await read_form(gate, request, Rotation)
        secret = new_key()
        try:
            found = await gate.query(
                kept.rotate, mine.unit_id, key_id, secret, overlap=timedelta(hours=wanted.overlap_hours),
                by=_actor(who), within=_within(who),
            )  # fmt: skip
        except kept.Refused as refused:
            raise Problem(refused.reason, refused.parameters) from refused
        if found is None:
            raise Problem("key_not_valid", {"key": str(key_id)})
        gate.credentials.forget()
        response.headers.update(_NOT_CACHED)
        return IssuedOut(unit=mine.code, key=secret, issued=KeyOut.of(found[0]), old=KeyOut.of(found[1]))

    @routes.delete(
        "/api/v1/keys/{key_id}",
        summary="Revoke a key",
        dependencies=[gate.allow("keys:write")],
        responses=CONFLICT,
    )
    async def revoke(key_id: KeyId, request: Request, unit: UnitQuery = None, force: bool = False) -> KeyOut:
        """End a key at once. The last one that can manage keys only with `force`."""
        mine = await whose(gate, request, unit)
        try:
            ended = await gate.query(kept.revoke, mine.unit_id, key_id, forced=force)
        except kept.Refused as refused:
            raise Problem(refused.reason, refused.parameters) from refused
        if ended is None:
            raise Problem("key_not_valid", {"key": str(key_id)})
        gate.credentials.forget()
        return KeyOut.of(ended)

    return routes


def _within(who: Principal) -> frozenset[Permission]:
    """What a key that this caller gives out may carry: an operator acts for the unit as a whole."""
    return GRANTED["lead_unit"] if who.role == "operator" else who.permissions


def _actor(who: Principal) -> str:
    return f"{who.kind}:{who.name}"
