"""One strict reading of RFC 3339, the same for every way in."""

from __future__ import annotations

import json
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.columns import Columns
from connectors.mqtt.payload import read_values
from ingest.decode import decode_measurements, decode_values
from ingest.rfc3339 import BadTime, epoch_us, epoch_us_column

AT = 1_795_392_000_000_000
GOOD = {
    "2026-11-23T08:00:00+08:00": AT,
    "2026-11-23T00:00:00Z": AT,
    "2026-11-23t00:00:00z": AT,
    "2026-11-23 00:00:00-00:00": AT,
    "2026-11-23T00:00:00.25Z": AT + 250_000,
    "2026-11-23T00:00:00.12345678901Z": AT + 123_456,
    "0001-01-01T00:00:00+08:00": -62_135_625_600_000_000,
}
BAD = {
    "2026-11-23T08:00:00+0800": "timestamp_malformed",
    "2026-11-23T08:00:00+08": "timestamp_malformed",
    "2026-W48-1T00:00:00Z": "timestamp_malformed",
    "2026-11-23T00:00:00,5Z": "timestamp_malformed",
    "2026-11-23T24:00:00Z": "timestamp_malformed",
    "2026-11-23T00:00:00+24:00": "timestamp_malformed",
    "2026-02-30T00:00:00Z": "timestamp_malformed",
    "2026-11-23T00:00Z": "timestamp_malformed",
    "20261123T000000Z": "timestamp_malformed",
    "2026-11-23": "timestamp_malformed",
    "٢٠٢٦-11-23T00:00:00Z": "timestamp_malformed",
    "": "timestamp_malformed",
    "2026-11-23T00:00:00": "timestamp_without_zone",
    "2026-11-23T00:00:00.5": "timestamp_without_zone",
}


@pytest.mark.parametrize("text", [*GOOD, *BAD])
def test_every_way_in_reads_a_time_alike(text: str) -> None:
    row = {"records": [{"tag": "M1.x", "ts": text, "value": 1}]}
    http = decode_measurements(json.dumps(row).encode(), unit="U", source="s", received_at=1).batch
    body = json.dumps({"ts": text, "values": {"x": 1}}).encode()
    mqtt = decode_values(body, equipment="M1", unit="U", source="s", received_at=1).batch
    quick = Columns()
    taken = read_values(body, "M1", quick)
    if text in GOOD:
        assert taken
        assert http.ts.tolist() == mqtt.ts.tolist() == quick.batch("U", "s", 1).ts.tolist() == [GOOD[text]]
    else:
        assert not taken
        assert [r.reason for r in (*http.refused, *mqtt.refused)] == [BAD[text]] * 2


def test_a_zone_may_be_agreed() -> None:
    assert epoch_us("2026-11-23T08:00:00", ZoneInfo("Asia/Shanghai")) == AT


times = (
    st.datetimes(timezones=st.timezones()).map(datetime.isoformat)
    | st.from_regex(r"[0-2][0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6]0:[0-6]0(\.[0-9]{1,9})?(Z|[+-][0-2][0-9]:[0-6]0)?",
                    fullmatch=True)
    | st.datetimes().map(lambda moment: moment.isoformat(timespec="milliseconds") + "Z")
    | st.sampled_from([*GOOD, *BAD, "9999-12-31T23:59:59.999999-23:59", "0000-01-01T00:00:00Z"])
)  # fmt: skip
# A good time with one sign of it changed: what lies just beside the form that is read quickly.
spoiled = st.builds(
    lambda text, place, sign: text[: place % len(text)] + sign + text[place % len(text) + 1 :],
    st.sampled_from(["2024-02-29T23:59:59.250+08:00", "2026-11-23T00:00:00Z"]),
    st.integers(0, 40),
    st.sampled_from("0123456789-+:.TZtz /٣"),
)


def one_by_one(texts: list[str]) -> tuple[list[int], list[tuple[int, str]]]:
    ts, faults = [], []
    for i, text in enumerate(texts):
        try:
            ts.append(epoch_us(text))
        except BadTime as bad:
            ts.append(0)
            faults.append((i, bad.reason))
    return ts, faults


@given(st.lists(times | spoiled, max_size=40), st.booleans())
def test_a_column_reads_as_its_times_do_one_by_one(texts: list[str], many: bool) -> None:
    if many:  # enough to be read together
        texts = texts * 16
    ts, faults = epoch_us_column(texts)
    assert (ts.tolist(), faults) == one_by_one(texts)
