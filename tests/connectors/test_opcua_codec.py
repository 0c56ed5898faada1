"""OPC UA data changes → columns."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest
from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from connectors.columns import Columns
from connectors.contract import PermanentError
from connectors.opcua.browse import node_of
from connectors.opcua.codec import Item, Tally, decode, is_numeric, microseconds
from connectors.opcua.config import ItemConfig
from ingest.batch import Batch

NODE = ua.NodeId.from_string("ns=1;s=A")
ITEMS = {1: Item("A.x", NODE), 2: Item("A.mode", NODE, {0: "None", 2: "Setup"})}
AT = datetime(2026, 11, 23, 0, 0, 0, 250_001, UTC)
MICROSECONDS = 1_795_392_000_250_001


def change(variant: ua.Variant | None, *, handle: int = 1, status: int = 0, **times: datetime | None):
    data: Any = ua.DataValue(variant, ua.StatusCode(ua.UInt32(status)))
    data = dataclasses.replace(data, **({"SourceTimestamp": AT} | times))
    return ua.MonitoredItemNotification(ua.UInt32(handle), data)


def decoded(
    *changes: ua.MonitoredItemNotification, names: dict[str, str] | None = None
) -> tuple[Batch, Tally]:
    columns = Columns()
    tally = decode(changes, ITEMS, names or {}, columns)
    return columns.batch("U", "opcua:x", 1), tally


@pytest.mark.parametrize(
    ("variant", "value", "text"),
    [
        (ua.Variant(True, ua.VariantType.Boolean), 1.0, None),
        (ua.Variant(-3, ua.VariantType.Int16), -3.0, None),
        (ua.Variant(2**40, ua.VariantType.UInt64), float(2**40), None),
        (ua.Variant(1.25, ua.VariantType.Float), 1.25, None),
        (ua.Variant("007", ua.VariantType.String), 0.0, "007"),
        (ua.Variant(ua.LocalizedText("Executing", "en")), 0.0, "Executing"),
    ],
)
def test_scalars(variant: ua.Variant, value: float, text: str | None):
    batch, _ = decoded(change(variant))
    assert batch.value.tolist() == [value]
    assert (None if batch.text is None else batch.text[0]) == text
    assert batch.ts.tolist() == [MICROSECONDS]
    assert batch.tags == ("A.x",)


def test_enumeration_and_renamed_text():
    batch, _ = decoded(
        change(ua.Variant(2, ua.VariantType.Int32), handle=2),
        change(ua.Variant(9, ua.VariantType.Int32), handle=2),
        change(ua.Variant("执行", ua.VariantType.String)),
        names={"执行": "Executing"},
    )
    assert batch.text is not None
    assert batch.text.tolist() == ["Setup", None, "Executing"]
    assert batch.value.tolist() == [0.0, 9.0, 0.0]


@pytest.mark.parametrize(
    ("variant", "reason"),
    [
        (ua.Variant([1.0, 2.0], ua.VariantType.Double), "unsupported_value"),
        (ua.Variant(b"x", ua.VariantType.ByteString), "unsupported_value"),
        (ua.Variant(AT, ua.VariantType.DateTime), "unsupported_value"),
        (ua.Variant(float("nan"), ua.VariantType.Double), "not_finite"),
        (ua.Variant(ua.LocalizedText(None, None)), "missing_value"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_value(variant: ua.Variant, reason: str):
    batch, _ = decoded(change(variant))
    (entry,) = batch.refused
    assert (entry.reason, entry.tag, entry.ts, len(batch)) == (reason, "A.x", MICROSECONDS, 0)
    assert entry.original == repr(variant.Value).encode()


def test_bad_status_with_and_without_value():
    batch, _ = decoded(
        change(ua.Variant(3.0, ua.VariantType.Double), status=0x808C0000), change(None, status=0x808C0000)
    )
    assert batch.quality.tolist() == [0x808C - 0x10000]
    (entry,) = batch.refused
    assert (entry.reason, entry.parameters["status"]) == ("bad_status_no_value", "0x808C0000")


def test_waiting_for_the_first_value_is_no_reading():
    batch, tally = decoded(change(None, status=0x80320000))
    assert (batch.rows, tally.waiting) == (0, 1)


def test_overflow_is_noticed_and_the_quality_stays_good():
    batch, tally = decoded(change(ua.Variant(1.0, ua.VariantType.Double), status=0x00000480))
    assert tally.overflows == ["A.x"]
    assert batch.quality.tolist() == [0]


def test_server_time_where_the_source_has_none():
    null = datetime(1601, 1, 1, tzinfo=UTC)
    one = ua.Variant(1.0, ua.VariantType.Double)
    batch, tally = decoded(
        change(one, SourceTimestamp=null, ServerTimestamp=AT), change(one, SourceTimestamp=None)
    )
    assert batch.ts.tolist() == [MICROSECONDS]
    assert tally.server_times == 2
    assert [entry.reason for entry in batch.refused] == ["missing_field"]


@given(st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_microseconds_are_exact(moment: datetime):
    got = microseconds(moment)
    assert got is not None
    assert datetime.fromtimestamp(got // 1_000_000, UTC).replace(microsecond=got % 1_000_000) == moment


def test_namespace_uri_becomes_this_sessions_index():
    namespaces = ["http://opcfoundation.org/UA/", "urn:a", "urn:b"]
    item = ItemConfig(node="nsu=urn:b;s=x;y=1", tag="A.x")
    assert node_of(item, namespaces).to_string() == "ns=2;s=x;y=1"
    assert node_of(ItemConfig(node="i=2258", tag="A.x"), namespaces).to_string() == "i=2258"
    with pytest.raises(PermanentError, match="urn:c"):
        node_of(ItemConfig(node="nsu=urn:c;s=x", tag="A.x"), namespaces)


def test_numeric():
    assert is_numeric(ua.Variant(1, ua.VariantType.Byte))
    assert not is_numeric(ua.Variant([1], ua.VariantType.Byte))
    assert not is_numeric(ua.Variant("1"))
    assert not is_numeric(None)
