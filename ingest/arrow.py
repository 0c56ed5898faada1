"""From an Arrow IPC stream of the open interface to a Batch (docs/interface.md). Pure functions, no I/O.

Columns stay columns: no Python object a reading. What comes from outside is checked before it is
used: nothing is decompressed, types are those of a closed list, every offset and index is validated.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ingest.batch import Batch, Mode, Refusal
from ingest.decoded import MAX_ROWS, MAX_TEXT, Decoded, Malformed, check_names, mode_of, wrong_shape
from ingest.quality import NAMES

CONTENT_TYPE = "application/vnd.apache.arrow.stream"
COLUMNS = ("tag", "ts", "value", "text", "quality")
MAX_RECORD_BATCHES = 1000
MAX_TEXT_BYTES = 16 * 2**20
"""All texts of a stream together: one entry of a dictionary may stand in every row."""

_VIEW_BYTES, _INLINE_BYTES = 16, 12
"""Of a view: its length, and the text itself when it is short; else its beginning, the buffer, and the place there."""
_FILE_MAGIC = b"ARROW1"
_US = {"s": 1_000_000, "ms": 1000, "us": 1}
_LIMITS = np.iinfo(np.int64)

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(slots=True)
class _Parts:
    """The columns as they come, one array a record batch."""

    code: list[Ints] = field(default_factory=list)
    ts: list[Ints] = field(default_factory=list)
    value: list[npt.NDArray[np.float64]] = field(default_factory=list)
    quality: list[Ints] = field(default_factory=list)
    text: list[npt.NDArray[np.object_]] = field(default_factory=list)
    no_tag: list[Flags] = field(default_factory=list)
    no_ts: list[Flags] = field(default_factory=list)
    no_value: list[Flags] = field(default_factory=list)
    both: list[Flags] = field(default_factory=list)
    long: list[Flags] = field(default_factory=list)
    bad_quality: list[Flags] = field(default_factory=list)


def decode_arrow(
    body: bytes, *, unit: str, source: str, received_at: int, mode: str | None = None
) -> Decoded:
    """Decode a stream of record batches; `mode` overrides that of the schema's metadata. Raises Malformed."""
    try:
        _survey(body)
        with pa.ipc.open_stream(body, options=pa.ipc.IpcReadOptions(use_threads=False)) as reader:
            _check_schema(reader.schema)
            said = (reader.schema.metadata or {}).get(b"mode", b"live").decode(errors="replace")
            chosen = mode_of(said if mode is None else mode)
            records = list(reader)
        view_left = MAX_TEXT_BYTES
        for i, record in enumerate(records):
            record.validate(full=True)
            records[i], used = _without_views(record, view_left)
            view_left -= used
    except (pa.ArrowException, OSError, UnicodeDecodeError, struct.error, IndexError) as error:
        raise _malformed(str(error).partition("\n")[0]) from error
    names, codes = _tags([record.column("tag") for record in records])
    parts = _Parts(code=codes)
    text_left = MAX_TEXT_BYTES
    for record in records:
        text_left -= _read(record, parts, text_left)
    return _decoded(records, parts, names, chosen, unit, source, received_at)


def _survey(body: bytes) -> None:
    """Refuse what must not be read at all: the file format, compressed buffers, too many rows or record batches."""
    if body.startswith(_FILE_MAGIC):
        raise _malformed(
            "this is the IPC file format (Feather, IPC 文件格式); the IPC stream format is needed"
        )
    source = pa.BufferReader(body)
    rows = batches = 0
    for message in pa.ipc.MessageReader.open_stream(source):
        if message.type not in ("record batch", "dictionary"):
            continue
        length, compressed = _record_batch(memoryview(message.metadata))
        if compressed:
            raise Malformed("compressed_arrow", {})
        batches += 1
        rows += length if message.type == "record batch" else 0
        if batches > MAX_RECORD_BATCHES:
            raise wrong_shape(
                "$",
                f"record batch 与 dictionary 超过 {MAX_RECORD_BATCHES} 个",
                f"more than {MAX_RECORD_BATCHES} record batches and dictionaries",
            )
        if length < 0 or length > MAX_ROWS or rows > MAX_ROWS:
            raise Malformed("too_many_rows", {"limit": str(MAX_ROWS), "got": str(max(length, rows))})
    if bytes(body[source.tell() :]).strip(b"\0"):
        raise _malformed("there is more after the end of the stream")


def _record_batch(metadata: memoryview) -> tuple[int, bool]:
    """(rows, whether its buffers are compressed) of a message with a record batch or a dictionary.

    Read from the flatbuffer itself (Message.fbs): pyarrow shows neither before it has decompressed.
    Raises struct.error or IndexError where there is no such thing.
    """

    def at(table: int, number: int) -> int:
        """Where a field of a table lies; 0 when it is absent."""
        entries = table - struct.unpack_from("<i", metadata, table)[0]
        place = 4 + 2 * number
        if place >= struct.unpack_from("<H", metadata, entries)[0]:
            return 0
        offset = int(struct.unpack_from("<H", metadata, entries + place)[0])
        return table + offset if offset else 0

    def table(place: int) -> int:
        return place + int(struct.unpack_from("<I", metadata, place)[0])

    message = table(0)
    batch = table(at(message, 2))
    if metadata[at(message, 1)] == 2:  # a dictionary, around a record batch
        batch = table(at(batch, 1))
    length = at(batch, 0)
    return struct.unpack_from("<q", metadata, length)[0] if length else 0, at(batch, 3) != 0


def _check_schema(schema: pa.Schema) -> None:
    names = schema.names
    known = ", ".join(COLUMNS)
    for name in names:
        if name not in COLUMNS:
            raise Malformed("unknown_field", {"field": name, "known": known})
        if names.count(name) > 1:
            raise wrong_shape(name, "该列出现两次", "the column is there twice")
    for name in ("tag", "ts"):
        if name not in names:
            raise Malformed("missing_field", {"field": name})
    if "value" not in names and "text" not in names:
        raise Malformed("missing_field", {"field": "value"})
    for name, kind in zip(names, schema.types, strict=True):
        if name == "ts" and pa.types.is_timestamp(kind) and kind.tz is None:
            raise Malformed("timestamp_without_zone", {"got": f"ts: {kind}"})
        fits, expected = _TYPES[name]
        if not fits(kind):
            raise Malformed("wrong_type", {"field": name, "expected": expected, "got": str(kind)})
        if name == "value" and "text" in names and _is_text(kind):
            raise wrong_shape(
                "value",
                "与 text 列同用时,value 列应为数字",
                "beside a column text, the column value holds numbers",
            )


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_boolean(kind) or kind in (pa.float32(), pa.float64()))


_TYPES: dict[str, tuple[Callable[[pa.DataType], bool], str]] = {
    "tag": (_is_text, "string, large_string, string_view, or a dictionary of them"),
    "ts": (
        lambda kind: pa.types.is_timestamp(kind) or pa.types.is_int64(kind),
        "timestamp with a time zone, or int64 (µs since 1970, UTC)",
    ),
    "value": (
        lambda kind: _is_number(kind) or _is_text(kind),
        "float64, float32, an integer, bool, string, large_string, string_view, or a dictionary of strings",
    ),
    "text": (_is_text, "string, large_string, string_view, or a dictionary of them"),
    "quality": (
        lambda kind: pa.types.is_integer(kind) or _is_text(kind),
        "an integer (OPC UA StatusCode), string, large_string, string_view, or a dictionary of strings",
    ),
}


def _without_views(record: pa.RecordBatch, left: int) -> tuple[pa.RecordBatch, int]:
    """(The record batch with its views as strings, their bytes). Raises Malformed when these are more than `left`."""
    used = 0
    for i, column in enumerate(record.columns):
        coded = pa.types.is_dictionary(column.type)
        views = column.dictionary if coded else column
        if not pa.types.is_string_view(views.type):
            continue
        plain, size = _strings(views, left - used)
        used += size
        plain = pa.DictionaryArray.from_arrays(column.indices, plain) if coded else plain
        record = record.set_column(i, record.schema.names[i], plain)
    return record, used


def _strings(views: pa.Array, left: int) -> tuple[pa.Array, int]:
    """(Views as strings, their bytes). Raises Malformed or ArrowException.

    Made by hand: pyarrow 26 follows a view of a stream out of its buffer, whatever it has validated. And
    many views can be of the same bytes, so that they are measured before anything is made of them.
    """
    if not len(views):
        return pa.array([], pa.string()), 0
    _, raw, *data = views.buffers()
    first, end = views.offset, views.offset + len(views)
    if raw is None or raw.size < _VIEW_BYTES * end:
        raise _malformed("fewer views than rows")
    size, _, which, start = np.frombuffer(raw, np.int32, 4 * end).reshape(-1, 4)[first:].astype(np.int64).T
    null = _is_null(views)
    size = np.where(null, 0, size)
    far = size > _INLINE_BYTES
    room = np.array([0 if one is None else one.size for one in data] + [-1])
    known = np.where(far & (which >= 0) & (which < len(data)), which, len(data))
    if (size < 0).any() or (far & ((start < 0) | (start + size > room[known]))).any():
        raise _malformed("a view leads out of its buffer")
    used = int(size.sum())
    if used > left:
        raise Malformed("body_too_large", {"limit_bytes": str(MAX_TEXT_BYTES), "got_bytes": str(used)})
    own, others = memoryview(raw), [memoryview(one or b"") for one in data]
    places = zip(far.tolist(), which.tolist(), start.tolist(), size.tolist(), strict=True)
    text = b"".join(
        others[w][s : s + n] if is_far else own[_VIEW_BYTES * i + 4 : _VIEW_BYTES * i + 4 + n]
        for i, (is_far, w, s, n) in enumerate(places, first)
    )
    offsets = np.concatenate(([0], np.cumsum(size))).astype(np.int32)
    valid = pa.array(~null).buffers()[1]
    plain = pa.Array.from_buffers(pa.string(), len(views), [valid, pa.py_buffer(offsets), pa.py_buffer(text)])
    plain.validate(full=True)
    return plain, used


def _tags(columns: list[pa.Array]) -> tuple[tuple[str, ...], list[Ints]]:
    """(Names, for each column the index of each row's name; -1 where it is null)."""
    dictionaries: list[pa.Array] = []
    codes, size, first = [], 0, 0
    for column in columns:
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        names = encoded.dictionary.cast(pa.string())
        if not dictionaries or not names.equals(dictionaries[-1]):
            first = size
            size += len(names)
            if size > MAX_ROWS:
                raise Malformed("too_many_rows", {"limit": str(MAX_ROWS), "got": str(size)})
            dictionaries.append(names)
        index = encoded.indices.cast(pa.int64()).fill_null(-1).to_numpy()
        codes.append(np.where(index < 0, -1, index + first))
    if not size:
        return (), codes
    every = pa.chunked_array(dictionaries).combine_chunks().dictionary_encode()
    known = tuple(every.dictionary.to_pylist())
    check_names(known)
    # A null among the names gets no code either; the last entry is where -1 looks.
    renamed = np.append(every.indices.cast(pa.int64()).fill_null(-1).to_numpy(), -1)
    return known, [renamed[code] for code in codes]


def _read(record: pa.RecordBatch, parts: _Parts, text_left: int) -> int:
    """Append a record batch's columns; returns the bytes of its texts."""
    n = record.num_rows
    nothing = np.zeros(n, np.bool_)
    parts.no_tag.append(parts.code[len(parts.no_tag)] < 0)
    ts = record.column("ts")
    parts.no_ts.append(_is_null(ts))
    parts.ts.append(_micros(ts))
    names = record.schema.names
    value, text = None, None
    if "value" in names:
        column = record.column("value")
        value, text = (None, column) if _is_text(column.type) else (column, None)
    if "text" in names:
        text = record.column("text")
    no_number, number = np.ones(n, np.bool_), np.zeros(n)
    if value is not None:
        no_number = _is_null(value)
        number = value.cast(pa.float64(), safe=False).fill_null(0.0).to_numpy(zero_copy_only=False)
    parts.value.append(number)
    used, long = 0, nothing
    if text is None:
        no_text = ~nothing
    else:
        used = _all_bytes(text, text_left)
        parts.text.append(_objects(text))
        long = _of_texts(text, pc.utf8_length) > MAX_TEXT
        no_text = _is_null(text)
    parts.no_value.append(no_number & no_text)
    parts.both.append(~no_number & ~no_text)
    parts.long.append(long)
    quality, bad = (np.zeros(n, np.int64), nothing)
    if "quality" in names:
        column = record.column("quality")
        used += _all_bytes(column, text_left - used) if _is_text(column.type) else 0
        quality, bad = _quality(column)
    parts.quality.append(quality)
    parts.bad_quality.append(bad)
    return used


def _is_null(column: pa.Array) -> Flags:
    """Where there is nothing, in a dictionary's names too."""
    null: Flags = pc.is_null(column).to_numpy(zero_copy_only=False)
    if pa.types.is_dictionary(column.type) and column.dictionary.null_count:
        of_name = np.append(_is_null(column.dictionary), True)
        null = of_name[column.indices.cast(pa.int64()).fill_null(-1).to_numpy()]
    return null


def _micros(ts: pa.Array) -> Ints:
    """µs; what lies beyond int64 becomes its first or last, which no clock can mean. 0 for null."""
    raw: Ints = ts.cast(pa.int64()).fill_null(0).to_numpy()
    unit = ts.type.unit if pa.types.is_timestamp(ts.type) else "us"
    if unit == "ns":
        return raw // 1000
    factor = _US[unit]
    return np.clip(raw, -(_LIMITS.max // factor), _LIMITS.max // factor) * factor


def _of_texts(text: pa.Array, measure: Callable[[pa.Array], pa.Array]) -> Ints:
    """`measure` of every row's text, of null 0; once for each entry of a dictionary."""
    if not pa.types.is_dictionary(text.type):
        plain: Ints = measure(text).cast(pa.int64()).fill_null(0).to_numpy()
        return plain
    entries = np.append(_of_texts(text.dictionary, measure), 0)
    chosen: Ints = entries[text.indices.cast(pa.int64()).fill_null(-1).to_numpy()]
    return chosen


def _all_bytes(text: pa.Array, left: int) -> int:
    """Bytes of all rows' texts. Raises Malformed when there are more than `left`."""
    used = int(_of_texts(text, pc.binary_length).sum())
    if used > left:
        raise Malformed("body_too_large", {"limit_bytes": str(MAX_TEXT_BYTES), "got_bytes": str(used)})
    return used


def _objects(text: pa.Array) -> npt.NDArray[np.object_]:
    """Texts as Python strings, one for each entry of a dictionary."""
    if not pa.types.is_dictionary(text.type):
        plain: npt.NDArray[np.object_] = text.to_numpy(zero_copy_only=False)
        return plain
    names: Any = np.append(text.dictionary.to_numpy(zero_copy_only=False), [None])
    chosen: npt.NDArray[np.object_] = names[text.indices.cast(pa.int64()).fill_null(-1).to_numpy()]
    return chosen


def _quality(column: pa.Array) -> tuple[Ints, Flags]:
    """(int64[n] as in a Batch, where it cannot be read bool[n]); null is good."""
    null = _is_null(column)
    if pa.types.is_integer(column.type):
        # An unsigned number beyond int64 is no StatusCode either way.
        status = column.cast(pa.int64(), safe=False).fill_null(0).to_numpy()
        bad = (status < 0) | (status > 0xFFFFFFFF)
        high = np.where(bad, 0, status) >> 16
        return np.where(high >= 0x8000, high - 0x10000, high), bad & ~null
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    meaning = np.array([NAMES.get(name or "", 0) for name in names] + [0], np.int64)
    unknown = np.array([name not in NAMES for name in names] + [False], np.bool_)
    index = encoded.indices.cast(pa.int64()).fill_null(-1).to_numpy()
    return meaning[index], unknown[index] & ~null


def _decoded(
    records: list[pa.RecordBatch],
    parts: _Parts,
    names: tuple[str, ...],
    mode: Mode,
    unit: str,
    source: str,
    received_at: int,
) -> Decoded:
    code, ts = _joined(parts.code, np.int64), _joined(parts.ts, np.int64)
    n = len(code)
    text = _joined(parts.text, object) if any(len(part) for part in parts.text) else None
    keep = np.ones(n, np.bool_)
    faults: dict[int, tuple[str, str, dict[str, str]]] = {}
    for column, reason, where, parameters in (
        ("tag", "missing_field", parts.no_tag, {"field": "tag"}),
        ("ts", "missing_field", parts.no_ts, {"field": "ts"}),
        ("value", "missing_value", parts.no_value, {}),
        ("value", "wrong_type", parts.both, {"field": "value", "expected": "value or text", "got": "both"}),
        ("value", "text_too_long", parts.long, {"limit": str(MAX_TEXT)}),
        ("quality", "bad_quality", parts.bad_quality, {}),
    ):
        bad = _joined(where, np.bool_) & keep
        keep &= ~bad
        faults.update((i, (column, reason, parameters)) for i in np.flatnonzero(bad).tolist())
    batch = Batch(
        unit=unit,
        source=source,
        mode=mode,
        tags=names,
        tag_index=code.astype(np.int32),
        ts=ts,
        value=_joined(parts.value, np.float64),
        quality=_joined(parts.quality, np.int64).astype(np.int16),
        text=text,
        received_at=received_at,
    )
    index = np.arange(n)
    if not faults:
        return Decoded(batch, index, by_row=False)
    return Decoded(batch.take(keep, _refused(records, ts, ~keep, faults)), index[keep], by_row=False)


def _refused(
    records: list[pa.RecordBatch],
    ts: Ints,
    bad: Flags,
    faults: dict[int, tuple[str, str, dict[str, str]]],
) -> tuple[Refusal, ...]:
    """The refusals, in the order of the rows, each with its row as JSON."""
    refused, first = [], 0
    for record in records:
        local = np.flatnonzero(bad[first : first + record.num_rows])
        other = [name for name in record.schema.names if name != "ts"]
        no_ts = _is_null(record.column("ts"))
        rows = record.select(other).take(pa.array(local)).to_pylist()
        for j, row in zip(local.tolist(), rows, strict=True):
            i = first + j
            at = None if no_ts[j] else int(ts[i])
            values = [row[name] for name in ("value", "text") if row.get(name) is not None]
            content = {"tag": row["tag"], "ts": at, "value": values[0] if len(values) == 1 else None}
            if len(values) > 1:
                content["text"], content["value"] = row["text"], row["value"]
            if row.get("quality") is not None:
                content["quality"] = row["quality"]
            column, reason, parameters = faults[i]
            if reason == "bad_quality":
                parameters = {"got": str(row["quality"])}
            place = f"records[{i}]" if reason == "missing_field" else f"records[{i}].{column}"
            refused.append(Refusal(place, reason, parameters, msgspec.json.encode(content), row["tag"], at))
        first += record.num_rows
    return tuple(refused)


def _joined(arrays: list[Any], kind: Any) -> Any:
    return np.concatenate(arrays) if arrays else np.empty(0, kind)


def _malformed(detail: str) -> Malformed:
    return Malformed("malformed_arrow", {"detail": detail[:200]})
