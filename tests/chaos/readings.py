"""What the senders send, and the record of what became of each row.

A reading's value is a function of its tag and time, so that a wrong one shows. Tags are numbered over
all units: tag n is signal `p<n % TAGS>` of machine `M1` of unit `UNITS[n // TAGS]`.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

HTTP_UNITS = ("GD-HTA-01", "GD-HTB-01", "GD-HTC-01")
MQTT_UNITS = ("GD-MQA-01", "GD-MQB-01")
OPCUA_UNIT = "GD-OPC-01"
UNITS = (*HTTP_UNITS, *MQTT_UNITS, OPCUA_UNIT)
TAGS = 24
TEXT = TAGS - 1
"""The last signal of each unit is a text; all others are numbers."""
OPCUA_TAGS = 16

Ints = npt.NDArray[np.int64]
_TS_BITS = 51  # µs since 1970 fit until 2041; above them there is room for 4096 tags


def unit_of(tag: int) -> str:
    """The unit a tag belongs to."""
    return UNITS[tag // TAGS]


def first_tag(unit: str) -> int:
    """The number of a unit's first tag."""
    return UNITS.index(unit) * TAGS


def name_of(tag: int) -> str:
    """The tag's name within its unit."""
    return f"M1.p{tag % TAGS}"


def is_text(tag: Ints) -> npt.NDArray[np.bool_]:
    """Which tags hold texts."""
    return tag % TAGS == TEXT


def values_of(tag: Ints, ts: Ints) -> npt.NDArray[np.float64]:
    """The only right values of numeric tags at these times (µs): exact in float64 and in JSON."""
    mixed = ts.astype(np.uint64) * np.uint64(6364136223846793005) + tag.astype(np.uint64) * np.uint64(
        1442695040888963407
    )
    return np.asarray((mixed >> np.uint64(30)) % np.uint64(1 << 32), np.float64) / 256


def text_of(tag: int, ts: int) -> str:
    """The only right text of a text tag at this time (µs)."""
    return f"t{tag}@{ts}"


def keys_of(tag: Ints, ts: Ints) -> Ints:
    """(tag, time) folded into one sortable integer."""
    return np.asarray(tag.astype(np.int64) << _TS_BITS) | ts


def split_keys(keys: Ints) -> tuple[Ints, Ints]:
    """Inverse of `keys_of`."""
    return keys >> _TS_BITS, keys & ((1 << _TS_BITS) - 1)


class Sent(NamedTuple):
    """Distinct keys, sorted: all that was handed over, and the part of it that was acknowledged."""

    keys: Ints
    acknowledged: Ints


@dataclass(slots=True)
class _Message:
    keys: Ints
    acknowledged: bool = False
    attempts: int = 0


class Record:
    """Exact record of a round's messages. Safe for use by many threads.

    A message is *unknown* from the moment before it is handed over until its acknowledgement arrives.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._messages: list[_Message] = []
        self._last: dict[str, float] = {}
        self._gaps: dict[str, float] = {}
        self._newest: tuple[float, Ints] = (0.0, np.zeros(0, np.int64))
        self.surprises: list[str] = []
        """Answers that no sender should ever get; each is a failure."""

    def sent(self, tag: Ints, ts: Ints) -> int:
        """Note a message before it is handed over; returns its number."""
        with self._lock:
            self._messages.append(_Message(keys_of(tag, ts)))
            return len(self._messages) - 1

    def add(self, tag: Ints, ts: Ints, known: npt.NDArray[np.bool_]) -> None:
        """Note readings of a sender that keeps its own record; `known`: the acknowledged ones."""
        keys = keys_of(tag.astype(np.int64), ts.astype(np.int64))
        with self._lock:
            self._messages += [_Message(keys), _Message(keys[known], acknowledged=True)]

    def attempted(self, number: int) -> None:
        """One more attempt to hand it over."""
        with self._lock:
            self._messages[number].attempts += 1

    def acknowledged(self, number: int, way: str) -> None:
        """The acknowledgement has arrived by this way (http, mqtt, opcua)."""
        now = time.monotonic()
        with self._lock:
            message = self._messages[number]
            message.acknowledged = True
            self._newest = (now, message.keys)
            self._gaps[way] = max(self._gaps.get(way, 0.0), now - self._last.get(way, now))
            self._last[way] = now

    def surprised(self, what: str) -> None:
        """Note an answer that should not be."""
        with self._lock:
            if len(self.surprises) < 20:
                self.surprises.append(what)

    def newest(self) -> tuple[float, Ints]:
        """When (monotonic) the last acknowledgement came, and the keys it was for."""
        with self._lock:
            return self._newest

    def outages(self) -> dict[str, float]:
        """Longest time between two acknowledgements, by way, in seconds."""
        with self._lock:
            return {way: round(gap, 2) for way, gap in sorted(self._gaps.items())}

    def rows_handed_over(self) -> int:
        """Rows times attempts: more can never arrive."""
        with self._lock:
            return sum(len(m.keys) * m.attempts for m in self._messages)

    def unknown(self) -> int:
        """Rows handed over whose acknowledgement never came."""
        with self._lock:
            return sum(len(m.keys) for m in self._messages if not m.acknowledged)

    def all(self) -> Sent:
        """Everything so far."""
        with self._lock:
            messages = [(m.keys, m.acknowledged) for m in self._messages]
        return Sent(
            _distinct([keys for keys, _ in messages]), _distinct([keys for keys, known in messages if known])
        )


def _distinct(parts: list[Ints]) -> Ints:
    return np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.int64)
