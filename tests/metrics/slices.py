"""Hand-made slices of one or more machines, for the pure part of the rollup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from metrics.rollup import compute
from store.rollups import ROLES, TEXT, RawSlice, runs_of
from store.times import HOUR_US

T0 = 1_790_000_000 // 3600 * 3600  # a full hour, s since the epoch
GOOD, UNCERTAIN, BAD = 0, 0x4000, -0x8000
LATER = T0 + 100 * 3600

Reading = tuple[float, float] | tuple[float, float, int]


@dataclass
class Bench:
    """One machine (equipment 1) on a bench: times in seconds after T0."""

    readings: dict[str, list[Reading]]
    hours: Sequence[int] = (0,)
    interval_s: float = 60.0
    shifts: Sequence[tuple[float, float]] = ()
    off: Sequence[tuple[float, float]] = ()
    orders: Sequence[tuple[float, float, float]] = ()
    stoppages: Sequence[tuple[float, float]] = ()
    per_h: float = float("nan")
    now_s: float = 100 * 3600
    shuffle: Sequence[int] | None = None
    valid_from_s: float = -1000 * 3600
    _tags: list[str] = field(default_factory=list)

    def slice(self) -> RawSlice:
        tags = list(self.readings)
        rows = [
            (tag, *(reading if len(reading) == 3 else (*reading, GOOD)))
            for tag, signal in enumerate(tags, 1)
            for reading in self.readings[signal]
        ]
        if self.shuffle is not None:
            rows = [rows[i % len(rows)] for i in self.shuffle]
        column = list(zip(*rows, strict=True)) if rows else [[], [], [], []]
        us = lambda values: np.array([round((T0 + v) * 1e6) for v in values], np.int64)  # noqa: E731
        hours = T0 * 1_000_000 + np.array(self.hours, np.int64) * HOUR_US
        spans = [*[(a, b, 0) for a, b in self.shifts], *[(a, b, 1) for a, b in self.off]]
        spans.sort()
        return RawSlice(
            runs=runs_of(np.ones(len(hours), np.int32), hours),
            rows={
                "run": np.zeros(len(rows), np.int32),
                "tag_id": np.array(column[0], np.int32),
                "ts": us(column[1]),
                "value": np.array(column[2], np.float64),
                "quality": np.array(column[3], np.int16),
            },
            tags={
                "tag_id": np.arange(1, len(tags) + 1, dtype=np.int32),
                "equipment_id": np.ones(len(tags), np.int32),
                "role": np.array(
                    [TEXT if s == "text" else ROLES.index(s) if s in ROLES else 0 for s in tags], np.int16
                ),
            },
            schedules={
                "tag_id": np.arange(1, len(tags) + 1, dtype=np.int32),
                "valid_from": np.repeat(us([self.valid_from_s]), len(tags)),
                "interval_s": np.full(len(tags), self.interval_s),
            },
            calendar={
                "equipment_id": np.ones(len(spans), np.int32),
                "start": us([a for a, _, _ in spans]),
                "end": us([b for _, b, _ in spans]),
                "kind": np.array([k for _, _, k in spans], np.int16),
            },
            orders={
                "equipment_id": np.ones(len(self.orders), np.int32),
                "start": us([a for a, _, _ in self.orders]),
                "end": us([b for _, b, _ in self.orders]),
                "pri_s": np.array([p for _, _, p in self.orders], np.float64),
            },
            rated={"equipment_id": np.ones(1, np.int32), "per_h": np.array([self.per_h])},
            stoppages={
                "equipment_id": np.ones(len(self.stoppages), np.int32),
                "start": us([a for a, _ in self.stoppages]),
                "end": us([b for _, b in self.stoppages]),
            },
        )

    def compute(self) -> pd.DataFrame:
        return compute(self.slice(), round((T0 + self.now_s) * 1e6))

    def hour(self) -> pd.Series:
        frame = self.compute()
        assert len(frame) == 1
        return frame.iloc[0]


def every(step: float, start: float, end: float, value: object) -> list[Reading]:
    """Readings each `step` seconds in [start, end]; `value` a number or a function of the time."""
    times = np.arange(start, end + step / 2, step)
    return [(float(t), float(value(t) if callable(value) else value)) for t in times]  # type: ignore[arg-type]
