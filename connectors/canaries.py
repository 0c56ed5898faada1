"""Canaries of one connector: proof, every few seconds, that its way works from the source to the store."""

from __future__ import annotations

import asyncio
import time

from connectors.contract import PermanentError, Probe, TransientError
from connectors.journal import Journal, now_microseconds
from ingest.canary import EVERY_S, UNIT, Canary, encode_canary
from ingest.log import Log, LogUnavailable

_ANSWER_SECONDS = 5.0
_STATE_SECONDS = 0.5


async def send_canaries(connector: Probe, journal: Journal, log: Log) -> None:
    """Send a canary down the way of the readings every `EVERY_S`, for ever, while the source answers.

    A source that does not answer and a log that takes nothing are no failures here: the canary that
    does not arrive is the alarm.
    """
    while True:
        if journal.state != "ok":
            await asyncio.sleep(_STATE_SECONDS)
            continue
        began = time.monotonic()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                source_ts = await connector.probe()
            canary = Canary(journal.name, source_ts, now_microseconds())
            await log.append(
                encode_canary(canary), kind="canary", lane="live", unit=UNIT, source=journal.name,
                msg_id=f"{journal.name}/{canary.sent_at}", rows=0,
            )  # fmt: skip
            journal.count("canaries")
        except (TransientError, PermanentError, TimeoutError, LogUnavailable) as error:
            journal.count("canaries_missed")
            journal.raised("canary", True, "no canary sent", error=f"{type(error).__name__}: {error}")
        except Exception:  # a defect here must not end the proofs for ever, nor the connector
            journal.count("canaries_missed")
            journal.log.exception("canary failed unexpectedly")
        else:
            journal.raised("canary", False, "no canary sent")
        await asyncio.sleep(max(_STATE_SECONDS, EVERY_S - (time.monotonic() - began)))
