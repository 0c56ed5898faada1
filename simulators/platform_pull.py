"""A lead unit's platform that is pulled: a feed of records behind a cursor, over real HTTP."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from simulators.context import RunContext
from simulators.live import Encoded, Lane, Reading, record
from simulators.outbox import Outbox

log = logging.getLogger("simulators.pull")

KEPT_ROWS: Final = 400_000
"""Confirmed records kept for a puller that starts from the beginning again."""

_RECORDS = msgspec.json.Decoder(list[msgspec.Raw])


def feed_body(readings: list[Reading], backfill: bool) -> Iterable[Encoded]:
    """The records that go into the feed together."""
    yield Encoded("", msgspec.json.encode([record(reading) for reading in readings]), len(readings))


class Feed:
    """The durable feed of one platform; positions are dense and start at 1."""

    def __init__(self, outbox: Outbox, source: str) -> None:
        self._outbox = outbox
        self._source = source
        with outbox.transaction() as db:
            db.execute("INSERT OR IGNORE INTO feed_state (source) VALUES (?)", (source,))

    def take_over(self, lane: str) -> int:
        """Append the lane's due messages to the feed; returns the rows appended."""
        rows = 0
        with self._outbox.transaction() as db:
            last = int(
                db.execute("SELECT last FROM feed_state WHERE source = ?", (self._source,)).fetchone()[0]
            )
            for message in self._outbox.due(lane, 50):
                for raw in _RECORDS.decode(message.body):
                    last += 1
                    rows += 1
                    db.execute("INSERT INTO feed VALUES (?, ?, ?)", (last, self._source, bytes(raw)))
                db.execute("DELETE FROM message WHERE id = ?", (message.id,))
            db.execute("UPDATE feed_state SET last = ? WHERE source = ?", (last, self._source))
        return rows

    def page(self, after: int, limit: int) -> tuple[list[msgspec.Raw], int, bool]:
        """Records behind ``after``, the next cursor, and whether there are more.

        Asking confirms everything up to ``after``: those rows are sent, the served ones behind it are in flight.
        """
        with self._outbox.transaction() as db:
            last, served, confirmed = db.execute(
                "SELECT last, served, confirmed FROM feed_state WHERE source = ?", (self._source,)
            ).fetchone()
            after = min(after, served)
            found = db.execute(
                "SELECT seq, body FROM feed WHERE source = ? AND seq > ? ORDER BY seq LIMIT ?",
                (self._source, after, limit),
            ).fetchall()
            end = found[-1][0] if found else after
            newly_confirmed = max(0, after - confirmed)
            newly_served = max(0, end - served)
            if newly_confirmed:
                self._outbox.count(self._source, "sent", newly_confirmed)
            if newly_served != newly_confirmed:
                self._outbox.count(self._source, "in_flight", newly_served - newly_confirmed)
            if len(found) > newly_served:
                self._outbox.count(self._source, "resent", len(found) - newly_served)
            db.execute(
                "UPDATE feed_state SET served = ?, confirmed = ? WHERE source = ?",
                (max(served, end), max(confirmed, after), self._source),
            )
            db.execute(
                "DELETE FROM feed WHERE source = ? AND seq <= ?", (self._source, confirmed - KEPT_ROWS)
            )
        return [msgspec.Raw(row[1]) for row in found], end, end < last


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PullServer

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if self.server.is_dropped():
            self._answer(503, {"error": "maintenance"}, {"Retry-After": "5"})
        elif url.path.rstrip("/") != "/measurements":
            self._answer(404, {"error": "no such resource"})
        elif self.server.token and self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self._answer(401, {"error": "no or wrong token"}, {"WWW-Authenticate": "Bearer"})
        else:
            try:
                after = int(query.get("after", ["0"])[0].removeprefix("c") or "0")
                limit = min(20_000, max(1, int(query.get("limit", ["1000"])[0])))
            except ValueError:
                self._answer(400, {"error": "after or limit is not what this server gave"})
                return
            records, end, more = self.server.feed.page(after, limit)
            self._answer(200, {"records": records, "next": f"c{end:012d}", "more": more})

    def _answer(self, status: int, content: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        body = msgspec.json.encode(content)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)


class PullServer(ThreadingHTTPServer):
    """The HTTP server of one platform."""

    daemon_threads = True

    def __init__(self, context: RunContext, lane: Lane, port: int, feed: Feed) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.token = context.credentials.pull_token
        self.feed = feed
        self.lane = lane
        self._faults = context.faults

    def is_dropped(self) -> bool:
        """True while the platform is offline."""
        return self._faults.is_dropped(self.lane.source)

    async def run(self) -> None:
        """Serve until cancelled, moving what is due into the feed."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True)
        thread.start()
        try:
            while True:
                if not self.is_dropped():
                    self.feed.take_over(self.lane.name)
                await asyncio.sleep(0.5)
        finally:
            self.shutdown()
            self.server_close()
