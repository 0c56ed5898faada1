"""A file as it was sent → a table: rows of raw cells below a heading that was understood. Pure.

xlsx is read with openpyxl, row by row; CSV in UTF-8, UTF-16 with its mark, or GB 18030, with comma,
semicolon or tab. Whatever the bytes are, either a table comes of them or FileFault says what is wrong.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

import openpyxl
from openpyxl.utils import get_column_letter
from openpyxl.utils.cell import range_boundaries
from openpyxl.utils.datetime import WINDOWS_EPOCH

from ingest.decoded import worded
from ingest.sheets.bounds import MOST_COLUMNS, Count, FileFault, check_archive, is_xlsx
from ingest.sheets.cells import Uncalculated, is_blank, shown
from ingest.sheets.columns import Column, columns_of, folded

RESULT_SHEET = "校验结果 Result"
GUIDE_SHEET = "填写说明 Guide"
CHOICES_SHEET = "选项 Choices"
OWN_SHEETS = frozenset({RESULT_SHEET, GUIDE_SHEET, CHOICES_SHEET})
ERROR_HEADING, MEND_HEADING = "错误 error", "处理 mend"
_OWN_HEADINGS = frozenset({folded(ERROR_HEADING), folded(MEND_HEADING)})
_HEADING_WITHIN = 30
_DELIMITERS = (",", ";", "\t")
_ALIKE = 0.8
_LEAST_ALIKE = 4
_BRACKETS = re.compile(r"\([^()]*\)$")
_MERGED_ROWS = 60_000
_NAME_MOST = 100
_IGNORED_SHOWN = 20

Row = tuple[int, tuple[Any, ...]]
"""Its number in the file, from 1, and its raw cells from column A on."""


class Heading(NamedTuple):
    """Row number of the heading, which column holds which field (from 0), and columns that are nobody's."""

    row: int
    columns: Mapping[int, Column]
    ignored: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """What was read. `merged`: row → cells of it in merged ranges; `encoding`, `delimiter` of CSV alone; `unread`:
    other sheets with a heading of the dataset.
    """

    form: str
    heading: Heading
    rows: Sequence[Row]
    sheet: str = ""
    epoch: datetime = WINDOWS_EPOCH
    merged: Mapping[int, int] = field(default_factory=dict)
    encoding: str = ""
    delimiter: str = ""
    unread: Sequence[str] = ()


def address(row: int, column: int | None) -> str:
    """A cell as people name it, column from 0: C17; the row alone when it is not one cell."""
    return f"{row}" if column is None else f"{get_column_letter(column + 1)}{row}"


def read_table(dataset: str, data: bytes) -> Table:
    """The table in a file. Raises FileFault."""
    if not data.strip():
        raise FileFault("no_heading", {"known": _known(dataset)})
    return _read_xlsx(dataset, data) if is_xlsx(data) else _read_csv(dataset, data)


def _known(dataset: str) -> str:
    return "、".join(column.zh for column in columns_of(dataset) if column.required)


def _read_xlsx(dataset: str, data: bytes) -> Table:
    parts = check_archive(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            book = _opened(data, data_only=True)
            formulas = _opened(data, data_only=False) if parts.uncalculated else None
            best: Table | None = None
            unread: list[str] = []
            for sheet in book.worksheets:
                if sheet.title in OWN_SHEETS or getattr(sheet, "sheet_state", "") == "veryHidden":
                    continue
                cells = _cells(sheet)
                if best is not None or sheet.sheet_state != "visible":
                    if _heading_at(dataset, _top(cells)) is not None:
                        unread.append(sheet.title[:_NAME_MOST])
                    continue
                part = getattr(sheet, "_worksheet_path", "").lstrip("/")
                if formulas is not None and part in parts.uncalculated:
                    written = _cells(formulas[sheet.title])
                    cells = _uncalculated(cells, written, and_zero=parts.recalculate)
                heading, rows = _headed(dataset, cells)
                if heading is not None:
                    merged = _merged(parts.merged.get(part, ()), heading)
                    best = Table("xlsx", heading, rows, sheet.title, book.epoch, merged)
    except FileFault:
        raise
    except MemoryError:
        raise FileFault("file_too_large", {"got": "memory", "limit": "memory"}) from None
    except Exception as error:  # whatever a foreign file does to the library is the file's fault
        raise FileFault(
            "malformed_file", worded("不是合规的 xlsx", f"xlsx: {type(error).__name__}: {error}"[:200])
        ) from error
    if best is None:
        raise FileFault("no_heading", {"known": _known(dataset)})
    _require(dataset, best.heading)
    return replace(best, unread=unread)


def _opened(data: bytes, *, data_only: bool) -> Any:
    return openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=data_only, keep_links=False)


def _uncalculated(values: Iterator[Row], formulas: Iterator[Row], *, and_zero: bool) -> Iterator[Row]:
    """The rows of values, with the formulas that have none in their places: what is there is not blank.

    `and_zero`: so is a 0, which is what a library writes that calculates nothing.
    """
    for (number, cells), (_, written) in zip(values, formulas, strict=True):
        if _is_empty(written):
            yield number, cells
            continue
        pairs = zip(cells, written, strict=True)
        yield (
            number,
            tuple(
                Uncalculated(str(getattr(formula, "text", formula)))
                if formula is not None and (value is None or (and_zero and value == 0 and formula != value))
                else value
                for value, formula in pairs
            ),
        )


def _is_empty(cells: tuple[Any, ...]) -> bool:
    # A sheet may be a million rows of nothing: these are not looked at cell by cell.
    return cells.count(None) == len(cells)


def _cells(sheet: Any) -> Iterator[Row]:
    sheet.reset_dimensions()
    return enumerate(sheet.iter_rows(max_col=MOST_COLUMNS, values_only=True), 1)


def _merged(ranges: Iterable[str], heading: Heading) -> dict[int, int]:
    """Rows of data with merged cells → the first such column (from 0) that holds a field."""
    spans: dict[int, list[tuple[int, int]]] = {}
    for one in ranges:
        left, top, right, bottom = range_boundaries(one)
        if left is None or top is None or right is None or bottom is None or bottom <= heading.row:
            continue
        if columns := [c for c in heading.columns if left - 1 <= c <= right - 1]:
            spans.setdefault(min(columns), []).append((max(top, heading.row + 1), bottom))
    found: dict[int, int] = {}
    for column in sorted(spans):
        reached = heading.row
        for top, bottom in sorted(spans[column]):
            for row in range(max(top, reached + 1), min(bottom, heading.row + _MERGED_ROWS) + 1):
                found.setdefault(row, column)
            reached = max(reached, bottom)
    return found


def _read_csv(dataset: str, data: bytes) -> Table:
    text, encoding = _decoded(data)
    found: list[tuple[int, str]] = []
    for delimiter in _DELIMITERS:
        head = _parsed(text[: 2**16], delimiter, lines=_HEADING_WITHIN)
        best = max((_matches(dataset, cells) for _, cells in head), default=0)
        found.append((best, delimiter))
    most, delimiter = max(found, key=lambda one: one[0])
    if most == 0:
        raise FileFault("no_heading", {"known": _known(dataset)})
    heading, rows = _headed(dataset, _parsed(text, delimiter))
    if heading is None:
        raise FileFault("no_heading", {"known": _known(dataset)})
    _require(dataset, heading)
    for number, cells in rows:
        if _holds_records(cells, delimiter, len(heading.columns)):
            raise _open_quote(number)
    return Table("csv", heading, rows, encoding=encoding, delimiter=delimiter)


def decoded_lines(text: str, delimiter: str, *, strict: bool = True) -> Iterator[list[str]]:
    """The records of a CSV. Raises FileFault; what is not `strict` takes a quote for what it may have been meant as."""
    reader, number = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=strict), 0
    try:
        for cells in reader:
            number += 1
            yield cells
    except csv.Error as error:
        raise _open_quote(number + 1) from error


def _open_quote(number: int) -> FileFault:
    zh = f"第 {number} 行:引号没有成对,或引号之后还有内容;单元格中的引号须写两遍,并把整个单元格放在引号中"
    en = (
        f"row {number}: a quote that is not closed, or with text after it; a quote within a cell is written twice, and"
        " the cell put in quotes"
    )
    return FileFault("malformed_file", worded(zh, en))


def _holds_records(cells: Iterable[str], delimiter: str, columns: int) -> bool:
    """Whether a cell has swallowed records: a line within it is as long as a record, between two stray quotes."""
    least = max(2, columns - 1)
    return any(
        "\n" in cell and any(line.count(delimiter) >= least for line in cell.splitlines()) for cell in cells
    )


def _parsed(text: str, delimiter: str, lines: int | None = None) -> Iterator[Row]:
    """The rows; of the first `lines` alone it is only asked what they may be."""
    for number, cells in enumerate(decoded_lines(text, delimiter, strict=lines is None), 1):
        if lines is not None and number > lines:
            return
        yield number, tuple(cells)


def _decoded(data: bytes) -> tuple[str, str]:
    """The text, and the codec that takes it back to these bytes."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return _strict(data, encoding), encoding
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return _strict(data, "gb18030"), "gb18030"


def _strict(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as wrong:
        said = worded(
            f"编码既非 UTF-8 也非 GBK(第 {wrong.start} 字节)",
            f"neither UTF-8 nor GB 18030: byte {wrong.start}",
        )
        raise FileFault("malformed_file", said) from wrong


def _matches(dataset: str, cells: Sequence[Any]) -> int:
    """How many of these cells are headings of the dataset."""
    known = {name for column in columns_of(dataset) for name in column.names}
    return len({f for cell in cells if isinstance(cell, str) and (f := folded(cell)) in known})


def _headed(dataset: str, rows: Iterator[Row]) -> tuple[Heading | None, list[Row]]:
    """The heading, and the rows of data below it that are not empty; what was looked at is bounded."""
    first = _top(rows)
    at = _heading_at(dataset, first)
    if at is None:
        return None, []
    heading = _heading(dataset, *first[at])
    count, kept = Count(), []
    for number, cells in _chained(first[at + 1 :], rows):
        filled = 0 if _is_empty(cells) else sum(not is_blank(cell) for cell in cells)
        count.row(number, filled)
        if not filled:
            continue
        kept.append((number, cells[: max(heading.columns) + 1]))
    while kept and _is_heading(heading, kept[0][1]):  # the names in the other language, or of the fields
        del kept[0]
    return heading, kept


def _top(rows: Iterator[Row]) -> list[Row]:
    """The rows in which a heading may be."""
    first: list[Row] = []
    for row in rows:
        first.append(row)
        if row[0] >= _HEADING_WITHIN:
            break
    return first


def _heading_at(dataset: str, first: Sequence[Row]) -> int | None:
    """Which of them is the heading."""
    scores = [_matches(dataset, cells) for _, cells in first]
    least = 1 if len(columns_of(dataset)) < 3 else 2
    return scores.index(max(scores)) if scores and max(scores) >= least else None


def _chained(first: list[Row], rest: Iterator[Row]) -> Iterator[Row]:
    yield from first
    yield from rest


def _is_heading(heading: Heading, cells: Sequence[Any]) -> bool:
    filled = {i: cell for i, cell in enumerate(cells) if i in heading.columns and not is_blank(cell)}
    return bool(filled) and all(
        isinstance(cell, str) and folded(cell) in heading.columns[i].names for i, cell in filled.items()
    )


def _heading(dataset: str, row: int, cells: Sequence[Any]) -> Heading:
    """Raises FileFault: a heading twice, or one that is nearly a field's."""
    known = {name: column for column in columns_of(dataset) for name in column.names}
    named = {
        known[name].field for cell in cells if not is_blank(cell) and (name := folded(str(cell))) in known
    }
    missing = [column for column in columns_of(dataset) if column.field not in named]
    columns: dict[int, Column] = {}
    ignored: list[tuple[str, str]] = []
    taken: dict[str, int] = {}
    for i, cell in enumerate(cells):
        if is_blank(cell):
            continue
        name = folded(str(cell))
        if (column := known.get(name)) is None:
            if name in _OWN_HEADINGS:
                continue
            if (meant := _nearly(name[:_NAME_MOST], missing)) is not None:
                parameters = {
                    "cell": address(row, i),
                    "got": shown(cell),
                    "meant": f"{meant.zh} / {meant.field}",
                }
                raise FileFault("unknown_column", parameters)
            ignored.append((address(row, i), shown(cell)))
            continue
        if column.field in taken:
            parameters = {
                "cell": address(row, i),
                "other": address(row, taken[column.field]),
                "got": column.zh,
            }
            raise FileFault("repeated_column", parameters)
        columns[i], taken[column.field] = column, i
    return Heading(row, columns, ignored[:_IGNORED_SHOWN])


def _nearly(name: str, columns: Sequence[Column]) -> Column | None:
    """The column whose heading this nearly is: one character is another, or it has another unit in brackets."""
    bare = _bare(name)
    known = {
        other: column for column in columns for full in column.names for other in (full, _bare(full)) if other
    }
    if (same := known.get(bare)) is not None:
        return same
    for other, column in known.items():
        if len(other) == len(bare) >= _LEAST_ALIKE and sum(map(str.__ne__, other, bare)) == 1:
            return column
    alike = difflib.get_close_matches(bare, known, 1, _ALIKE)
    return known[alike[0]] if alike else None


def _bare(name: str) -> str:
    """A folded heading without what stands in brackets at its end, as a unit does."""
    return _BRACKETS.sub("", name)


def _require(dataset: str, heading: Heading) -> None:
    present = {column.field for column in heading.columns.values()}
    missing = [c for c in columns_of(dataset) if c.required and c.field not in present]
    if missing:
        names = "、".join(f"{c.zh} / {c.field}" for c in missing)
        raise FileFault("missing_column", {"missing": names, "row": str(heading.row)})
