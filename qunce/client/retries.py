"""When to try again."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_MOST_ASKED_S = 3600.0


@dataclass(frozen=True, slots=True)
class Retries:
    """Exponential back-off with jitter, in seconds: from `first_s`, doubled each time, to `ceiling_s`.

    Without a spool a call gives up `patience_s` after it began; a spool never gives up. A `Retry-After` is
    never undercut, and has jitter added, so that all who were sent away do not come back at once.
    """

    first_s: float = 0.5
    ceiling_s: float = 60.0
    patience_s: float = 120.0

    def wait_s(self, failures: int, asked_s: float | None) -> float:
        """How long to wait after so many failures in a row (≥ 1); `asked_s` is the platform's Retry-After."""
        doubled = self.first_s * 2.0 ** min(failures - 1, 30)
        own = min(self.ceiling_s, doubled) * random.uniform(0.5, 1.0)
        return own if asked_s is None else max(own, asked_s * random.uniform(1.0, 1.1))


def asked_s(header: str | None) -> float | None:
    """A Retry-After header, in seconds from now, at most an hour; None: there is none that can be read."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return min(float(header), _MOST_ASKED_S)
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return min(max((at - datetime.now(UTC)).total_seconds(), 0.0), _MOST_ASKED_S)
