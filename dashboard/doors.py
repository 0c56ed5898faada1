"""Plain HTTP routes beside the pages: login, logout, language."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from html import escape
from importlib.resources import files
from string import Template
from urllib.parse import parse_qsl, urlparse

import psycopg
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from dashboard.login import SESSION_COOKIE, local_path, same_origin
from dashboard.texts import DEFAULT, Language, language_of, text
from store.identity import Principal
from store.sessions import Locked, Opened, Sessions, WrongLogin

LANGUAGE_COOKIE = "qunce_language"
_YEAR = 365 * 86400
_FORM_BYTES = 8192


def add_routes(
    api: FastAPI, sessions: Sessions, *, secure: bool, expect: Callable[[Principal], object]
) -> None:
    """Declare /login, /login/end and /language/{code}; all open, none shows data.

    `secure`: cookies for HTTPS only. `expect` is told who has just logged in.
    """

    def language(request: Request) -> Language:
        return language_of(request.cookies.get(LANGUAGE_COOKIE))

    def show_login(request: Request) -> HTMLResponse:
        return _login_page(language(request), local_path(request.query_params.get("next")))

    async def log_in(request: Request) -> Response:
        form = await _form(request)
        lang, onward = language(request), local_path(form.get("next"))
        if "origin" in request.headers and not same_origin(request.scope):
            return _login_page(lang, onward, text(lang, "login.elsewhere"), status=403)
        address = request.client.host if request.client else ""
        name, password = form.get("user", ""), form.get("password", "")
        try:
            opened = await asyncio.to_thread(sessions.open, name, password, address)
        except Locked as locked:
            key = "login.locked" if locked.account else "login.slow"
            page = _login_page(lang, onward, text(lang, key, n=locked.seconds), status=429)
            page.headers["Retry-After"] = str(locked.seconds)
            return page
        except WrongLogin:
            return _login_page(lang, onward, text(lang, "login.wrong"), status=401)
        except (psycopg.Error, OSError):
            return _login_page(lang, onward, text(lang, "login.away"), status=503)
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

    for path, handler, method in (
        ("/login", show_login, "GET"),
        ("/login", show_login, "HEAD"),
        ("/login", log_in, "POST"),
        ("/login/end", log_out, "POST"),
        ("/language/{code}", choose_language, "GET"),
    ):
        api.add_api_route(path, handler, methods=[method], include_in_schema=False, response_model=None)


async def _form(request: Request) -> dict[str, str]:
    # Three short fields: read by hand, and never more than they can need.
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _FORM_BYTES:
            return {}
    return dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=10))


def _login_page(lang: Language, onward: str, problem: str = "", status: int = 200) -> HTMLResponse:
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
        other=other,
        other_name=escape(text(lang, "other_language")),
    )
    return HTMLResponse(content, status_code=status, headers={"Cache-Control": "no-store"})
