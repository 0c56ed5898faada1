"""Some rows of a file of measurements → readings as the open interface takes them in Arrow. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qunce.push.mapping import As, Mapping, MappingError, Time

_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_PER_S = {"s": 1_000_000.0, "ms": 1_000.0, "us": 1.0, "ns": 0.001}
_BOOLEANS = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "是": 1.0, "否": 0.0, "on": 1.0, "off": 0.0}
_STAMP = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Readings:
    """`table`: tag, ts, value, text, quality; `row` int64: the file's row (from 0) of each reading.

    `untimed`: rows whose time cannot be read, and what is there.
    """

    table: Any
    row: Any
    untimed: list[tuple[int, str]]


def readings(rows: Any, mapping: Mapping, first_row: int) -> Readings:
    """The readings of a pyarrow table of rows; cells without a value are left out.

    Raises MappingError where the mapping cannot be right for this file.
    """
    ts, bad = _times(rows.column(mapping.time.column), mapping.time)
    untimed = [(first_row + i, str(rows.column(mapping.time.column)[i].as_py())) for i in bad]
    quality = _quality(rows, mapping)
    number = np.arange(first_row, first_row + rows.num_rows, dtype=np.int64)
    parts = []
    if mapping.long is not None:
        long = mapping.long
        tag = _texts(rows.column(long.tag))
        if long.names:
            tag = pa.array([long.names.get(one, one) for one in tag.to_pylist()], pa.string())
        parts.append(_part(tag, ts, rows.column(long.value), long.kind, quality, number))
    else:
        for column, target in mapping.tags.items():
            tag = pa.array([target.tag] * rows.num_rows, pa.string())
            parts.append(_part(tag, ts, rows.column(column), target.kind, quality, number))
    table = pa.concat_tables([part for part, _ in parts]).combine_chunks()
    table = table.set_column(0, "tag", pc.dictionary_encode(table.column("tag")))
    return Readings(table, np.concatenate([row for _, row in parts]), untimed)


def _part(tag: Any, ts: Any, cells: Any, kind: As, quality: Any, number: Any) -> tuple[Any, Any]:
    value, text = _VALUES[kind](cells)
    table = pa.table({"tag": tag, "ts": ts, "value": value, "text": text, "quality": quality})
    said = pc.and_(pc.is_valid(ts), pc.or_(pc.is_valid(value), pc.is_valid(text)))
    said = pc.and_(said, pc.is_valid(tag))
    return table.filter(said), number[said.to_numpy(zero_copy_only=False)]


def _texts(cells: Any) -> Any:
    """As trimmed text; null where there is nothing."""
    array = pa.chunked_array([cells]) if isinstance(cells, pa.Array) else cells
    text = pc.utf8_trim_whitespace(pc.cast(array.combine_chunks(), pa.string()))
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def _numbers(cells: Any) -> tuple[Any, Any]:
    """(numbers, what is none as text)."""
    kind = cells.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)):
        try:
            value = pc.cast(cells.combine_chunks(), pa.float64(), safe=False)
        except pa.ArrowException as error:
            raise MappingError(f"no numbers: a column of {kind}") from error
        value = pc.if_else(pc.is_nan(value), pa.scalar(None, pa.float64()), value)
        return value, pa.nulls(len(value), pa.string())
    text = _texts(cells)
    is_number = pc.match_substring_regex(text, _NUMBER)
    nothing = pa.scalar(None, pa.string())
    return pc.cast(pc.if_else(is_number, text, nothing), pa.float64()), pc.if_else(is_number, nothing, text)


def _words(cells: Any) -> tuple[Any, Any]:
    text = _texts(cells)
    return pa.nulls(len(text), pa.float64()), text


def _flags(cells: Any) -> tuple[Any, Any]:
    text = _texts(cells).to_pylist()
    value = [None if one is None else _BOOLEANS.get(one.lower()) for one in text]
    rest = [one if value[i] is None else None for i, one in enumerate(text)]
    return pa.array(value, pa.float64()), pa.array(rest, pa.string())


_VALUES: dict[As, Callable[[Any], tuple[Any, Any]]] = {"number": _numbers, "text": _words, "bool": _flags}


def _quality(rows: Any, mapping: Mapping) -> Any:
    if mapping.quality is None:
        return pa.nulls(rows.num_rows, pa.string())
    names = {
        written: name for name in ("good", "uncertain", "bad") for written in getattr(mapping.quality, name)
    }
    found = _texts(rows.column(mapping.quality.column)).to_pylist()
    return pa.array([None if one is None else names.get(one, one) for one in found], pa.string())


def _times(cells: Any, time: Time) -> tuple[Any, list[int]]:
    """(timestamps in UTC, null where there is none; rows that hold something else)."""
    kind = cells.type
    if pa.types.is_timestamp(kind):
        return _zoned(cells.combine_chunks(), time, kind.tz), []
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        if time.unit == "iso":
            raise MappingError(f"time.unit: the column {time.column} holds numbers; say s, ms, us or ns")
        return _counted(cells.combine_chunks(), time), []
    text = _texts(cells)
    if time.unit != "iso":
        good = pc.match_substring_regex(text, _NUMBER)
        given = pc.if_else(good, text, pa.scalar(None, pa.string()))
        bad = pc.and_(pc.is_valid(text), pc.invert(good))
        counted = _counted(pc.cast(given, pa.float64()), time)
        return counted, np.flatnonzero(pc.fill_null(bad, False).to_numpy(zero_copy_only=False)).tolist()
    try:
        if time.format is not None:
            return _zoned(pc.strptime(text, format=time.format, unit="us"), time, None), []
        return _zoned(pc.cast(text, pa.timestamp("us")), time, None), []
    except pa.ArrowException:
        return _one_by_one(text.to_pylist(), time)


def _zoned(stamps: Any, time: Time, zone: str | None) -> Any:
    if zone is None:
        if time.zone is None:
            raise MappingError(f"time.zone: times of the column {time.column} name no zone; say which it is")
        stamps = pc.assume_timezone(pc.cast(stamps, pa.timestamp("us")), time.zone, ambiguous="earliest")
    return pc.cast(stamps, _STAMP, safe=False)


def _counted(numbers: Any, time: Time) -> Any:
    if pa.types.is_integer(numbers.type):
        stamps = pc.cast(pc.cast(numbers, pa.int64()), pa.timestamp(time.unit, tz="UTC"))
        return pc.cast(stamps, _STAMP, safe=False)
    micros = pc.round(pc.multiply(pc.cast(numbers, pa.float64()), _PER_S[time.unit]))
    return pc.cast(pc.cast(micros, pa.int64(), safe=False), _STAMP)


def _one_by_one(texts: list[str | None], time: Time) -> tuple[Any, list[int]]:
    """What the columnar way cannot: times with a zone in the text, and finding the row that is none."""
    zone = None if time.zone is None else ZoneInfo(time.zone)
    found: list[datetime | None] = []
    bad: list[int] = []
    for i, text in enumerate(texts):
        moment = None
        if text is not None:
            try:
                moment = (
                    datetime.fromisoformat(text)
                    if time.format is None
                    else datetime.strptime(text, time.format)  # noqa: DTZ007 the zone follows
                )
            except ValueError:
                bad.append(i)
            if moment is not None and moment.tzinfo is None:
                if zone is None:
                    raise MappingError(
                        f"time.zone: times of the column {time.column} name no zone; say which it is"
                    )
                moment = moment.replace(tzinfo=zone)
        found.append(None if moment is None else moment.astimezone(UTC))
    return pa.array(found, _STAMP), bad
