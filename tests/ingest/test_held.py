from __future__ import annotations

import base64
import csv
import io
import json
from datetime import UTC, datetime

import pytest

from ingest.held import as_dict, as_text, lines
from store.quarantine import Held

NOW = datetime(2026, 11, 25, 8, tzinfo=UTC)


def held(original: bytes, tag: str | None = "A.x", **parameters: str) -> Held:
    return Held(
        5, 1, "GD-A", "mqtt:a", "b1", "$", "unknown_tag", parameters, tag, NOW, original, NOW, None, None
    )  # fmt: skip


def test_an_entry_says_what_came_why_it_was_refused_and_how_to_mend_it() -> None:
    shown = as_dict(held('{"tag":"甲"}'.encode(), tag="甲"))
    assert shown["message"]["zh"]
    assert shown["hint"]["en"]
    assert shown["original_text"] == '{"tag":"甲"}'
    assert shown["ts"] == "2026-11-25T08:00:00Z"
    cut = as_dict(held(b"ab", original_bytes="300000", original_sha256="00"))
    assert (cut["original_bytes"], cut["original_is_cut"]) == (300_000, True)


def test_a_reason_of_another_release_is_shown_by_its_code() -> None:
    shown = as_dict(held(b"")._replace(reason="no_longer"))
    assert shown["message"] == {"zh": "no_longer", "en": "no_longer"}


@pytest.mark.parametrize(
    ("original", "text"), [(b"\xff\xfe", None), (b"a\0b", None), (b"a\r\n\tb", "a\r\n\tb"), (b"", "")]
)
def test_bytes_are_shown_as_text_where_they_are_text(original: bytes, text: str | None) -> None:
    assert as_text(original) == text


@pytest.mark.parametrize("evil", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1"])
def test_no_cell_of_the_csv_is_a_formula(evil: str) -> None:
    data = b"".join(lines([held(evil.encode(), tag=evil)], "csv", head=True))
    [row] = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    assert row["tag"] == row["original_text"] == "'" + evil
    assert base64.b64decode(row["original_base64"].removeprefix("'")) == evil.encode()
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for cell in row.values())


def test_ndjson_is_one_object_a_line() -> None:
    data = b"".join(lines([held(b'a"\n'), held(b"\xf8")], "ndjson", head=True))
    first, second = map(json.loads, data.decode().splitlines())
    assert first["original_text"] == 'a"\n'
    assert base64.b64decode(second["original_base64"]) == b"\xf8"
