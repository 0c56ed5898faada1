"""The sink of the real thing: the ingest log."""

from __future__ import annotations

import asyncio
import uuid

from connectors.backoff import Backoff
from connectors.columns import encoded_parts
from connectors.journal import Journal
from ingest.batch import Batch
from ingest.log import MAX_MESSAGE_BYTES, Log, LogUnavailable

APPENDS_AT_ONCE = 16
"""Appends in flight over all connectors of a process: what bounds the memory of unacknowledged parts."""


class LogSink:
    """Hands batches of one connector to the ingest log. Safe for parallel calls in one loop.

    `room` is shared by all connectors of a process and bounds the appends in flight.
    """

    def __init__(self, log: Log, journal: Journal, room: asyncio.Semaphore) -> None:
        self._log = log
        self._journal = journal
        self._room = room

    async def put(self, batch: Batch) -> None:
        """See `connectors.contract.Sink.put`. Parts of an oversized batch go one after the other."""
        if not batch.rows:
            return
        for part, data in encoded_parts(batch, MAX_MESSAGE_BYTES):
            # One identity for all attempts: an append whose answer was lost is not appended twice.
            identity = uuid.uuid4().hex
            async with self._room:
                await self._append(part, data, identity)
        self._journal.taken(batch)

    async def _append(self, part: Batch, data: bytes, identity: str) -> None:
        pause = Backoff(first_seconds=0.1, most_seconds=5.0)
        while True:
            try:
                await self._log.append(
                    data, kind="batch", lane=part.mode, unit=part.unit, source=part.source,
                    msg_id=identity, rows=part.rows,
                )  # fmt: skip
            except LogUnavailable as error:
                self._journal.count("log_waits")
                self._journal.raised("log", True, "log does not take batches", error=str(error))
                await asyncio.sleep(pause.next())
            else:
                self._journal.raised("log", False, "log does not take batches")
                return
