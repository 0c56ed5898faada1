"""The dashboard on the platform's FastAPI application: one process, one port."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl

from dash import Dash, Input, Output, State
from dash.development.base_component import Component
from fastapi import FastAPI

from dashboard import doors, ids, live
from dashboard.board import Board
from dashboard.health import health
from dashboard.login import OPEN, Login, Sessions, Wall, protections
from dashboard.markup import SLOT
from dashboard.pages import View, pages
from dashboard.shell import INDEX, banner, frame, navigation, page_for
from dashboard.snapshot import Snapshot
from dashboard.texts import language_of, text
from supervision.problems import Thresholds

log = logging.getLogger(__name__)


def attach(
    api: FastAPI,
    *,
    dsn: str,
    login: Login,
    zone: str = "Asia/Shanghai",
    period_s: float = 2.0,
    thresholds: Thresholds | None = None,
    open_paths: tuple[str, ...] = OPEN,
) -> Dash:
    """Put the pages on `api`, behind a login.

    Call it last: Dash answers every path nobody else declared, so `/api/{rest:path}` must exist already.
    Everything outside `open_paths` needs a session from here on. The refresher starts and ends with the
    application's lifespan. `period_s`: seconds between two readings of the database, and between pulses.
    """
    sessions = Sessions(login)
    hub = live.Hub()
    board = Board(
        dsn, period_s=period_s, thresholds=thresholds, zone=zone, on_renewed=lambda s: hub.publish(_pulse(s))
    )
    doors.add_routes(api, sessions)
    live.add_route(api, hub, sessions)
    _with_lifespan(api, board, hub)
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
        return frame(language_of(cookies.get(doors.LANGUAGE_COOKIE)), zone, period_s)

    app.layout = layout
    _register(app, board)
    for page in pages():
        page.register(app, board.current, board.want)
    # Dash finds its assets when "/" is first asked for: whoever came to another page first had none of them.
    app._setup_server()  # type: ignore[no-untyped-call]
    # Added last, so it stands outermost: nothing of Dash runs without a session.
    headers = protections(app.csp_hashes())
    api.add_middleware(Wall, sessions=sessions, open_paths=open_paths, headers=headers)
    return app


def _log_error(error: Exception) -> None:
    # Dash itself would answer 500 and say nothing to anybody; the part of the page stays as it was.
    log.error("page callback failed", exc_info=error)


def _register(app: Dash, board: Board) -> None:
    @app.callback(
        Output(ids.PAGE, "children"),
        Output(ids.NAV, "children"),
        Input(ids.URL, "pathname"),
        Input(ids.URL, "search"),
        State(ids.LANGUAGE, "data"),
        State(ids.ZONE, "data"),
    )
    def route(pathname: str | None, search: str | None, language: str, zone: str) -> tuple[object, object]:
        lang, path = language_of(language), pathname or "/"
        for page in pages():
            if "code" in (found := page.match(path) or {}):
                board.want(found["code"])
        view = View(board.current(), lang, zone, dict(parse_qsl((search or "").lstrip("?"))))
        return page_for(path, view), navigation(lang, path)

    @app.callback(
        Output(ids.BANNER, SLOT),
        Output(ids.SHELL, "className"),
        Input(ids.TICK, "data"),
        State(ids.LANGUAGE, "data"),
    )
    def judge(_tick: object, language: str) -> tuple[object, str]:
        snapshot = board.current()
        stale = health(snapshot).level == "bad"
        return banner(language_of(language), snapshot), "shell is-stale" if stale else "shell"


def _pulse(snapshot: Snapshot) -> live.Pulse:
    return {"seq": snapshot.seq, "at": round(snapshot.at.timestamp() * 1000), "health": health(snapshot).key}


def _with_lifespan(api: FastAPI, board: Board, hub: live.Hub) -> None:
    inner = api.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with inner(app) as state:
            hub.bind(asyncio.get_running_loop())
            board.start()
            try:
                yield state
            finally:
                hub.bind(None)
                await asyncio.to_thread(board.stop)

    api.router.lifespan_context = lifespan


__all__ = ["Login", "attach"]
