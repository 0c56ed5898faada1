"""The file that came, given back with every refused cell marked and explained, and a sheet with all of them. Pure."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import openpyxl
from openpyxl.comments import Comment
from openpyxl.styles import Font, PatternFill
from openpyxl.worksheet.worksheet import Worksheet

from ingest.sheets.harmless import harmless, original, put_text
from ingest.sheets.judging import Mark
from ingest.sheets.reading import (
    ERROR_HEADING,
    MEND_HEADING,
    RESULT_SHEET,
    Table,
    address,
    decoded_lines,
)
from ingest.sheets.saving import saved
from store.reasons import reason_of

_AUTHOR = "群策 Qunce"
_RED = "FFFFC7CE"
_FILL = PatternFill("solid", _RED)
_COMMENTS_MOST = 2_000
_HEADINGS = ("行 row", "单元格 cell", "字段 field", "规则", "rule", "处理", "how to mend")
_WIDTHS = (8, 10, 24, 48, 48, 48, 48)


def marked(data: bytes, table: Table, marks: Sequence[Mark], counts: Mapping[str, int]) -> bytes:
    """The file with `marks`, in the format and encoding it came in. `counts`: for the sheet's first lines."""
    return (
        _marked_csv(data, table, marks) if table.form == "csv" else _marked_xlsx(data, table, marks, counts)
    )


def _marked_xlsx(data: bytes, table: Table, marks: Sequence[Mark], counts: Mapping[str, int]) -> bytes:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(io.BytesIO(data), keep_links=False)
        sheet = book[table.sheet]
        if RESULT_SHEET in book.sheetnames:
            del book[RESULT_SHEET]
        _unmark(sheet)
    except MemoryError:
        raise
    except Exception:  # readable row by row, yet not as a whole: the sheet of results alone, then
        book = openpyxl.Workbook()
        sheet = None
    if sheet is not None:
        _mark(sheet, table, marks)
    _result(book.create_sheet(RESULT_SHEET), table, marks, counts, linked=sheet is not None)
    if sheet is None:
        del book[book.sheetnames[0]]
    return saved(book)


def _unmark(sheet: Worksheet) -> None:
    """Take away what an earlier marking of ours has left: the file was corrected and came again."""
    # Those that there are: its iterators would make a cell of every place up to the last, of a million rows too.
    for cell in sheet._cells.values():
        if cell.comment is not None and cell.comment.author == _AUTHOR and cell.fill.fgColor.rgb == _RED:
            cell.comment = None
            cell.fill = PatternFill()


def _mark(sheet: Any, table: Table, marks: Sequence[Mark]) -> None:
    explained: dict[tuple[int, int], list[str]] = {}
    for mark in marks:
        column = min(table.heading.columns) if mark.column is None else mark.column
        reason = reason_of(mark.reason)
        message, hint = reason.message(mark.parameters), reason.hint(mark.parameters)
        explained.setdefault((mark.row, column), []).append(
            f"{message['zh']}\n处理:{hint['zh']}\n{message['en']}\nMend: {hint['en']}"
        )
    for n, ((row, column), texts) in enumerate(explained.items()):
        cell = sheet.cell(row, column + 1)
        if type(cell).__name__ == "MergedCell":
            cell = sheet.cell(*_anchor(sheet, row, column + 1))
        cell.fill = _FILL
        if n < _COMMENTS_MOST:
            cell.comment = Comment("\n\n".join(texts)[:2000], _AUTHOR, height=160, width=320)


def _anchor(sheet: Any, row: int, column: int) -> tuple[int, int]:
    for merged in sheet.merged_cells.ranges:
        if merged.min_row <= row <= merged.max_row and merged.min_col <= column <= merged.max_col:
            return merged.min_row, merged.min_col
    return row, column


def _result(
    sheet: Any, table: Table, marks: Sequence[Mark], counts: Mapping[str, int], *, linked: bool
) -> None:
    put_text(sheet.cell(1, 1), "校验结果 / Result")
    sheet.cell(1, 1).font = Font(bold=True, size=14)
    put_text(sheet.cell(2, 1), "; ".join(f"{name} {n:,}" for name, n in counts.items()))
    for i, (name, width) in enumerate(zip(_HEADINGS, _WIDTHS, strict=True), 1):
        cell = sheet.cell(4, i)
        put_text(cell, name)
        cell.font = Font(bold=True)
        sheet.column_dimensions[cell.column_letter].width = width
    for row, mark in enumerate(marks, 5):
        reason = reason_of(mark.reason)
        message, hint = reason.message(mark.parameters), reason.hint(mark.parameters)
        at = address(mark.row, mark.column)
        sheet.cell(row, 1).value = mark.row
        texts = (at, mark.field, message["zh"], message["en"], hint["zh"], hint["en"])
        for i, text in enumerate(texts, 2):
            put_text(sheet.cell(row, i), text)
        if linked and mark.column is not None and row < _COMMENTS_MOST:
            title = table.sheet.replace("'", "''")
            sheet.cell(row, 2).hyperlink = f"#'{title}'!{at}"
            sheet.cell(row, 2).font = Font(color="0563C1", underline="single")
    sheet.freeze_panes = "A5"


def _marked_csv(data: bytes, table: Table, marks: Sequence[Mark]) -> bytes:
    """The same lines, with two columns more that say what is wrong; in the encoding it came in."""
    of_row: dict[int, list[Mark]] = {}
    for mark in marks:
        of_row.setdefault(mark.row, []).append(mark)
    lines = list(decoded_lines(data.decode(table.encoding), table.delimiter))
    own = _own_columns(lines[table.heading.row - 1])
    lines = [[cell for i, cell in enumerate(line) if i not in own] for line in lines]
    width = max(map(len, lines), default=0)
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=table.delimiter)
    for number, line in enumerate(lines, 1):
        cells = [harmless(original(cell), numbers=True) for cell in line]
        if number == table.heading.row:
            cells += [""] * (width - len(cells)) + [ERROR_HEADING, MEND_HEADING]
        elif found := of_row.get(number):
            cells += [""] * (width - len(cells)) + list(_explained(found))
        writer.writerow(cells)
    return text.getvalue().encode(table.encoding, "replace")


def _own_columns(heading: Sequence[str]) -> frozenset[int]:
    return frozenset(i for i, cell in enumerate(heading) if cell in (ERROR_HEADING, MEND_HEADING))


def _explained(marks: Sequence[Mark]) -> tuple[str, str]:
    messages, hints = [], []
    for mark in marks:
        reason = reason_of(mark.reason)
        message, hint = reason.message(mark.parameters), reason.hint(mark.parameters)
        messages.append(f"[{address(mark.row, mark.column)}] {message['zh']} / {message['en']}")
        hints.append(f"{hint['zh']} / {hint['en']}")
    return harmless(" | ".join(messages)), harmless(" | ".join(hints))
