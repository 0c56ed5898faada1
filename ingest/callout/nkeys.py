"""What NATS signs and reads: Ed25519 keys as text, and tokens in the form of JWT. Pure.

Only what an auth callout needs of https://github.com/nats-io/nkeys and /jwt.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_ACCOUNT = b"\x00"  # the text then begins with A
_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}


class Issuer:
    """The account key in whose name logins are allowed; the broker's configuration holds its public half.

    It is derived from the secret with which the platform logs in to be asked, so that there is one
    secret to keep and to change; the public half does not lead back to it.
    """

    def __init__(self, secret: str) -> None:
        seed = hmac.digest(secret.encode(), b"qunce auth callout", "sha256")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        raw = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public = _text(_ACCOUNT, raw)

    def sign(self, claims: Mapping[str, Any]) -> str:
        """The claims as a token, with issuer, time of issue and identifier added."""
        full = {**claims, "iss": self.public, "iat": int(time.time())}
        # The identifier is a hash of the rest, as NATS makes it.
        full["jti"] = _base32(hashlib.sha256(json.dumps(full).encode()).digest())
        signed = f"{_part(_HEADER)}.{_part(full)}"
        return f"{signed}.{_base64(self._key.sign(signed.encode()))}"


def claims_of(token: bytes) -> dict[str, Any]:
    """What a token claims; its signature is not looked at. Raises ValueError on what is no token."""
    parts = token.split(b".")
    if len(parts) != 3:
        raise ValueError("a token has three parts")
    content = base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4))
    claims = json.loads(content)
    if not isinstance(claims, dict):
        raise ValueError("claims are an object")
    return claims


def _text(prefix: bytes, raw: bytes) -> str:
    body = prefix + raw
    # CRC-16/XMODEM, little end first
    return _base32(body + binascii.crc_hqx(body, 0).to_bytes(2, "little"))


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=")


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _part(content: Mapping[str, Any]) -> str:
    return _base64(json.dumps(content, separators=(",", ":")).encode())
