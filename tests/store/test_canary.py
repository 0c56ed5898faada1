"""Canaries: the newest is kept, all are counted."""

from __future__ import annotations

import pytest

from ingest.canary import decode_canary, encode_canary
from store.canary import Canary, arrived, keep
from store.database import Connection
from store.times import moment

T = 1_795_000_000_000_000


def test_the_newest_is_kept_and_all_are_counted(conn: Connection) -> None:
    keep(conn, [Canary("opcua-1", T + 5, T + 20), Canary("api", T, T), Canary("opcua-1", T, T + 10)])
    keep(conn, [Canary("opcua-1", T - 9, T - 10)])  # delivered late
    found = {a.connector: a for a in arrived(conn)}
    assert list(found) == ["api", "opcua-1"]
    assert (found["opcua-1"].source_ts, found["opcua-1"].sent_at) == (moment(T + 5), moment(T + 20))
    assert found["opcua-1"].times == 3
    assert 0 <= found["api"].age_s < 10


def test_none_is_nothing(conn: Connection) -> None:
    keep(conn, [])
    assert arrived(conn) == []


def test_message() -> None:
    canary = Canary("mqtt 东莞", T, T + 1)
    assert decode_canary(encode_canary(canary)) == canary


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"connector": "a"}', b'{"connector": "a", "source_ts": 1e30, "sent_at": 1}',
             b'{"connector": "a", "source_ts": 999999999999999999, "sent_at": 1}', b'{"connector": "a", "source_ts": "x", "sent_at": 1}']
)  # fmt: skip
def test_what_is_no_canary(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_canary(data)
