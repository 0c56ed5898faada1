"""Datasets as files: uploaded over HTTP, judged, applied by a real writer, given back marked."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

from ingest.sheets.reading import CHOICES_SHEET, read_table
from qunce.cli import app
from qunce.push.backfill import backfill, progress_file
from qunce.push.mapping import read_mapping
from qunce.push.service import Refused, Service
from store import files
from store.database import connect
from store.registry import NewPilot, NewUnit, add_key, register_pilot, register_unit
from tests.integration.running import running

pytestmark = pytest.mark.concurrent
KEY, OTHER = "qk_one", "qk_two"
USCC = "91440300MA5EXAMP0C"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
HEADING = ["code", "enterprise_uscc", "name", "kind", "digital", "networked"]


@pytest.fixture(scope="module")
def client(module_dsn: str, nats_url: str) -> Iterator[httpx.Client]:
    with connect(module_dsn, application="test") as conn:
        for code, key in (("GD-AAA-01", KEY), ("GD-BBB-01", OTHER)):
            register_unit(conn, NewUnit(code, "单位", "Unit", 1, USCC))
            register_pilot(
                conn,
                NewPilot(f"P-{code}", "试点", "Pilot", "new-it", "441900", code, "piloting",
                         datetime.now(UTC).date()),
            )  # fmt: skip
            add_key(conn, code, key)
    with (
        running(module_dsn, nats_url) as url,
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=30) as client,
    ):
        record = {
            "uscc": USCC, "name": "东莞某厂", "region_code": "441900", "registered_on": "2026-01-01"
        }  # fmt: skip
        answer = client.post("/api/v1/datasets/enterprise", json={"records": [record]})
        assert answer.json()["accepted"] == 1
        yield client


def sheet(rows: list[list[Any]], heading: list[str] = HEADING) -> bytes:
    book = openpyxl.Workbook()
    book.active.append(heading)
    for row in rows:
        book.active.append(row)
    saved = io.BytesIO()
    book.save(saved)
    return saved.getvalue()


def machine(code: str, **other: Any) -> list[Any]:
    row = {
        "code": code,
        "enterprise_uscc": USCC,
        "name": "机",
        "kind": "CNC",
        "digital": "是",
        "networked": "否",
    }
    return list((row | other).values())


def finished(client: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        job: dict[str, Any] = client.get(answer.headers["Location"]).json()
        if job["finished"]:
            return job
        time.sleep(0.1)
    raise AssertionError(job)


def push(client: httpx.Client, data: bytes, dataset: str = "equipment", **params: Any) -> dict[str, Any]:
    kind = XLSX if data.startswith(b"PK") else "text/csv"
    return finished(
        client,
        client.post(
            f"/api/v1/datasets/{dataset}/files", content=data, params=params, headers={"Content-Type": kind}
        ),
    )


def counts(job: dict[str, Any]) -> tuple[int, int, int, int]:
    return tuple(job["counts"][name] for name in ("accepted", "duplicates", "corrections", "quarantined"))


def test_the_same_file_twice_and_one_cell_corrected(client: httpx.Client) -> None:
    rows = [machine(f"A{i}") for i in range(20)]
    first, second = push(client, sheet(rows)), push(client, sheet(rows))
    assert (first["stage"], counts(first), first["rows"]) == ("done", (20, 0, 0, 0), {"done": 20, "of": 20})
    assert counts(second) == (0, 20, 0, 0)
    rows[7][2] = "新名"
    assert counts(push(client, sheet(rows))) == (1, 19, 1, 0)


def test_what_is_refused_comes_back_marked(client: httpx.Client) -> None:
    rows = [
        machine("B1"),
        machine("B2", digital="也许"),
        machine("B3", enterprise_uscc="91440300MA5EXAMP0D"),
        machine("B4", enterprise_uscc="91440300MAUNKNWN0W"),
    ]
    job = push(client, sheet(rows))
    assert counts(job) == (1, 0, 0, 3)
    cells = {one["cell"]: one["reason"] for one in job["errors"]}
    assert cells == {"E3": "cell_type", "B4": "invalid_field", "B5": "invalid_field"}
    answer = client.get(job["marked"])
    assert answer.headers["content-disposition"].startswith("attachment")
    book = openpyxl.load_workbook(io.BytesIO(answer.content))
    assert book.active["E3"].comment.text.startswith("是否数字化设备 digital 应为")
    assert book.active["A2"].comment is None
    assert len(list(book["校验结果 Result"].iter_rows(min_row=5))) == 3
    held = client.get("/api/v1/quarantine", params={"reason": "cell_type"}).json()["quarantine"]
    assert [one["place"] for one in held] == ["equipment records[3].digital"]


def test_what_only_the_writer_can_judge_is_marked_too(client: httpx.Client) -> None:
    job = push(client, sheet([machine("C1"), machine("C2", enterprise_uscc=unregistered())]))
    assert counts(job) == (1, 0, 0, 1)
    [error] = job["errors"]
    assert (error["row"], error["cell"], error["reason"]) == (3, "B3", "unknown_reference")
    book = openpyxl.load_workbook(io.BytesIO(client.get(job["marked"]).content))
    assert "未登记" in book.active["B3"].comment.text


def test_a_file_that_corrects_statements_says_why(client: httpx.Client) -> None:
    heading = [
        "code",
        "subject",
        "held_on",
        "ended_on",
        "hours",
        "attendees",
        "qualified",
        "certified",
        "enterprises",
    ]

    def session(certified: int) -> bytes:
        day = "2026-08-12"
        return sheet([["T1", "实务", day, day, 6, 20, 20, certified, 9]], heading)

    assert counts(push(client, session(5), "training_session")) == (1, 0, 0, 0)
    for dry_run in (True, False):
        job = push(client, session(6), "training_session", dry_run=dry_run)
        assert (counts(job), job["errors"][0]["reason"]) == ((0, 0, 0, 1), "correction_needs_reason")
    assert counts(push(client, session(6), "training_session", dry_run=True, reason="漏计")) == (1, 0, 1, 0)
    assert counts(push(client, session(6), "training_session", reason="漏计", voucher="V-1")) == (1, 0, 1, 0)
    [first, second] = client.get("/api/v1/datasets/training_session/revisions", params={"key": "T1"}).json()[
        "revisions"
    ]
    assert (first["reason"], second["reason"], second["voucher"]) == (None, "漏计", "V-1")
    assert second["reported_by"] == "unit:GD-AAA-01"


def unregistered() -> str:
    """A valid code of nobody."""
    from tests.browser.seed import uscc

    return uscc(4711)


def test_a_dry_run_says_the_same_and_stores_nothing(client: httpx.Client, module_dsn: str) -> None:
    rows = [
        machine("A0"),
        machine("D1"),
        machine("A7", name="又改"),
        machine("D2", enterprise_uscc=unregistered()),
    ]
    with connect(module_dsn, application="test", autocommit=True) as conn:
        before = conn.execute(
            "SELECT (SELECT count(*) FROM dataset_revision), (SELECT count(*) FROM quarantine)"
        ).fetchone()
        job = push(client, sheet(rows), dry_run=True)
        after = conn.execute(
            "SELECT (SELECT count(*) FROM dataset_revision), (SELECT count(*) FROM quarantine)"
        ).fetchone()
    assert (job["dry_run"], counts(job)) == (True, (2, 1, 1, 1))
    assert [(one["cell"], one["reason"]) for one in job["errors"]] == [("B5", "unknown_reference")]
    assert before == after


def test_a_form_from_a_browser_and_csv_of_a_chinese_excel(client: httpx.Client) -> None:
    text = "code;enterprise_uscc;name;kind;digital;networked\r\nE1;{0};一号机;CNC;是;否\r\nE2;{0};二号机;CNC;对;否\r\n"
    data = text.format(USCC).encode("gbk")
    answer = client.post(
        "/api/v1/datasets/equipment/files",
        files={"file": ("设备 台账.csv", data, "text/csv")}, data={"dry_run": "false"},
    )  # fmt: skip
    job = finished(client, answer)
    assert (job["file_name"], job["notes"]["encoding"]) == ("设备 台账.csv", "gb18030")
    assert counts(job) == (1, 0, 0, 1)
    marked = client.get(job["marked"])
    lines = marked.content.decode("gbk").splitlines()
    assert lines[0].endswith(";错误 error;处理 mend")
    assert lines[1] == f"E1;{USCC};一号机;CNC;是;否"
    assert "[E3] 是否数字化设备 digital 应为" in lines[2]
    assert marked.headers["content-type"] == "text/csv; charset=gb18030"
    assert "%E8%AE%BE%E5%A4%87" in marked.headers["content-disposition"]


def test_many_rows_go_in_several_parts(client: httpx.Client) -> None:
    heading = "code,name,planned_on,accepted_on"
    data = "\n".join([heading, *(f"m{i},里程碑,2026-03-01," for i in range(12_000))]).encode()
    job = push(client, data, "milestone")
    assert (counts(job), job["rows"]) == ((12_000, 0, 0, 0), {"done": 12_000, "of": 12_000})
    assert counts(push(client, data, "milestone", dry_run=True)) == (0, 12_000, 0, 0)


def test_the_same_key_is_the_same_upload(client: httpx.Client) -> None:
    data = sheet([machine("F1")])
    headers = {"Content-Type": XLSX, "Idempotency-Key": "once"}
    path = "/api/v1/datasets/equipment/files"
    first, second = (client.post(path, content=data, headers=headers) for _ in range(2))
    assert first.json()["id"] == second.json()["id"]
    assert counts(finished(client, second)) == (1, 0, 0, 0)
    assert ("Idempotent-Replayed" in first.headers, second.headers["Idempotent-Replayed"]) == (False, "true")
    for more in ({"content": sheet([machine("F2")])}, {"content": data, "params": {"dry_run": True}}):
        other = client.post(path, headers=headers, **more)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_one_form_one_file(client: httpx.Client) -> None:
    path = "/api/v1/datasets/equipment/files"
    two = [
        ("file", ("a.xlsx", sheet([machine("T1")]), XLSX)),
        ("file", ("b.xlsx", sheet([machine("T2")]), XLSX)),
    ]
    answer = client.post(path, files=two)
    assert (answer.status_code, answer.json()["code"]) == (400, "wrong_shape")
    assert "got 2" in answer.json()["detail"]


def test_a_sheet_that_was_not_read_is_named(client: httpx.Client) -> None:
    book = openpyxl.load_workbook(io.BytesIO(sheet([machine("S1")])))
    again = book.copy_worksheet(book.active)
    again.title = "二车间"
    book.create_sheet("说明")["A1"] = "x"
    hidden = book.copy_worksheet(book.active)
    hidden.title, hidden.sheet_state = "三车间", "hidden"
    saved = io.BytesIO()
    book.save(saved)
    job = push(client, saved.getvalue())
    assert (counts(job), job["notes"]["unread_sheets"]) == ((1, 0, 0, 0), ["二车间", "三车间"])


def test_a_file_that_is_none_is_refused_as_a_whole(client: httpx.Client) -> None:
    job = push(client, b"code,name\nm1,x\n", "milestone")
    assert (job["stage"], job["problem"]["reason"]) == ("refused", "missing_column")
    assert job["problem"]["message"]["zh"]
    assert job["problem"]["hint"]["en"]


def test_a_file_is_its_units_alone(client: httpx.Client) -> None:
    job = push(client, sheet([machine("G1", digital="?")]))
    other = {"Authorization": f"Bearer {OTHER}"}
    for path in (f"/api/v1/files/{job['id']}", job["marked"]):
        assert client.get(path, headers=other).status_code == 404
    assert client.get("/api/v1/files", headers=other).json() == {"files": []}
    assert client.get("/api/v1/files").json()["files"][0]["id"] == job["id"]


def test_what_a_killed_process_left_is_taken_up(client: httpx.Client, module_dsn: str) -> None:
    with connect(module_dsn, application="test", autocommit=True) as conn:
        unit_id = conn.execute("SELECT unit_id FROM lead_unit WHERE code = 'GD-AAA-01'").fetchone()[0]
        files.add(
            conn, "0" * 32, unit_id, "equipment", "x.xlsx", "unit:x", sheet([machine("H1")]), dry_run=False
        )
        assert files.claim(conn, "0" * 32, unit_id)
        assert not files.claim(conn, "0" * 32, unit_id)
        conn.execute(
            "UPDATE file_upload SET beat_at = now() - interval '1 hour' WHERE upload_id = %s", ("0" * 32,)
        )
    assert client.get("/api/v1/files").status_code == 200
    deadline = time.monotonic() + 30
    while (
        not (job := client.get(f"/api/v1/files/{'0' * 32}").json())["finished"]
        and time.monotonic() < deadline
    ):
        time.sleep(0.1)
    assert counts(job) == (1, 0, 0, 0)


def qunce(client: httpx.Client, *arguments: object) -> tuple[int, str]:
    """`qunce …` as a lead unit runs it: exit code, and what it prints."""
    environment = {"QUNCE_URL": str(client.base_url), "QUNCE_KEY": KEY}
    result = CliRunner().invoke(app, [str(one) for one in arguments], env=environment)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_the_command_line_sends_a_file_and_keeps_the_marked_one(client: httpx.Client, tmp_path: Path) -> None:
    file = tmp_path / "设备.xlsx"
    file.write_bytes(sheet([machine("I1"), machine("I2", networked="?")]))
    code, said = qunce(client, "push", file, "--dataset", "equipment", "--dry-run")
    assert (code, "试运行" in said) == (1, True)
    code, said = qunce(client, "push", file, "--dataset", "equipment", "--json")
    job = json.loads(said[said.index("{") :])
    assert (code, counts(job)) == (1, (1, 0, 0, 1))
    book = openpyxl.load_workbook(tmp_path / "设备.marked.xlsx")
    assert book.active["F3"].comment.text.startswith("是否联网 networked")
    file.write_bytes(sheet([machine("I1"), machine("I2")]))
    assert qunce(client, "push", file, "--dataset", "equipment")[0] == 0
    code, said = qunce(client, "push", file, "--dataset", "nothing")
    assert (code, "unknown" in said or "nothing" in said) == (2, True)


def test_the_command_line_saves_templates(client: httpx.Client, tmp_path: Path) -> None:
    for name in ("a.xlsx", "a.csv"):
        assert qunce(client, "pull-template", "park", "-o", tmp_path / name)[0] == 0
        assert read_table("park", (tmp_path / name).read_bytes()).heading.columns
    assert qunce(client, "pull-template", "park", "-o", tmp_path / "a.pdf")[0] == 2


def test_measurements_are_filled_back_and_an_interrupted_run_goes_on(
    client: httpx.Client, module_dsn: str, tmp_path: Path
) -> None:
    tag = {
        "name": "A0.produced", "equipment_code": "A0", "signal": "produced", "data_type": "counter", "unit": "1",
        "interval_s": 10, "valid_from": "2026-01-01T00:00:00+08:00",
    }  # fmt: skip
    push(client, sheet([machine("A0")]))
    assert client.post("/api/v1/datasets/tag", json={"records": [tag]}).status_code == 200
    n, begin = 120_000, int(datetime(2026, 3, 1, tzinfo=UTC).timestamp())
    file, mapping = tmp_path / "readings.parquet", tmp_path / "mapping.toml"
    columns = {"t": pa.array(range(begin, begin + n)), "产量": pa.array(range(n)), "x": ["1"] * n}
    pq.write_table(pa.table(columns), file)
    mapping.write_text('[time]\ncolumn = "t"\nunit = "s"\n[tags]\n"产量" = "A0.produced"\n', "utf-8")
    code, said = qunce(client, "push", file, "--mapping", mapping, "--check")
    assert (code, "A0.produced" in said) == (0, True)

    known, sent = read_mapping(mapping), []
    with Service(str(client.base_url), KEY) as service:
        post = service.post

        def cut(path: str, content: bytes, headers: dict[str, str], *more: Any) -> httpx.Response:
            sent.append(headers["Idempotency-Key"])
            if len(sent) == 2:
                raise Refused("the network is gone")
            return post(path, content, headers, *more)

        service.post = cut
        with pytest.raises(Refused):
            backfill(service, file, known, Console(quiet=True))
    assert progress_file(file).exists()
    code, said = qunce(client, "push", file, "--mapping", mapping, "--json")
    outcome = json.loads(said[said.index("{") :])
    assert (code, outcome["chunks"], outcome["received"], outcome["accepted"]) == (0, 3, n, n)
    assert not progress_file(file).exists()
    code, said = qunce(
        client, "push", file, "--mapping", mapping, "--json"
    )  # again as a whole: nothing is doubled
    assert (code, json.loads(said[said.index("{") :])["before"]) == (0, n)
    with connect(module_dsn, application="test", autocommit=True) as conn:
        deadline = time.monotonic() + 60
        stored = "SELECT count(*) FROM measurement JOIN tag USING (tag_id) WHERE name = 'A0.produced'"
        while conn.execute(stored).fetchone()[0] < n and time.monotonic() < deadline:
            time.sleep(0.2)
        assert conn.execute(stored).fetchone() == (n,)


def test_what_a_unit_may_keep_is_bounded(conn: Any) -> None:
    with conn.transaction():
        register_unit(conn, NewUnit("GD-CCC-01", "单位", "Unit", 1, USCC))
        [unit_id] = conn.execute("SELECT unit_id FROM lead_unit").fetchone()
        for i in range(files.WAITING_MOST):
            assert files.add(conn, f"w{i}", unit_id, "park", "f", "x", b"-", dry_run=False) == "new"
        assert files.add(conn, "more", unit_id, "park", "f", "x", b"-", dry_run=False) == "busy"
        for i in range(files.WAITING_MOST):
            files.finish(conn, f"w{i}", "done")
        for i in range(files.KEPT_MOST + 5):
            files.add(conn, f"n{i}", unit_id, "park", "f", "x", b"-", dry_run=False)
            files.finish(conn, f"n{i}", "done", marked=b"x")
        assert len(files.recent(conn, unit_id, 1000)) <= files.KEPT_MOST + 1
        conn.execute("UPDATE file_upload SET created_at = now() - interval '8 days'")
        assert files.recent(conn, unit_id, 10) == []
        files.add(conn, "last", unit_id, "park", "f", "x", b"-", dry_run=False)
        assert conn.execute("SELECT upload_id FROM file_upload").fetchall() == [("last",)]


def test_a_template_can_be_had_and_sent_back(client: httpx.Client) -> None:
    path = "/api/v1/datasets/milestone/template"
    table = client.get(f"{path}.csv").content
    assert table == client.get(path, params={"format": "csv"}).content
    assert table.startswith(b"\xef\xbb\xbf")
    job = push(client, client.get(f"{path}.xlsx").content, "milestone", dry_run=True)
    assert (job["stage"], counts(job)) == ("done", (0, 0, 0, 0))
    assert job["notes"]["ignored_examples"] == 1
    assert client.get("/api/v1/datasets/nothing/template.xlsx").status_code == 404


def test_a_template_offers_the_platforms_own_codes(client: httpx.Client) -> None:
    def listed(dataset: str) -> set[str]:
        file = client.get(f"/api/v1/datasets/{dataset}/template.xlsx").content
        rows = openpyxl.load_workbook(io.BytesIO(file))[CHOICES_SHEET].iter_rows(min_row=2, values_only=True)
        return {str(row[0]) for row in rows}

    regions = listed("park")
    assert regions >= {"441900 东莞市", "441900003 东莞市东城街道", "440103 广州市荔湾区"}
    assert not any(one.startswith("440000") for one in regions)  # the province: all lie in it
    assert {one.split()[0] for one in listed("task_target")} >= {"equip.oee", "sme.rd_intensity"}
    enterprise = "uscc,name,region_code,registered_on\n91440300MA5EXAMP0C,厂,441900 东莞市,2026-01-01\n"
    job = push(client, enterprise.encode(), "enterprise", dry_run=True)
    assert (job["stage"], counts(job)[0]) == ("done", 1)
