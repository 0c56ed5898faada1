"""Who a request comes from: an API key, a signature made with one, or the session of a person."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import psycopg
from fastapi import Request

from ingest.api.limits import Meter
from ingest.api.problems import INFLUX_1, Problem
from store import identity
from store.database import classify
from store.identity import Principal
from store.sessions import SESSION_COOKIE, Sessions

T = TypeVar("T")

SIGNATURE_WINDOW_S = 300
"""How far the time of a signed request may be from the platform's."""
_TTL_S = 5.0
"""A key that was revoked elsewhere is refused after so long."""
_CACHED = 10_000
_KEY_ID, _SECONDS = re.compile(r"[0-9]{1,9}"), re.compile(r"[0-9]{1,12}")
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()

Authenticating = Callable[..., Awaitable[Any]]


class Credentials:
    """Finds out who calls; remembers it for some seconds. `authenticating` asks the database."""

    def __init__(self, authenticating: Authenticating, pace: Meter, sessions: Sessions) -> None:
        self._ask = authenticating
        self.sessions = sessions
        self._pace = pace
        self._known: dict[bytes, tuple[float, Principal, datetime | None]] = {}

    async def of(self, request: Request) -> Principal:
        """Who calls. Raises Problem: nobody, somebody unknown, or a request that another site has caused."""
        if "x-qunce-signature" in request.headers:
            return await self._signed(request)
        if secret := secret_of(request):
            in_session = secret.startswith("qs_")
            return await (self._in_session if in_session else self._found)(request, secret)
        if (cookie := request.cookies.get(SESSION_COOKIE, "")).startswith("qs_"):
            if request.method not in ("GET", "HEAD", "OPTIONS") and not _same_origin(request):
                raise Problem("cross_site")  # a cookie goes with a request from any page
            return await self._in_session(request, cookie)
        raise Problem("no_key")

    def forget(self) -> None:
        """Keys or sessions were ended here: ask again for each."""
        self._known.clear()
        self.sessions.forget()

    async def _in_session(self, request: Request, token: str) -> Principal:
        if (who := self.sessions.remembered(token)) is None:
            await asyncio.sleep(self._pace.wait_s(address_of(request)))
            who = await waiting(self.sessions.who, token)
        if who is None:
            raise Problem("no_session")
        return who

    async def _found(self, request: Request, secret: str) -> Principal:
        digest = identity.digest(secret)
        looked_up_at, who, expires = self._known.get(digest, (0.0, None, None))
        if who is not None and expires is not None and expires <= datetime.now(UTC):
            who = None
        if who is None or time.monotonic() - looked_up_at > _TTL_S:
            if who is None:  # whoever tries keys does not keep the database busy
                await asyncio.sleep(self._pace.wait_s(address_of(request)))
            try:
                found = await self._ask(identity.authenticate_key, digest)
                who, expires = (None, None) if found is None else found
            except Problem:
                if who is None:  # a key seen valid a moment ago stays so while the database is away
                    raise
            else:
                if len(self._known) >= _CACHED:
                    self._known.clear()
                self._known.pop(digest, None)
                if who is not None:
                    self._known[digest] = (time.monotonic(), who, expires)
        if who is None:
            raise Problem("wrong_key")
        return who

    async def _signed(self, request: Request) -> Principal:
        """A request signed with HMAC-SHA256 (docs/interface.md); what is in doubt is refused."""
        given = request.headers
        key_id, at, nonce = (given.get(f"x-qunce-{name}", "") for name in ("key-id", "timestamp", "nonce"))
        content = given.get("x-qunce-content-sha256", EMPTY_SHA256).lower()
        forms = (
            ("Key-Id", _KEY_ID, key_id), ("Timestamp", _SECONDS, at), ("Nonce", _NONCE, nonce),
            ("Content-Sha256", _SHA256, content),
        )  # fmt: skip
        if wrong := [f"X-Qunce-{name}" for name, form, text in forms if not form.fullmatch(text)]:
            raise Problem("bad_signature", {"detail": ", ".join(wrong)})
        await asyncio.sleep(self._pace.wait_s(address_of(request)))
        secret = await self._ask(identity.signing_digest, int(key_id))
        wanted = signature(secret or bytes(32), request.method, target_of(request), at, nonce, content)
        good = hmac.compare_digest(wanted.encode(), given["x-qunce-signature"].lower().encode())
        if secret is None or not good:
            raise Problem("bad_signature", {"detail": "X-Qunce-Signature"})
        ahead = int(at) - time.time()
        if abs(ahead) > SIGNATURE_WINDOW_S:
            raise Problem("signature_expired", {"seconds": f"{ahead:.0f}", "window": str(SIGNATURE_WINDOW_S)})
        if not await self._ask(identity.use_nonce, int(key_id), nonce, SIGNATURE_WINDOW_S):
            raise Problem("nonce_used")
        found = await self._ask(identity.authenticate_key, secret)
        if found is None:
            raise Problem("wrong_key")
        request.state.content_sha256 = content  # of the body, which ingest.api.body holds it to
        who: Principal = found[0]
        return who


async def waiting(function: Callable[..., T], *args: Any) -> T:
    """Run what asks the database in a thread. Raises Problem when the database is away."""
    try:
        return await asyncio.to_thread(function, *args)
    except (psycopg.Error, OSError) as error:
        if classify(error) == "transient":
            raise Problem("unavailable", retry_after_s=5) from error
        raise


def signature(secret: bytes, method: str, target: str, at: str, nonce: str, content_sha256: str) -> str:
    """HMAC-SHA256, hexadecimal, of method, target, time, nonce and the body's hash, a line each."""
    text = "\n".join((method, target, at, nonce, content_sha256))
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def target_of(request: Request) -> str:
    """Path and query as they were sent."""
    path = request.scope.get("raw_path", request.url.path.encode()).decode("latin-1").partition("?")[0]
    query = request.scope.get("query_string", b"").decode("latin-1")
    return f"{path}?{query}" if query else path


def address_of(request: Request) -> str:
    """Who asks, as long as no key tells; no unit's code has a blank in it."""
    return f"address {request.client.host if request.client else '?'}"


def secret_of(request: Request) -> str:
    """The key or session that a request names; empty when it names none.

    Clients of InfluxDB 1 have a user and a password, which is the key: as Basic, as `Token user:password`,
    or in the query of the path that is theirs.
    """
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    scheme, key = scheme.lower(), key.strip()
    if scheme == "basic":
        key = _basic_password(key)
    elif scheme == "token":
        key = key.rpartition(":")[2]
    elif scheme != "bearer":
        key = ""
    if not key and request.url.path == INFLUX_1:
        key = request.query_params.get("p", "")
    return key.strip() or request.headers.get("x-api-key", "").strip()


def _basic_password(given: str) -> str:
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


def _same_origin(request: Request) -> bool:
    origin = request.headers.get("origin", "")
    return bool(origin) and urlsplit(origin).netloc == request.headers.get("host", "")
