"""The dashboard on the platform's FastAPI application: one process, one port."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl

from dash import Dash, Input, Output, State
from dash.development.base_component import Component
from dash.exceptions import PreventUpdate
from fastapi import FastAPI

from dashboard import doors, ids, live
from dashboard.board import Board
from dashboard.boards import Boards
from dashboard.handbook import EXAMPLE, Reached
from dashboard.health import health
from dashboard.login import OPEN, Wall, protections, viewer
from dashboard.markup import SLOT
from dashboard.oidc import Authority, Provider
from dashboard.pages import Page, View, pages, pages_of
from dashboard.shell import INDEX, banner, frame, navigation, page_for
from dashboard.snapshot import Snapshot
from dashboard.texts import language_of, text
from store.identity import Principal
from store.sessions import Sessions
from supervision.problems import Thresholds

FIRST_S = 1.5
SWEEP_S = 15.0

log = logging.getLogger(__name__)


def attach(
    api: FastAPI,
    *,
    dsn: str,
    sessions: Sessions,
    secure_cookie: bool = False,
    zone: str = "Asia/Shanghai",
    period_s: float = 2.0,
    thresholds: Thresholds | None = None,
    open_paths: tuple[str, ...] = OPEN,
    provider: Provider | None = None,
    reached: Reached = EXAMPLE,
) -> Dash:
    """Put the pages on `api`, behind a login. `dsn`: the database as the role `dashboard`.

    Call it last: Dash answers every path nobody else declared, so `/api/{rest:path}` must exist already.
    Everything outside `open_paths` needs a session from here on. The boards end with the application's
    lifespan. `period_s`: seconds between two readings of the database, and between pulses.
    `provider`: an identity provider that vouches for people too. `reached`: where units reach the platform.
    """
    authority = Authority(provider) if provider is not None else None
    hub = live.Hub()
    boards = Boards(
        dsn, period_s=period_s, thresholds=thresholds, zone=zone,
        on_renewed=lambda scope, snapshot: hub.publish(scope, _pulse(snapshot)), on_stopped=hub.dismiss,
    )  # fmt: skip
    api.state.boards = boards
    doors.add_routes(
        api, sessions, secure=secure_cookie, expect=boards.of, authority=authority, reached=reached
    )
    live.add_route(api, hub, sessions, boards.of)
    _with_lifespan(api, boards, hub, sessions, authority)
    folder = files("dashboard")
    app = Dash(
        "dashboard",
        server=api,  # type: ignore[arg-type]  # its annotation knows Flask only
        backend="fastapi",
        assets_folder=str(folder / "assets"),
        pages_folder="",
        use_pages=False,
        serve_locally=True,
        suppress_callback_exceptions=True,
        update_title="",
        title=text("zh", "brand"),
        index_string=INDEX,
        on_error=_log_error,
    )

    # Dash's own websocket is of no use to us, yet its front end would keep one open (plotly/dash#3939).
    app.backend.websocket_capability = False

    def layout() -> Component:
        cookies = app.backend.request_adapter().cookies if app.backend.has_request_context() else {}
        who = viewer() if app.backend.has_request_context() else None
        return frame(language_of(cookies.get(doors.LANGUAGE_COOKIE)), zone, period_s, who)

    app.layout = layout
    _register(app, boards)
    for page in pages():
        page.register(app, *_as_seen(page, boards))
    # Dash finds its assets when "/" is first asked for: whoever came to another page first had none of them.
    app._setup_server()  # type: ignore[no-untyped-call]
    # Added last, so it stands outermost: nothing of Dash runs without a session.
    headers = protections(app.csp_hashes(), secure=secure_cookie)
    api.add_middleware(
        Wall, sessions=sessions, open_paths=open_paths, headers=headers, before_page=_drawn(boards)
    )
    return app


def _log_error(error: Exception) -> None:
    # Dash itself would answer 500 and say nothing to anybody; the part of the page stays as it was.
    log.error("page callback failed", exc_info=error)


def _as_seen(page: Page, boards: Boards) -> tuple[Callable[[], Snapshot], Callable[[str], None]]:
    """What a page's callbacks read: the board of whoever asks, if the page is for his eyes."""

    def board() -> Board:
        who = viewer()
        if who.role not in page.roles:
            raise PreventUpdate
        return boards.of(who)

    return lambda: board().current(), lambda code: board().want(code)


def _drawn(boards: Boards) -> Callable[[Principal], Awaitable[None]]:
    """Before a document is sent: the board has something to show, if that is a matter of a moment."""

    async def drawn(who: Principal) -> None:
        board, until = boards.of(who), time.monotonic() + FIRST_S
        while board.current().seq == 0 and time.monotonic() < until:
            await asyncio.sleep(0.02)

    return drawn


def _register(app: Dash, boards: Boards) -> None:
    @app.callback(
        Output(ids.PAGE, "children"),
        Output(ids.NAV, "children"),
        Input(ids.URL, "pathname"),
        Input(ids.URL, "search"),
        State(ids.LANGUAGE, "data"),
    )
    def route(pathname: str | None, search: str | None, language: str) -> tuple[object, object]:
        lang, path, who = language_of(language), pathname or "/", viewer()
        board = boards.of(who)
        for page in pages_of(who.role):
            if "code" in (found := page.match(path) or {}):
                board.want(found["code"])
        view = View(board.current(), lang, dict(parse_qsl((search or "").lstrip("?"))))
        return page_for(path, view, who.role), navigation(lang, path, who.role)

    @app.callback(
        Output(ids.BANNER, SLOT),
        Output(ids.SHELL, "className"),
        Input(ids.TICK, "data"),
        State(ids.LANGUAGE, "data"),
    )
    def judge(_tick: object, language: str) -> tuple[object, str]:
        snapshot = boards.of(viewer()).current()
        stale = health(snapshot).level == "bad"
        return banner(language_of(language), snapshot), "shell is-stale" if stale else "shell"


def _pulse(snapshot: Snapshot) -> live.Pulse:
    return {"seq": snapshot.seq, "at": round(snapshot.at.timestamp() * 1000), "health": health(snapshot).key}


def _with_lifespan(
    api: FastAPI, boards: Boards, hub: live.Hub, sessions: Sessions, authority: Authority | None
) -> None:
    inner = api.router.lifespan_context

    async def sweeping() -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            await asyncio.to_thread(boards.sweep)

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with inner(app) as state:
            hub.bind(asyncio.get_running_loop())
            sweeper = asyncio.create_task(sweeping())
            try:
                yield state
            finally:
                sweeper.cancel()
                hub.bind(None)
                await asyncio.to_thread(boards.stop)
                await asyncio.to_thread(sessions.close)
                if authority is not None:
                    await authority.close()

    api.router.lifespan_context = lifespan


__all__ = ["attach"]
