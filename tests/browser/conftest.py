"""The pages on a seeded database, in a real Chromium."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from playwright.sync_api import Browser, Page, expect, sync_playwright

from dashboard.app import attach
from qunce.process import free_port
from store import people
from store.database import Connection, connect
from store.roles import logins
from store.sessions import Sessions
from tests.browser.seed import arrive, seed_province

expect.set_options(timeout=15_000)  # on two cores that other tests keep busy

USER, PASSWORD = "admin", "correct horse"
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@dataclass
class Site:
    """A running dashboard, its database, and a feed that can be held still."""

    url: str
    dsn: str
    conn: Connection
    server: uvicorn.Server
    feeding: threading.Event = field(default_factory=threading.Event)

    def sql(self, statement: str, *values: object) -> None:
        """Change something in the database, as another part of the platform would."""
        with connect(self.dsn, application="test", autocommit=True) as conn:
            conn.execute(statement, values)  # type: ignore[arg-type]


def serve(dsn: str, port: int) -> tuple[uvicorn.Server, threading.Thread]:
    """The dashboard on a port, in a thread, ready."""
    api = FastAPI()

    @api.get("/api/{rest:path}")
    def nothing(rest: str) -> JSONResponse:
        return JSONResponse({"status": 404}, status_code=404)

    accounts = logins(dsn)
    attach(api, dsn=accounts.dashboard, sessions=Sessions(accounts.auth), period_s=0.5)
    config = uvicorn.Config(
        api, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.05)
    return server, thread


@pytest.fixture(scope="module")
def site(module_dsn: str) -> Iterator[Site]:
    """A dashboard over 8 pilots, 60 enterprises, 300 machines; data arrive every half second."""
    conn = connect(module_dsn, application="seed")
    seed_province(conn)
    people.ensure_operator(conn, USER, PASSWORD)
    conn.commit()
    port = free_port()
    server, thread = serve(module_dsn, port)
    site = Site(f"http://127.0.0.1:{port}", module_dsn, conn, server)
    site.feeding.set()
    ended = threading.Event()

    def feed() -> None:
        while not ended.wait(0.5):
            if site.feeding.is_set():
                arrive(conn, 20)
                conn.commit()

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    yield site
    ended.set()
    feeder.join()
    site.server.should_exit = True
    thread.join(timeout=15)
    conn.close()


@pytest.fixture(scope="package")  # its event loop must end before other tests start theirs
def running_browser(chromium: str) -> Iterator[Browser]:
    """One Chromium for all pages."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield browser
        browser.close()


@dataclass
class Watch:
    """What went wrong or out while a page was open."""

    errors: list[str] = field(default_factory=list)
    external: list[str] = field(default_factory=list)


@pytest.fixture
def opened(site: Site, running_browser: Browser) -> Iterator[tuple[Page, Watch]]:
    """A page that is logged in, and what it does beside its work."""
    context = running_browser.new_context(viewport={"width": 1366, "height": 768}, locale="zh-CN")
    page, watch = context.new_page(), Watch()

    def console(message: Any) -> None:
        if message.type in ("error", "warning"):
            watch.errors.append(message.text)

    def request(request: Any) -> None:
        if not request.url.startswith((site.url, site.url.replace("http", "ws"), "data:", "blob:")):
            watch.external.append(request.url)

    page.on("console", console)
    page.on("pageerror", lambda error: watch.errors.append(str(error)))
    page.on("request", request)
    page.goto(f"{site.url}/login")
    page.fill("input[name=user]", USER)
    page.fill("input[name=password]", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_selector(".figure")
    yield page, watch
    context.close()
