"""The HTTP server's protocol, with bounds on what comes before and between the bytes of a body.

uvicorn's parser keeps a request's head in memory however long it grows, and waits for its end for ever.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MOST_BYTES = 64 * 2**10
"""Of the head of a request; of what frames its body, as much and once more the size of the body."""
WITHIN_S = 20.0
"""So long a connection may take to the end of a head, from its first byte; a new one from its beginning."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    _overhead = _body = _body_now = 0
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there, and has so long to say what it wants."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Something came; what is too much is refused, and the connection ends."""
        if self.transport.is_closing():
            return
        self._body_now = 0
        super().data_received(data)
        self._overhead += len(data) - self._body_now
        if self._overhead > MOST_BYTES + self._body and not self.transport.is_closing():
            self._refuse()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._overhead = self._body = 0
        self._wait()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is there."""
        self._wait_no_more()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of its body."""
        self._body += len(body)
        self._body_now += len(body)
        super().on_body(body)

    def _refuse(self) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete  # type: ignore[redundant-expr]  # None before the first request
        if not answering:  # else these bytes would be part of an answer that has begun
            text = b"The head of the request is too long."
            self.transport.write(
                b"%scontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
                % (STATUS_LINE[431], len(text), text)
            )
        self.transport.close()

    def _wait(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(WITHIN_S, self._too_late)

    def _wait_no_more(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_late(self) -> None:
        self._late = None
        if not self.transport.is_closing():
            self.transport.close()
