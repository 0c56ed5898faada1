"""JSON payloads → columns, in the forms that factories' brokers use. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from connectors.columns import Columns, scalar
from connectors.mqtt.config import PayloadConfig, TopicConfig
from ingest.decode import UNREADABLE, unreadable
from ingest.quality import quality_column
from ingest.rfc3339 import BadTime, epoch_us

_SCALE = {"epoch_seconds": 1_000_000, "epoch_milliseconds": 1_000, "epoch_microseconds": 1}
_MOST = 2**62


class BadPayload(Exception):
    """The payload as a whole, or one reading of it, cannot be read."""

    def __init__(self, reason: str, **parameters: str) -> None:
        super().__init__(reason, parameters)
        self.reason = reason
        self.parameters = parameters


class _Values(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    ts: str
    values: dict[str, float | int | bool | str]
    quality: str | None = None


_VALUES = msgspec.json.Decoder(_Values)


def read_values(payload: bytes, equipment: str, columns: Columns) -> bool:
    """The interface's `{"ts", "values"}` when nothing is wrong with it; else False, with nothing added."""
    try:
        parsed = _VALUES.decode(payload)
        ts = _epoch_us(parsed.ts)
        # Whole numbers may be too large for a float; nothing else that JSON can say is not finite.
        if int in set(map(type, parsed.values.values())):
            list(map(float, (v for v in parsed.values.values() if type(v) is int)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError, BadTime):
        return False
    if parsed.quality not in (None, "good"):
        return False
    columns.add_values(equipment, ts, parsed.values)
    return True


# Machines of one unit report at the same times.
_epoch_us = lru_cache(maxsize=4096)(epoch_us)


def read_payload(
    payload: bytes, route: TopicConfig, named: Mapping[str, str], received_at: int, columns: Columns
) -> None:
    """Add the readings of one payload; what is wrong with one reading refuses that one. Raises BadPayload."""
    form = route.payload
    try:
        parsed = msgspec.json.decode(payload)
    except UNREADABLE as error:
        fault = unreadable(payload, error)
        raise BadPayload(fault.reason, **fault.parameters) from error
    if form.form == "values":
        _from_values(parsed, route, named, received_at, columns)
        return
    entries = [("$", parsed)]
    if form.form == "records":
        listed = parsed if form.records_field is None else _field(parsed, form.records_field)
        if not isinstance(listed, list):
            raise BadPayload("wrong_shape", place="$", detail="needs a list of records")
        entries = [(f"[{i}]", entry) for i, entry in enumerate(listed)]
    for place, entry in entries:
        try:
            ts = _time(entry, form, received_at)
            tag = _tag(entry, route, named)
            _add(tag, ts, _field(entry, form.value_field), entry.get(form.quality_field), columns)
        except BadPayload as error:
            columns.refuse(place, error.reason, msgspec.json.encode(entry), error.parameters)


def _from_values(
    parsed: Any, route: TopicConfig, named: Mapping[str, str], received_at: int, columns: Columns
) -> None:
    form = route.payload
    ts = _time(parsed, form, received_at)
    equipment = _equipment(parsed, route, named)
    values = parsed if form.values_field is None else _field(parsed, form.values_field)
    if not isinstance(values, dict):
        raise BadPayload(
            "wrong_shape", place=form.values_field or "$", detail="needs an object signal → value"
        )
    if form.values_field is None:
        own = {form.time_field, form.quality_field, form.equipment_field}
        values = {signal: value for signal, value in values.items() if signal not in own}
    quality = parsed.get(form.quality_field)
    for signal, raw in values.items():
        try:
            _add(f"{equipment}.{signal}", ts, raw, quality, columns)
        except BadPayload as error:
            original = msgspec.json.encode({signal: raw})
            columns.refuse(
                signal, error.reason, original, error.parameters, tag=f"{equipment}.{signal}", ts=ts
            )


def _add(tag: str, ts: int, raw: Any, quality: Any, columns: Columns) -> None:
    value, text, fault = scalar(raw)
    if fault:
        raise BadPayload(fault, got=type(raw).__name__)
    column, unknown = quality_column([quality], 1) if isinstance(quality, str | int | None) else ([0], [0])
    if unknown:
        raise BadPayload("bad_quality", got=str(quality))
    columns.add(tag, ts, value, text, int(column[0]))


def _tag(entry: Any, route: TopicConfig, named: Mapping[str, str]) -> str:
    form = route.payload
    if form.tag_field is not None:
        return _name(entry, form.tag_field)
    signal = named.get("signal")
    if signal is None:
        signal = _name(entry, form.signal_field) if form.signal_field is not None else route.signal
    return f"{_equipment(entry, route, named)}.{signal}"


def _equipment(entry: Any, route: TopicConfig, named: Mapping[str, str]) -> str:
    if "equipment" in named:
        return named["equipment"]
    field = route.payload.equipment_field
    return _name(entry, field) if field is not None else route.equipment or ""


def _name(entry: Any, field: str) -> str:
    value = _field(entry, field)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # machine numbers are often written as numbers
    if not isinstance(value, str) or not value:
        raise BadPayload("wrong_type", field=field, expected="str", got=type(value).__name__)
    return value


def _field(entry: Any, field: str) -> Any:
    if not isinstance(entry, dict):
        raise BadPayload("wrong_shape", place="$", detail="needs an object")
    if field not in entry:
        raise BadPayload("missing_field", field=field)
    return entry[field]


def _time(entry: Any, form: PayloadConfig, received_at: int) -> int:
    """µs UTC."""
    if not isinstance(entry, dict):
        raise BadPayload("wrong_shape", place="$", detail="needs an object")
    raw = entry.get(form.time_field)
    if raw is None:
        if form.time_missing == "received":
            return received_at
        raise BadPayload("missing_field", field=form.time_field)
    if form.time_form == "rfc3339":
        if not isinstance(raw, str):
            raise BadPayload("wrong_type", field=form.time_field, expected="str", got=type(raw).__name__)
        try:
            return epoch_us(raw, None if form.time_zone is None else ZoneInfo(form.time_zone))
        except BadTime as bad:
            raise BadPayload(bad.reason, got=raw) from None
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise BadPayload("wrong_type", field=form.time_field, expected="number", got=type(raw).__name__)
    ts = raw * _SCALE[form.time_form]
    if abs(ts) > _MOST:
        raise BadPayload("timestamp_malformed", got=str(raw)[:100])
    return round(ts)
