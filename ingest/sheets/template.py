"""The empty file of a dataset, to be filled in: xlsx with drop-downs, checks and a guide, or CSV. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import Any

import annotated_types
import openpyxl
from openpyxl.comments import Comment
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.worksheet import Worksheet

from ingest.datasets import DATASETS
from ingest.sheets.bounds import MOST_ROWS
from ingest.sheets.columns import KINDS, Column, columns_of, title_of
from ingest.sheets.harmless import harmless, put_text
from ingest.sheets.judging import example_records
from ingest.sheets.reading import CHOICES_SHEET, GUIDE_SHEET
from ingest.sheets.saving import saved
from store.times import LOCAL

_HEADING, _FIELDS, _FIRST = 3, 4, 5
_FORMATS = {"date": "yyyy-mm-dd", "moment": "yyyy-mm-dd hh:mm", "number": "General", "integer": "0"}
_BLUE, _PALE, _GREY = (
    PatternFill("solid", "1F4E79"),
    PatternFill("solid", "DDEBF7"),
    PatternFill("solid", "F2F2F2"),
)
_WRAPPED = Alignment(wrap_text=True, vertical="top")
_LATEST = "DATE(2099,12,31)"
_LISTED = f"下拉选项之一,见工作表「{CHOICES_SHEET}」 / one of the drop-down, see the sheet {CHOICES_SHEET}"
Codes = Mapping[str, Mapping[str, str]]
"""Code table → code → Chinese name."""
NO_CODES: Codes = MappingProxyType({})
_NOTES = (
    ("表头带 * 的列必填;列的顺序可以改变,不需要的选填列可以删除。",
     "Columns marked * are mandatory; columns may be reordered, optional ones deleted."),
    ("灰色斜体的示例行未改动时自动忽略,也可删除。", "The example rows in grey italics are ignored while unchanged; they may be deleted."),
    ("时间未注明时区的,按北京时间(+08:00)。", "A time without a zone is taken as Beijing time (+08:00)."),
    ("编码、统一社会信用代码等列为文本格式,请勿改为数字,否则首位的 0 和第 16 位以后的数字会丢失。",
     "Columns of codes are text; as numbers they would lose leading zeros and all digits beyond the 15th."),
    ("请勿使用合并单元格。", "Do not merge cells."),
    ("同一主键(下表标「主键」的列)再次上报且内容相同为重复,内容不同为更正。",
     "Reported again, the same key (marked below) with the same content is a duplicate, with other content a correction."),
)  # fmt: skip


def template_xlsx(dataset: str, codes: Codes = NO_CODES) -> bytes:
    """The template as xlsx; columns that are of one of the tables `codes` have its codes to choose from."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert isinstance(sheet, Worksheet)  # noqa: S101 a new workbook has one
    zh, en = title_of(dataset)
    sheet.title = "数据 Data"
    columns = columns_of(dataset)
    put_text(sheet["A1"], f"{zh}(数据集 {dataset})")
    sheet["A1"].font = Font(bold=True, size=14)
    put_text(sheet["A2"], f"{en} · {_NOTES[2][0]}{_NOTES[2][1]}")
    sheet["A2"].font = Font(color="808080")
    for i, column in enumerate(columns, 1):
        _head(sheet, i, column)
    for row, record in enumerate(example_records(dataset), _FIRST):
        for i, column in enumerate(columns, 1):
            cell = sheet.cell(row, i)
            _put(cell, column, record.get(column.field), codes)
            cell.font = Font(italic=True, color="808080")
            cell.fill = _GREY
    sheet.freeze_panes = f"A{_FIRST}"
    _checks(book, sheet, dataset, columns, codes)
    _guide(book.create_sheet(GUIDE_SHEET), columns, codes)
    if CHOICES_SHEET in book.sheetnames:
        book.move_sheet(CHOICES_SHEET, 1)
    return saved(book)


def template_csv(dataset: str, codes: Codes = NO_CODES) -> bytes:
    """The template as CSV in UTF-8 with the mark by which spreadsheets know it: labels, field names, examples."""
    columns = columns_of(dataset)
    text = io.StringIO(newline="")
    lines = csv.writer(text)
    lines.writerow([f"{c.zh} *" if c.required else c.zh for c in columns])
    lines.writerow([c.field for c in columns])
    for record in example_records(dataset):
        lines.writerow([harmless(_written(c, record.get(c.field), codes), numbers=True) for c in columns])
    return b"\xef\xbb\xbf" + text.getvalue().encode()


def _head(sheet: Worksheet, i: int, column: Column) -> None:
    heading, field = sheet.cell(_HEADING, i), sheet.cell(_FIELDS, i)
    put_text(heading, f"{column.zh} *" if column.required else column.zh)
    heading.font, heading.fill = Font(bold=True, color="FFFFFF"), _BLUE
    heading.alignment = Alignment(wrap_text=True, vertical="center")
    heading.comment = Comment(_described(column), "群策 Qunce", height=160, width=320)
    put_text(field, column.field)
    field.font, field.fill = Font(color="595959", size=9), _PALE
    dimension = sheet.column_dimensions[get_column_letter(i)]
    dimension.width = min(40, max(14, 2 * len(column.zh) + 4, len(column.field) + 2))
    dimension.number_format = _FORMATS.get(column.kind, "@")


def _described(column: Column) -> str:
    zh, en = KINDS[column.kind]
    lines = [
        *_said(column),
        f"{'必填' if column.required else '选填'}:{zh}",
        f"{'mandatory' if column.required else 'optional'}: {en}",
    ]
    lines += [f"{label_zh} = {code}" for code, (label_zh, _) in column.choices.items()]
    return "\n".join(lines)[:1000]


def _said(column: Column) -> tuple[str, ...]:
    """What the column is, in Chinese first."""
    return tuple(text for text in (column.note, column.en) if text)


def _written(column: Column, value: Any, codes: Codes) -> str:
    """A value as a person types it."""
    if value is None:
        return ""
    if column.kind == "list":
        return ";".join(_label(column, one) for one in value)
    if column.kind == "boolean":
        return "是" if value else "否"
    if column.kind == "choice":
        return _label(column, value)
    if column.kind == "number":
        return f"{value:.15g}"
    if column.table is not None and (names := codes.get(column.table)):
        return _named(str(value), names)
    if column.kind == "moment":
        return _local(value).strftime("%Y-%m-%d %H:%M:%S")
    return str(value)


def _named(code: str, names: Mapping[str, str]) -> str:
    """A code with its name, as the reader takes it: 441900 东莞市."""
    return f"{code} {names.get(code, '')}".rstrip()


def _entries(column: Column, codes: Codes) -> list[str]:
    """What the drop-down of a column has to choose from; nothing: it has none."""
    if column.kind == "choice":
        return [zh for zh, _ in column.choices.values()]
    names = codes.get(column.table, {}) if column.table is not None else {}
    return [_named(code, names) for code in names]


def _label(column: Column, value: Any) -> str:
    return column.choices.get(str(value), (str(value),))[0]


def _local(value: str) -> datetime:
    return datetime.fromisoformat(value).astimezone(LOCAL).replace(tzinfo=None)


def _put(cell: Any, column: Column, value: Any, codes: Codes) -> None:
    if value is None:
        return
    if column.kind in ("number", "integer"):
        cell.value = value
    elif column.kind == "date":
        cell.value = date.fromisoformat(value)
    elif column.kind == "moment":
        cell.value = _local(value)
    else:
        put_text(cell, _written(column, value, codes))
    cell.number_format = _FORMATS.get(column.kind, "@")


def _checks(
    book: openpyxl.Workbook, sheet: Worksheet, dataset: str, columns: Iterable[Column], codes: Codes
) -> None:
    """Drop-downs and checks of what is typed; the drop-downs' values stand on a sheet of their own."""
    values: Worksheet | None = None
    listed = 0
    for i, column in enumerate(columns, 1):
        letter = get_column_letter(i)
        zh, en = KINDS[column.kind]
        if entries := _entries(column, codes):
            zh, en = KINDS["choice"]
            if values is None:
                values = book.create_sheet(CHOICES_SHEET)
            listed += 1
            put_text(values.cell(1, listed), column.zh)
            for row, entry in enumerate(entries, 2):
                put_text(values.cell(row, listed), entry)
            at = get_column_letter(listed)
            values.column_dimensions[at].width = min(40, max(14, *(2 * len(entry) for entry in entries)))
            source = f"'{CHOICES_SHEET}'!${at}$2:${at}${len(entries) + 1}"
            check = DataValidation(type="list", formula1=source, allow_blank=True)
            if column.table is not None:  # the bare code is taken, too, and of regions that of a town
                check.errorStyle = "warning"
        elif column.kind == "boolean":
            check = DataValidation(type="list", formula1='"是,否"', allow_blank=True)
        elif column.kind in ("date", "moment"):
            check = DataValidation(
                type="date", operator="between", formula1="DATE(1900,1,1)", formula2=_LATEST, allow_blank=True
            )
        elif column.kind in ("number", "integer"):
            low, high = _limits(dataset, column.field)
            check = DataValidation(
                type="whole" if column.kind == "integer" else "decimal", operator="between",
                formula1=low, formula2=high, allow_blank=True,
            )  # fmt: skip
        else:
            continue
        check.errorTitle, check.error = column.zh[:30], f"应为{zh} / must be {en}"[:220]
        check.showErrorMessage = True
        check.add(f"{letter}{_FIRST}:{letter}{_FIRST + MOST_ROWS}")
        sheet.add_data_validation(check)


def _limits(dataset: str, field: str) -> tuple[str, str]:
    """The least and the greatest value that the model takes, as far as its annotations say."""
    low, high = "-1E+300", "1E+300"
    for rule in DATASETS[dataset].model_fields[field].metadata:
        if isinstance(rule, annotated_types.Ge | annotated_types.Gt):
            low = f"{rule.ge if isinstance(rule, annotated_types.Ge) else rule.gt}"
        elif isinstance(rule, annotated_types.Le | annotated_types.Lt):
            high = f"{rule.le if isinstance(rule, annotated_types.Le) else rule.lt}"
    return low, high


def _guide(sheet: Worksheet, columns: Iterable[Column], codes: Codes) -> None:
    for row, (zh, en) in enumerate(_NOTES, 1):
        put_text(sheet.cell(row, 1), f"{row}. {zh}")
        put_text(sheet.cell(row, 5), en)
    top = len(_NOTES) + 2
    headings = (
        "列 column",
        "字段 field",
        "必填 mandatory",
        "类型 type",
        "取值 values",
        "说明 description",
        "示例 example",
    )
    for i, name in enumerate(headings, 1):
        cell = sheet.cell(top, i)
        put_text(cell, name)
        cell.font, cell.fill = Font(bold=True, color="FFFFFF"), _BLUE
    for row, column in enumerate(columns, top + 1):
        zh, en = KINDS[column.kind]
        cells = (
            column.zh, column.field,
            ("是 yes" if column.required else "否 no") + (" · 主键 key" if column.is_key else ""), f"{zh} / {en}",
            "\n".join(f"{label} = {code}" for code, (label, _) in column.choices.items())
            or (_LISTED if _entries(column, codes) else ""),
            "\n".join(_said(column)), "\n".join(_written(column, example, codes) for example in column.examples[:2]),
        )  # fmt: skip
        for i, text in enumerate(cells, 1):
            cell = sheet.cell(row, i)
            put_text(cell, text)
            cell.alignment = _WRAPPED
    for letter, width in zip("ABCDEFG", (22, 24, 16, 30, 40, 50, 30), strict=True):
        sheet.column_dimensions[letter].width = width
