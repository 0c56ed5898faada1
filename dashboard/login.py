"""Who may see the pages: a session, and a wall that denies by default."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote, urlparse

import psycopg
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from dashboard import callbacks
from store.identity import Principal
from store.sessions import SESSION_COOKIE, Sessions

OPEN = (
    "/api",
    "/api/",
    "/write",
    "/query",
    "/ping",
    "/health",
    "/healthz",
    "/metrics",
    "/login",
    "/login/oidc/",
    "/language/",
    "/docs",
    "/docs/",
    "/assets/open/",
)
"""Paths for everybody: the open interface and the metrics have their own keys; a name that ends in / opens what is below it."""

_VIEWER: ContextVar[Principal | None] = ContextVar("viewer", default=None)


def viewer() -> Principal:
    """Whose request this is, behind the wall. Raises LookupError anywhere else: what nobody sees shows nothing."""
    who = _VIEWER.get()
    if who is None:
        raise LookupError("no request of somebody who is logged in")
    return who


def protections(
    script_hashes: Sequence[str] = (), *, secure: bool = False
) -> tuple[tuple[bytes, bytes], ...]:
    """Headers that every answer carries: nothing foreign is loaded, nobody frames the pages.

    `script_hashes`: CSP sources of the pages' own inline scripts. Inline styles stay allowed: the
    charts write theirs into the document. `secure`: served by HTTPS only, so browsers never try otherwise.
    """
    policy = {
        "default-src": "'self'",
        "script-src": " ".join(("'self'", *script_hashes)),
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    return (
        (b"content-security-policy", "; ".join(f"{k} {v}" for k, v in policy.items()).encode()),
        (b"x-frame-options", b"DENY"),
        (b"x-content-type-options", b"nosniff"),
        # Choosing a language goes back to where one was, so our own pages must still tell.
        (b"referrer-policy", b"same-origin"),
        *(((b"strict-transport-security", b"max-age=31536000"),) if secure else ()),
    )


def cookie_of(scope: Scope, name: str) -> str | None:
    """One cookie of an ASGI request."""
    raw = b"; ".join(value for key, value in scope.get("headers", []) if key == b"cookie").decode("latin-1")
    try:
        morsel = SimpleCookie(raw).get(name)
    except CookieError:
        return None
    return None if morsel is None else morsel.value


def same_origin(scope: Scope) -> bool:
    """Whether a request was made by a page of this very host."""
    headers = dict(scope.get("headers", []))
    origin = headers.get(b"origin", b"").decode("latin-1")
    return bool(origin) and urlparse(origin).netloc == headers.get(b"host", b"").decode("latin-1")


def local_path(path: str | None) -> str:
    """A path on this host to go on to; `/` for anything that could lead elsewhere."""
    if not path or not path.startswith("/") or path.startswith(("//", "/\\")) or any(c < " " for c in path):
        return "/"
    return path


class Wall:
    """ASGI middleware: without a session nothing behind it answers, be it page, callback or websocket."""

    def __init__(
        self,
        app: ASGIApp,
        sessions: Sessions,
        open_paths: tuple[str, ...] = OPEN,
        headers: Sequence[tuple[bytes, bytes]] | None = None,
        before_page: Callable[[Principal], Awaitable[None]] | None = None,
    ) -> None:
        self._app = app
        self._sessions = sessions
        self._open = open_paths
        self._headers = protections() if headers is None else headers
        self._before_page = before_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let through what is open or has a session; refuse the rest."""
        if scope["type"] == "http":
            send = _with_headers(send, self._headers)
        if scope["type"] not in ("http", "websocket") or self._is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            who = await self._who(scope)
        except (psycopg.Error, OSError):
            await _refuse(scope, receive, send, _problem(503, "Service Unavailable", "unavailable"), 4503)
            return
        if who is None:
            await _refuse(scope, receive, send, self._to_login(scope), 4401)
        elif not _may_come_from_there(scope):
            await _refuse(scope, receive, send, _problem(403, "Forbidden", "cross_site"), 4401)
        elif _brings_too_much(scope):
            await _refuse(scope, receive, send, _problem(413, "Content Too Large", "body_too_large"), 4401)
        else:
            if self._before_page is not None and _wants_page(scope):
                await self._before_page(who)
            if scope["path"] == callbacks.PATH and scope["type"] == "http":
                try:
                    receive = callbacks.again(await callbacks.whole(receive), receive)
                except callbacks.Left:
                    return
                except TimeoutError:
                    await _problem(408, "Body did not arrive", "body_incomplete")(scope, receive, send)
                    return
                except ValueError:
                    await _problem(400, "Bad Request", "malformed_callback")(scope, receive, send)
                    return
            token = _VIEWER.set(who)
            try:
                await self._app(scope, receive, _with_headers(send, _PRIVATE))
            finally:
                _VIEWER.reset(token)

    async def _who(self, scope: Scope) -> Principal | None:
        cookie = cookie_of(scope, SESSION_COOKIE)
        if not cookie:
            return None
        return self._sessions.remembered(cookie) or await asyncio.to_thread(self._sessions.who, cookie)

    def _is_open(self, path: str) -> bool:
        if ".." in path or "//" in path:
            return False
        return any(path == p.rstrip("/") or (p.endswith("/") and path.startswith(p)) for p in self._open)

    def _to_login(self, scope: Scope) -> ASGIApp:
        if _wants_page(scope):
            return RedirectResponse(f"/login?next={quote(scope['path'])}", status_code=303)
        return _problem(401, "Unauthorized", "login_required")


def _wants_page(scope: Scope) -> bool:
    accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
    return scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and "text/html" in accept


def _may_come_from_there(scope: Scope) -> bool:
    # A cookie goes with a request from any site; only our own pages may change things or listen.
    if scope["type"] == "http" and scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return True
    return same_origin(scope)


def _brings_too_much(scope: Scope) -> bool:
    """Callbacks of the pages are short and say how long they are; Dash itself would read whatever comes."""
    headers = dict(scope.get("headers", []))
    size = headers.get(b"content-length", b"0")
    return (
        b"transfer-encoding" in headers
        or not size.isdigit()
        or len(size) > 9
        or int(size) > callbacks.MOST_BYTES
    )


async def _refuse(scope: Scope, receive: Receive, send: Send, answer: ASGIApp, code: int) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": code, "reason": "login"})
    else:
        await answer(scope, receive, send)


_TOLD = {
    "login_required": ("请先登录", "log in first", "浏览器请打开 /login;程序请用 /api/v1 与 API 密钥",
                       "A browser: /login. A program: /api/v1 with an API key"),
    "cross_site": ("请求来自其他网站", "the request came from another site", "请从本站页面操作", "Do it from the pages of this site"),
    "body_too_large": ("请求体过大", "the body is too large", "文件请用 /api/v1 上报", "Send files to /api/v1"),
    "body_incomplete": ("请求体未按时到达", "the body did not arrive in time", "请检查网络后重试", "Check the network and try again"),
    "malformed_callback": ("请求不是页面所发的格式", "this is not what a page sends", "程序请用 /api/v1", "A program: /api/v1"),
    "unavailable": ("暂时不可用", "not available at the moment", "请稍后再试", "Try again later"),
}  # fmt: skip
"""Code → message and hint, Chinese and English, as in the interface's problems."""


def _problem(status: int, title: str, code: str) -> JSONResponse:
    zh, en, hint_zh, hint_en = _TOLD[code]
    content = {
        "type": f"urn:qunce:problem:{code}", "title": title, "status": status, "detail": en, "code": code,
        "message": {"zh": zh, "en": en}, "hint": {"zh": hint_zh, "en": hint_en},
    }  # fmt: skip
    return JSONResponse(content, status_code=status, media_type="application/problem+json")


_PRIVATE = ((b"cache-control", b"private, no-store"),)


def _with_headers(send: Send, extra: Sequence[tuple[bytes, bytes]]) -> Send:
    """Adds headers that the answer does not have."""

    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = message.setdefault("headers", [])
            given = {key.lower() for key, _ in headers}
            headers.extend((key, value) for key, value in extra if key not in given)
        await send(message)

    return sending
