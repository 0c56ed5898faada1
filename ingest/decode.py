"""From the open interface's JSON to a Batch (docs/interface.md). Pure functions, no I/O.

What is wrong with one row refuses that row; what is wrong with the whole raises Malformed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from ingest.batch import Batch, Refusal
from ingest.decoded import (
    MAX_ROWS,
    Decoded,
    Envelope,
    Malformed,
    Origin,
    check_names,
    check_rows,
    empty,
    mode_of,
    place_of,
    values_column,
    worded,
    wrong_shape,
)
from ingest.quality import quality_column
from ingest.rfc3339 import BadTime, epoch_us, epoch_us_column
from ingest.telegraf import Faulty, Metric, decode_metrics

_MOST_COMMAS = 8 * MAX_ROWS
"""In a body whose rows are looked at one by one."""
_FIELD_SHOWN = 100
_EXPECTED = re.compile(r"Expected `(.+?)`, got `(.+?)`(?: - at `(.+)`)?")
_MOST_LINES = 4 * MAX_ROWS
"""In a body of lines, blank ones among them."""


class _Row(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    tag: str
    ts: str
    value: float | int | bool | str | None
    quality: int | str | None = None


class _Columns(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    tag: list[int]
    ts: list[int]
    value: list[float | int | bool | str | None]
    quality: list[int | str | None] | None = None


class _Head(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    mode: Literal["live", "backfill", "correction"] = "live"
    source_id: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    msg_id: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    sent_at: str | None = None
    schema_version: Literal["1", 1] | None = None


class _Body(_Head, gc=False):
    records: list[_Row] | None = None
    tags: list[str] | dict[str, str] | None = None
    columns: _Columns | None = None
    metrics: list[Metric] | None = None
    name: str | None = None
    fields: dict[str, Any] | None = None
    timestamp: int | str | None = None


class _RawBody(_Head, gc=False):
    records: list[msgspec.Raw] | None = None
    metrics: list[msgspec.Raw] | None = None
    tags: msgspec.Raw = msgspec.Raw()
    columns: msgspec.Raw = msgspec.Raw()
    name: msgspec.Raw = msgspec.Raw()
    fields: msgspec.Raw = msgspec.Raw()
    timestamp: msgspec.Raw = msgspec.Raw()


class _Values(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    ts: str
    values: dict[str, Any]
    quality: int | str | None = None
    mode: Literal["live", "backfill", "correction"] = "live"


_KINDS_ZH = {
    "str": "文本",
    "int": "整数",
    "float": "数字",
    "object": "JSON 对象",
    "array": "JSON 数组",
    "bool": "布尔值",
}
_JSON_ZH = {
    "invalid character": "字符不合法",
    "trailing characters": "内容结束之后还有字符",
    "trailing comma in array": "数组末尾多了逗号",
    "trailing comma in object": "对象末尾多了逗号",
    "expected ',' or ']'": "应为 , 或 ]",
    "expected ',' or '}'": "应为 , 或 }",
    "expected ':'": "应为 :",
    "expected '\"'": "应为引号",
    "object keys must be strings": "对象的键应为文本",
    "Input data was truncated": "内容不完整",
    "invalid number": "数字不合法",
    "invalid escape character in string": "文本中的转义不合法",
}
"""What msgspec says of JSON that is none; what is not here is said in its own words."""
_BODY = msgspec.json.Decoder(_Body)
_RAW_BODY = msgspec.json.Decoder(_RawBody)
_VALUES = msgspec.json.Decoder(_Values)
_ROW = msgspec.json.Decoder(_Row)
_METRIC = msgspec.json.Decoder(Metric)


class _Who(NamedTuple):
    """Whose body it is, when it came, and how metrics are read."""

    unit: str
    source: str
    received_at: int
    precision: str = "s"
    equipment_tag: str | None = None


@dataclass(slots=True)
class _Rows:
    """Rows on their way to columns; `index` numbers each as the input does."""

    tag: list[str]
    ts: list[str]
    value: list[Any]
    quality: list[int | str | None]
    index: list[int]
    refused: list[Refusal]

    def add(self, i: int, row: _Row) -> None:
        """Add the row of this number."""
        self.tag.append(row.tag)
        self.ts.append(row.ts)
        self.value.append(row.value)
        self.quality.append(row.quality)
        self.index.append(i)


def decode_measurements(
    body: bytes,
    *,
    unit: str,
    source: str,
    received_at: int,
    mode: str | None = None,
    precision: str = "s",
    equipment_tag: str | None = None,
) -> Decoded:
    """Decode the body of `POST /api/v1/measurements`: rows, columns, or Telegraf's metrics. Raises Malformed.

    `mode` overrides the body's own; `precision` and `equipment_tag` see `ingest.telegraf`.
    """
    who = _Who(unit, source, received_at, precision, equipment_tag)
    try:
        decoded = _measurements(body, who)
    except UNREADABLE as error:
        raise unreadable(body, error) from error
    if mode is None or mode == decoded.batch.mode:
        return decoded
    return replace(decoded, batch=replace(decoded.batch, mode=mode_of(mode)))


def decode_values(body: bytes, *, equipment: str, unit: str, source: str, received_at: int) -> Decoded:
    """Decode `{"ts", "values": {signal: value}}` of one equipment. Raises Malformed."""
    try:
        return _one_time(body, equipment, _Who(unit, source, received_at))
    except UNREADABLE as error:
        raise unreadable(body, error) from error


def _measurements(body: bytes, who: _Who) -> Decoded:
    try:
        parsed = _BODY.decode(body)
    except msgspec.ValidationError as error:
        return _row_by_row(body, error, who)
    given = (parsed.records, parsed.columns, parsed.metrics, parsed.fields)
    if sum(form is not None for form in given) != 1:
        raise wrong_shape("$", "须有 records 或 columns 之一", "needs either records or columns")
    if parsed.metrics is not None:
        return _from_metrics(parsed.metrics, parsed, who)
    if parsed.fields is not None:
        return _from_metrics([_single(parsed, parsed.fields)], parsed, who)
    if parsed.columns is not None:
        return _from_columns(parsed, parsed.columns, who)
    records = parsed.records or []
    check_rows(len(records))
    rows = _Rows(
        [r.tag for r in records],
        [r.ts for r in records],
        [r.value for r in records],
        [r.quality for r in records],
        list(range(len(records))),
        [],
    )
    return _from_rows(rows, parsed, who)


def _single(body: _Body, fields: dict[str, Any]) -> Metric:
    """Telegraf's form of one metric by itself. Raises Malformed."""
    if body.name is None or isinstance(body.tags, list):
        raise wrong_shape("$", "metric 须有 name,tags 为对象", "a metric has a name, and tags as an object")
    return Metric(body.name, fields, body.tags or {}, body.timestamp)


def _from_metrics(metrics: Iterable[Metric | Faulty], head: _Head, who: _Who) -> Decoded:
    decoded = decode_metrics(
        metrics, unit=who.unit, source=who.source, received_at=who.received_at, mode=mode_of(head.mode),
        precision=who.precision, equipment_tag=who.equipment_tag,
    )  # fmt: skip
    return replace(decoded, envelope=_envelope(head))


def _one_time(body: bytes, equipment: str, who: _Who) -> Decoded:
    try:
        parsed = _VALUES.decode(body)
    except msgspec.ValidationError as error:
        raise misshapen(error, _Values) from error
    n = len(parsed.values)
    rows = _Rows(
        [f"{equipment}.{signal}" for signal in parsed.values],
        [parsed.ts] * n,
        list(parsed.values.values()),
        [parsed.quality] * n,
        list(range(n)),
        [],
    )
    return _from_rows(rows, _Head(parsed.mode), who)


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


def _from_columns(body: _Body, columns: _Columns, who: _Who) -> Decoded:
    n = len(columns.tag)
    check_rows(n)
    lengths = {len(columns.tag), len(columns.ts), len(columns.value)}
    if columns.quality is not None:
        lengths.add(len(columns.quality))
    if len(lengths) > 1:
        raise wrong_shape("columns", "各列长度不同", "columns differ in length")
    tags = body.tags or []
    if isinstance(tags, dict):
        raise wrong_shape(
            "tags", "与 columns 同用时,tags 为名称列表", "beside columns, tags is a list of names"
        )
    check_names(tags)

    def refusal(i: int, field: str, reason: str, parameters: dict[str, str]) -> Refusal:
        tag = tags[columns.tag[i]] if 0 <= columns.tag[i] < len(tags) else None
        original = _column_row(columns, i, tag)
        return Refusal(f"records[{i}].{field}", reason, parameters, original, tag, columns.ts[i])

    try:
        tag_index = np.array(columns.tag, np.int32)
        ts = np.array(columns.ts, np.int64)
    except OverflowError as error:
        raise wrong_shape("columns", "整数过大", "an integer is too large") from error
    keep = (tag_index >= 0) & (tag_index < len(tags))
    refused = [
        refusal(
            i, "tag", "wrong_shape", {"place": f"columns.tag[{i}]"} | _no_such_name(columns.tag[i], len(tags))
        )
        for i in np.flatnonzero(~keep).tolist()
    ]
    value, text, bad = values_column(columns.value)
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
        unit=who.unit,
        source=who.source,
        mode=mode_of(body.mode),
        tags=tuple(tags),
        tag_index=tag_index,
        ts=ts,
        value=value,
        quality=quality,
        text=text,
        received_at=who.received_at,
        refused=tuple(refused),
    )
    index = np.arange(n)
    envelope = _envelope(body)
    if keep.all():
        return Decoded(batch, index, None, envelope, by_row=False)
    return Decoded(batch.take(keep), index[keep], None, envelope, by_row=False)


def _no_such_name(index: int, names: int) -> dict[str, str]:
    return worded(
        f"为 {index},而 tags 只有 {names} 个名称(序号从 0 起)",
        f"is {index}, and tags has {names} names, numbered from 0",
    )


def _envelope(head: _Head) -> Envelope:
    sent_at = None
    if head.sent_at is not None:
        try:
            sent_at = epoch_us(head.sent_at)
        except BadTime as wrong:
            parameters = {"got": head.sent_at[:100]}
            raise Malformed(wrong.reason, parameters) from None
    return Envelope(head.source_id, head.msg_id, sent_at)


def decode_ndjson(
    body: bytes, *, unit: str, source: str, received_at: int, mode: str | None = None
) -> Decoded:
    """Decode a reading a line; a line that is none is refused by itself. Raises Malformed."""
    if body.count(b"\n") > _MOST_LINES:
        raise Malformed("too_many_rows", {"limit": str(MAX_ROWS), "got": f"> {_MOST_LINES}"})
    number, lines = [], []
    for i, line in enumerate(body.split(b"\n"), 1):
        if line and not line.isspace():
            number.append(i)
            lines.append(line)
    check_rows(len(lines))
    origin = Origin("line", np.array(number, np.int64))
    rows = _Rows([], [], [], [], [], [])
    for i, line in enumerate(lines):
        try:
            row = _ROW.decode(line)
        except msgspec.ValidationError as fault:
            rows.refused.append(_row_fault(i, line, fault, origin))
        except UNREADABLE as broken:
            rows.refused.append(_line_fault(i, line, unreadable(line, broken), origin))
        else:
            rows.add(i, row)
    return _from_rows(rows, _Head(mode_of(mode or "live")), _Who(unit, source, received_at), origin)


def _line_fault(i: int, line: bytes, fault: Malformed, origin: Origin) -> Refusal:
    parameters = {**fault.parameters, "line": str(origin.number[i])}
    return Refusal(origin.place(i), fault.reason, parameters, line)


def _from_rows(rows: _Rows, head: _Head, who: _Who, origin: Origin | None = None) -> Decoded:
    ts, bad_ts = epoch_us_column(rows.ts)
    value, text, bad_value = values_column(rows.value)
    quality, bad_quality = quality_column(rows.quality, len(rows.tag))
    keep = np.ones(len(rows.tag), np.bool_)
    refused = rows.refused
    faults = [(i, "ts", reason, {"got": rows.ts[i]}) for i, reason in bad_ts]
    faults += [(i, "value", reason, parameters) for i, reason, parameters in bad_value]
    faults += [(i, "quality", "bad_quality", {"got": str(rows.quality[i])}) for i in bad_quality]
    for i, field, reason, parameters in faults:
        if keep[i]:
            keep[i] = False
            place = place_of(rows.index[i], field, origin)
            at = int(ts[i]) if field != "ts" else None
            refused.append(Refusal(place, reason, parameters, _row_bytes(rows, i), rows.tag[i], at))
    named = pa.array(rows.tag, pa.string()).dictionary_encode()
    batch = Batch(
        unit=who.unit,
        source=who.source,
        mode=mode_of(head.mode),
        tags=tuple(named.dictionary.to_pylist()),
        tag_index=named.indices.to_numpy(),
        ts=ts,
        value=value,
        quality=quality,
        text=text,
        received_at=who.received_at,
        refused=tuple(refused),
    )
    index = np.array(rows.index, np.int64)
    envelope = _envelope(head)
    if keep.all():
        return Decoded(batch, index, origin, envelope)
    return Decoded(batch.take(keep), index[keep], origin, envelope)


def _row_by_row(body: bytes, error: msgspec.ValidationError, who: _Who) -> Decoded:
    """Somewhere a row has the wrong shape: take every row by itself, with its original bytes."""
    if body.count(b",") > _MOST_COMMAS:  # 16 MiB of nothing but commas would take a gigabyte
        raise other_form(error) from error
    try:
        parsed = _RAW_BODY.decode(body)
    except msgspec.ValidationError as outer:
        raise misshapen(outer, _Body) from outer
    if parsed.metrics is not None and parsed.records is None:
        check_rows(len(parsed.metrics))
        return _from_metrics(map(_metric, parsed.metrics), parsed, who)
    if parsed.records is None:
        raise misshapen(error, _Columns) from error
    check_rows(len(parsed.records))
    rows = _Rows([], [], [], [], [], [])
    for i, raw in enumerate(parsed.records):
        try:
            row = _ROW.decode(raw)
        except msgspec.ValidationError as fault:
            rows.refused.append(_row_fault(i, bytes(raw), fault))
            continue
        except msgspec.DecodeError as broken:
            raise unreadable(bytes(raw), broken) from broken
        rows.add(i, row)
    return _from_rows(rows, parsed, who)


def misshapen(error: msgspec.ValidationError, within: type[msgspec.Struct]) -> Malformed:
    """A body of another form; `within`: what a field that is not known was found in."""
    if (field := _unknown(str(error))) is not None:
        return Malformed("unknown_field", {"field": field, "known": _fields(within)})
    return other_form(error)


def other_form(error: msgspec.ValidationError) -> Malformed:
    """What msgspec says of a body of another form, as ours."""
    en = str(error)
    zh = en
    if (expected := _EXPECTED.fullmatch(en)) is not None:
        zh = f"{expected[3] or '$'} 应为 {expected[1]},收到 {expected[2]}"
    elif en.startswith("Object missing required field"):
        zh = f"缺少 {en.split('`')[1]}"
    return wrong_shape("$", zh, en)


def _unknown(text: str) -> str | None:
    """The field that the Struct has not, if that is what msgspec says."""
    return text.split("`")[1] if text.startswith("Object contains unknown field") else None


def _fields(within: type[msgspec.Struct]) -> str:
    return ", ".join(within.__struct_fields__)


def _metric(raw: msgspec.Raw) -> Metric | Faulty:
    original = bytes(raw)
    try:
        return _METRIC.decode(original)
    except msgspec.ValidationError as fault:
        refusal = _row_fault(0, original, fault)
        return Faulty(refusal.reason, refusal.parameters, original)
    except msgspec.DecodeError as broken:
        raise unreadable(original, broken) from broken


def _row_fault(i: int, raw: bytes, fault: msgspec.ValidationError, origin: Origin | None = None) -> Refusal:
    text = str(fault)
    if "missing required field" in text:
        field = text.split("`")[1]
        return Refusal(place_of(i, "", origin), "missing_field", {"field": field}, raw)
    if (unknown := _unknown(text)) is not None:
        place = place_of(i, unknown[:_FIELD_SHOWN], origin)
        return Refusal(place, "unknown_field", {"field": unknown[:_FIELD_SHOWN], "known": _fields(_Row)}, raw)
    message, _, path = text.partition(" - at ")
    field = path.strip("`").removeprefix("$").removeprefix(".") or "row"
    expected, _, got = message.removeprefix("Expected ").partition(", got ")
    place = place_of(i, field if field != "row" else "", origin)
    if field == "ts" and got.strip("`") in ("int", "float"):
        return Refusal(place, "timestamp_malformed", {"got": str(msgspec.json.decode(raw)["ts"])[:100]}, raw)
    if text.startswith("Number out of range"):
        return Refusal(place, "not_finite", {}, raw)
    if field == "value":
        return Refusal(place, "unsupported_value", {"got": got.strip("`")}, raw)
    if field == "quality":
        return Refusal(place, "bad_quality", {"got": got.strip("`")}, raw)
    expected = expected.strip("`")
    parameters = {
        "field": field, "expected": expected, "expected_zh": _KINDS_ZH.get(expected, expected), "got": got.strip("`"),
    }  # fmt: skip
    return Refusal(place, "wrong_type", parameters, raw)


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


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises of bytes that are no JSON."""


def unreadable(body: bytes, error: Exception) -> Malformed:
    """One of UNREADABLE as ours, with line and column in the body (both from 1)."""
    if isinstance(error, RecursionError):  # brackets within brackets, beyond what any reader takes
        return Malformed(
            "malformed_json", {"line": "1", "column": "1"} | worded("嵌套过深", "nested too deeply")
        )
    if isinstance(error, UnicodeDecodeError):
        return _malformed_at(body, _no_utf8_at(body), "不是合法的 UTF-8", "invalid UTF-8")
    text = str(error)
    head, _, tail = text.rpartition("(byte ")
    offset = int(tail.rstrip(")")) if head and tail.rstrip(")").isdigit() else len(body)
    detail = (head or text).strip().removeprefix("JSON is malformed: ")
    return _malformed_at(body, offset, _JSON_ZH.get(detail, detail), detail)


def _no_utf8_at(body: bytes) -> int:
    """Where bytes are no UTF-8; msgspec tells a place within some text."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return error.start
    return len(body)


def _malformed_at(body: bytes, offset: int, zh: str, en: str) -> Malformed:
    before = body[:offset]
    line = before.count(b"\n") + 1
    column = offset - (before.rfind(b"\n") + 1) + 1
    return Malformed("malformed_json", {"line": str(line), "column": str(column)} | worded(zh, en))
