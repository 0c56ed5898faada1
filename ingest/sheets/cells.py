"""One cell → the value that the model takes. Pure."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any, NamedTuple

from openpyxl.utils.datetime import WINDOWS_EPOCH, from_excel

from ingest.sheets.columns import KINDS, Column, Kind, folded
from ingest.sheets.harmless import original
from store.times import LOCAL

EXCEL_ERRORS = frozenset(
    {"#N/A", "#REF!", "#DIV/0!", "#VALUE!", "#NAME?", "#NULL!", "#NUM!", "#GETTING_DATA", "#SPILL!", "#CALC!"}
)
_SHOWN = 100
_SAFE_DIGITS = 15
_BLANKS = " \t\r\n\v\f\u00a0\u3000\u200b\ufeff"
_TRUE = frozenset({"是", "true", "1", "yes", "y", "t", "真", "√", "有"})
_FALSE = frozenset({"否", "false", "0", "no", "n", "f", "假", "×", "无"})
_NUMBER = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)?(\.\d*)?([eE][+-]?\d{1,3})?%?")
_DATE = re.compile(r"(\d{4})(?:-(\d{1,2})-|/(\d{1,2})/|\.(\d{1,2})\.|年(\d{1,2})月)(\d{1,2})日?")
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})")
_TIME = re.compile(
    r"(\d{1,2})[:时](\d{1,2})(?:[:分](\d{1,2})(\.\d{1,9})?)?[分秒]?\s*(Z|[+-]\d{2}:?\d{2})?", re.IGNORECASE
)
_ROUNDED = re.compile(r"\d(\.\d+)?[eE]\+1\d")
_SERIAL = range(18_264, 73_051)
"""Excel's day numbers of 1950 to 2099, as a cell shows them that nobody formatted as a date."""
_SEPARATORS = re.compile(r"[;\uff1b\u3001\n]+")
_SEPARATORS_OF_CHOICES = re.compile(r"[;,\uff1b\uff0c\u3001\n]+")  # whose names hold no comma


class Uncalculated(NamedTuple):
    """A cell with a formula that was saved without its value, as by a library that calculates nothing."""

    formula: str

    def __str__(self) -> str:
        return self.formula


class CellFault(Exception):
    """A cell that cannot be read as its column needs it: a code of store.reasons, and its parameters."""

    def __init__(self, reason: str, parameters: dict[str, str]) -> None:
        super().__init__(reason)
        self.reason = reason
        self.parameters = parameters


def is_blank(raw: Any) -> bool:
    """Whether there is nothing in the cell."""
    return raw is None or (isinstance(raw, str) and not raw.strip(_BLANKS))


def shown(raw: Any) -> str:
    """A cell as text for a message: bounded, one line."""
    text = raw.isoformat(" ") if isinstance(raw, datetime) else str(raw)
    return " ".join(text.split())[:_SHOWN].replace("\0", "\N{SYMBOL FOR NULL}")


def value_of(column: Column, raw: Any, epoch: datetime = WINDOWS_EPOCH) -> Any:
    """The cell as JSON has it; None when it is blank.

    `raw` as openpyxl or csv give it; `epoch` of the workbook's day numbers. Raises CellFault.
    """
    if is_blank(raw):
        return None
    if isinstance(raw, Uncalculated):
        raise CellFault("formula_without_value", {"field": column.called, "got": shown(raw)})
    if isinstance(raw, str):
        raw = original(raw.strip(_BLANKS))
        if raw.upper() in EXCEL_ERRORS:
            raise CellFault("cell_error", {"field": column.called, "got": raw[:_SHOWN]})
    if column.kind == "list":
        between = _SEPARATORS_OF_CHOICES if column.item == "choice" else _SEPARATORS
        parts = between.split(raw) if isinstance(raw, str) else [raw]
        return [_READ[column.item](column, one, epoch) for one in parts if not is_blank(one)]
    return _READ[column.kind](column, raw, epoch)


def _wrong(column: Column, raw: Any, kind: Kind | None = None) -> CellFault:
    zh, en = KINDS[kind or column.kind]
    parameters = {"field": column.called, "expected": f"{zh} / {en}", "got": shown(raw)}
    return CellFault("cell_type", parameters)


def _half(text: str) -> str:
    return unicodedata.normalize("NFKC", text).strip(_BLANKS)


def _text(column: Column, raw: Any, _: datetime) -> str:
    if isinstance(raw, bool):
        return "TRUE" if raw else "FALSE"
    if isinstance(raw, int | float):
        if abs(raw) >= 10**_SAFE_DIGITS:
            raise CellFault("digits_lost", {"field": column.called, "got": shown(raw)})
        return str(int(raw)) if float(raw).is_integer() else repr(raw)
    if isinstance(raw, str):
        text = raw.strip(_BLANKS)
        half = _half(text)
        if column.table is not None:
            half = _code(half)
        if _ROUNDED.fullmatch(half):  # an 18-digit code that a spreadsheet has saved as CSV
            raise CellFault("digits_lost", {"field": column.called, "got": shown(raw)})
        return half if half.isascii() else text  # codes in full width; names keep their punctuation
    raise _wrong(column, raw, "text")


def _code(text: str) -> str:
    """A code without the Chinese name after it that the template's drop-downs have: 441900 东莞市."""
    code, *name = text.split(maxsplit=1)
    return code if name and code.isascii() and not name[0].isascii() else text


def _number(column: Column, raw: Any, _: datetime) -> float | int:
    if isinstance(raw, bool):
        raise _wrong(column, raw, "number")
    if isinstance(raw, int | float):
        found = float(raw)
    else:
        text = _half(raw).replace(" ", "") if isinstance(raw, str) else ""
        if not any(c.isdigit() for c in text) or not _NUMBER.fullmatch(text):
            raise _wrong(column, raw, "number")
        found = float(text.rstrip("%").replace(",", ""))
        if text.endswith("%"):
            found = float(f"{found / 100:.15g}")
    if not math.isfinite(found):
        raise _wrong(column, raw, "number")
    return int(found) if found.is_integer() and abs(found) < 2**53 else found


def _integer(column: Column, raw: Any, epoch: datetime) -> int:
    found = _number(column, raw, epoch)
    if not isinstance(found, int):
        raise _wrong(column, raw, "integer")
    return found


def _boolean(column: Column, raw: Any, _: datetime) -> bool:
    text = _half(str(raw)).casefold()
    if isinstance(raw, float) and raw.is_integer():
        text = str(int(raw))
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise _wrong(column, raw, "boolean")


def _choice(column: Column, raw: Any, epoch: datetime) -> str:
    wanted = folded(_text(column, raw, epoch))
    for code, names in column.choices.items():
        if wanted in (folded(code), *map(folded, names)):
            return code
    known = "、".join(names[0] for names in column.choices.values())
    raise CellFault("unknown_choice", {"field": column.called, "got": shown(raw), "known": known[:500]})


def _date(column: Column, raw: Any, epoch: datetime) -> str:
    found = _moment_of(raw, epoch)
    if found is None or found.time() != time() or (found.tzinfo is not None):
        raise _wrong(column, raw, "date")
    return found.date().isoformat()


def _moment(column: Column, raw: Any, epoch: datetime) -> str:
    found = _moment_of(raw, epoch)
    if found is None:
        raise _wrong(column, raw, "moment")
    # A time that names no zone is of ours: the template says so.
    return (found if found.tzinfo is not None else found.replace(tzinfo=LOCAL)).isoformat()


def _moment_of(raw: Any, epoch: datetime) -> datetime | None:
    """A time as a cell holds or writes it; without a zone when none is written."""
    if isinstance(raw, datetime):
        # Excel counts days as floats: what is off by less than a millisecond was a whole second.
        near = (raw + timedelta(microseconds=500)).replace(microsecond=0)
        return near if abs(near - raw) < timedelta(milliseconds=1) else raw
    if isinstance(raw, date):
        return datetime(raw.year, raw.month, raw.day)  # noqa: DTZ001 the zone is the caller's matter
    try:
        if isinstance(raw, int | float) and not isinstance(raw, bool):
            return _of_number(raw, epoch)
        return _of_text(_half(raw)) if isinstance(raw, str) else None
    except (ValueError, OverflowError):
        return None


def _of_number(raw: float, epoch: datetime) -> datetime | None:
    if float(raw).is_integer() and (found := _COMPACT.fullmatch(str(int(raw)))):
        year, month, day = map(int, found.groups())
        return datetime(year, month, day)  # noqa: DTZ001
    if int(raw) not in _SERIAL:
        return None
    found_at = from_excel(raw, epoch)
    return _moment_of(found_at, epoch) if isinstance(found_at, datetime) else None


def _of_text(text: str) -> datetime | None:
    if (found := _DATE.match(text)) is not None:
        year, *months, day = found.groups()
        month = next(one for one in months if one)
    elif (found := _COMPACT.fullmatch(text)) is not None:
        year, month, day = found.groups()
    else:
        return None
    moment = datetime(int(year), int(month), int(day))  # noqa: DTZ001
    rest = text[found.end() :].removeprefix("T").removeprefix("t").strip()
    if not rest:
        return moment
    if (at := _TIME.fullmatch(rest)) is None:
        return None
    hour, minute, second, fraction, zone = at.groups()
    micro = round(float(fraction or 0) * 1e6)
    moment = moment.replace(hour=int(hour), minute=int(minute), second=int(second or 0)) + timedelta(
        microseconds=micro
    )
    if zone is None:
        return moment
    if zone.upper() == "Z":
        return moment.replace(tzinfo=UTC)
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return moment.replace(tzinfo=timezone(-offset if zone[0] == "-" else offset))


_READ: Mapping[Kind, Callable[[Column, Any, datetime], Any]] = {
    "text": _text, "number": _number, "integer": _integer, "boolean": _boolean, "choice": _choice,
    "date": _date, "moment": _moment, "list": _text,
}  # fmt: skip
