"""我的单位 in a real Chromium: what a unit's engineer does for himself, through the interface alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect

from dashboard.app import attach
from ingest.api import create_api
from qunce.process import free_port
from store.database import connect
from store.identity import NewPerson, add_person, authenticate_key, digest, open_session
from store.registry import NewUnit, register_unit, source_id
from store.roles import logins
from store.sessions import Sessions

pytestmark = [pytest.mark.browser, pytest.mark.concurrent]
USCC = "91440300MA5EXAMP0C"


@pytest.fixture(scope="module")
def own(module_dsn: str) -> Iterator[tuple[str, str]]:
    """Address of the platform, and a session of the unit's engineer."""
    with connect(module_dsn, application="test") as conn:
        unit = register_unit(conn, NewUnit("GD-OWN-01", "某牵头单位", "Some unit", 1, USCC))
        source = source_id(conn, unit, "http_push:GD-OWN-01")
        conn.execute(
            "WITH e AS (INSERT INTO enterprise (unit_id, uscc, name, region_code, registered_on)"
            " VALUES (%s, %s, '某厂', '441900', '2026-01-01') RETURNING enterprise_id)"
            " INSERT INTO equipment (unit_id, enterprise_id, code, name, kind, digital, networked)"
            " SELECT %s, enterprise_id, 'M1', 'M1', 'CNC', true, true FROM e",
            (unit, USCC, unit),
        )
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
        conn.execute(
            "INSERT INTO equipment_hour (equipment_id, hour, observed_s, known_s, state_known_s, online_s, due,"
            " filled, readings, valid, flags, provisional, computed_at)"
            " SELECT equipment_id, %s, 3600, 0, 0, 0, 60, 45, 45, 45, 0, false, now() FROM equipment",
            (hour,),
        )
        conn.execute(
            "INSERT INTO quarantine (unit_id, source_id, batch, place, reason, parameters, tag, original, received_at)"
            " VALUES (%s, %s, 'b', 'records[0].tag', 'unknown_tag', '{\"tag\": \"M1.<b>x\"}', 'M1.<b>x', '{}', now())",
            (unit, source),
        )
        person = add_person(conn, NewPerson("engineer", "工程师", "lead_unit", unit_id=unit))
        session = open_session(conn, person, 3600, "127.0.0.1")
    accounts, port = logins(module_dsn), free_port()
    sessions = Sessions(accounts.auth)
    api = create_api(accounts, "nats://127.0.0.1:1", sessions=sessions)
    attach(api, dsn=accounts.dashboard, sessions=sessions)
    server = uvicorn.Server(
        uvicorn.Config(api, "127.0.0.1", port, log_level="warning", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}", session
    server.should_exit = True
    thread.join(timeout=15)


@pytest.fixture
def page(own: tuple[str, str], running_browser: Browser) -> Iterator[Page]:
    address, session = own
    context = running_browser.new_context(viewport={"width": 1366, "height": 900}, locale="zh-CN")
    context.add_cookies([{"name": "qunce_session", "value": session, "url": address}])
    page = context.new_page()
    page.route_web_socket("**/live", lambda _: None)  # pulses are no part of this
    page.goto(f"{address}/unit")
    yield page
    context.close()


def test_an_engineer_issues_and_revokes_a_key(page: Page, module_dsn: str) -> None:
    page.fill("#unit-key-form [name=name]", "网关")
    page.locator("#unit-key-form summary").click()
    page.check("#unit-key-form [value='measurements:write']")
    page.click("#unit-key-form button[type=submit]")
    secret = page.locator("#unit-secret").inner_text()
    with connect(module_dsn, application="test") as conn:
        found = authenticate_key(conn, digest(secret))
    assert found is not None
    assert found[0].permissions == {"measurements:write"}
    page.get_by_role("button", name="我已保存").click()
    expect(page.locator("#unit-secret")).to_have_count(0)
    assert secret not in page.content()
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#unit-keys tr", has_text="网关").get_by_role("button", name="吊销").click()
    # the last one that can manage keys would be refused; this one cannot
    expect(page.locator("#unit-keys tr", has_text="网关").locator(".pill")).to_have_text("已失效")


def test_an_engineer_declares_a_stoppage_and_takes_it_back(page: Page) -> None:
    start = datetime.now(UTC).astimezone() - timedelta(hours=2)
    page.select_option("#unit-stoppage-form [name=kind]", label="停电限电")
    page.fill("#unit-stoppage-form [name=from]", "2020-01-01T08:00")
    page.fill("#unit-stoppage-form [name=what]", "M1")
    page.fill("#unit-stoppage-form [name=reason]", "线路检修")
    page.click("#unit-stoppage-form button[type=submit]")
    expect(page.locator("#unit-notice")).to_contain_text("10 天的更正期")
    local = (start.astimezone(UTC) + timedelta(hours=8)).strftime("%Y-%m-%dT%H:%M")
    page.fill("#unit-stoppage-form [name=from]", local)
    page.click("#unit-stoppage-form button[type=submit]")
    row = page.locator("#unit-stoppages tbody tr")
    expect(row).to_contain_text(local.replace("T", " "))  # as typed: the page's zone, +08:00
    expect(row).to_contain_text("停电限电")
    expect(row).to_contain_text("另行通知")
    row.get_by_role("button", name="现在结束").click()
    expect(row).not_to_contain_text("另行通知")
    page.once("dialog", lambda dialog: dialog.accept())
    row.get_by_role("button", name="撤回").click()
    expect(row.locator(".pill")).to_have_text("已撤回")


def test_quality_and_refused_rows_are_told(page: Page) -> None:
    machine = page.locator("#unit-quality tr").filter(has=page.get_by_role("cell", name="M1", exact=True))
    expect(machine).to_contain_text("75.0 %")
    expect(page.locator("#unit-refused .refusal-why")).to_have_text("标签 M1.<b>x 未登记")
