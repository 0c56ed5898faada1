"""Log in with another authority's word: OpenID Connect, authorisation code with PKCE, state and nonce.

Nobody gets an account by it: whoever comes must be somebody whose account names this issuer and subject.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from typing import Any, NamedTuple, cast
from urllib.parse import urlencode

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from pydantic import BaseModel, ConfigDict, SecretStr

_ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
_METADATA_S = 3600.0
_LEEWAY_S = 60


class Provider(BaseModel):
    """The authority, and what we are to it. `back`: where it sends people back to, absolute."""

    model_config = ConfigDict(frozen=True)

    issuer: str
    client_id: str
    client_secret: SecretStr
    label: str
    back: str


class Refused(Exception):
    """The authority's word is not to be relied on; the message says why, for the log."""


class Asked(NamedTuple):
    """What a browser keeps while its person is with the authority."""

    state: str
    nonce: str
    verifier: str
    onward: str

    def packed(self) -> str:
        """As a cookie's value."""
        return base64.urlsafe_b64encode(json.dumps(self).encode()).decode()


def unpacked(cookie: str | None) -> Asked | None:
    """What `Asked.packed` made; None for anything else."""
    try:
        found = json.loads(base64.urlsafe_b64decode(cookie or ""))
        return Asked(*map(str, found)) if isinstance(found, list) else None
    except (ValueError, TypeError, RecursionError):
        return None


def ask(onward: str) -> Asked:
    """A new question, three times 256 random bits."""
    return Asked(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(32), onward)


class Authority:
    """Speaks to the provider. What it publishes of itself is remembered for an hour."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self._client = httpx.AsyncClient(timeout=10, follow_redirects=False)
        self._metadata: tuple[float, dict[str, Any]] | None = None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def address(self, asked: Asked) -> str:
        """Where to send a person to. Raises Refused, httpx.HTTPError."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(asked.verifier.encode()).digest()).decode()
        query = {
            "response_type": "code",
            "client_id": self.provider.client_id,
            "redirect_uri": self.provider.back,
            "scope": "openid",
            "state": asked.state,
            "nonce": asked.nonce,
            "code_challenge": challenge.rstrip("="),
            "code_challenge_method": "S256",
        }
        start = str((await self._known())["authorization_endpoint"])
        return f"{start}{'&' if '?' in start else '?'}{urlencode(query)}"

    async def subject(self, asked: Asked, code: str) -> str:
        """Issuer and subject, joined by a blank, of whoever came back with this code. Raises Refused, httpx.HTTPError."""
        known, secret = await self._known(), self.provider.client_secret.get_secret_value()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.provider.back,
            "code_verifier": asked.verifier,
        }
        answer = await self._client.post(
            str(known["token_endpoint"]), data=form, auth=(self.provider.client_id, secret)
        )
        if answer.status_code != 200:
            raise Refused(f"token endpoint: HTTP {answer.status_code}")
        try:
            keys = KeySet.import_key_set(cast(Any, await self._got(str(known["jwks_uri"]))))
            claims = jwt.decode(str(answer.json()["id_token"]), keys, algorithms=_ALGORITHMS).claims
            jwt.JWTClaimsRegistry(
                leeway=_LEEWAY_S,
                iss={"essential": True, "value": self.provider.issuer},
                aud={"essential": True, "value": self.provider.client_id},
                nonce={"essential": True, "value": asked.nonce},
                sub={"essential": True},
                exp={"essential": True},
                iat={"essential": True},
            ).validate(claims)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise Refused(f"id token: {error}") from error
        if isinstance(claims["aud"], list) and claims.get("azp") != self.provider.client_id:
            raise Refused("id token: for several parties, and not for us in particular")
        return f"{claims['iss']} {claims['sub']}"

    async def _known(self) -> dict[str, Any]:
        if self._metadata is None or time.monotonic() - self._metadata[0] > _METADATA_S:
            found = await self._got(f"{self.provider.issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != self.provider.issuer:
                raise Refused(f"the provider says its issuer is {found.get('issuer')!r}")
            self._metadata = (time.monotonic(), found)
        return self._metadata[1]

    async def _got(self, url: str) -> dict[str, Any]:
        answer = await self._client.get(url)
        try:
            found = answer.raise_for_status().json()
        except ValueError as error:
            raise Refused(f"{url}: not JSON") from error
        if not isinstance(found, dict):
            raise Refused(f"{url}: not an object")
        return found
