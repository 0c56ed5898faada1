"""Files of datasets: read whatever wrote them, judged cell by cell, marked and given back, and bounded whatever they are."""

from __future__ import annotations

import io
import re
import time
import tracemalloc
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.datasets import DATASETS
from ingest.sheets import bounds
from ingest.sheets.bounds import FileFault
from ingest.sheets.cells import CellFault, value_of
from ingest.sheets.columns import Column, columns_of
from ingest.sheets.harmless import harmless, original, put_text
from ingest.sheets.judging import Judged, Mark, example_records, judge
from ingest.sheets.marking import marked
from ingest.sheets.reading import CHOICES_SHEET, GUIDE_SHEET, RESULT_SHEET, read_table
from ingest.sheets.template import Codes, template_csv, template_xlsx

FILES = Path(__file__).parent / "files"
HEADING = ["code", "name", "planned_on", "accepted_on"]
GOOD = ["m1", "启动会", date(2026, 3, 1), None]


def sheet(*rows: list[Any], heading: list[Any] = HEADING, merge: str = "") -> bytes:
    book = openpyxl.Workbook()
    page = book.active
    for row in (heading, *rows):
        page.append(row)
    if merge:
        page.merge_cells(merge)
    saved = io.BytesIO()
    book.save(saved)
    return saved.getvalue()


def judged(data: bytes, dataset: str = "milestone") -> list[Judged]:
    return list(judge(dataset, read_table(dataset, data)))


def marks(data: bytes, dataset: str = "milestone") -> list[tuple[int, int | None, str]]:
    return [(m.row, m.column, m.reason) for one in judged(data, dataset) for m in one.marks]


def records(data: bytes, dataset: str = "milestone") -> list[dict[str, Any]]:
    found = judged(data, dataset)
    assert [one.marks for one in found if one.marks] == []
    return [one.record for one in found if one.record is not None]


def refused(data: bytes, dataset: str = "milestone") -> str:
    with pytest.raises(FileFault) as fault:
        read_table(dataset, data)
    return fault.value.reason


@pytest.mark.parametrize("name", ["exceljs.xlsx", "sheetjs.xlsx"])
def test_files_of_javascript_libraries(name: str) -> None:
    found = judged((FILES / name).read_bytes())
    assert [one.record for one in found] == [
        {"code": "m1", "name": "启动会", "planned_on": "2026-03-01", "accepted_on": None},
        {"code": "m2", "name": "一期上线", "planned_on": "2026-04-15", "accepted_on": "2026-04-20"},
        None,
    ]
    assert [(m.row, m.column, m.reason) for m in found[2].marks] == [(4, 3, "cell_type")]


@pytest.mark.parametrize("in_1904", [False, True])
def test_a_file_of_xlsxwriter(in_1904: bool) -> None:
    saved = io.BytesIO()
    book = xlsxwriter.Workbook(saved, {"date_1904": in_1904, "constant_memory": True})
    page = book.add_worksheet("数据")
    page.write_row(0, 0, HEADING)
    page.write_row(1, 0, ["m1", "启动会"])
    page.write_datetime(
        1,
        2,
        datetime(2026, 3, 1, tzinfo=UTC).replace(tzinfo=None),
        book.add_format({"num_format": "yyyy/m/d"}),
    )
    page.write_formula(1, 3, "=C2+1", book.add_format({"num_format": "yyyy/m/d"}), 46083 - 1462 * in_1904)
    book.close()
    [record] = records(saved.getvalue())
    assert (record["planned_on"], record["accepted_on"]) == ("2026-03-01", "2026-03-02")


def test_a_file_of_pandas() -> None:
    saved = io.BytesIO()
    frame = pd.DataFrame(
        {
            "code": ["m1", "m2"],
            "name": ["一", "二"],
            "planned_on": pd.to_datetime(["2026-03-01", "2026-03-02"]),
        }
    )
    frame.to_excel(saved, engine="openpyxl")  # with its index in column A
    assert [one["planned_on"] for one in records(saved.getvalue())] == ["2026-03-01", "2026-03-02"]
    assert [one["planned_on"] for one in records(frame.to_csv(index=False).encode())] == [
        "2026-03-01",
        "2026-03-02",
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_of_every_kind(encoding: str, delimiter: str) -> None:
    lines = [["里程碑名称", "Code", "计划 日期", "备注"], [], ["启动,会;一\t二", "００７", "2026/3/1", "x"]]
    names = {column.field: column.zh for column in columns_of("milestone")}
    lines[0] = [names["name"], "Code", f"{names['planned_on']} *", "备注"]
    text = "\r\n".join(delimiter.join(f'"{cell}"' for cell in line) for line in lines)
    data = text.encode(encoding)
    table = read_table("milestone", data)
    assert table.heading.ignored == [("D1", "备注")]
    [record] = records(data)
    assert (record["code"], record["name"], record["planned_on"]) == ("007", "启动,会;一\t二", "2026-03-01")


@pytest.mark.parametrize(
    ("lines", "row"),
    [
        (["m1,一,2026-03-01", 'm2,"二,2026-03-01', "m3,三,2026-03-01"], 3),  # not closed at all
        (['m1,"一,2026-03-01', "m2,二,2026-03-01", 'm3,三",2026-03-01'], 2),  # closed by another stray one
        (["m1,一,2026-03-01", 'm2,"二"车间,2026-03-01'], 3),
    ],
)
def test_a_stray_quote_swallows_no_rows(lines: list[str], row: int) -> None:
    data = "\n".join(["code,name,planned_on", *lines]).encode()
    with pytest.raises(FileFault) as fault:
        read_table("milestone", data)
    assert fault.value.reason == "malformed_file"
    assert f"row {row}:" in fault.value.parameters["detail"]


def test_a_cell_may_have_several_lines_and_quotes() -> None:
    data = 'code,name,planned_on\nm1,"一,二\n三,四 ""五""",2026-03-01\nm2,4" 管,2026-03-01\n'.encode()
    assert [one["name"] for one in records(data)] == ['一,二\n三,四 "五"', '4" 管']


def test_titles_above_blank_rows_and_columns_in_any_order() -> None:
    data = sheet(
        [None, None, None, None, None],
        ["说明", "planned on", None, "NAME*", "code"],
        [None, None, None, None, None],
        ["", "2026.3.1", None, " 启动会\u3000", "m1 "],
        heading=["某集群里程碑汇总表"],
    )
    assert records(data) == [
        {"code": "m1", "name": "启动会", "planned_on": "2026-03-01", "accepted_on": None}
    ]


COLUMN = Column("f", "某列", "some column", "text", True, False, (), {})


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        ("text", 123.0, "123"), ("text", "ＡＢＣ－１", "ABC-1"), ("text", "东莞（某）厂", "东莞（某）厂"), ("text", "'=1", "=1"),
        ("number", "１，２３４．５", 1234.5), ("number", "85%", 0.85), ("number", "-1.5e3", -1500), ("number", 7.0, 7),
        ("integer", "12,000", 12000), ("boolean", "是", True), ("boolean", 0, False), ("boolean", "TRUE", True),
        ("boolean", 1.0, True), ("boolean", "否 ", False), ("date", "2026年3月1日", "2026-03-01"), ("date", 20260301, "2026-03-01"),
        ("date", 46082, "2026-03-01"), ("date", datetime(2026, 3, 1, tzinfo=UTC).replace(tzinfo=None), "2026-03-01"),
        ("moment", "2026-03-01 08:00", "2026-03-01T08:00:00+08:00"), ("moment", "2026/3/1 8:00:01.5", "2026-03-01T08:00:01.500000+08:00"),
        ("moment", "2026-03-01T00:00:00Z", "2026-03-01T00:00:00+00:00"), ("moment", "2026-03-01", "2026-03-01T00:00:00+08:00"),
        ("moment", "2026-03-01 08:00+0530", "2026-03-01T08:00:00+05:30"), ("moment", 46082.33333333, "2026-03-01T08:00:00+08:00"),
        ("list", "a;b；c、d", ["a", "b", "c", "d"]), ("text", " \u3000", None),
    ],
)  # fmt: skip
def test_cells_become_values(kind: Any, raw: Any, value: Any) -> None:
    column = Column(COLUMN.field, COLUMN.zh, COLUMN.en, kind, True, False, (), {})
    assert value_of(column, raw) == value


@pytest.mark.parametrize(
    ("kind", "raw", "reason"),
    [
        ("text", 9.1440300123456789e17, "digits_lost"), ("text", "9.1440E+17", "digits_lost"),
        ("text", datetime(2026, 3, 1, tzinfo=UTC), "cell_type"), ("text", "#N/A", "cell_error"), ("number", "#DIV/0!", "cell_error"),
        ("number", "1,23", "cell_type"), ("number", "十", "cell_type"), ("number", True, "cell_type"), ("number", "1e999", "cell_type"),
        ("number", ".", "cell_type"), ("integer", 1.5, "cell_type"), ("boolean", "也许", "cell_type"), ("date", "2026-02-31", "cell_type"),
        ("date", 12, "cell_type"), ("date", "2026-03-01 08:00", "cell_type"), ("date", "3/1/2026", "cell_type"),
        ("moment", "2026-03-01 25:00", "cell_type"), ("moment", 10**30, "cell_type"),
    ],
)  # fmt: skip
def test_cells_that_are_none(kind: Any, raw: Any, reason: str) -> None:
    column = Column(COLUMN.field, COLUMN.zh, COLUMN.en, kind, True, False, (), {})
    with pytest.raises(CellFault) as fault:
        value_of(column, raw)
    assert fault.value.reason == reason


def test_choices_by_code_label_or_english() -> None:
    heading = ["uscc", "name", "region_code", "registered_on", "scale"]
    base = ["91440300MA5EXAMP0C", "厂", 441900, "2026-01-01"]
    label = next(c for c in columns_of("enterprise") if c.field == "scale").choices["small"][0]
    for written in ("small", "Small ", label):
        [record] = records(sheet([*base, written], heading=heading), "enterprise")
        assert (record["scale"], record["region_code"]) == ("small", "441900")
    [(row, column, reason)] = marks(sheet([*base, "tiny"], heading=heading), "enterprise")
    assert (row, column, reason) == (2, 4, "unknown_choice")


def test_every_wrong_cell_of_a_row_is_marked() -> None:
    data = sheet(["m 1", None, "soon", "#REF!"], GOOD, ["m1", "另一个", date(2026, 3, 1), None], list(GOOD))
    assert marks(data) == [
        (2, 2, "cell_type"), (2, 3, "cell_error"), (2, 0, "invalid_field"), (2, 1, "missing_field"),
        (4, 0, "repeated_key"),
    ]  # fmt: skip
    refusal = judged(data)[0].refusal
    assert refusal is not None
    assert refusal.place == "milestone records[2].planned_on"


def test_merged_cells_of_data_are_refused_and_those_of_titles_are_not() -> None:
    rows = [["m2", "一", date(2026, 3, 1), None], ["m3", None, date(2026, 3, 1), None]]
    assert {mark[:2] for mark in marks(sheet(*rows, merge="B2:B3"))} == {(2, 1), (3, 1)}
    assert (
        marks(sheet(rows[0], merge="A1:B1", heading=["标题", None])[:0] or sheet(GOOD, merge="F1:G1")) == []
    )


def test_a_formula_that_nobody_calculated_is_not_nought() -> None:
    # XlsxWriter calculates nothing either, and writes 0 beside every formula that has no value given.
    saved = io.BytesIO()
    book = xlsxwriter.Workbook(saved)
    page = book.add_worksheet()
    page.write_row(0, 0, ["设备编号", "产品", "生效日期", "单件计划运行时间(秒)", "计划报废率"])
    page.write_row(1, 0, ["E1", "p", "2026-01-01"])
    page.write_formula(1, 3, "=40+2", value=42)
    page.write_formula(1, 4, "=1/100")
    page.write_row(2, 0, ["E2", "p", "2026-01-01", 42, 0])
    book.close()
    data = saved.getvalue()
    assert marks(data, "product_run_time") == [(2, 4, "formula_without_value")]
    assert judged(data, "product_run_time")[1].record["planned_scrap_share"] == 0


@pytest.mark.parametrize(
    ("heading", "meant"),
    [("设备编码", "设备编号 / code"), ("投产日期", "投用日期"), ("投用日期(年月日)", "投用日期"), ("额定产能", "额定产能"),
     ("额定产能(件/天)", "额定产能"), ("设备额定产能", "额定产能")],
)  # fmt: skip
def test_a_heading_that_is_nearly_one_is_asked_about(heading: str, meant: str) -> None:
    named = {column.field: column.zh for column in columns_of("equipment")}
    field = next(field for field, zh in named.items() if zh.startswith(meant.split(" / ", maxsplit=1)[0]))
    given = [heading if one == field else zh for one, zh in named.items()]
    with pytest.raises(FileFault) as caught:
        read_table("equipment", sheet([], heading=given))
    assert caught.value.reason == "unknown_column"
    assert caught.value.parameters["meant"].startswith(meant)
    # Beside the column itself it is one of theirs.
    [(_, ignored)] = read_table("equipment", sheet([], heading=[*named.values(), heading])).heading.ignored
    assert ignored == heading


def test_a_formula_without_a_value_is_not_blank() -> None:
    # openpyxl calculates nothing: no formula of this file has a value.
    data = sheet(
        ["m1", '=CONCATENATE("启动", "会")', date(2026, 3, 1), "=C2+30"], ['="m"&2', *["=A2"] * 3], GOOD
    )
    every = [(2, 1), (2, 3), (3, 0), (3, 1), (3, 2), (3, 3)]
    assert marks(data) == [(row, column, "formula_without_value") for row, column in every]
    assert judged(data)[2].record == dict(zip(HEADING, ["m1", "启动会", "2026-03-01", None], strict=True))
    assert {column for _, column, _ in marks(marked(data, read_table("milestone", data), [], {}))} == {
        0,
        1,
        2,
        3,
    }


@pytest.mark.parametrize(
    "beginning", [b"<html>", b'\xef\xbb\xbf<?xml version="1.0"?>', b"\r\n<TABLE border=1>"]
)
def test_pages_that_are_called_a_workbook_are_refused_as_such(beginning: bytes) -> None:
    assert refused(beginning + ",".join(HEADING).encode()) == "malformed_file"


def test_columns_that_are_missing_misspelt_or_twice() -> None:
    assert refused(sheet(["m1", "x"], heading=["code", "name"])) == "missing_column"
    assert refused(sheet(GOOD, heading=["code", "name", "planed_on", "accepted_on"])) == "unknown_column"
    assert refused(sheet([*GOOD, "x"], heading=[*HEADING, "Name"])) == "repeated_column"
    assert refused(sheet(["a", "b"], heading=["foo", "bar"])) == "no_heading"


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_template_sent_back_is_empty_and_its_example_is_a_record(dataset: str) -> None:
    examples = example_records(dataset)
    assert len(examples) == 1
    for data in (template_xlsx(dataset), template_csv(dataset)):
        table = read_table(dataset, data)
        assert tuple(table.heading.columns.values()) == columns_of(dataset)
        assert len(table.rows) == len(examples)
        assert list(judge(dataset, table)) == []
    book = openpyxl.load_workbook(io.BytesIO(template_xlsx(dataset)))
    page = book.worksheets[0]
    assert page.freeze_panes == "A5"
    listed = {c.field for c in columns_of(dataset) if c.kind in ("choice", "boolean")}
    checks = [check for check in page.data_validations.dataValidation if check.type == "list"]
    assert len(checks) == len(listed)


CODES = {
    "region": {"441900": "东莞市", "441900003": "东莞市东城街道"},
    "indicator": {
        "equip.oee": "设备综合效率 OEE",
        "plat.devices_connected": "平台连接设备数",
        "sme.rd_intensity": "",
    },
}


@pytest.mark.parametrize("codes", [{}, CODES], ids=["without codes", "with codes"])
@pytest.mark.parametrize("dataset", DATASETS)
def test_the_guide_tells_every_column_in_chinese_first_with_an_example_that_can_be_typed(
    dataset: str, codes: Codes
) -> None:
    book = openpyxl.load_workbook(io.BytesIO(template_xlsx(dataset, codes)))
    told = {row[1]: row for row in book[GUIDE_SHEET].iter_rows(values_only=True)}
    for i, column in enumerate(columns_of(dataset), 1):
        zh, en = told[column.field][5].split("\n")
        assert (re.search(r"[\u4e00-\u9fff]", zh) is not None, en) == (True, column.en), column.field
        assert book.worksheets[0].cell(3, i).comment.text.startswith(f"{zh}\n{en}\n")
        shown, meant = told[column.field][6], column.examples[0]
        value = value_of(column, shown)
        if column.kind == "moment":
            value, meant = datetime.fromisoformat(value), datetime.fromisoformat(meant)
        assert (value, type(value)) == (meant, type(meant) if column.kind != "number" else type(value)), shown
        assert "[" not in shown


@pytest.mark.parametrize(
    ("dataset", "field", "listed"),
    [("park", "region_code", ["441900 东莞市", "441900003 东莞市东城街道"]),
     *((name, field, ["equip.oee 设备综合效率 OEE", "plat.devices_connected 平台连接设备数", "sme.rd_intensity"])
       for name, field in (("task_target", "indicator"), ("task_curve_point", "indicator"), ("reported_indicator", "code")))],
)  # fmt: skip
def test_codes_are_chosen_by_their_names_and_read_without(
    dataset: str, field: str, listed: list[str]
) -> None:
    data = template_xlsx(dataset, CODES)
    book = openpyxl.load_workbook(io.BytesIO(data))
    column = next(c for c in columns_of(dataset) if c.field == field)
    at = [c.value for c in book[CHOICES_SHEET][1]].index(column.zh)
    assert [
        row[at] for row in book[CHOICES_SHEET].iter_rows(min_row=2, values_only=True) if row[at]
    ] == listed
    letter = openpyxl.utils.get_column_letter(columns_of(dataset).index(column) + 1)
    [check] = [c for c in book.worksheets[0].data_validations.dataValidation if f"{letter}5" in c.sqref]
    assert check.type == "list"
    assert check.formula1.endswith(f"${len(listed) + 1}")
    for entry in listed:
        assert value_of(column, entry) == entry.split()[0]
    for file in (data, template_csv(dataset, CODES)):  # with the name, and still the example
        assert any(example in row for _, row in read_table(dataset, file).rows for example in listed)
        assert list(judge(dataset, read_table(dataset, file))) == []


@pytest.mark.parametrize(
    ("raw", "value"),
    [("441900 东莞市", "441900"), ("４４１９００\u3000东莞市", "441900"), (441900, "441900"), ("441900003", "441900003"),
     ("equip.oee 设备综合效率 OEE", "equip.oee"), ("4419 00", "4419 00"), ("东莞市 东城", "东莞市 东城")],
)  # fmt: skip
def test_a_code_may_have_its_name_after_it(raw: Any, value: str) -> None:
    of_a_table = Column("f", "某列", "some column", "text", True, False, (), {}, table="region")
    assert value_of(of_a_table, raw) == value
    if raw == "441900 东莞市":
        assert value_of(COLUMN, raw) == raw  # of no table it is a text like others


def test_an_enterprise_of_a_csv_names_its_region_in_either_way() -> None:
    for region in ("441900", "441900 东莞市"):
        data = f"uscc,name,region_code,registered_on\n91440300MA5EXAMP0C,厂,{region},2026-01-01\n"
        assert [one["region_code"] for one in records(data.encode(), "enterprise")] == ["441900"]


def test_an_example_that_was_changed_is_data() -> None:
    book = openpyxl.load_workbook(io.BytesIO(template_xlsx("milestone")))
    page = book.worksheets[0]
    page["B5"] = "真实的里程碑"
    saved = io.BytesIO()
    book.save(saved)
    [record] = records(saved.getvalue())
    assert record["name"] == "真实的里程碑"


def test_the_marked_file_is_the_file_with_marks_and_can_be_sent_again() -> None:
    book = openpyxl.load_workbook(io.BytesIO(sheet(GOOD, ["m2", "=cmd|x", "soon", None])))
    book.active["B3"].data_type = "s"
    book.create_sheet("附件")["A1"] = "theirs"
    saved = io.BytesIO()
    book.save(saved)
    data = saved.getvalue()
    table = read_table("milestone", data)
    wrong = [mark for one in judge("milestone", table) for mark in one.marks]
    back = marked(data, table, wrong, {"accepted": 1})
    book = openpyxl.load_workbook(io.BytesIO(back))
    assert book.sheetnames == ["Sheet", "附件", RESULT_SHEET]
    assert book["Sheet"]["C3"].fill.fgColor.rgb == "FFFFC7CE"
    assert "处理" in book["Sheet"]["C3"].comment.text
    assert [cell.value for cell in book[RESULT_SHEET][5]][:3] == [3, "C3", "planned_on"]
    again = read_table("milestone", back)
    assert [mark for one in judge("milestone", again) for mark in one.marks] == wrong
    book["Sheet"]["C3"] = date(2026, 3, 2)
    saved = io.BytesIO()
    book.save(saved)
    assert len(records(saved.getvalue())) == 2
    clean = marked(saved.getvalue(), again, [], {})
    page = openpyxl.load_workbook(io.BytesIO(clean))["Sheet"]
    assert (page["C3"].comment, page["C3"].fill.fill_type) == (None, None)


def test_comments_are_where_excel_has_them_for_readers_that_look_nowhere_else() -> None:
    data = sheet(["m1", "x", "soon", None])
    table = read_table("milestone", data)
    wrong = [mark for one in judge("milestone", table) for mark in one.marks]
    for file in (template_xlsx("milestone"), marked(data, table, wrong, {})):
        with zipfile.ZipFile(io.BytesIO(file)) as parts:
            assert {"xl/comments1.xml", "xl/drawings/vmlDrawing1.vml"} <= set(parts.namelist())
            told = parts.read("xl/worksheets/_rels/sheet1.xml.rels").decode()
            assert 'Target="../comments1.xml"' in told
            assert 'Target="../drawings/vmlDrawing1.vml"' in told
            assert 'PartName="/xl/comments1.xml"' in parts.read("[Content_Types].xml").decode()
        assert any(
            cell.comment for row in openpyxl.load_workbook(io.BytesIO(file)).worksheets[0] for cell in row
        )


def test_a_marked_csv_stays_what_it_was_and_has_no_formula() -> None:
    data = "code;name;planned_on;备注\r\nm1;=HYPERLINK(1);-5;+1\r\nm2;东莞;2026-1-1;-2\r\n".encode("gbk")
    table = read_table("milestone", data)
    wrong = [mark for one in judge("milestone", table) for mark in one.marks]
    back = marked(data, table, wrong, {})
    lines = back.decode("gbk").split("\r\n")
    assert lines[0] == "code;name;planned_on;备注;错误 error;处理 mend"
    assert lines[1].startswith("m1;'=HYPERLINK(1);-5;+1;[C2] ")
    assert lines[2] == "m2;东莞;2026-1-1;-2"
    again = read_table("milestone", back)
    assert [mark for one in judge("milestone", again) for mark in one.marks] == wrong
    assert marked(back, again, wrong, {}) == back


@pytest.mark.parametrize("evil", ["=1+1", "+1+1", "-1+1", "@x", "\t=1", "\r=1", "\uff1d1+1", "\uff20x"])
def test_formulas_are_neutralised_and_come_back(evil: str) -> None:
    assert harmless(evil) == f"'{evil}"
    assert original(harmless(evil)) == evil
    assert harmless("-5", numbers=True) == "-5"
    cell = openpyxl.Workbook().active["A1"]
    put_text(cell, evil)
    assert cell.data_type == "s"


def archive(parts: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    base = zipfile.ZipFile(io.BytesIO(sheet(GOOD)))
    saved = io.BytesIO()
    with zipfile.ZipFile(saved, "w", method, compresslevel=9) as made:
        for name in base.namelist():
            if name not in parts:
                made.writestr(name, base.read(name))
        for name, content in parts.items():
            made.writestr(name, content)
    return saved.getvalue()


SHEET = "xl/worksheets/sheet1.xml"
LAUGHS = b'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol">' + b"".join(
    b'<!ENTITY a%d "%s">' % (i, b"&a%d;" % (i - 1) * 10 if i else b"lol") for i in range(1, 10)
) + b"]><worksheet><sheetData><row><c><v>&a9;</v></c></row></sheetData></worksheet>"  # fmt: skip
EXTERNAL = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><sst><si><t>&e;</t></si></sst>'
NS = b'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def rows_at(*numbers: int) -> bytes:
    cells = b"".join(
        b'<row r="%d"><c r="A%d" t="inlineStr"><is><t>%s</t></is></c></row>'
        % (n, n, b"code" if i == 0 else b"x")
        for i, n in enumerate(numbers)
    )
    return b'<?xml version="1.0"?><worksheet ' + NS + b"><sheetData>" + cells + b"</sheetData></worksheet>"


def with_row(number: int) -> bytes:
    """A good sheet, its second row moved to `number`."""
    page = zipfile.ZipFile(io.BytesIO(sheet(GOOD))).read(SHEET)
    for column in "ABCD":
        page = page.replace(b'"%s2"' % column.encode(), b'"%s%d"' % (column.encode(), number))
    return archive({SHEET: page.replace(b'<row r="2"', b'<row r="%d"' % number)})


BOMBS = {
    "declared as it is": (lambda: archive({"xl/media/bomb.bin": bytes(200 * 2**20)}), "file_too_large"),
    "packed a thousandfold": (lambda: archive({"xl/media/bomb.bin": bytes(40 * 2**20)}), "file_too_large"),
    "many parts": (lambda: archive({f"xl/x{i}": b"" for i in range(2_000)}), "file_too_large"),
    "billion laughs": (lambda: archive({SHEET: LAUGHS}), "malformed_file"),
    "external entity": (lambda: archive({"xl/sharedStrings.xml": EXTERNAL}), "malformed_file"),
    "laughs in UTF-16": (lambda: archive({SHEET: LAUGHS.decode().encode("utf-16")}), "malformed_file"),
    "no XML": (lambda: archive({SHEET: b"<not xml"}), "malformed_file"),
    "a row beyond all": (lambda: archive({SHEET: rows_at(1, 2**40)}), "no_heading"),
    "a heading, and a row beyond all": (lambda: with_row(2**40), "file_too_large"),
    "LZMA": (lambda: archive({SHEET: rows_at(1)}, zipfile.ZIP_LZMA), "malformed_file"),
    "cut": (lambda: sheet(GOOD)[:-200], "malformed_file"),
    "a zip's beginning": (lambda: b"PK\x03\x04", "malformed_file"),
    "xls": (lambda: b"\xd0\xcf\x11\xe0" + bytes(1000), "malformed_file"),
    "PDF": (lambda: b"%PDF-1.7", "malformed_file"),
    "too many rows": (lambda: LINES + b"m,x,2026-01-01\n" * (bounds.MOST_ROWS + 1), "file_too_large"),
    "too many cells": (lambda: LINES + (b"m,x,2026-01-01" + b",z" * 9 + b"\n") * 45_000, "file_too_large"),
    "a cell too long": (lambda: LINES + b'"' + b"x" * 200_000 + b'",x,2026-01-01\n', "malformed_file"),
    "zeros": (lambda: b"\0" * 1000, "no_heading"),
    "nothing": (lambda: b"", "no_heading"),
}
LINES = b"code,name,planned_on\n"


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_and_what_is_no_file_are_refused_cheaply(name: str) -> None:
    make, reason = BOMBS[name]
    data = make()
    began = time.monotonic()
    tracemalloc.start()
    try:
        assert refused(data) == reason
        assert tracemalloc.get_traced_memory()[1] < 96 * 2**20
    finally:
        tracemalloc.stop()
    assert time.monotonic() - began < 20


def test_a_size_that_lies_is_found_out() -> None:
    data = bytearray(archive({"xl/media/bomb.bin": bytes(40 * 2**20)}))
    at = data.rindex(b"xl/media/bomb.bin") - 46  # its entry in the central directory
    assert data[at : at + 4] == b"PK\x01\x02"
    data[at + 24 : at + 28] = (100).to_bytes(4, "little")
    assert refused(bytes(data)) in ("file_too_large", "malformed_file")


def test_a_row_far_below_costs_no_more_than_the_sheet_has() -> None:
    data = with_row(1_048_576)
    began = time.monotonic()
    table = read_table("milestone", data)
    assert [number for number, _ in table.rows] == [1_048_576]
    wrong = [Mark(1_048_576, 2, "planned_on", "cell_type", {"got": "x", "expected": "x", "field": "x"})]
    back = marked(data, table, wrong, {})
    assert len(back) < 50_000  # and no cell was made of the places between
    assert openpyxl.load_workbook(io.BytesIO(back))["Sheet"]["C1048576"].comment is not None
    assert time.monotonic() - began < 20


def test_merged_ranges_of_every_row_cost_no_more_than_the_rows() -> None:
    ranges = b"".join(b'<mergeCell ref="A%d:C1048576"/>' % n for n in range(2, 9_000))
    body = sheet(GOOD)
    page = zipfile.ZipFile(io.BytesIO(body)).read(SHEET)
    page = page.replace(b"</sheetData>", b"</sheetData><mergeCells>" + ranges + b"</mergeCells>")
    began = time.monotonic()
    assert [mark[2] for mark in marks(archive({SHEET: page}))] == ["merged_cell"]
    assert time.monotonic() - began < 10


TEMPLATE = sheet(GOOD, ["m2", "二", "2026-1-1", None])


def with_byte(at: int, byte: int) -> bytes:
    return TEMPLATE[: at % len(TEMPLATE)] + bytes([byte]) + TEMPLATE[at % len(TEMPLATE) + 1 :]


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.text(max_size=200).map(lambda text: f"code,name,planned_on\n{text}".encode("utf-8", "replace")),
        st.builds(with_byte, st.integers(0, 2**20), st.integers(0, 255)),
    )
)
def test_whatever_the_bytes_are_it_is_a_table_or_a_fault(data: bytes) -> None:
    try:
        table = read_table("milestone", data)
    except FileFault:
        return
    for one in judge("milestone", table):
        assert (one.record is None) == bool(one.marks)


def test_what_people_write_is_understood() -> None:
    """A heading that says it is mandatory, and several choices parted by the comma that is nearest on a Chinese keyboard."""
    heading = ["code（必填）", "里程碑名称(必填项)", "计划日期 *（必填）"]
    [record] = records(sheet(["m1", "启动会", date(2026, 3, 1)], heading=heading))
    assert (record["code"], record["planned_on"]) == ("m1", "2026-03-01")
    column = next(c for c in columns_of("digital_assessment") if c.item == "choice")
    two = [names[0] for code, names in column.choices.items() if code != "none"][:2]
    for comma in ",，;；、":
        assert value_of(column, comma.join(two)) == value_of(column, ";".join(two))
        assert len(value_of(column, comma.join(two))) == 2
