"""数据报送 in a real Chromium: a file is sent, judged by a real writer, and what was refused comes back."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect

from dashboard.app import attach
from ingest.sheets.reading import RESULT_SHEET
from store.database import connect
from store.identity import NewPerson, add_person, open_session
from store.registry import NewUnit, register_unit
from store.roles import role_dsn
from tests.integration.running import running

pytestmark = [pytest.mark.browser, pytest.mark.concurrent]
UNIT, USCC = "GD-WEB-01", "91440300MA5EXAMP0C"


@pytest.fixture(scope="module")
def platform(module_dsn: str, nats_url: str) -> Iterator[tuple[str, str]]:
    """Address of the platform, and a session of a person of the unit."""
    with connect(module_dsn, application="test") as conn:
        unit = register_unit(conn, NewUnit(UNIT, "某牵头单位", "Some unit", 1, USCC))
        person = add_person(conn, NewPerson("reporter", "报送员", "lead_unit", unit_id=unit))
        session = open_session(conn, person, 3600, "127.0.0.1")

    def pages(app: FastAPI) -> None:
        attach(app, dsn=role_dsn(module_dsn, "dashboard"), sessions=app.state.gate.credentials.sessions)

    with running(module_dsn, nats_url, pages) as address:
        yield address, session


@pytest.fixture
def page(platform: tuple[str, str], running_browser: Browser) -> Iterator[Page]:
    address, session = platform
    context = running_browser.new_context(viewport={"width": 1366, "height": 768}, locale="zh-CN")
    context.add_cookies([{"name": "qunce_session", "value": session, "url": address}])
    page = context.new_page()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.route_web_socket("**/live", lambda _: None)  # pulses are no part of this
    page.goto(f"{address}/reports")
    yield page
    context.close()
    assert errors == []


def milestones(*rows: list[Any]) -> bytes:
    book = openpyxl.Workbook()
    for row in (["code", "name", "planned_on", "<b>备注</b>"], *rows):
        book.active.append(row)
    saved = io.BytesIO()
    book.save(saved)
    return saved.getvalue()


def send(page: Page, name: str, content: bytes, *, dry_run: bool = False) -> None:
    page.select_option("#reports-dataset", "milestone")
    page.set_input_files(
        "#reports-file", {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    )
    page.set_checked("#reports-dry", dry_run)
    page.get_by_role("button", name="校验" if dry_run else "上报", exact=True).click()


def counts(page: Page, *wanted: int) -> None:
    for key, n in zip(("accepted", "duplicates", "corrections", "quarantined"), wanted, strict=True):
        expect(page.locator(f"#reports-result [data-count={key}]")).to_have_text(str(n), timeout=30_000)
    expect(page.locator("#reports-result .report-name")).to_contain_text("已完成", timeout=30_000)


def test_a_file_is_sent_and_its_refused_cells_come_back(page: Page, tmp_path: Path) -> None:
    rows = [["W1", "启动", date(2026, 3, 1), None], ["W2", "<img src=x onerror=alert(1)>", "很快", None]]
    send(page, "里程碑.xlsx", milestones(*rows), dry_run=True)
    counts(page, 1, 0, 0, 1)
    expect(page.locator("#reports-result .pill")).to_have_text("试运行")
    send(page, "里程碑.xlsx", milestones(*rows))
    expect(page.locator("#reports-result .pill")).to_have_count(0)
    counts(page, 1, 0, 0, 1)
    row = page.locator("#reports-result tbody tr")
    expect(row).to_contain_text("C3")
    expect(row).to_contain_text("很快")
    expect(page.locator("#reports-result")).to_contain_text("已忽略第 D1 格的列「<b>备注</b>」")
    assert page.locator("#reports-result img, #reports-result b").count() == 0
    with page.expect_download() as download:
        page.locator("#reports-result a[data-marked]").click()
    assert download.value.suggested_filename == "里程碑.marked.xlsx"
    download.value.save_as(tmp_path / "marked.xlsx")
    assert openpyxl.load_workbook(tmp_path / "marked.xlsx")[RESULT_SHEET]["B5"].value == "C3"
    recent = page.locator("#reports-recent tbody tr")
    expect(recent).to_have_count(2)
    rows[1][2] = date(2026, 4, 1)
    send(page, "里程碑.xlsx", milestones(*rows))
    counts(page, 1, 1, 0, 0)
    expect(recent).to_have_count(3)
    recent.nth(1).get_by_role("button").click()
    counts(page, 1, 0, 0, 1)


def test_a_file_that_is_none_is_explained(page: Page) -> None:
    send(page, "x.xlsx", b"\xd0\xcf\x11\xe0" + bytes(100))
    expect(page.locator("#reports-result .report-problem")).to_contain_text("文件无法读取", timeout=30_000)
    expect(page.locator("#reports-result .refusal-hint")).to_contain_text("另存为 .xlsx")


def test_a_template_can_be_had_and_a_file_dropped(page: Page) -> None:
    page.select_option("#reports-dataset", "park")
    with page.expect_download() as download:
        page.get_by_role("link", name="下载 Excel 模板").click()
    assert download.value.suggested_filename == "park.xlsx"
    page.select_option("#reports-dataset", "milestone")
    page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(["code,name,planned_on\\nD1,拖放,2026-05-01\\n"], "拖放.csv"));
            document.querySelector(".drop").dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true}));
        }"""
    )
    expect(page.locator(".drop-name")).to_have_text("拖放.csv")
    page.get_by_role("button", name="上报", exact=True).click()
    counts(page, 1, 0, 0, 0)


def test_whoever_is_not_logged_in_is_led_to_the_login(
    platform: tuple[str, str], running_browser: Browser
) -> None:
    context = running_browser.new_context()
    page = context.new_page()
    page.route_web_socket("**/live", lambda _: None)
    page.goto(f"{platform[0]}/reports")
    expect(page).to_have_url(f"{platform[0]}/login?next=/reports")
    context.close()
