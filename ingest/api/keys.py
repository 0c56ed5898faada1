"""`/api/v1/keys`: a unit's keys, issued, rotated and revoked by itself, or by an operator for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from ingest.api.answers import Answer, also
from ingest.api.forms import Form, described, read_form
from ingest.api.gate import Gate
from ingest.api.measurements import IdempotencyKey
from ingest.api.problems import Problem
from ingest.api.whose import UnitCode, whose
from store import keys as kept
from store.identity import GRANTED, Permission, Principal, new_key

_NOT_CACHED = {"Cache-Control": "no-store"}

KeyId = Annotated[int, Path(ge=1, lt=2**31, description="密钥编号 | number of the key", examples=[12])]
Force = Annotated[bool, Query(description="也吊销最后一个 | end the last one, too")]


class KeyOut(Answer):
    """A key, without its secret."""

    key_id: int
    """number of the key"""
    name: str
    """of the issuer's choice"""
    scopes: list[str] | None
    """permissions; null: all that a unit may do"""
    created_at: datetime
    """when it was issued"""
    created_by: str
    """who issued it: unit:<code>, person:<name>, or role:<part of the platform>"""
    expires_at: datetime | None
    """when it ends by itself; null: never"""
    last_used_at: datetime | None
    """about when it was used last; null: never"""
    revoked_at: datetime | None
    """when it was ended"""
    valid: bool
    """it is taken now"""

    @classmethod
    def of(cls, key: kept.Key) -> KeyOut:
        """For an answer."""
        return cls(**key._asdict())


class KeysOut(Answer):
    """All keys of a unit, newest first."""

    unit: str
    """code of the unit"""
    keys: list[KeyOut]
    """also those that ended"""


class IssuedOut(Answer):
    """A new key."""

    unit: str
    """code of the unit"""
    key: str
    """the key in clear, told this once"""
    issued: KeyOut
    """the new key"""
    old: KeyOut | None = None
    """the key that it replaces"""


class NewKey(Form):
    """A key to issue."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    """for those who keep the keys"""
    scopes: Annotated[list[Permission] | None, Field(min_length=1, max_length=50)] = None
    """permissions; left out: all that you yourself may do"""
    expires_in_days: Annotated[int | None, Field(ge=1, le=3650)] = None
    """days until it ends by itself; left out: never"""


class Rotation(Form):
    """How the old key goes on beside the new one."""

    overlap_hours: Annotated[float, Field(ge=0, le=24 * 30)] = 24
    """hours until the old key ends"""


def router(gate: Gate) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter(tags=["keys"])

    @routes.get("/api/v1/keys", summary="密钥清单 | Your keys", dependencies=[gate.allow("keys:read")])
    async def keys(request: Request, unit: UnitCode = None) -> KeysOut:
        """Your unit's keys, newest first, also those that ended; never the secrets."""
        mine = await whose(gate, request, unit)
        found = await gate.query(kept.keys, mine.unit_id)
        return KeysOut(unit=mine.code, keys=[KeyOut.of(key) for key in found])

    @routes.post(
        "/api/v1/keys",
        status_code=201,
        summary="签发密钥 | Issue a key",
        dependencies=[gate.allow("keys:write")],
        responses=also(409),
        openapi_extra=described(
            NewKey, {"name": "MES", "scopes": ["measurements:write", "service:write"], "expires_in_days": 365}
        ),
    )
    async def issue(
        request: Request,
        response: Response,
        unit: UnitCode = None,
        idempotency_key: IdempotencyKey = None,
    ) -> IssuedOut:
        """A new key, told this once: keep it. It never carries more than your own credentials do, nor lives longer.

        The same `Idempotency-Key` again issues no second key: the answer is `409` and names the first.
        """
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
                by=_actor(who), within=within, by_key=who.key_id, request_key=idempotency_key or None,
            )  # fmt: skip
        except kept.Refused as refused:
            raise Problem(refused.reason, refused.parameters) from refused
        response.headers.update(_NOT_CACHED)
        return IssuedOut(unit=mine.code, key=secret, issued=KeyOut.of(made))

    @routes.post(
        "/api/v1/keys/{key_id}/rotate",
        status_code=201,
        summary="轮换密钥 | Rotate a key",
        dependencies=[gate.allow("keys:write")],
        responses=also(409),
        openapi_extra=described(Rotation, {"overlap_hours": 24}),
    )
    async def rotate(
        key_id: KeyId,
        request: Request,
        response: Response,
        unit: UnitCode = None,
        idempotency_key: IdempotencyKey = None,
    ) -> IssuedOut:
        """A successor with the same name, scopes and lifetime, told this once; the old key ends after the overlap.

        A key that rotates another one gives it no longer life than its own.
        """
        who, mine = await gate.who(request), await whose(gate, request, unit)
        wanted = await read_form(gate, request, Rotation)
        secret = new_key()
        try:
            found = await gate.query(
                kept.rotate, mine.unit_id, key_id, secret, overlap=timedelta(hours=wanted.overlap_hours),
                by=_actor(who), within=_within(who), by_key=who.key_id, request_key=idempotency_key or None,
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
        summary="吊销密钥 | Revoke a key",
        dependencies=[gate.allow("keys:write")],
        responses=also(409),
    )
    async def revoke(key_id: KeyId, request: Request, unit: UnitCode = None, force: Force = False) -> KeyOut:
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
