"""One connector, for ever: run, and when it fails wait and run again. The only place that reconnects."""

from __future__ import annotations

import asyncio
import time

from connectors.backoff import Backoff
from connectors.contract import Connector, PermanentError, Reachable, Sink, TransientError
from connectors.journal import Journal

PROBE_SECONDS = 1.0
"""While nothing listens at the address, it is asked this often whether something does."""


async def supervise(
    connector: Connector, sink: Sink, journal: Journal, backoff: Backoff | None = None
) -> None:
    """Run until cancelled; never raises anything else.

    The pause after a failure is 0.5 to 15 s with jitter. When the source could not be reached at
    all, the pause ends as soon as its port answers: a server that comes back is read again within
    seconds, however long it was away.
    """
    backoff = backoff or Backoff()
    try:
        while True:
            await _once(connector, sink, journal, backoff)
    finally:
        journal.status("stopped")


async def _once(connector: Connector, sink: Sink, journal: Journal, backoff: Backoff) -> None:
    """One run, which ends in a failure, and the pause after it."""
    journal.was_ok = False
    if journal.state not in ("recoverable", "permanent"):
        journal.status("starting")
    try:
        await connector.run(sink)
        failure = TransientError("ended", "the connector stopped by itself")
    except TransientError as error:
        failure = error
    except PermanentError as error:
        journal.count("failures")
        journal.status("permanent", error.reason, error.detail)
        await asyncio.sleep(backoff.longest())
        return
    except Exception as error:  # a defect in one connector must not stop the others
        journal.log.exception("connector failed unexpectedly")
        failure = TransientError("defect", f"{type(error).__name__}: {error}")
    journal.count("failures")
    journal.status("recoverable", failure.reason, failure.detail)
    if journal.was_ok:
        backoff.reset()
    await _pause(connector, failure, backoff)


async def _pause(connector: Connector, failure: TransientError, backoff: Backoff) -> None:
    until = time.monotonic() + max(backoff.next(), failure.retry_after_seconds or 0.0)
    probe = failure.unreachable and isinstance(connector, Reachable)
    while (left := until - time.monotonic()) > 0:
        await asyncio.sleep(min(PROBE_SECONDS, left))
        if probe and isinstance(connector, Reachable) and await connector.reachable():
            backoff.reset()
            return
