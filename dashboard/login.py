"""Who may see the pages: a password, a signed cookie, and a wall that denies by default."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote, urlparse

from itsdangerous import BadSignature, URLSafeTimedSerializer
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

SESSION_COOKIE = "qunce_session"
OPEN = ("/api/", "/healthz", "/metrics", "/login", "/language/", "/assets/open/")
"""Paths for everybody: the open interface and the metrics have their own keys; a name that ends in / opens what is below it."""


def protections(script_hashes: Sequence[str] = ()) -> tuple[tuple[bytes, bytes], ...]:
    """Headers that every answer carries: nothing foreign is loaded, nobody frames the pages.

    `script_hashes`: CSP sources of the pages' own inline scripts. Inline styles stay allowed: the
    charts write theirs into the document.
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
    )


class Login(BaseModel):
    """The account of the pages and how its sessions are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str = Field(min_length=1, description="user name")
    password: SecretStr = Field(min_length=8, description="password")
    signing_key: SecretStr = Field(min_length=32, description="secret that signs session cookies")
    session_hours: float = Field(12, gt=0, description="a session ends after this many hours")
    secure_cookie: bool = Field(False, description="send the cookie over HTTPS only")
    tries: int = Field(5, ge=1, description="wrong passwords an address may send in a minute")


class Sessions:
    """Issues, checks and ends sessions. Nothing is stored but the sessions ended before their time."""

    def __init__(self, login: Login, *, clock: Callable[[], float] = time.time) -> None:
        self._login = login
        self._clock = clock
        self._signer = URLSafeTimedSerializer(login.signing_key.get_secret_value(), salt="qunce-session")
        self._ended: OrderedDict[str, float] = OrderedDict()
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    @property
    def seconds(self) -> int:
        """How long a session lasts."""
        return int(self._login.session_hours * 3600)

    @property
    def secure(self) -> bool:
        """Whether the cookie is for HTTPS only."""
        return self._login.secure_cookie

    def wait_s(self, address: str) -> int:
        """Seconds this address must wait before it may try again; 0 = it may try."""
        recent = self._recent(address)
        return 0 if len(recent) < self._login.tries else max(1, int(recent[0] + 60 - self._clock()) + 1)

    def open(self, user: str, password: str, address: str) -> str | None:
        """A new session's cookie; None if user or password are wrong (which is counted)."""
        # Both are always compared, digests of equal length, so that time tells nothing.
        good_user = _same(user, self._login.user)
        good_password = _same(password, self._login.password.get_secret_value())
        if good_user and good_password:
            self._failures.pop(address, None)
            return str(self._signer.dumps({"user": user, "id": secrets.token_urlsafe(16)}))
        now = self._clock()
        self._failures[address] = [*self._recent(address)[-20:], now]
        self._failures.move_to_end(address)
        while len(self._failures) > 10_000:  # bounded, whoever knocks
            self._failures.popitem(last=False)
        return None

    def user(self, cookie: str | None) -> str | None:
        """Whose session this cookie is; None if it is none, or no longer."""
        content = self._content(cookie)
        return None if content is None else content["user"]

    def close(self, cookie: str | None) -> None:
        """End a session now, wherever else its cookie may lie."""
        content = self._content(cookie)
        if content is None:
            return
        now = self._clock()
        self._ended[content["id"]] = now + self.seconds
        while self._ended and next(iter(self._ended.values())) < now:
            self._ended.popitem(last=False)

    def _recent(self, address: str) -> list[float]:
        return [t for t in self._failures.get(address, []) if t > self._clock() - 60]

    def _content(self, cookie: str | None) -> dict[str, str] | None:
        if not cookie:
            return None
        try:
            content: dict[str, str] = self._signer.loads(cookie, max_age=self.seconds)
        except BadSignature:  # SignatureExpired is one
            return None
        return None if content["id"] in self._ended else content


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(
        hashlib.sha256(given.encode()).digest(), hashlib.sha256(wanted.encode()).digest()
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
    ) -> None:
        self._app = app
        self._sessions = sessions
        self._open = open_paths
        self._headers = protections() if headers is None else headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let through what is open or has a session; refuse the rest."""
        if scope["type"] == "http":
            send = _with_headers(send, self._headers)
        if scope["type"] not in ("http", "websocket") or self._is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        if self._sessions.user(cookie_of(scope, SESSION_COOKIE)) is not None and self._may_connect(scope):
            await self._app(scope, receive, _with_headers(send, _PRIVATE))
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4401, "reason": "login"})
            return
        await self._refusal(scope)(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        if ".." in path or "//" in path:
            return False
        return any(path == p.rstrip("/") or (p.endswith("/") and path.startswith(p)) for p in self._open)

    def _may_connect(self, scope: Scope) -> bool:
        # A cookie goes with a websocket from any site; only our own pages may open one.
        return scope["type"] == "http" or same_origin(scope)

    def _refusal(self, scope: Scope) -> ASGIApp:
        accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
        if scope["method"] in ("GET", "HEAD") and "text/html" in accept:
            return RedirectResponse(f"/login?next={quote(scope['path'])}", status_code=303)
        problem = {"type": "about:blank", "title": "Unauthorized", "status": 401, "code": "login_required"}
        return JSONResponse(problem, status_code=401, media_type="application/problem+json")


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
