"""OPC UA data changes → columns. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from asyncua import ua

from connectors.columns import Columns, scalar
from ingest.batch import quality_of_status

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OLDEST_YEAR = 1980  # a null DateTime is 1601; no plant has data of its own from before this
_OVERFLOW = 0x0480  # InfoType DataValue and its Overflow bit (OPC 10000-4, 7.39)
_WAITING = 0x8032  # BadWaitingForInitialData: the subscription is older than the first value
_BAD = 0xC000_0000

_NUMERIC = frozenset(
    {
        ua.VariantType.Boolean,
        ua.VariantType.SByte,
        ua.VariantType.Byte,
        ua.VariantType.Int16,
        ua.VariantType.UInt16,
        ua.VariantType.Int32,
        ua.VariantType.UInt32,
        ua.VariantType.Int64,
        ua.VariantType.UInt64,
        ua.VariantType.Float,
        ua.VariantType.Double,
    }
)


@dataclass(frozen=True, slots=True)
class Item:
    """A variable being read. `names`: number → name of its enumeration, None when it is none."""

    tag: str
    node: ua.NodeId
    names: Mapping[int, str] | None = None


@dataclass(slots=True)
class Tally:
    """What was noticed while decoding, beside readings and refusals."""

    overflows: list[str] = field(default_factory=list)
    server_times: int = 0
    waiting: int = 0


def is_numeric(variant: ua.Variant | None) -> bool:
    """True for a scalar number or boolean."""
    return variant is not None and variant.VariantType in _NUMERIC and not isinstance(variant.Value, list)


def microseconds(moment: datetime | None) -> int | None:
    """µs since the Unix epoch of an aware time; None for a null OPC UA DateTime."""
    if moment is None or moment.year < _OLDEST_YEAR:
        return None
    passed = moment - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def decode(
    changes: Sequence[ua.MonitoredItemNotification],
    items: Mapping[int, Item],
    value_names: Mapping[str, str],
    columns: Columns,
) -> Tally:
    """Add each change to `columns`: a reading, or a refusal with what was received.

    `items` by client handle. The time is the source's; the server's where the source gives none
    (counted). A Bad status with a value is a reading of that quality; without one there is nothing
    to store: refusal `bad_status_no_value`.
    """
    tally = Tally()
    for change in changes:
        item = items.get(change.ClientHandle)
        if item is None:
            columns.refuse(
                f"handle {change.ClientHandle}", "unknown_tag", repr(change.Value).encode(), {"tag": "?"}
            )
            continue
        _one(change.Value, item, value_names, columns, tally)
    return tally


def _one(
    data: ua.DataValue, item: Item, value_names: Mapping[str, str], columns: Columns, tally: Tally
) -> None:
    status = 0 if data.StatusCode is None else int(data.StatusCode.value)
    if status & _OVERFLOW == _OVERFLOW:
        tally.overflows.append(item.tag)
    ts = microseconds(data.SourceTimestamp)
    if ts is None:
        ts = microseconds(data.ServerTimestamp)
        tally.server_times += 1
    variant = data.Value
    if status >> 16 == _WAITING:
        tally.waiting += 1
        return
    received = repr(data).encode()[:4096] if ts is None or variant is None or variant.Value is None else b""
    if ts is None:
        columns.refuse(item.tag, "missing_field", received, {"field": "SourceTimestamp"}, tag=item.tag)
        return
    if variant is None or variant.Value is None:
        reason = "bad_status_no_value" if status & _BAD else "missing_value"
        columns.refuse(item.tag, reason, received, {"status": f"0x{status:08X}"}, tag=item.tag, ts=ts)
        return
    value, text, fault = _value(variant, item, value_names)
    if fault:
        got = f"{variant.VariantType.name}{'[]' if isinstance(variant.Value, list) else ''}"
        columns.refuse(item.tag, fault, repr(variant.Value).encode(), {"got": got}, tag=item.tag, ts=ts)
        return
    columns.add(item.tag, ts, value, text, quality_of_status(status))


def _value(variant: ua.Variant, item: Item, value_names: Mapping[str, str]) -> tuple[float, str | None, str]:
    raw = variant.Value
    if isinstance(raw, list):
        return 0.0, None, "unsupported_value"
    if variant.VariantType in _NUMERIC:
        if item.names is not None and int(raw) in item.names:
            name = item.names[int(raw)]
            return 0.0, value_names.get(name, name), ""
        return scalar(raw)
    if variant.VariantType is ua.VariantType.LocalizedText:
        raw = raw.Text
        if raw is None:
            return 0.0, None, "missing_value"
    elif variant.VariantType is not ua.VariantType.String:
        return 0.0, None, "unsupported_value"
    return 0.0, value_names.get(raw, raw), ""
