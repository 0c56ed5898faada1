"""Text that came from outside, on its way into a spreadsheet: it is never a formula there."""

from __future__ import annotations

import re
from typing import Any

from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a formula begins with; the last four are full-width, which spreadsheets take for the same where Chinese is typed."""
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_CELL_MOST = 32_767


def harmless(text: str, *, numbers: bool = False) -> str:
    """For CSV: what begins like a formula gets an apostrophe before it; `numbers`: plain ones stay as they are."""
    if not text.startswith(FORMULA) or (numbers and _NUMBER.fullmatch(text)):
        return text
    return f"'{text}"


def original(text: str) -> str:
    """Inverse of `harmless`, for a file of ours that comes back."""
    return text[1:] if text[:1] == "'" and text[1:2] in FORMULA and len(text) > 1 else text


def put_text(cell: Any, text: str) -> None:
    """Write text into a cell of openpyxl as text, whatever it begins with; without what XML cannot say."""
    cell.value = ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", text)[:_CELL_MOST]
    if cell.data_type != "s":
        cell.data_type = "s"
    if text.startswith(FORMULA):
        cell.quotePrefix = True
