"""Faults that strike the live traffic: seeded, each one switchable, none by default.

Strikes follow a fixed timetable from the start of live operation, so that within the first minute each kind has
struck each protocol that it applies to. ``late``, ``duplicate`` and ``out_of_order`` change when and how often
a message is sent, never what is finally delivered; ``wrong_type``, ``unknown_tag``, ``clock_skew`` and
``malformed`` are *extra* rows beside the machine's own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from simulators.province import Source

KINDS: Final = (
    "dropout", "duplicate", "late", "out_of_order", "wrong_type", "unknown_tag", "clock_skew", "over_report",
    "malformed",
)  # fmt: skip

_PERIOD_S: Final = 60.0
_AT_S: Final = {"malformed": 6.0, "unknown_tag": 12.0, "wrong_type": 18.0, "clock_skew": 24.0}
_DROPOUT_PERIOD_S: Final = 180.0
_DROPOUT_AT_S: Final = {"mqtt": 22.0, "opcua": 28.0, "http_push": 34.0, "http_pull": 40.0}
_SKEW_S: Final = 14.0


def parse_kinds(text: str) -> frozenset[str]:
    """``all``, ``none`` or a comma list; ValueError names an unknown kind."""
    if text == "all":
        return frozenset(KINDS)
    if text == "none":
        return frozenset()
    kinds = frozenset(part.strip() for part in text.split(",") if part.strip())
    if kinds - set(KINDS):
        raise ValueError(f"unknown fault: {', '.join(sorted(kinds - set(KINDS)))}; known: {', '.join(KINDS)}")
    return kinds


@dataclass(frozen=True, slots=True)
class Delay:
    """How a message is delivered: the fault's name ('' if none), and after how many seconds."""

    fault: str
    after_s: float


class Faults:
    """Decides what goes wrong now. One object for all sources; its methods only read and draw."""

    def __init__(self, enabled: frozenset[str], seed: int, sources: Sequence[Source]) -> None:
        self.enabled = enabled
        self._random = Random(f"{seed}/faults")
        self._struck: dict[tuple[str, str], int] = {}
        self._began: float | None = None
        self._keys: dict[str, list[str]] = {}
        for source in sources:
            self._keys.setdefault(source.protocol, []).append(source.key)

    def begin(self) -> None:
        """Live operation starts: the timetable counts from here."""
        self._began = time.monotonic()

    def strikes(self, kind: str, source: Source) -> bool:
        """True once in each minute for one source of each protocol in turn."""
        if kind not in self.enabled or self._began is None:
            return False
        number = int((time.monotonic() - self._began - _AT_S[kind]) // _PERIOD_S)
        if number < 0 or self._turn(source.protocol, number) != source.key:
            return False
        if self._struck.get((kind, source.protocol), -1) >= number:
            return False
        self._struck[kind, source.protocol] = number
        return True

    def is_skewed(self, source: Source) -> bool:
        """True while the clock of the source runs 10 minutes ahead."""
        if "clock_skew" not in self.enabled or self._began is None:
            return False
        number, since = divmod(time.monotonic() - self._began - _AT_S["clock_skew"], _PERIOD_S)
        return number >= 0 and since < _SKEW_S and self._turn(source.protocol, int(number)) == source.key

    def is_dropped(self, source: Source) -> bool:
        """True while the source is offline: 12 s in the first round, then up to two minutes."""
        if "dropout" not in self.enabled or self._began is None:
            return False
        at = time.monotonic() - self._began - _DROPOUT_AT_S[source.protocol]
        number, since = divmod(at, _DROPOUT_PERIOD_S)
        if number < 0 or self._turn(source.protocol, int(number)) != source.key:
            return False
        return since < (12.0 if number == 0 else 40.0 + (int(number) * 37) % 80)

    def delay(self) -> Delay:
        """How the next message is delivered."""
        drawn = self._random.random()
        if "late" in self.enabled and drawn < 0.02:
            share = self._random.random()
            if share < 0.8:
                return Delay("late", self._random.uniform(15, 60))
            return Delay(
                "late", self._random.uniform(120, 900) if share < 0.97 else self._random.uniform(3600, 9000)
            )
        if "out_of_order" in self.enabled and 0.02 <= drawn < 0.06:
            return Delay("out_of_order", self._random.uniform(2, 7))
        return Delay("", 0.0)

    def duplicates(self) -> bool:
        """True if the next message is sent twice."""
        return "duplicate" in self.enabled and self._random.random() < 0.03

    def choice(self, codes: Sequence[str]) -> str:
        """A machine to be struck."""
        return self._random.choice(codes)

    def _turn(self, protocol: str, number: int) -> str:
        keys = self._keys[protocol]
        return keys[number % len(keys)]
