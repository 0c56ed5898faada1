"""From readings and records to request bodies. Pure functions."""

from __future__ import annotations

import functools
import gzip
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

Mode = Literal["live", "backfill", "correction"]
Value = float | int | bool | str | None
ROWS_A_REQUEST = 20_000
COLUMN_ROWS_A_REQUEST = 50_000
RECORDS_A_REQUEST = 5_000
JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
_MOST_BYTES = 12 * 2**20
"""Before compression; the platform takes 16 MiB."""
_GZIP_FROM_BYTES = 32 * 2**10
"""What is smaller the platform decodes more cheaply as it is."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)


class Reading(NamedTuple):
    """One reading. `ts` is the source's clock, with a zone; `quality`: an OPC UA StatusCode or `good`, `uncertain`, `bad`."""

    tag: str
    ts: datetime
    value: Value
    quality: int | str | None = None


class Body(NamedTuple):
    """A request's body: its bytes as sent, what they are, how compressed, and how many rows are in it."""

    content: bytes
    content_type: str
    coding: str
    rows: int


def of_readings(readings: Iterable[Reading | Mapping[str, Any]], mode: Mode) -> Iterator[Body]:
    """Rows; a mapping has the names of the interface (`tag`, `ts`, `value`, `quality`). Raises ValueError by row."""
    rows = (_row(i, reading) for i, reading in enumerate(readings))
    while part := list(itertools.islice(rows, ROWS_A_REQUEST)):
        yield from _fitting(part, lambda some: _json({"mode": mode, "records": some}))


def of_records(records: Iterable[Mapping[str, Any]], reason: str | None) -> Iterator[Body]:
    """Records of a dataset; dates and times may be Python's. Raises ValueError."""
    why = {} if reason is None else {"reason": reason}
    rows = iter(records)
    while part := list(itertools.islice(rows, RECORDS_A_REQUEST)):
        yield from _fitting(part, lambda some: _json({**why, "records": some}))


def of_columns(
    tag: Sequence[str], ts: Sequence[datetime] | Sequence[int], value: Sequence[Value],
    quality: Sequence[int | str | None] | None, mode: Mode,
) -> Iterator[Body]:  # fmt: skip
    """Columns of equal length; `ts` in µs since 1970 UTC, or with a zone. Arrow where it can be, else JSON. Raises ValueError."""
    lengths = {len(tag), len(ts), len(value)} | ({len(quality)} if quality is not None else set())
    if len(lengths) > 1:
        raise ValueError(f"the columns differ in length: {sorted(lengths)}")
    values = _plain(value)
    qualities = [None] * len(values) if quality is None else _plain(quality)
    for i, one in enumerate(values):
        _require_finite(f"value[{i}]", one)
    rows = list(
        zip(
            map(str, tag),
            (_micros(f"ts[{i}]", at) for i, at in enumerate(_plain(ts))),
            values,
            qualities,
            strict=True,
        )
    )
    for start in range(0, len(rows), COLUMN_ROWS_A_REQUEST):
        part = rows[start : start + COLUMN_ROWS_A_REQUEST]
        yield from _fitting(part, lambda some: _columns(some, mode, rated=quality is not None))


def of_table(table: Any, mode: Mode) -> Iterator[Body]:
    """A pyarrow Table with the interface's columns. Raises ValueError without pyarrow."""
    if _pyarrow() is None:
        raise ValueError("Arrow needs pyarrow: pip install pyarrow")
    for start in range(0, table.num_rows, COLUMN_ROWS_A_REQUEST):
        yield from _fitting(table.slice(start, COLUMN_ROWS_A_REQUEST), lambda some: _arrow(some, mode))


def plain(content: Mapping[str, Any]) -> Body:
    """A small JSON object by itself."""
    return Body(*_json(dict(content)), "", 1)


def _fitting(rows: Any, encode: Callable[[Any], tuple[bytes, str]]) -> Iterator[Body]:
    """As few bodies as the platform's limit allows, in order; `rows` is anything that can be cut."""
    content, content_type = encode(rows)
    if len(content) > _MOST_BYTES and len(rows) > 1:
        half = len(rows) // 2
        yield from _fitting(rows[:half], encode)
        yield from _fitting(rows[half:], encode)
    elif len(content) < _GZIP_FROM_BYTES:
        yield Body(content, content_type, "", len(rows))
    else:
        yield Body(gzip.compress(content, 6, mtime=0), content_type, "gzip", len(rows))


def _columns(rows: list[tuple[str, int, Any, Any]], mode: Mode, *, rated: bool) -> tuple[bytes, str]:
    tag, ts, value, quality = map(list, zip(*rows, strict=True))
    pa = _pyarrow()
    if pa is not None and {type(v) for v in value} <= {float, int}:
        columns = {
            "tag": pa.array(tag).dictionary_encode(),
            "ts": pa.array(ts, pa.int64()),
            "value": pa.array(value, pa.float64()),
        }
        if not rated:
            return _arrow(pa.table(columns), mode)
        if {type(q) for q in quality} <= {int}:
            return _arrow(pa.table({**columns, "quality": pa.array(quality, pa.int64())}), mode)
    names = {name: i for i, name in enumerate(dict.fromkeys(tag))}
    given = {"tag": [names[name] for name in tag], "ts": ts, "value": value}
    return _json(
        {"mode": mode, "tags": list(names), "columns": {**given, **({"quality": quality} if rated else {})}}
    )


@functools.cache
def _pyarrow() -> Any:
    """pyarrow, loaded when it is first needed, as that takes longer than all the rest; None: it is not installed."""
    try:
        import pyarrow
    except ImportError:
        return None
    return pyarrow


def _arrow(table: Any, mode: Mode) -> tuple[bytes, str]:
    pa = _pyarrow()
    table = table.replace_schema_metadata({"mode": mode}).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes(), ARROW


def _row(i: int, reading: Reading | Mapping[str, Any]) -> dict[str, Any]:
    row = dict(reading) if isinstance(reading, Mapping) else reading._asdict()
    if row.get("quality") is None:
        row.pop("quality", None)
    if isinstance(ts := row.get("ts"), datetime):
        _require_zone(f"readings[{i}].ts", ts)
        row["ts"] = ts.isoformat()
    _require_finite(f"readings[{i}].value", row.get("value"))
    return row


def _micros(place: str, at: datetime | int) -> int:
    if not isinstance(at, datetime):
        return int(at)
    _require_zone(place, at)
    return (at - _EPOCH) // _US


def _require_zone(place: str, at: datetime) -> None:
    if at.tzinfo is None:
        raise ValueError(f"{place} {at.isoformat()} has no zone; use datetime.now(UTC), say")


def _require_finite(place: str, value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{place} is {value}, which is no measurement: leave the reading out")


def _plain(column: Sequence[Any]) -> list[Any]:
    """Python's own numbers: NumPy's and pandas' columns know how."""
    to_list = getattr(column, "tolist", None)
    return list(column) if to_list is None else list(to_list())


def _json(content: dict[str, Any]) -> tuple[bytes, str]:
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_other)
    return text.encode(), JSON


def _other(value: Any) -> Any:
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "item"):  # a number of NumPy's
        return value.item()
    raise ValueError(f"{type(value).__name__} has no form in JSON: {value!r}")
