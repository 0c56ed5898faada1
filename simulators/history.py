"""Back-fills the past through the open interface: columnar bodies, oldest first, taking the units in turn.

Chunks are journaled as descriptions only (unit, window): their readings can be generated again exactly.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Final

import httpx
import msgspec

from simulators.context import RunContext
from simulators.outbox import Chunk
from simulators.platform_push import RECEIVED, REFUSED, retry_after
from simulators.signals import Machine

log = logging.getLogger("simulators.history")

TARGET_ROWS: Final = 60_000
"""About so many readings in a chunk."""

WORKERS: Final = 3
"""Requests in flight."""

_HOURS: Final = (24, 12, 8, 6, 4, 3, 2, 1)


def rows_per_hour(machines: list[Machine]) -> float:
    """Expected readings in an hour of back-filled data (grid and about 5 changes of each of state and mode)."""
    return sum(sum(3_600_000 / every for every in machine.history_ms.values()) + 8 for machine in machines)


def plan_chunks(
    unit: str, selector: str, machines: list[Machine], window: tuple[int, int]
) -> list[tuple[str, str, int, int, int]]:
    """Cut the window [start, end) (ms) into pieces aligned to divisors of a day: (unit, selector, start, end, rows)."""
    rate = rows_per_hour(machines)
    hours = next((h for h in _HOURS if h * rate <= TARGET_ROWS), 1)
    step = hours * 3_600_000
    chunks = []
    at, end = window
    while at < end:
        stop = min(end, (at // step + 1) * step)
        chunks.append((unit, selector, at, stop, round((stop - at) / 3.6e6 * rate)))
        at = stop
    return chunks


def encode_chunk(machines: list[Machine], start: int, end: int) -> tuple[bytes, int]:
    """The columnar body of all history samples in [start, end) and the number of readings in it."""
    names: list[str] = []
    tags: list[int] = []
    times: list[int] = []
    values: list[Any] = []
    for machine in machines:
        for signal, ts, sampled in machine.window(start, end, machine.history_ms):
            tags.extend([len(names)] * len(sampled))
            names.append(f"{machine.code}.{signal}")
            times.extend((ts * 1000).tolist())
            values.extend(sampled)
    body = msgspec.json.encode(
        {"mode": "backfill", "tags": names, "columns": {"tag": tags, "ts": times, "value": values}}
    )
    return body, len(values)


class Backfill:
    """Sends all chunks that are not done, with a few workers; each unit's chunks strictly in order."""

    def __init__(
        self,
        context: RunContext,
        machines: dict[tuple[str, str], list[Machine]],
        before: Callable[[int], None],
    ) -> None:
        self._credentials = context.credentials
        self._outbox = context.outbox
        self._progress = context.progress
        self._stop = context.stop
        self._machines = machines
        self._before = before
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Chunk]] = {}
        self._busy: set[str] = set()

    def run(self) -> bool:
        """Send everything; True when all is delivered, False when stopped before."""
        chunks = self._outbox.chunks()
        for chunk in chunks:
            if not chunk.done and chunk.unit in self._credentials.units:
                self._waiting.setdefault(chunk.unit, []).append(chunk)
        done = sum(chunk.rows for chunk in chunks if chunk.done)
        self._progress.set(done=done, total=sum(chunk.rows for chunk in chunks))
        workers = [
            threading.Thread(target=self._work, daemon=True, name=f"history-{n}") for n in range(WORKERS)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return not self._stop.is_set()

    def _next(self) -> Chunk | None:
        """The oldest chunk of a unit that no other worker is at; None when nothing is left."""
        while not self._stop.is_set():
            with self._lock:
                open_units = [unit for unit, chunks in self._waiting.items() if chunks]
                if not open_units:
                    return None
                free = [unit for unit in open_units if unit not in self._busy]
                if free:
                    unit = min(free, key=lambda name: self._waiting[name][0].start)
                    self._busy.add(unit)
                    return self._waiting[unit][0]
            self._stop.wait(0.02)
        return None

    def _work(self) -> None:
        with httpx.Client(timeout=120.0, trust_env=False) as client:
            while (chunk := self._next()) is not None:
                delivered = False
                try:
                    self._before(chunk.start)
                    delivered = self._deliver(client, chunk)
                finally:
                    with self._lock:
                        self._busy.discard(chunk.unit)
                        if delivered:
                            self._waiting[chunk.unit].pop(0)

    def _deliver(self, client: httpx.Client, chunk: Chunk) -> bool:
        """Send one chunk until it is received; False when stopped before."""
        source = f"http_push:{chunk.unit}"
        body, rows = encode_chunk(self._machines[chunk.unit, chunk.machines], chunk.start, chunk.end)
        headers = {
            "Authorization": f"Bearer {self._credentials.units[chunk.unit].api_key}",
            "Content-Type": "application/json",
            "Idempotency-Key": f"{self._outbox.install_id}-h{chunk.id}",
        }
        url = f"{self._credentials.api_url.rstrip('/')}/api/v1/measurements"
        complained = False
        while not self._stop.is_set():
            self._outbox.attempt_chunk(chunk, source, rows)
            try:
                response = client.post(url, content=body, headers=headers)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                self._outbox.untried_chunk(chunk, source, rows)
                pause, why = 2.0, repr(error)
            except httpx.HTTPError as error:
                pause, why = 2.0, repr(error)
            else:
                if response.status_code in RECEIVED | REFUSED:
                    if response.status_code >= 400:
                        log.error(
                            "history of %s: %s %s", chunk.unit, response.status_code, response.text[:300]
                        )
                    column = "refused" if response.status_code in REFUSED else "sent"
                    self._outbox.finish_chunk(chunk, source, rows, as_column=column)
                    self._progress.add(rows, rows - chunk.rows)
                    return True
                if response.status_code in (401, 403, 404, 429, 503):
                    self._outbox.untried_chunk(chunk, source, rows)
                pause, why = retry_after(response, 3.0), f"status {response.status_code}"
            if not complained and "429" not in why:
                log.warning("history of %s: not taken yet, trying on: %s", chunk.unit, why)
                complained = True
            self._stop.wait(pause)
        return False
