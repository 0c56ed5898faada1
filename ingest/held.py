"""Entries of the quarantine as people and programs read them: JSON, NDJSON, CSV. Pure."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Literal
from unicodedata import category

import msgspec

from ingest.sheets.harmless import harmless
from store.quarantine import Held
from store.reasons import reason_of

Format = Literal["ndjson", "csv"]

MEDIA_TYPES: dict[Format, str] = {"ndjson": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}
_COLUMNS = (
    "id", "unit", "source", "batch", "place", "reason", "message_zh", "message_en", "hint_zh", "hint_en",
    "parameters", "tag", "ts", "received_at", "replayed_at", "replay_batch", "original_bytes",
    "original_is_cut", "original_text", "original_base64",
)  # fmt: skip


def as_text(original: bytes) -> str | None:
    """The bytes as text; None when they are none, that is no UTF-8 or with control characters."""
    try:
        text = original.decode()
    except UnicodeDecodeError:
        return None
    return text if all(c in "\t\r\n" or category(c) != "Cc" for c in text) else None


def printable(text: str) -> str:
    """The text without what would steer a terminal: it came from outside."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if category(c) == "Cc" and c not in "\t\n" else c for c in text
    )


def as_dict(entry: Held) -> dict[str, Any]:
    """One entry for JSON. `original_bytes` is the size of what came, of which a cut original is the beginning."""
    reason = reason_of(entry.reason)
    return {
        "id": entry.quarantine_id,
        "unit": entry.unit,
        "source": entry.source,
        "batch": entry.batch,
        "place": entry.place,
        "reason": entry.reason,
        "message": reason.message(entry.parameters),
        "hint": reason.hint(entry.parameters),
        "parameters": entry.parameters,
        "tag": entry.tag,
        "ts": _time(entry.ts),
        "received_at": _time(entry.received_at),
        "replayed_at": _time(entry.replayed_at),
        "replay_batch": entry.replay_batch,
        "original_bytes": _size(entry),
        "original_is_cut": entry.is_cut,
        "original_text": as_text(entry.original),
        "original_base64": base64.b64encode(entry.original).decode(),
    }


def lines(entries: Iterable[Held], form: Format, *, head: bool) -> Iterator[bytes]:
    """Entries as lines of the export; `head`: begin the file (the CSV's heading)."""
    if form == "ndjson":
        for entry in entries:
            yield msgspec.json.encode(as_dict(entry)) + b"\n"
        return
    if head:
        # With the mark by which spreadsheets know UTF-8.
        yield b"\xef\xbb\xbf" + _csv_line(_COLUMNS)
    for entry in entries:
        shown = as_dict(entry)
        for name in ("message", "hint"):
            shown |= {f"{name}_{lang}": text for lang, text in shown.pop(name).items()}
        shown["parameters"] = msgspec.json.encode(entry.parameters).decode()
        yield _csv_line(tuple(_cell(shown[name]) for name in _COLUMNS))


def _cell(value: object) -> str:
    """Text that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return harmless(str(value))


def _csv_line(cells: tuple[str, ...]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(cells)
    return buffer.getvalue().encode()


def _size(entry: Held) -> int:
    stated = entry.parameters.get("original_bytes", "")
    return int(stated) if stated.isascii() and stated.isdigit() else len(entry.original)


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
