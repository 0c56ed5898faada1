"""From the open interface's JSON to a Batch (docs/interface.md). Pure functions, no I/O.

What is wrong with one row refuses that row; what is wrong with the whole raises Malformed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ingest.batch import Batch, Mode, Refusal
from ingest.quality import quality_column
from ingest.rfc3339 import epoch_us_column

MAX_ROWS = 200_000
MAX_TEXT = 32_768
"""Characters of one text value: a reading is an alarm or a state, not a document."""
MAX_NAME = 400
"""Characters of a tag's name in columns, where one name may stand for every row."""


_MOST_COMMAS = 8 * MAX_ROWS
"""In a body whose rows are looked at one by one."""


class Malformed(Exception):
    """The whole input cannot be read. `reason` is a code of store.reasons, `parameters` fill its text."""

    def __init__(self, reason: str, parameters: dict[str, str]) -> None:
        super().__init__(reason, parameters)
        self.reason = reason
        self.parameters = parameters


class _Row(msgspec.Struct, gc=False):
    tag: str
    ts: str
    value: float | int | bool | str | None
    quality: int | str | None = None


class _Columns(msgspec.Struct, gc=False):
    tag: list[int]
    ts: list[int]
    value: list[float | int | bool | str | None]
    quality: list[int | str | None] | None = None


class _Body(msgspec.Struct, gc=False):
    mode: Literal["live", "backfill"] = "live"
    records: list[_Row] | None = None
    tags: list[str] | None = None
    columns: _Columns | None = None


class _RawBody(msgspec.Struct, gc=False):
    mode: Literal["live", "backfill"] = "live"
    records: list[msgspec.Raw] | None = None


class _Values(msgspec.Struct, gc=False):
    ts: str
    values: dict[str, Any]
    quality: int | str | None = None
    mode: Literal["live", "backfill"] = "live"


_BODY = msgspec.json.Decoder(_Body)
_RAW_BODY = msgspec.json.Decoder(_RawBody)
_VALUES = msgspec.json.Decoder(_Values)
_ROW = msgspec.json.Decoder(_Row)


@dataclass(slots=True)
class _Rows:
    """Rows on their way to columns; `place` names each row's place in the input."""

    tag: list[str]
    ts: list[str]
    value: list[Any]
    quality: list[int | str | None]
    index: list[int]
    refused: list[Refusal]


@dataclass(frozen=True, slots=True)
class Decoded:
    """A Batch, and for each of its readings the index of the row in the input (int64[n])."""

    batch: Batch
    index: npt.NDArray[np.int64]


def decode_measurements(
    body: bytes, *, unit: str, source: str, received_at: int, mode: str | None = None
) -> Decoded:
    """Decode the body of `POST /api/v1/measurements`; `mode` overrides the body's own. Raises Malformed."""
    try:
        decoded = _measurements(body, unit, source, received_at)
    except RecursionError as error:
        raise too_deep() from error
    except UnicodeDecodeError as error:
        raise not_utf8(body) from error
    if mode is None or mode == decoded.batch.mode:
        return decoded
    return Decoded(replace(decoded.batch, mode=mode_of(mode)), decoded.index)


def mode_of(text: str) -> Mode:
    """`live` or `backfill`. Raises Malformed."""
    if text == "live":
        return "live"
    if text == "backfill":
        return "backfill"
    detail = f"must be live or backfill, got {text[:40]}"
    raise Malformed("wrong_shape", {"place": "mode", "detail": detail})


def decode_values(body: bytes, *, equipment: str, unit: str, source: str, received_at: int) -> Decoded:
    """Decode `{"ts", "values": {signal: value}}` of one equipment. Raises Malformed."""
    try:
        return _one_time(body, equipment, unit, source, received_at)
    except RecursionError as error:
        raise too_deep() from error
    except UnicodeDecodeError as error:
        raise not_utf8(body) from error


def _measurements(body: bytes, unit: str, source: str, received_at: int) -> Decoded:
    try:
        parsed = _BODY.decode(body)
    except msgspec.ValidationError as error:
        return _row_by_row(body, error, unit, source, received_at)
    except msgspec.DecodeError as error:
        raise malformed_json(body, error) from error
    if (parsed.records is None) == (parsed.columns is None):
        raise Malformed("wrong_shape", {"place": "$", "detail": "needs either records or columns"})
    if parsed.columns is not None:
        return _from_columns(parsed, parsed.columns, unit, source, received_at)
    records = parsed.records or []
    _limit(len(records))
    rows = _Rows(
        [r.tag for r in records],
        [r.ts for r in records],
        [r.value for r in records],
        [r.quality for r in records],
        list(range(len(records))),
        [],
    )
    return _from_rows(rows, parsed.mode, unit, source, received_at)


def _one_time(body: bytes, equipment: str, unit: str, source: str, received_at: int) -> Decoded:
    try:
        parsed = _VALUES.decode(body)
    except msgspec.ValidationError as error:
        raise Malformed("wrong_shape", {"place": "$", "detail": str(error)}) from error
    except msgspec.DecodeError as error:
        raise malformed_json(body, error) from error
    n = len(parsed.values)
    rows = _Rows(
        [f"{equipment}.{signal}" for signal in parsed.values],
        [parsed.ts] * n,
        list(parsed.values.values()),
        [parsed.quality] * n,
        list(range(n)),
        [],
    )
    return _from_rows(rows, parsed.mode, unit, source, received_at)


def decode_json(
    body: bytes, *, unit: str, source: str, received_at: int, equipment: str | None = None
) -> Batch:
    """As the two above, for senders that cannot be answered: an unreadable body becomes one Refusal."""
    try:
        if equipment is None:
            return decode_measurements(body, unit=unit, source=source, received_at=received_at).batch
        return decode_values(
            body, equipment=equipment, unit=unit, source=source, received_at=received_at
        ).batch
    except Malformed as error:
        refusal = Refusal(place="$", reason=error.reason, parameters=error.parameters, original=body)
        return empty(unit, source, received_at, (refusal,))


def empty(unit: str, source: str, received_at: int, refused: tuple[Refusal, ...]) -> Batch:
    """A Batch without readings, to carry refusals."""
    return Batch(
        unit=unit,
        source=source,
        tags=(),
        tag_index=np.empty(0, np.int32),
        ts=np.empty(0, np.int64),
        value=np.empty(0, np.float64),
        quality=np.empty(0, np.int16),
        received_at=received_at,
        refused=refused,
    )


def _from_columns(body: _Body, columns: _Columns, unit: str, source: str, received_at: int) -> Decoded:
    n = len(columns.tag)
    _limit(n)
    lengths = {len(columns.tag), len(columns.ts), len(columns.value)}
    if columns.quality is not None:
        lengths.add(len(columns.quality))
    if len(lengths) > 1:
        raise Malformed("wrong_shape", {"place": "columns", "detail": "columns differ in length"})
    tags = body.tags or []
    check_names(tags)

    def refusal(i: int, field: str, reason: str, parameters: dict[str, str]) -> Refusal:
        tag = tags[columns.tag[i]] if 0 <= columns.tag[i] < len(tags) else None
        original = _column_row(columns, i, tag)
        return Refusal(f"records[{i}].{field}", reason, parameters, original, tag, columns.ts[i])

    try:
        tag_index = np.array(columns.tag, np.int32)
        ts = np.array(columns.ts, np.int64)
    except OverflowError as error:
        raise Malformed("wrong_shape", {"place": "columns", "detail": "an integer is too large"}) from error
    keep = (tag_index >= 0) & (tag_index < len(tags))
    refused = [
        refusal(i, "tag", "unknown_tag", {"tag": f"#{columns.tag[i]}"})
        for i in np.flatnonzero(~keep).tolist()
    ]
    value, text, bad = _values(columns.value)
    for i, reason, parameters in bad:
        if keep[i]:
            keep[i] = False
            refused.append(refusal(i, "value", reason, parameters))
    quality, unknown = quality_column(columns.quality, n)
    for i in unknown:
        if keep[i]:
            keep[i] = False
            parameters = {"got": str(columns.quality[i] if columns.quality else None)}
            refused.append(refusal(i, "quality", "bad_quality", parameters))
    batch = Batch(
        unit=unit,
        source=source,
        mode=body.mode,
        tags=tuple(tags),
        tag_index=tag_index,
        ts=ts,
        value=value,
        quality=quality,
        text=text,
        received_at=received_at,
        refused=tuple(refused),
    )
    index = np.arange(n)
    return Decoded(batch, index) if keep.all() else Decoded(batch.take(keep), index[keep])


def _from_rows(rows: _Rows, mode: Mode, unit: str, source: str, received_at: int) -> Decoded:
    ts, bad_ts = epoch_us_column(rows.ts)
    value, text, bad_value = _values(rows.value)
    quality, bad_quality = quality_column(rows.quality, len(rows.tag))
    keep = np.ones(len(rows.tag), np.bool_)
    refused = rows.refused
    faults = [(i, "ts", reason, {"got": rows.ts[i]}) for i, reason in bad_ts]
    faults += [(i, "value", reason, parameters) for i, reason, parameters in bad_value]
    faults += [(i, "quality", "bad_quality", {"got": str(rows.quality[i])}) for i in bad_quality]
    for i, field, reason, parameters in faults:
        if keep[i]:
            keep[i] = False
            place = f"records[{rows.index[i]}].{field}"
            at = int(ts[i]) if field != "ts" else None
            refused.append(Refusal(place, reason, parameters, _row_bytes(rows, i), rows.tag[i], at))
    named = pa.array(rows.tag, pa.string()).dictionary_encode()
    batch = Batch(
        unit=unit,
        source=source,
        mode=mode,
        tags=tuple(named.dictionary.to_pylist()),
        tag_index=named.indices.to_numpy(),
        ts=ts,
        value=value,
        quality=quality,
        text=text,
        received_at=received_at,
        refused=tuple(refused),
    )
    index = np.array(rows.index, np.int64)
    return Decoded(batch, index) if keep.all() else Decoded(batch.take(keep), index[keep])


def _row_by_row(
    body: bytes, error: msgspec.ValidationError, unit: str, source: str, received_at: int
) -> Decoded:
    """Somewhere a row has the wrong shape: take every row by itself, with its original bytes."""
    if body.count(b",") > _MOST_COMMAS:  # 16 MiB of nothing but commas would take a gigabyte
        raise Malformed("wrong_shape", {"place": "$", "detail": str(error)}) from error
    try:
        parsed = _RAW_BODY.decode(body)
    except msgspec.ValidationError as outer:
        raise Malformed("wrong_shape", {"place": "$", "detail": str(outer)}) from outer
    except msgspec.DecodeError as broken:  # further on than the wrong row
        raise malformed_json(body, broken) from broken
    if parsed.records is None:
        raise Malformed("wrong_shape", {"place": "$", "detail": str(error)}) from error
    _limit(len(parsed.records))
    rows = _Rows([], [], [], [], [], [])
    for i, raw in enumerate(parsed.records):
        try:
            row = _ROW.decode(raw)
        except msgspec.ValidationError as fault:
            rows.refused.append(_row_fault(i, bytes(raw), fault))
            continue
        except msgspec.DecodeError as broken:
            raise malformed_json(bytes(raw), broken) from broken
        rows.tag.append(row.tag)
        rows.ts.append(row.ts)
        rows.value.append(row.value)
        rows.quality.append(row.quality)
        rows.index.append(i)
    return _from_rows(rows, parsed.mode, unit, source, received_at)


def _row_fault(i: int, raw: bytes, fault: msgspec.ValidationError) -> Refusal:
    text = str(fault)
    if "missing required field" in text:
        field = text.split("`")[1]
        return Refusal(f"records[{i}]", "missing_field", {"field": field}, raw)
    message, _, path = text.partition(" - at ")
    field = path.strip("`").removeprefix("$").removeprefix(".") or "row"
    expected, _, got = message.removeprefix("Expected ").partition(", got ")
    place = f"records[{i}].{field}" if field != "row" else f"records[{i}]"
    parameters = {"field": field, "expected": expected.strip("`"), "got": got.strip("`")}
    return Refusal(place, "wrong_type", parameters, raw)


_NUMBERS: frozenset[type] = frozenset({int, float, bool})


def _values(
    values: Sequence[Any],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.object_] | None, list[tuple[int, str, dict[str, str]]]]:
    """JSON values → (float64[n], text[n] or None, faults). Text never becomes a number."""
    kinds = set(map(type, values))
    if kinds <= _NUMBERS:
        try:
            return np.array(values, np.float64), None, []
        except OverflowError:
            pass
    number = np.zeros(len(values), np.float64)
    text = np.full(len(values), None, object)
    faults: list[tuple[int, str, dict[str, str]]] = []
    for i, value in enumerate(values):
        if isinstance(value, str):
            text[i] = value
            if len(value) > MAX_TEXT:
                faults.append((i, "text_too_long", {"limit": str(MAX_TEXT)}))
        elif value is None:
            faults.append((i, "missing_value", {}))
        elif isinstance(value, (int, float)):
            try:
                number[i] = value
            except OverflowError:
                faults.append((i, "not_finite", {}))
        else:
            faults.append((i, "unsupported_value", {"got": type(value).__name__}))
    return number, (text if str in kinds else None), faults


def _row_bytes(rows: _Rows, i: int) -> bytes:
    row = {"tag": rows.tag[i], "ts": rows.ts[i], "value": rows.value[i]}
    if rows.quality[i] is not None:
        row["quality"] = rows.quality[i]
    return msgspec.json.encode(row)


def _column_row(columns: _Columns, i: int, tag: str | None) -> bytes:
    """A row of the columns as a row by itself, with its tag's name where it has one."""
    row = {"tag": columns.tag[i] if tag is None else tag, "ts": columns.ts[i], "value": columns.value[i]}
    if columns.quality is not None and columns.quality[i] is not None:
        row["quality"] = columns.quality[i]
    return msgspec.json.encode(row)


def _limit(n: int) -> None:
    if n > MAX_ROWS:
        raise Malformed("too_many_rows", {"limit": str(MAX_ROWS), "got": str(n)})


def check_names(names: Sequence[str]) -> None:
    """Raises Malformed when there are too many, or one is too long to be a name."""
    _limit(len(names))
    for i, name in enumerate(names):
        if len(name) > MAX_NAME:
            detail = f"a name of more than {MAX_NAME} characters"
            raise Malformed("wrong_shape", {"place": f"tags[{i}]", "detail": detail})


def malformed_json(body: bytes, error: msgspec.DecodeError) -> Malformed:
    """msgspec's error as ours, with line and column (both from 1)."""
    text = str(error)
    head, _, tail = text.rpartition("(byte ")
    offset = int(tail.rstrip(")")) if head and tail.rstrip(")").isdigit() else len(body)
    detail = (head or text).strip().removeprefix("JSON is malformed: ")
    return _malformed_at(body, offset, detail)


def not_utf8(body: bytes) -> Malformed:
    """For a UnicodeDecodeError, which tells a place within some text: bytes that are no UTF-8."""
    offset = len(body)
    try:
        body.decode()
    except UnicodeDecodeError as error:
        offset = error.start
    return _malformed_at(body, offset, "invalid UTF-8")


def _malformed_at(body: bytes, offset: int, detail: str) -> Malformed:
    before = body[:offset]
    line = before.count(b"\n") + 1
    column = offset - (before.rfind(b"\n") + 1) + 1
    return Malformed("malformed_json", {"line": str(line), "column": str(column), "detail": detail})


def too_deep() -> Malformed:
    """For a RecursionError: brackets within brackets, beyond what any reader takes."""
    return Malformed("malformed_json", {"line": "1", "column": "1", "detail": "nested too deeply"})
