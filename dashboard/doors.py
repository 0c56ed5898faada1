"""Plain HTTP routes beside the pages: login, logout, language."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from html import escape
from importlib.resources import files
from string import Template
from typing import Any
from urllib.parse import parse_qsl, quote, urlparse

import httpx
import psycopg
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.requests import ClientDisconnect

from dashboard import handbook, oidc
from dashboard.handbook import EXAMPLE, Reached
from dashboard.login import local_path, same_origin
from dashboard.oidc import Authority
from dashboard.texts import DEFAULT, Language, language_of, text
from store.identity import Principal
from store.sessions import SESSION_COOKIE, Locked, Opened, Sessions, WrongLogin

log = logging.getLogger(__name__)

LANGUAGE_COOKIE = "qunce_language"
ASKED_COOKIE = "qunce_oidc"
_ASKED_S = 600
_YEAR = 365 * 86400
_FORM_BYTES, _FORM_S = 8192, 15.0


def add_routes(
    api: FastAPI,
    sessions: Sessions,
    *,
    secure: bool,
    expect: Callable[[Principal], object],
    authority: Authority | None = None,
    reached: Reached = EXAMPLE,
) -> None:
    """Declare /login, /login/end, /language/{code} and the documentation; all open, none shows data.

    `secure`: cookies for HTTPS only. `expect` is told who has just logged in;
    `authority`: vouches for people too; `reached`: where units reach the platform.
    """

    def language(request: Request) -> Language:
        return language_of(request.cookies.get(LANGUAGE_COOKIE))

    label = authority.provider.label if authority is not None else ""
    page_of = partial(_login_page, label)

    def show_login(request: Request) -> HTMLResponse:
        return page_of(language(request), local_path(request.query_params.get("next")))

    async def log_in(request: Request) -> Response:
        form = await _form(request)
        lang, onward = language(request), local_path(form.get("next"))
        if "origin" in request.headers and not same_origin(request.scope):
            return page_of(lang, onward, text(lang, "login.elsewhere"), status=403)
        address = request.client.host if request.client else ""
        name, password = form.get("user", ""), form.get("password", "")
        try:
            opened = await asyncio.to_thread(sessions.open, name, password, address)
        except Locked as locked:
            key = "login.locked" if locked.account else "login.slow"
            page = page_of(lang, onward, text(lang, key, n=locked.seconds), status=429)
            page.headers["Retry-After"] = str(locked.seconds)
            return page
        except WrongLogin:
            return page_of(lang, onward, text(lang, "login.wrong"), status=401)
        except (psycopg.Error, OSError):
            return page_of(lang, onward, text(lang, "login.away"), status=503)
        expect(opened.who)
        return admitted(opened, onward)

    def admitted(opened: Opened, onward: str) -> Response:
        response = RedirectResponse(onward, status_code=303)
        response.set_cookie(
            SESSION_COOKIE,
            opened.token,
            max_age=sessions.keeping.session_s,
            httponly=True,
            samesite="lax",
            secure=secure,
        )
        return response

    async def to_authority(request: Request) -> Response:
        asked = oidc.ask(local_path(request.query_params.get("next")))
        try:
            address = await known_authority().address(asked)
        except (oidc.Refused, httpx.HTTPError) as error:
            return not_vouched(request, error)
        response = RedirectResponse(address, status_code=303)
        response.set_cookie(
            ASKED_COOKIE, asked.packed(), max_age=_ASKED_S, path="/login/oidc", httponly=True, samesite="lax",
            secure=secure,
        )  # fmt: skip
        return response

    async def from_authority(request: Request) -> Response:
        given, asked = request.query_params, oidc.unpacked(request.cookies.get(ASKED_COOKIE))
        # A cookie may hold anything, lone surrogates included.
        sent, told = ((t or "").encode(errors="replace") for t in (asked and asked.state, given.get("state")))
        if asked is None or not hmac.compare_digest(sent, told):
            return not_vouched(request, "state")
        try:
            subject = await known_authority().subject(asked, given.get("code", ""))
            opened = await asyncio.to_thread(
                sessions.admit, subject, request.client.host if request.client else ""
            )
        except WrongLogin:
            return page_of(language(request), "/", text(language(request), "login.no_account"), status=403)
        except (oidc.Refused, httpx.HTTPError, psycopg.Error, OSError) as error:
            return not_vouched(request, error)
        expect(opened.who)
        response = admitted(opened, local_path(asked.onward))
        response.delete_cookie(ASKED_COOKIE, path="/login/oidc", httponly=True, samesite="lax", secure=secure)
        return response

    def known_authority() -> Authority:
        if authority is None:
            raise oidc.Refused("there is no provider")
        return authority

    def not_vouched(request: Request, why: object) -> Response:
        log.warning("login by the identity provider failed: %s", why)
        return page_of(language(request), "/", text(language(request), "login.not_vouched"), status=401)

    def log_out(request: Request) -> Response:
        if same_origin(request.scope) and (token := request.cookies.get(SESSION_COOKIE)):
            with suppress(psycopg.Error, OSError):  # this browser forgets it all the same
                sessions.end(token)
        response = RedirectResponse("/login", status_code=303)
        response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="lax", secure=secure)
        return response

    def choose_language(request: Request, code: str) -> Response:
        referer = urlparse(request.headers.get("referer", ""))
        here = referer.netloc == request.headers.get("host")
        query = f"?{referer.query}" if referer.query else ""
        response = RedirectResponse(local_path(referer.path + query) if here else "/", status_code=303)
        response.set_cookie(LANGUAGE_COOKIE, language_of(code), max_age=_YEAR, samesite="lax", secure=secure)
        return response

    routes: list[tuple[str, Callable[..., Any], str]] = [
        ("/login", show_login, "GET"),
        ("/login", show_login, "HEAD"),
        ("/login", log_in, "POST"),
        ("/login/end", log_out, "POST"),
        ("/language/{code}", choose_language, "GET"),
    ]
    if authority is not None:
        routes += [("/login/oidc", to_authority, "GET"), ("/login/oidc/back", from_authority, "GET")]
    for path, handler, method in routes:
        api.add_api_route(path, handler, methods=[method], include_in_schema=False, response_model=None)
    handbook.add_routes(api, LANGUAGE_COOKIE, reached)


async def _form(request: Request) -> dict[str, str]:
    # Three short fields: read by hand, never more than they can need, and not for ever.
    body = b""
    try:
        async with asyncio.timeout(_FORM_S):
            async for piece in request.stream():
                body += piece
                if len(body) > _FORM_BYTES:
                    return {}
    except (TimeoutError, ClientDisconnect):
        return {}
    return dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=10))


def _login_page(
    label: str, lang: Language, onward: str, problem: str = "", status: int = 200
) -> HTMLResponse:
    page = Template((files("dashboard") / "data" / "login.html").read_text("utf-8"))
    words = {
        key: escape(text(lang, f"login.{key}")) for key in ("user", "password", "submit", "heading", "motto")
    }
    other = "en" if lang == DEFAULT else DEFAULT
    content = page.substitute(
        words,
        lang="zh-CN" if lang == "zh" else "en",
        brand=escape(text(lang, "brand")),
        title=escape(text(lang, "title")),
        subtitle=escape(text(lang, "subtitle")),
        next=escape(onward),
        problem=f'<p class="login-problem" role="alert">{escape(problem)}</p>' if problem else "",
        oidc=f'<a class="chip" href="/login/oidc?next={quote(onward)}">{escape(label)}</a>' if label else "",
        docs=escape(text(lang, "docs")),
        other=other,
        other_name=escape(text(lang, "other_language")),
    )
    return HTMLResponse(content, status_code=status, headers={"Cache-Control": "no-store"})
