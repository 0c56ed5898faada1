"""InfluxDB line protocol → Batch: escapes, types, times, the mapping, and what is refused where."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.decoded import MAX_ROWS, Decoded, Malformed
from ingest.lineprotocol import decode_lines

WHO: dict[str, Any] = {"unit": "GD-ELE-01", "source": "http_push:GD-ELE-01", "received_at": 1}


def lines(text: str | bytes, **more: Any) -> Decoded:
    return decode_lines(text if isinstance(text, bytes) else text.encode(), **{**WHO, **more})


def readings(decoded: Decoded) -> list[tuple[str, int, object]]:
    batch = decoded.batch
    texts = [None] * len(batch) if batch.text is None else batch.text.tolist()
    return [
        (batch.tags[i], ts, value if text is None else text)
        for i, ts, value, text in zip(
            batch.tag_index.tolist(), batch.ts.tolist(), batch.value.tolist(), texts, strict=True
        )
    ]


def test_what_telegraf_sends_is_read() -> None:
    decoded = lines(
        "# a comment\n\n"
        "opcua,equipment=M1,host=gw01 temperature=21.5,produced=1200i,running=true,state=\"Executing\" 1795392000000000000\r\n"
        "opcua,device=M2 value=7u 1795392000250000000\n"
        "spindle,host=gw01 speed=-1.5e3 1795392000000000000\n"
        "M3 speed=.5 1795392000000000000"
    )  # fmt: skip
    at = 1795392000000000
    assert readings(decoded) == [
        ("M1.temperature", at, 21.5), ("M1.produced", at, 1200), ("M1.running", at, 1),
        ("M1.state", at, "Executing"), ("M2.opcua", at + 250_000, 7), ("gw01.speed", at, -1500), ("M3.speed", at, 0.5),
    ]  # fmt: skip
    assert decoded.batch.refused == ()
    assert decoded.origin is not None
    assert decoded.origin.number.tolist() == [3, 3, 3, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("precision", "ticks"),
    [("ns", 1795392000123456789), ("us", 1795392000123456), ("ms", 1795392000123), ("s", 1795392000)],
)
def test_precision_is_that_of_the_query(precision: str, ticks: int) -> None:
    [(_, ts, _)] = readings(lines(f"M x=1 {ticks}", precision=precision))
    assert (
        ts
        == {
            "ns": 1795392000123456,
            "us": 1795392000123456,
            "ms": 1795392000123000,
            "s": 1795392000000000,
        }[precision]
    )


@pytest.mark.parametrize(
    ("written", "meant"),
    [(r'"a \"b\" c"', 'a "b" c'), (r'"\\"', "\\"), (r'"\\\\\x"', "\\\\\\x"), ('"two\nlines"', "two\nlines"), ('""', ""),
     ('"=, #"', "=, #"), ('"群策"', "群策")],
)  # fmt: skip
def test_texts_and_their_escapes(written: str, meant: str) -> None:
    assert [value for _, _, value in readings(lines(f"M t={written} 1\nM u=2 2"))] == [meant, 2.0]


def test_quality_fields_are_the_quality_of_the_line() -> None:
    batch = lines('M a=1,b=2,Quality="BadSensorFailure (0x808C0000)" 1\nM a=1,quality="uncertain" 2').batch
    assert [batch.tags[i] for i in batch.tag_index.tolist()] == ["M.a", "M.b", "M.a"]
    assert batch.quality.tolist() == [0x808C - 0x10000, 0x808C - 0x10000, 0x4000]


def test_the_tag_that_names_the_equipment_can_be_chosen() -> None:
    line = "m,host=gw,machine=M7 speed=1 1"
    assert [tag for tag, _, _ in readings(lines(line))] == ["gw.speed"]
    assert [tag for tag, _, _ in readings(lines(line, equipment_tag="machine"))] == ["M7.speed"]
    assert [tag for tag, _, _ in readings(lines(line, equipment_tag=""))] == ["m.speed"]
    [refusal] = lines(line, equipment_tag="plc").batch.refused
    assert (refusal.reason, refusal.place) == ("missing_equipment", "line 1 records[0]")


@pytest.mark.parametrize(
    ("line", "reason", "column"),
    [
        ("M", "malformed_line", "2"),
        ("M x", "malformed_line", "3"),
        ("M x= 1", "malformed_line", "3"),
        ("M x=1,y 1", "malformed_line", "7"),
        ("M,a x=1 1", "malformed_line", "3"),
        ("M,a= x=1 1", "malformed_line", "3"),
        ('M x="open 1', "malformed_line", "5"),
        ("M x=nan 1", "malformed_line", "5"),
        ("M x=1_0 1", "malformed_line", "5"),
        ("M x=12f 1", "malformed_line", "5"),
        ("M x=9223372036854775808i 1", "malformed_line", "5"),
        ("M x=-1u 1", "malformed_line", "5"),
        ("M x=1 2026-11-23T08:00:00Z", "malformed_line", "7"),
        ("M x=1 9223372036854775808", "malformed_line", "7"),
        ("M x=1 1 1", "malformed_line", "7"),
        (b"M x=1,\xff=2 1", "malformed_line", "1"),
    ],
)
def test_a_wrong_line_is_refused_by_itself_with_its_number(
    line: str | bytes, reason: str, column: str | None
) -> None:
    line = line.encode() if isinstance(line, str) else line
    decoded = lines(b"M a=1 1\n" + line + b'\nM b="x" 3\n')
    assert [tag for tag, _, _ in readings(decoded)] == ["M.a", "M.b"]
    [refusal] = decoded.batch.refused
    assert (refusal.place, refusal.reason, refusal.original) == ("line 2 records[1]", reason, line)
    assert refusal.parameters.get("column") == column


@pytest.mark.parametrize("precision", ["ns", "s"])
def test_a_line_without_a_time_has_that_of_its_arrival(precision: str) -> None:
    decoded = lines(b"M a=1,b=2\nM a=3 5\nM a=4\n", precision=precision)
    at = decoded.batch.received_at
    ticks = {"ns": 0, "s": 5_000_000}[precision]
    assert decoded.batch.ts.tolist() == [at, at, ticks, at + 1]
    assert decoded.batch.refused == ()


NAMES = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="\n\r\t\\"), min_size=1, max_size=8
)


def _escaped(text: str, special: str) -> str:
    return "".join(f"\\{c}" if c in special else c for c in text)


@given(
    measurement=NAMES.filter(lambda name: name[0] not in "# "), equipment=NAMES, field=NAMES, text=st.text(
        st.characters(blacklist_categories=("Cs",)), max_size=20
    ), number=st.floats(allow_nan=False, allow_infinity=False), ts=st.integers(-(2**63), 2**63 - 1)
)  # fmt: skip
def test_whatever_is_escaped_as_the_specification_says_comes_back(
    measurement: str, equipment: str, field: str, text: str, number: float, ts: int
) -> None:
    fields = f'{_escaped(field, ",= ")}={number!r},t="' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    line = f"{_escaped(measurement, ', ')},equipment={_escaped(equipment, ',= ')} {fields} {ts}"
    decoded = lines(line)
    name = {"value": measurement}.get(field, field)
    if field in ("quality", "Quality"):
        return
    assert decoded.batch.refused == ()
    assert readings(decoded) == [
        (f"{equipment}.{name}", ts // 1000, number), (f"{equipment}.t", ts // 1000, text),
    ]  # fmt: skip


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(body: bytes) -> None:
    decoded = lines(body)
    assert len(decoded.batch) == len(decoded.index)


@pytest.mark.parametrize(
    "evil",
    [b"\n" * 2**20, b"x\n" * 2**15, b'm f="a\n' * 2**15, b"m f=" + b"\\" * 2**20, b"m," * 2**19, b"m f=1," + b"g=1," * 2**18,
     b'm f="' * 2**17, b"m" + b" " * 2**20 + b"f", b'm f="' + b"a" * 2**20],
)  # fmt: skip
def test_no_body_takes_long(evil: bytes) -> None:
    begun = time.thread_time()
    lines(evil)
    assert time.thread_time() - begun < 2


def test_more_readings_than_one_body_may_have_are_refused_whole() -> None:
    with pytest.raises(Malformed) as refused:
        lines(b"M a=1,b=2 1\n" * (MAX_ROWS // 2 + 1))
    assert refused.value.reason == "too_many_rows"
