"""Requests signed with HMAC-SHA256, so that the key itself never travels (docs/interface.md)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time


def signed(method: str, target: str, body: bytes, *, key_id: int, key: str) -> dict[str, str]:
    """The headers of one attempt; each attempt needs its own, as a nonce is good once.

    `target` is path and query as they are sent, `body` the bytes as they are sent (compressed).
    """
    at = str(int(time.time()))
    nonce = secrets.token_urlsafe(24)
    content = hashlib.sha256(body).hexdigest()
    text = "\n".join((method, target, at, nonce, content))
    secret = hashlib.sha256(key.encode()).digest()
    return {
        "X-Qunce-Key-Id": str(key_id),
        "X-Qunce-Timestamp": at,
        "X-Qunce-Nonce": nonce,
        "X-Qunce-Content-Sha256": content,
        "X-Qunce-Signature": hmac.new(secret, text.encode(), hashlib.sha256).hexdigest(),
    }
