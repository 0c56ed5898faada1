"""One request to the platform: an attempt, or attempts until it is answered for good."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from qunce.client.errors import Problem, Unreachable
from qunce.client.retries import Retries, asked_s
from qunce.client.signing import signed

PROBLEM = "application/problem+json"
# The platform waits 10 s for records to be applied, and up to 20 s for a turn at decoding.
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)


@dataclass(frozen=True, slots=True)
class Sending:
    """A request as it goes out, the same at every attempt. `target` is path and query."""

    method: str
    target: str
    body: bytes = b""
    content_type: str = ""
    coding: str = ""
    idempotency_key: str = ""
    prefer: str = ""

    def headers(self) -> dict[str, str]:
        """What says of the body what it is."""
        given = {
            "Content-Type": self.content_type,
            "Content-Encoding": self.coding,
            "Idempotency-Key": self.idempotency_key,
            "Prefer": self.prefer,
        }
        return {name: value for name, value in given.items() if value}


class Wire:
    """The connection. May be used from several threads. `key_id`: sign requests instead of showing the key."""

    def __init__(self, url: str, key: str, key_id: int | None) -> None:
        address = urlsplit(url)
        if address.scheme not in ("http", "https") or not address.netloc:
            raise ValueError(f"url must be http://… or https://…, got {url!r}")
        self._prefix = address.path.rstrip("/")
        self._key, self._key_id = key, key_id
        self._http = httpx.Client(
            base_url=f"{address.scheme}://{address.netloc}",
            timeout=_TIMEOUT,
            headers={"User-Agent": "qunce-client/1", "Accept": "application/json"},
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def once(self, sending: Sending) -> dict[str, Any]:
        """One attempt. Raises Problem: it was refused; Unreachable: there was no answer of the platform's."""
        request = self._http.build_request(
            sending.method, self._prefix + sending.target, content=sending.body, headers=sending.headers()
        )
        # What is signed is the address as it is sent, which may be spelt otherwise than it was given.
        target = request.url.raw_path.decode("ascii")
        request.headers.update(self._credentials(sending.method, target, sending.body))
        try:
            answer = self._http.send(request)
        except (httpx.TransportError, httpx.DecodingError) as away:
            raise Unreachable(f"{type(away).__name__}: {away}") from away
        return _judged(answer)

    def insist(self, sending: Sending, retries: Retries) -> dict[str, Any]:
        """Attempts until the answer is final, or patience ends: then the last failure is raised."""
        until = time.monotonic() + retries.patience_s
        failures = 0
        while True:
            try:
                return self.once(sending)
            except (Problem, Unreachable) as failed:
                if isinstance(failed, Problem) and not failed.is_temporary:
                    raise
                failures += 1
                wait = retries.wait_s(failures, getattr(failed, "retry_after_s", None))
                if time.monotonic() + wait > until:
                    raise
                time.sleep(wait)

    def _credentials(self, method: str, target: str, body: bytes) -> Mapping[str, str]:
        if self._key_id is None:
            return {"Authorization": f"Bearer {self._key}"}
        return signed(method, target, body, key_id=self._key_id, key=self._key)


def _judged(answer: httpx.Response) -> dict[str, Any]:
    kind = answer.headers.get("content-type", "").partition(";")[0]
    try:
        document = answer.json() if kind in ("application/json", PROBLEM) else None
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = None
    if answer.is_success and kind != PROBLEM:
        if document is None:  # a hotel's login page also answers 200: that is no acknowledgement
            raise Unreachable(f"{answer.status_code} {kind or 'without a type'}: not the platform's answer")
        return document
    given = document if kind == PROBLEM else None
    raise Problem(answer.status_code, given, asked_s(answer.headers.get("retry-after")))
