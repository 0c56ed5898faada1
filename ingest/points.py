"""Points as InfluxDB and Telegraf have them (measurement, tags, fields, time) → readings. Pure.

The mapping (docs/interface.md): the reading's tag is `<equipment>.<signal>`. The equipment is the value
of the first of EQUIPMENT_TAGS that the point has, or else its measurement; the signal is the field, and
the field `value` of a point whose tags name the equipment stands for its measurement. The fields of
QUALITY_FIELDS are no readings but the quality of the point's others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ingest.batch import Batch, Mode, Refusal
from ingest.decoded import (
    MAX_ROWS,
    Decoded,
    Malformed,
    Origin,
    check_names,
    refused_value,
    values_column,
    wrong_shape,
)
from ingest.quality import quality_column

EQUIPMENT_TAGS = ("equipment", "device", "source", "host")
QUALITY_FIELDS = ("quality", "Quality")
PRECISIONS: Mapping[str, int] = {"ns": 1_000_000_000, "us": 1_000_000, "ms": 1000, "s": 1}
"""Name → ticks a second."""

_STATUS = re.compile(r".*\(0[xX]([0-9A-Fa-f]{1,8})\)\s*")
"""An OPC UA status as Telegraf's OPC UA inputs write it: `OK (0x0)`."""
_LIMITS = np.iinfo(np.int64)


def ticks_of(precision: str) -> int:
    """Ticks a second. Raises Malformed."""
    if precision not in PRECISIONS:
        known, got = ", ".join(PRECISIONS), precision[:40]
        raise wrong_shape("precision", f"应为 {known} 之一,收到 {got}", f"must be one of {known}, got {got}")
    return PRECISIONS[precision]


class Points:
    """Readings of points, gathered one by one. `equipment_tag`: the tag that names the equipment, "" = none does."""

    def __init__(self, ticks: int, equipment_tag: str | None = None) -> None:
        self._ticks = ticks
        self._keys = EQUIPMENT_TAGS if equipment_tag is None else (equipment_tag,) if equipment_tag else ()
        self._asked = equipment_tag
        self._names: dict[str, int] = {}
        self._tag: list[int] = []
        self._ts: list[int] = []
        self._value: list[Any] = []
        self._quality: list[int | str | None] = []
        self._record: list[int] = []
        self._number: list[int] = []
        self._refused: list[tuple[int, str, str, dict[str, str], bytes]] = []
        self._on_arrival: dict[int, int] = {}  # reading → how many points without a time came before its own
        self._untimed = 0

    def equipment(self, measurement: str, tags: Mapping[str, str]) -> tuple[str, bool] | None:
        """(Equipment, whether a tag named it); None: there is no tag that was asked for."""
        for key in self._keys:
            if key in tags:
                return tags[key], True
        return None if self._asked else (measurement, False)

    def code(self, measurement: str, equipment: tuple[str, bool], field: str) -> int:
        """The number of a field's reading among the names; -1: it is the quality of the others."""
        if field in QUALITY_FIELDS:
            return -1
        code, by_tag = equipment
        name = f"{code}.{measurement if by_tag and field == 'value' else field}"
        return self._names.setdefault(name, len(self._names))

    def add(self, number: int, codes: list[int], values: list[Any], ts: int | None) -> None:
        """Add the readings of the point of this number (its line, or its place in a list). Raises Malformed.

        `ts` None: the time of arrival, and 1 µs later for each such point, so that none takes another's place.
        """
        quality: Any = None
        if -1 in codes:
            quality = _status(values[codes.index(-1)])
            values = [value for code, value in zip(codes, values, strict=True) if code >= 0]
            codes = [code for code in codes if code >= 0]
        self._room(len(codes))
        if ts is None:
            begun, ts = len(self._ts), 0
            self._on_arrival |= dict.fromkeys(range(begun, begun + len(codes)), self._untimed)
            self._untimed += 1
        self._record += range(len(self._number), len(self._number) + len(codes))
        self._number += [number] * len(codes)
        self._tag += codes
        self._value += values
        self._ts += [ts] * len(codes)
        self._quality += [quality] * len(codes)

    def refuse(self, number: int, reason: str, parameters: dict[str, str], original: bytes) -> None:
        """Refuse the whole point of this number, as one record. Raises Malformed."""
        self._room(1)
        self._refused.append((len(self._number), "", reason, parameters, original))
        self._number.append(number)

    def _room(self, n: int) -> None:
        if len(self._number) + n > MAX_ROWS:
            raise Malformed("too_many_rows", {"limit": str(MAX_ROWS), "got": f"> {MAX_ROWS}"})

    def decoded(self, word: str, mode: Mode, unit: str, source: str, received_at: int) -> Decoded:
        """All of it as a Batch; `word` says what the points are numbered by. Raises Malformed."""
        names = tuple(self._names)
        check_names(names)
        origin = Origin(word, np.array(self._number, np.int64))
        tag_index, record = np.array(self._tag, np.int32), np.array(self._record, np.int64)
        ts = _micros(np.array(self._ts, np.int64), self._ticks)
        if self._on_arrival:
            ts[list(self._on_arrival)] = received_at + np.array(list(self._on_arrival.values()), np.int64)
        value, text, faults = values_column(self._value)
        quality, unknown = quality_column(self._quality, len(self._quality))
        found = [(i, "value", reason, parameters) for i, reason, parameters in faults]
        found += [(i, "quality", "bad_quality", {"got": str(self._quality[i])[:100]}) for i in unknown]
        refusals = [
            Refusal(origin.place(at, field), reason, parameters, original)
            for at, field, reason, parameters, original in self._refused
        ]
        keep = np.ones(len(record), np.bool_)
        for i, field, reason, parameters in found:
            if keep[i]:
                keep[i] = False
                place = origin.place(int(record[i]), field)
                tag, at = names[self._tag[i]], int(ts[i])
                refusals.append(refused_value(place, reason, parameters, tag, at, self._value[i]))
        batch = Batch(
            unit=unit, source=source, mode=mode, tags=names, tag_index=tag_index, ts=ts, value=value,
            quality=quality, text=text, received_at=received_at, refused=tuple(refusals),
        )  # fmt: skip
        return (
            Decoded(batch, record, origin) if keep.all() else Decoded(batch.take(keep), record[keep], origin)
        )


def _micros(ticks: npt.NDArray[np.int64], a_second: int) -> npt.NDArray[np.int64]:
    """µs; what lies beyond int64 becomes its first or last, which no clock can mean."""
    if a_second >= 1_000_000:
        return ticks // (a_second // 1_000_000)
    factor = 1_000_000 // a_second
    return np.clip(ticks, -(_LIMITS.max // factor), _LIMITS.max // factor) * factor


def _status(given: Any) -> Any:
    """A quality field as `quality_column` takes it."""
    if isinstance(given, bool):
        return str(given)
    if isinstance(given, str) and (match := _STATUS.fullmatch(given)):
        return int(match[1], 16)
    if isinstance(given, float):
        return int(given) if given.is_integer() else str(given)
    return given if given is None or isinstance(given, (int, str)) else str(given)
