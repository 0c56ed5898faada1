"""The simulated clock. Source times never run ahead of the real clock."""

from __future__ import annotations

import time


class Clock:
    """Simulated time in ms since the Unix epoch.

    With ``speed`` 1 it is the real time. With a higher speed it starts at ``start_ms``, in the past, runs
    ``speed`` times as fast, and goes on in real time once it has caught up.
    """

    def __init__(self, start_ms: int, speed: float = 1.0) -> None:
        self._start = start_ms
        self._speed = speed
        self._began = time.monotonic()

    def now(self) -> int:
        """The simulated time."""
        real = int(time.time() * 1000)
        if self._speed <= 1.0:
            return real
        return min(real, self._start + int((time.monotonic() - self._began) * self._speed * 1000))
