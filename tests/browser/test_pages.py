"""The pages in a real Chromium over a real database: right values, live by themselves, honest when they are not."""

from __future__ import annotations

import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from playwright.sync_api import APIRequestContext, Browser, Page, Route, expect

from store import people
from store.database import connect
from store.people import Wanted
from tests.browser.conftest import PASSWORD, USER, Site, Watch, serve

pytestmark = [pytest.mark.browser, pytest.mark.concurrent]

Opened = tuple[Page, Watch]
PATHS = ("/", "/cluster/ELE-01", "/supply", "/operations")


def value(site: Site, statement: str) -> Any:
    """One value straight from the database."""
    from store.database import connect

    with connect(site.dsn, application="test", autocommit=True) as conn:
        row = conn.execute(statement).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return row[0]


def test_login_is_refused_and_accepted(site: Site, running_browser: Browser) -> None:
    page = running_browser.new_page()
    page.goto(f"{site.url}/supply")
    expect(page).to_have_url(f"{site.url}/login?next=/supply")
    page.fill("input[name=user]", "admin")
    page.fill("input[name=password]", "wrong password")
    page.click("button[type=submit]")
    expect(page.get_by_role("alert")).to_contain_text("不正确")
    page.fill("input[name=user]", "admin")
    page.fill("input[name=password]", PASSWORD)
    page.click("button[type=submit]")
    expect(page.locator(".page-supply")).to_be_visible()
    page.get_by_role("button", name="退出").click()
    expect(page).to_have_url(f"{site.url}/login")
    page.goto(f"{site.url}/")
    expect(page).to_have_url(re.compile("/login"))
    page.context.close()


def test_who_logs_out_is_led_nowhere_else(site: Site, running_browser: Browser) -> None:
    """The session has ended, its answer is slow: the live channel, closed meanwhile, must not take the page away."""
    page = running_browser.new_page()
    page.goto(f"{site.url}/login?next=/supply")
    page.fill("input[name=user]", "admin")
    page.fill("input[name=password]", PASSWORD)
    page.click("button[type=submit]")
    expect(page.locator(".page-supply")).to_be_visible()

    def slowly(route: Route) -> None:
        answer = route.fetch(max_redirects=0)
        page.wait_for_timeout(5000)
        route.fulfill(response=answer)

    page.route("**/login/end", slowly)
    page.get_by_role("button", name="退出").click()
    expect(page).to_have_url(f"{site.url}/login")
    page.context.close()


def test_overview_shows_what_is_in_the_database(site: Site, opened: Opened) -> None:
    page, _ = opened
    oee = value(site, "SELECT value FROM indicator_value WHERE code = 'equip.oee' AND level = 'province'"
                      " AND period = 'day' ORDER BY period_start DESC LIMIT 1")  # fmt: skip
    tile = page.locator(".figure", has_text="设备综合效率")
    expect(tile.locator(".fig-number")).to_have_text(f"{oee * 100:.1f}")
    expect(tile.locator(".fig-unit")).to_have_text("%")
    expect(tile.locator(".fig-period")).to_have_text("今日至今")
    expect(tile.locator(".age")).to_have_text(re.compile("刚刚|秒前"))
    expect(page.locator(".ranking li")).to_have_count(8)
    best = page.locator(".ranking li").first
    expect(best).to_contain_text("佛山")
    expect(page.locator(".problem", has_text="数据中断")).to_contain_text("中山")
    expect(page.locator(".problem", has_text="拒收激增")).to_contain_text("汕头")
    expect(page.locator(".area-map .js-plotly-plot")).to_be_visible()


def test_cluster_page_shows_progress_equipment_and_enterprises(site: Site, opened: Opened) -> None:
    page, _ = opened
    page.locator(".ranking a", has_text="东莞").click()
    expect(page).to_have_url(f"{site.url}/cluster/ELE-01")
    expect(page.locator("h1")).to_have_text("东莞电子信息产业集群试点")
    expect(page.locator(".step.is-now")).to_have_text("试点")
    machines = value(
        site, "SELECT count(*) FROM equipment q JOIN lead_unit u USING (unit_id) WHERE u.code = 'GD-ELE-01'"
    )
    expect(page.locator(".tile")).to_have_count(machines)
    firms = value(
        site, "SELECT count(*) FROM enterprise e JOIN lead_unit u USING (unit_id) WHERE u.code = 'GD-ELE-01'"
    )
    expect(page.locator(".table tbody tr")).to_have_count(firms)
    expect(page.locator(".milestone")).to_have_count(7)
    expect(page.locator(".trend .js-plotly-plot")).to_have_count(8)


def test_supply_page_shows_the_account_and_the_refusals_as_text(site: Site, opened: Opened) -> None:
    page, _ = opened
    page.get_by_role("link", name="数据供给").click()
    expect(page.locator(".table tbody tr")).to_have_count(value(site, "SELECT count(*) FROM source"))
    first = page.locator(".table tbody tr").first
    expect(first).to_contain_text("数据中断")
    refused = page.locator(".refusals li").first
    refused.locator("summary").click()
    expect(refused.locator("pre")).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator(".refusals img").count() == 0
    page.wait_for_timeout(2500)  # several pulses later it is still open
    expect(refused.locator("pre")).to_be_visible()


def test_operations_page_accounts_for_every_row(site: Site, opened: Opened) -> None:
    page, _ = opened
    page.get_by_role("link", name="运行").click()
    rows = page.locator(".area-accounts tbody tr")
    expect(rows).to_have_count(value(site, "SELECT count(*) FROM source") + 1)
    first = rows.first
    expect(first).to_contain_text("5,000")  # where most waits
    nobody = page.locator(".area-accounts tr", has_text="未登记: NOBODY")
    expect(nobody).to_contain_text("430")
    expect(page.locator(".area-accounts .pill.is-bad")).to_have_count(0)
    balance = page.locator(".figure", has_text="账目平衡")
    expect(balance.locator(".fig-number")).to_have_text("✓")
    log = page.locator(".figure", has_text="接入日志占用")
    expect(log.locator(".fig-number")).to_have_text("37.5")
    expect(log.locator(".meter-mark")).to_have_attribute("style", "left:80%")
    expect(page.locator(".area-alarms")).to_contain_text("opcua-old")
    expect(page.locator(".area-canaries tr", has_text="opcua-old")).to_contain_text("中断")
    parts = page.locator(".area-parts .table-wrap")
    assert parts.evaluate("box => box.scrollWidth <= box.clientWidth"), "the writers' rates are out of sight"
    pace = page.locator(".figure", has_text="写入速率")
    expect(pace.locator(".fig-number")).to_have_text(re.compile(r"[1-9]"), timeout=10_000)


def test_equipment_changes_by_itself(site: Site, opened: Opened) -> None:
    page, _ = opened
    page.goto(f"{site.url}/cluster/ELE-01")
    code = value(site, "SELECT q.code FROM equipment q JOIN lead_unit u USING (unit_id) JOIN tag t USING (equipment_id)"
                       " JOIN latest_value l USING (tag_id) WHERE u.code = 'GD-ELE-01' AND t.signal = 'state'"
                       " AND l.value = 3 AND l.ts > now() - interval '1 minute' ORDER BY 1 LIMIT 1")  # fmt: skip
    tile = page.locator(".tile", has_text=code)
    expect(tile).not_to_have_class(re.compile("is-fault|is-unknown"))
    site.sql("UPDATE latest_value SET value = 1, ts = now() WHERE tag_id = (SELECT t.tag_id FROM tag t WHERE name = %s)",
             f"{code}.state")  # fmt: skip
    expect(tile).to_have_class(re.compile("is-fault"), timeout=10_000)
    expect(tile).to_contain_text("故障停机")


def test_figures_change_by_themselves(site: Site, opened: Opened) -> None:
    page, _ = opened
    site.sql(
        "UPDATE indicator_value SET value = 271 WHERE code = 'plat.devices_connected' AND level = 'province'"
    )
    tile = page.locator(".figure", has_text="平台连接设备数")
    expect(tile.locator(".fig-number")).to_have_text("271", timeout=10_000)
    site.sql("UPDATE indicator_value SET value = NULL, reason = 'no_data'"
             " WHERE code = 'plat.devices_connected' AND level = 'province'")  # fmt: skip
    expect(tile.locator(".fig-number")).to_have_text("—", timeout=10_000)
    expect(tile).to_contain_text("没有收到数据")


def test_ranking_by_another_indicator(opened: Opened) -> None:
    page, _ = opened
    before = page.locator(".ranking li .rank-value").first.inner_text()
    page.locator(".segmented label", has_text="数据质量").click()
    expect(page.locator(".ranking li .rank-value").first).not_to_have_text(before)


def test_language_is_one_click_and_stays(site: Site, opened: Opened) -> None:
    page, _ = opened
    page.goto(f"{site.url}/supply?unit=GD-TEX-01")
    page.locator("#language-switch").click()
    expect(page).to_have_url(f"{site.url}/supply?unit=GD-TEX-01")
    expect(page.locator(".area-sources .panel-title")).to_have_text("Sources of the units")
    page.get_by_role("link", name="Province").click()
    expect(page.locator(".area-problems .panel-title")).to_have_text("Open data problems")
    page.reload()
    expect(page.locator(".live-on")).to_have_text("Live")
    page.locator("#language-switch").click()
    expect(page.locator(".area-problems .panel-title")).to_have_text("未解决的数据问题")


@pytest.mark.parametrize("size", [(1366, 768), (1920, 1080)])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_pages_fit_and_stay_at_home(site: Site, opened: Opened, size: tuple[int, int], language: str) -> None:
    page, watch = opened
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.goto(f"{site.url}/language/{language}")
    for path in PATHS:
        page.goto(site.url + path)
        page.wait_for_selector(".panel")
        page.wait_for_timeout(1500)
        wide, high = page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
        )
        assert wide <= size[0], path
        if path != PATHS[1]:  # a cluster has as many machines as it has
            assert high <= size[1], path
    assert watch.external == []
    assert watch.errors == []


def test_unknown_pages_say_so(site: Site, opened: Opened) -> None:
    page, _ = opened
    page.goto(f"{site.url}/cluster/NONE")
    expect(page.locator(".page-plain")).to_contain_text("NONE")
    page.goto(f"{site.url}/no/such/page")
    expect(page.locator(".page-plain")).to_contain_text("没有这个页面")


def test_keyboard_reaches_what_the_mouse_does(opened: Opened) -> None:
    page, _ = opened
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.locator(".ranking a").first.focus()
    page.wait_for_timeout(1500)  # pulses do not take the focus away
    expect(page.locator(".ranking a").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".page-cluster")).to_be_visible()


def test_stopped_data_are_shown_as_stale(site: Site, opened: Opened) -> None:
    page, _ = opened
    expect(page.locator(".banner.is-bad:visible")).to_have_count(0)
    site.feeding.clear()
    try:
        time.sleep(0.7)
        site.sql("UPDATE ingest_ledger SET last_received_at = now() - interval '10 minutes'")
        site.sql("UPDATE component_status SET beat_at = now() + interval '1 minute'")
        expect(page.locator(".banner:visible")).to_contain_text("所有数据源均无新数据", timeout=10_000)
        expect(page.locator(".banner:visible .age")).to_have_text(re.compile("分钟前"))
        expect(page.locator("#shell")).to_have_class(re.compile("is-stale"))
        site.sql(
            "UPDATE component_status SET beat_at = now() - interval '2 minutes' WHERE component = 'metrics'"
        )
        expect(page.locator(".banner:visible")).to_contain_text("指标计算服务中断", timeout=10_000)
        site.sql(
            "UPDATE indicator_value SET computed_at = now() - interval '1 hour' WHERE level = 'province'"
        )
        old = page.locator(".figure[data-old]", has_text="设备在线率")
        expect(old).to_be_visible(timeout=10_000)
        stale = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--stale').trim()")
        assert old.locator(".fig-value").evaluate("e => getComputedStyle(e).color") == rgb(stale)
    finally:
        site.sql("UPDATE ingest_ledger SET last_received_at = now()")
        site.feeding.set()
    expect(page.locator(".banner.is-bad:visible")).to_have_count(0, timeout=15_000)


def test_a_database_outage_is_said_and_healed(site: Site, opened: Opened) -> None:
    page, _ = opened
    name = value(site, "SELECT current_database()")
    with ThreadPoolExecutor(8) as many:  # so that there is more than one connection to lose
        answers = many.map(
            lambda n: httpx.get(f"{site.url}/live/session", headers={"Cookie": f"qunce_session={n}"}),
            range(40),
        )
        assert {answer.status_code for answer in answers} == {401}
    site.feeding.clear()
    time.sleep(0.7)
    from psycopg import sql
    from psycopg.conninfo import make_conninfo

    from store.database import connect
    from store.roles import role_dsn

    admin = make_conninfo(site.dsn, dbname="postgres")
    with connect(admin, application="test", autocommit=True) as conn:
        conn.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
        try:
            for role in ("dashboard", "auth"):  # each may end its own
                with connect(role_dsn(admin, role), application="test", autocommit=True) as own:
                    own.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
                                " AND usename = current_user", (name,))  # fmt: skip
            expect(page.locator(".banner:visible")).to_contain_text("数据库无响应", timeout=15_000)
            expect(page.locator(".fig-number").first).to_have_text("8")
        finally:
            conn.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name)))
    assert httpx.post(f"{site.url}/login", data={"user": USER, "password": PASSWORD}).status_code == 303
    site.feeding.set()
    expect(page.locator(".banner.is-bad:visible")).to_have_count(0, timeout=15_000)


def test_everybody_sees_his_own_and_not_that_there_is_more(site: Site, running_browser: Browser) -> None:
    own, foreign = "ELE-01", "AUT-01"
    unit, firm = (
        value(site, "SELECT u.code FROM lead_unit u JOIN pilot p USING (unit_id) WHERE p.code = 'ELE-01'"),
        value(
            site,
            "SELECT e.uscc FROM enterprise e JOIN pilot p USING (unit_id) WHERE p.code = 'ELE-01' LIMIT 1",
        ),
    )
    name_zh = value(site, f"SELECT name_zh FROM pilot WHERE code = '{foreign}'")
    theirs = (f"GD-{foreign}", name_zh, json.dumps(name_zh).strip('"'))
    region = value(site, f"SELECT region_code FROM pilot WHERE code = '{own}'")
    with connect(site.dsn, application="test", autocommit=True) as conn:
        for wanted in (
            Wanted("city", "市局", "city", region=region),
            Wanted("unit", "牵头单位", "lead_unit", unit=unit),
            Wanted("firm", "企业", "enterprise", uscc=firm),
            Wanted("bank", "银行", "bank", uscc="91110000MA01BANK02"),
        ):
            people.add(conn, wanted, PASSWORD)
    for name, heading, links, sees_own in (
        ("admin", None, ["/", "/supply", "/unit", "/operations"], True),
        ("city", None, ["/", "/supply"], True),
        ("unit", "本单位的试点", ["/", "/supply", "/reports", "/unit"], True),
        ("firm", "本企业", ["/"], False),
        ("bank", "融资企业池", ["/"], False),
    ):
        context = running_browser.new_context(locale="zh-CN")
        page = context.new_page()
        page.goto(f"{site.url}/login")
        page.fill("input[name=user]", name)
        page.fill("input[name=password]", PASSWORD)
        page.click("button[type=submit]")
        page.wait_for_selector(".panel")
        assert [a.get_attribute("href") for a in page.locator(".nav-link").all()] == links, name
        if heading is not None:
            expect(page.locator("h1").first).to_have_text(heading)
        role = {"admin": "平台运维", "city": "市级", "unit": "牵头单位", "firm": "企业", "bank": "银行"}[name]
        expect(page.locator("#person")).to_contain_text(role)
        page.goto(f"{site.url}/cluster/{foreign}")
        expect(page.locator(".page-cluster" if name == "admin" else ".page-plain")).to_be_visible()
        page.goto(f"{site.url}/operations")
        expect(page.locator(".page-operations" if name == "admin" else ".page-plain")).to_be_visible()
        page.goto(f"{site.url}/cluster/{own}")
        expect(page.locator(".page-cluster" if sees_own else ".page-plain")).to_be_visible()
        expect(page.locator(".live-on")).to_be_visible()
        told = "".join(drawn(context.request, site.url, path) for path in (*PATHS, f"/cluster/{foreign}"))
        assert any(t in told for t in theirs) == (name == "admin"), name
        context.close()


def drawn(client: APIRequestContext, url: str, path: str) -> str:
    """What a browser is told that asks for this page, the page's frame included."""
    asked = {
        "output": "..page.children...nav.children..",
        "outputs": [{"id": "page", "property": "children"}, {"id": "nav", "property": "children"}],
        "inputs": [
            {"id": "url", "property": "pathname", "value": path},
            {"id": "url", "property": "search", "value": ""},
        ],
        "state": [
            {"id": "language", "property": "data", "value": "zh"},
        ],
        "changedPropIds": ["url.pathname"],
    }
    answer = client.post(f"{url}/_dash-update-component", data=asked, headers={"origin": url})
    assert answer.status == 200
    return (
        answer.text()
        + client.get(f"{url}/_dash-layout").text()
        + client.get(f"{url}/_dash-dependencies").text()
    )


def test_a_dead_server_is_noticed_by_the_page_and_its_return_too(
    module_dsn: str, site: Site, running_browser: Browser
) -> None:
    from qunce.process import free_port

    port = free_port()
    server, thread = serve(module_dsn, port)
    page = running_browser.new_page()
    page.goto(f"http://127.0.0.1:{port}/login")
    page.fill("input[name=user]", "admin")
    page.fill("input[name=password]", PASSWORD)
    page.click("button[type=submit]")
    expect(page.locator(".live-on")).to_be_visible()
    stop(server, thread)
    expect(page.locator(".live-off")).to_be_visible(timeout=20_000)
    expect(page.locator(".offline-banner")).to_be_visible()
    server, thread = serve(module_dsn, port)
    try:
        expect(page.locator(".live-on")).to_be_visible(timeout=40_000)
        expect(page.locator(".offline-banner")).to_be_hidden()
    finally:
        page.context.close()
        stop(server, thread)


def stop(server: Any, thread: threading.Thread) -> None:
    """End a server of `serve`."""
    server.should_exit = True
    thread.join(timeout=15)


def rgb(color: str) -> str:
    """#rrggbb as browsers report it."""
    return "rgb({}, {}, {})".format(*(int(color[i : i + 2], 16) for i in (1, 3, 5)))
