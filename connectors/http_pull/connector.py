"""Pulls a lead unit's platform page by page; the cursor moves only when a page is durable."""

from __future__ import annotations

import asyncio
import hashlib
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlparse

import httpx
import msgspec

from connectors.contract import PermanentError, Report, Sink, TransientError
from connectors.http_pull import events
from connectors.http_pull.codec import BadPage, Page, decode_page, refused_page
from connectors.http_pull.config import HttpPullConfig
from connectors.http_pull.cursor import CursorFile
from connectors.journal import Journal, now_microseconds
from connectors.reach import port_answers
from connectors.settings import secret_of

_LONGEST_RETRY_AFTER_SECONDS = 3600.0
_PROBE_PATIENCE_SECONDS = 10.0


class HttpPullConnector:
    """One platform that is pulled; see `connectors.contract.Connector`."""

    can_acknowledge: ClassVar[bool] = True  # asking again with the old cursor gives the same records again

    def __init__(self, config: HttpPullConfig, log: Journal) -> None:
        self._config = config
        self._journal = log
        self._address = f"{config.url.rstrip('/')}/measurements"
        self._cursors: CursorFile | None = None
        self._refused_page = b""
        self._answered_at: int | None = None

    def keep_state_in(self, directory: Path) -> None:
        """See `connectors.contract.Stateful`."""
        self._cursors = CursorFile(directory, self._address)

    async def reachable(self) -> bool:
        """See `connectors.contract.Reachable`."""
        url = urlparse(self._address)
        return await port_answers(url.hostname or "", url.port or (443 if url.scheme == "https" else 80))

    async def check(self) -> Report:
        """Ask for one record from the cursor stored; the cursor does not move."""
        started = time.monotonic()
        reason, detail = "", ""
        try:
            cursor = self._load()
            async with self._client() as client:
                body = await self._ask(client, cursor, 1)
            page = self._page(body, now_microseconds())
            detail = f"{page.batch.rows} record(s), more: {page.more}"
        except (TransientError, PermanentError) as error:
            reason, detail = error.reason, error.detail
        except BadPage as error:
            reason, detail = "bad_page", str(error)
        milliseconds = (time.monotonic() - started) * 1000
        return Report(not reason, self._address, reason, detail, milliseconds)

    async def probe(self) -> int:
        """See `connectors.contract.Probe`: when the platform last answered a question of the running pull.

        It asks nothing of its own: a lead unit's platform is not to be asked more often than agreed.
        """
        oldest = now_microseconds() - round((self._config.interval_seconds + _PROBE_PATIENCE_SECONDS) * 1e6)
        if self._answered_at is None or self._answered_at < oldest:
            raise TransientError("not_running", "the platform has not answered a question of late")
        return self._answered_at

    async def run(self, sink: Sink) -> None:
        """See `connectors.contract.Connector.run`."""
        if self._cursors is None:
            raise PermanentError("no_state_directory", "the cursor has no place to be kept")
        cursor = self._load()
        async with self._client() as client:
            while True:
                body = await self._ask(client, cursor, self._config.page_rows)
                received_at = now_microseconds()
                try:
                    page = self._page(body, received_at)
                except BadPage as error:
                    await self._refuse(sink, body, str(error), received_at)
                    raise TransientError("bad_page", str(error)) from error
                if page.more and page.cursor in (None, cursor):
                    raise TransientError("cursor_stuck", "the answer says more, but its cursor does not move")
                await sink.put(page.batch)
                if page.cursor is not None and page.cursor != cursor:
                    cursor = page.cursor
                    self._store(cursor)
                events.page_taken(self._journal)
                self._answered_at = received_at
                self._journal.status("ok")
                if not page.more:
                    await asyncio.sleep(self._config.interval_seconds)

    def _client(self) -> httpx.AsyncClient:
        token = secret_of(self._config.token, self._config.token_file)
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        # A redirect would carry the token to another address; proxies of the environment are not ours to use.
        return httpx.AsyncClient(
            headers=headers, timeout=self._config.timeout_seconds, follow_redirects=False, trust_env=False
        )

    async def _ask(self, client: httpx.AsyncClient, cursor: str, rows: int) -> bytes:
        """The body of one answer. Raises TransientError or PermanentError."""
        query = {"limit": str(rows)} | ({"after": cursor} if cursor else {})
        try:
            async with client.stream("GET", self._address, params=query) as answer:
                _require_success(answer)
                body = bytearray()
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > self._config.page_most_bytes:
                        raise PermanentError(
                            "page_too_large",
                            f"more than {self._config.page_most_bytes} bytes; lower page_rows",
                        )
                return bytes(body)
        except httpx.ConnectError as error:
            raise TransientError("unreachable", str(error), unreachable=True) from error
        except httpx.HTTPError as error:
            raise TransientError("connection_lost", f"{type(error).__name__}: {error}") from error

    def _page(self, body: bytes, received_at: int) -> Page:
        return decode_page(body, unit=self._config.unit, source=self._config.source, received_at=received_at)

    async def _refuse(self, sink: Sink, body: bytes, detail: str, received_at: int) -> None:
        """Keep the unreadable answer once, however often it comes."""
        events.page_refused(self._journal, detail)
        seen = hashlib.sha256(body).digest()
        if seen != self._refused_page:
            await sink.put(
                refused_page(
                    body, detail, unit=self._config.unit, source=self._config.source, received_at=received_at
                )
            )
            self._refused_page = seen

    def _load(self) -> str:
        try:
            return "" if self._cursors is None else self._cursors.load()
        except (OSError, msgspec.DecodeError) as error:
            raise PermanentError("cursor_unreadable", str(error)) from error

    def _store(self, cursor: str) -> None:
        if self._cursors is not None:
            try:
                self._cursors.store(cursor)
            except OSError as error:
                raise TransientError("cursor_not_stored", str(error)) from error


def _require_success(answer: httpx.Response) -> None:
    if answer.status_code == 200:
        return
    detail = f"HTTP {answer.status_code}"
    if answer.status_code in (401, 403):
        raise PermanentError("login_refused", detail)
    if answer.status_code in (408, 425, 429) or answer.status_code >= 500:
        raise TransientError(
            "asked_to_wait" if answer.status_code in (429, 503) else "server_error",
            detail,
            retry_after_seconds=retry_after(answer.headers.get("Retry-After"), datetime.now(UTC)),
        )
    raise PermanentError("request_refused", detail)


def retry_after(header: str | None, now: datetime) -> float | None:
    """Seconds to wait by a Retry-After header (seconds or HTTP date), at most an hour; None when absent."""
    if not header:
        return None
    if header.strip().isdigit():
        seconds = float(header)
    else:
        try:
            at = parsedate_to_datetime(header)
        except ValueError:
            return None
        seconds = (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER_SECONDS)
