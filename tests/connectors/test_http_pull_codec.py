"""Pages, cursors on disk, Retry-After."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.http_pull.codec import BadPage, decode_page, refused_page
from connectors.http_pull.connector import retry_after
from connectors.http_pull.cursor import CursorFile


def page(body: bytes):
    return decode_page(body, unit="U", source="http_pull:x", received_at=1)


def test_a_page_with_a_bad_row():
    got = page(
        b'{"records": [{"tag": "A.x", "ts": "2026-11-23T00:00:00Z", "value": 1}, {"tag": "A.x", "value": 1}],'
        b' "next": "c2", "more": true, "extra": 1}'
    )
    assert (len(got.batch), got.cursor, got.more) == (1, "c2", True)
    assert [(entry.place, entry.reason) for entry in got.batch.refused] == [("records[1]", "missing_field")]


def test_numbers_are_cursors_too():
    assert page(b'{"records": [], "next": 17}').cursor == "17"
    assert page(b'{"records": []}').cursor is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"next": "1"}',
        b'{"records": 1}',
        b'{"records": [1',
        b'{"records": [{"tag": "\xff", "ts": "2026-11-23T00:00:00Z", "value": 1}]}',
        b'{"records": [], "next": "\xff"}',
        b'{"records": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    ],
)
def test_no_page(body: bytes):
    with pytest.raises(BadPage):
        page(body)
    batch = refused_page(body, "because", unit="U", source="s", received_at=1)
    assert [entry.original for entry in batch.refused] == [body]


@given(st.binary(max_size=60))
def test_anything_is_a_page_or_bad(body: bytes):
    with contextlib.suppress(BadPage):
        page(body)


def test_cursor_survives_and_belongs_to_its_address(tmp_path: Path):
    cursors = CursorFile(tmp_path, "http://a/measurements")
    assert cursors.load() == ""
    cursors.store("12")
    cursors.store("13")
    assert CursorFile(tmp_path, "http://a/measurements").load() == "13"
    assert CursorFile(tmp_path, "http://b/measurements").load() == ""
    assert [path.name for path in tmp_path.iterdir()] == ["cursor.json"]
    (tmp_path / "cursor.json").write_bytes(b"{")
    with pytest.raises(msgspec.DecodeError):
        cursors.load()


def test_retry_after():
    now = datetime(2026, 11, 23, tzinfo=UTC)
    assert retry_after("7", now) == 7
    assert retry_after("Mon, 23 Nov 2026 00:00:30 GMT", now) == 30
    assert retry_after("Sun, 22 Nov 2026 00:00:30 GMT", now) == 0
    assert retry_after("99999999", now) == 3600
    assert retry_after("soon", now) is None
    assert retry_after(None, now) is None
