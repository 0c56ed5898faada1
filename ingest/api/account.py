"""`/api/v1/session`: people log in and out."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field

from ingest.api.answers import Answer, also
from ingest.api.credentials import secret_of, waiting
from ingest.api.doors import OPEN
from ingest.api.forms import Form, described, read_form
from ingest.api.gate import Gate
from ingest.api.problems import Problem
from store.identity import Role
from store.sessions import SESSION_COOKIE, Locked, WrongLogin

_LOGIN_BYTES = 8 * 2**10


class LoginForm(Form):
    """Who logs in."""

    user: Annotated[str, Field(min_length=1, max_length=100)]
    """name of the account"""
    password: Annotated[str, Field(min_length=1, max_length=200)]
    """its password"""


class Session(Answer):
    """A session, for `Authorization: Bearer qs_…`."""

    token: str
    """told this once"""
    expires_at: datetime
    """when it ends by itself"""
    name: str
    """of the account"""
    display_name: str
    """for people"""
    role: Role
    """decides what may be done"""
    unit: str | None
    """code of the lead unit, of its own people"""
    permissions: list[str]
    """what may be done in it"""


def router(gate: Gate) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter(tags=["people"])
    sessions = gate.credentials.sessions

    @routes.post(
        "/api/v1/session",
        dependencies=[OPEN],
        status_code=201,
        summary="登录 | Log in",
        responses=also(401),
        openapi_extra=described(LoginForm, {"user": "city-dg", "password": "…"}),
    )
    async def log_in(request: Request) -> Session:
        """Log in with name and password; the answer holds a token."""
        # Nobody is known yet: whoever knocks takes no room from those who are.
        given = await read_form(gate, request, LoginForm, most=_LOGIN_BYTES)
        address = request.client.host if request.client else "?"
        try:
            opened = await waiting(sessions.open, given.user, given.password, address)
        except WrongLogin as wrong:
            raise Problem("wrong_login") from wrong
        except Locked as locked:
            raise Problem("locked", retry_after_s=locked.seconds) from locked
        who = opened.who
        return Session(
            token=opened.token, expires_at=opened.expires_at, name=who.name, display_name=who.display_name,
            role=who.role or "enterprise", unit=who.unit, permissions=sorted(who.permissions),
        )  # fmt: skip

    @routes.delete(
        "/api/v1/session",
        dependencies=[gate.known()],
        status_code=204,
        summary="退出 | Log out",
        response_model=None,
    )
    async def log_out(request: Request) -> Response:
        """End the session that this request was made in."""
        token = secret_of(request) or request.cookies.get(SESSION_COOKIE, "")
        if not token.startswith("qs_"):
            raise Problem("no_session")
        await waiting(sessions.end, token)
        return Response(status_code=204)

    return routes
