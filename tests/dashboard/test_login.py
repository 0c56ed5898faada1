"""Sessions, and the wall that denies by default."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.routing import Mount, Route

from dashboard.app import attach
from dashboard.login import OPEN, local_path
from ingest.api import create_api
from ingest.api.doors import routes_of
from store import people
from store.database import connect
from store.people import Wanted
from store.roles import Logins, logins
from store.sessions import Sessions

HTML = {"accept": "text/html"}
NAME, PASSWORD = "province", "correct horse"
HOME = {"origin": "http://testserver"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/supply", "/supply"),
        ("//evil", "/"),
        ("/\\evil", "/"),
        ("https://evil", "/"),
        (None, "/"),
        ("/a\r\nb", "/"),
    ],
)
def test_onward_stays_here(path: str | None, expected: str) -> None:
    assert local_path(path) == expected


class Browser:
    """A browser with cookies that talks to the application without a network."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.cookies: dict[str, str] = {}

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://testserver", cookies=self.cookies
            ) as client:
                answer = await client.request(method, url, **options)
                for cookie in client.cookies.jar:
                    self.cookies[cookie.name] = cookie.value or ""
                for cookie in set(self.cookies) - {c.name for c in client.cookies.jar}:
                    del self.cookies[cookie]
                return answer

        return asyncio.run(go())

    def get(self, url: str, **options: Any) -> httpx.Response:
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> httpx.Response:
        return self.request("POST", url, **options)

    def websocket(self, path: str, origin: str) -> dict[str, Any]:
        """The application's first word to a websocket."""
        cookie = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        headers = [(b"host", b"testserver"), (b"origin", origin.encode()), (b"cookie", cookie.encode())]
        scope = {
            "type": "websocket",
            "path": path,
            "headers": headers,
            "query_string": b"",
            "subprotocols": [],
        }
        said: list[dict[str, Any]] = []

        async def go() -> None:
            incoming = [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000}]

            async def receive() -> dict[str, Any]:
                return incoming.pop(0)

            async def send(message: Any) -> None:
                said.append(message)

            await self.app(scope, receive, send)

        asyncio.run(go())
        return said[0]


@pytest.fixture(scope="module")
def accounts(module_dsn: str) -> Logins:
    """A database with somebody who may see the province."""
    with connect(module_dsn, application="test") as conn:
        people.add(conn, Wanted(NAME, "省厅", "province"), PASSWORD)
    return logins(module_dsn)


@pytest.fixture
def client(accounts: Logins) -> Iterator[Browser]:
    api = FastAPI()

    @api.get("/healthz")
    def healthz() -> dict[str, bool]:
        return {"ok": True}

    @api.get("/api/{rest:path}")
    def nothing(rest: str) -> JSONResponse:
        return JSONResponse({"status": 404}, status_code=404)

    sessions = Sessions(accounts.auth)
    attach(api, dsn=accounts.dashboard, sessions=sessions, secure_cookie=True)
    yield Browser(api)
    api.state.boards.stop()
    sessions.close()


def log_in(client: Browser) -> None:
    answer = client.post("/login", data={"user": NAME, "password": PASSWORD, "next": "/supply"})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/supply"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" in cookie


def test_every_route_is_denied_without_session(client: Browser) -> None:
    checked = 0
    for route in client.app.routes:
        path = getattr(route, "path", "").replace("{rest:path}", "x").replace("{path:path}", "any")
        if not isinstance(route, (Route, Mount)) or path.startswith(
            ("/api/", "/healthz", "/login", "/language", "/docs")
        ):
            continue
        checked += 1
        for method in getattr(route, "methods", None) or {"GET"}:
            assert client.request(method, path or "/assets/live.js").status_code == 401, path
    assert checked > 5
    assert client.get("/anything/else").status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/assets/open/../live.js",
        "/api/../_dash-layout",
        "/login/../_dash-layout",
        "//api/x",
        "/healthz/x",
        "/apix",
    ],
)
def test_no_way_round_the_wall(client: Browser, path: str) -> None:
    assert client.request("GET", f"http://testserver{path}").status_code in (401, 404)


def test_websockets_need_session_and_origin(client: Browser) -> None:
    refused = {"type": "websocket.close", "code": 4401, "reason": "login"}
    assert client.websocket("/live", "http://testserver") == refused
    assert client.websocket("/_dash-ws-callback", "http://testserver") == refused
    log_in(client)
    assert client.websocket("/live", "http://evil") == refused
    assert client.websocket("/live", "http://testserver")["type"] == "websocket.accept"


def test_people_are_led_to_the_login_and_back(client: Browser) -> None:
    answer = client.get("/cluster/ELE-01", headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/cluster/ELE-01")
    page = client.get(answer.headers["location"])
    assert 'value="/cluster/ELE-01"' in page.text
    assert "登录" in page.text


def test_wrong_password_and_too_many_of_them(client: Browser) -> None:
    for _ in range(5):
        answer = client.post("/login", data={"user": NAME, "password": "<b>"})
        assert answer.status_code == 401
        assert "<b>" not in answer.text
    answer = client.post("/login", data={"user": NAME, "password": PASSWORD})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0


def test_login_logout(client: Browser) -> None:
    log_in(client)
    assert client.get("/", headers=HTML).status_code == 200
    layout = client.get("/_dash-layout")
    assert layout.status_code == 200
    assert "no-store" in layout.headers["cache-control"]
    stolen = client.cookies["qunce_session"]
    client.post("/login/end", headers={"origin": "http://testserver"})
    assert client.get("/_dash-layout").status_code == 401
    client.cookies["qunce_session"] = stolen
    assert client.get("/_dash-layout").status_code == 401


def test_language_is_one_click(client: Browser) -> None:
    log_in(client)
    assert '"data":"zh"' in client.get("/_dash-layout").text.replace(" ", "")
    answer = client.get("/language/en", headers={"referer": "http://testserver/supply?unit=A"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/supply?unit=A")
    assert '"data":"en"' in client.get("/_dash-layout").text.replace(" ", "")
    away = client.get("/language/zh", headers={"referer": "http://evil/x"})
    assert away.headers["location"] == "/"


def test_unknown_api_paths_stay_404(client: Browser) -> None:
    assert client.get("/api/v1/none").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/login", 200), ("HEAD", "/login", 200), ("POST", "/login", 401), ("GET", "/nowhere", 401),
     ("GET", "/api/v1/none", 404), ("GET", "/", 200), ("GET", "/_dash-layout", 200)],
)  # fmt: skip
def test_every_answer_is_protected(client: Browser, method: str, path: str, status: int) -> None:
    if status == 200:
        log_in(client)
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["frame-ancestors"] == policy["object-src"] == "'none'"
    assert "unsafe" not in policy["script-src"]


def test_head_is_led_to_the_login_too(client: Browser) -> None:
    answer = client.request("HEAD", "/supply", headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/supply")


def test_callbacks_of_another_site_are_refused(client: Browser) -> None:
    log_in(client)
    body = {"output": "banner.children", "outputs": {}, "inputs": [], "changedPropIds": []}
    for headers in ({}, {"origin": "http://evil"}):
        answer = client.post("/_dash-update-component", json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")
    assert client.post("/_dash-update-component", json=body, headers=HOME).status_code != 403
    assert (
        client.post(
            "/login", data={"user": NAME, "password": PASSWORD}, headers={"origin": "http://evil"}
        ).status_code
        == 403
    )


def test_callbacks_bring_little_and_say_how_much(client: Browser) -> None:
    log_in(client)
    large = client.post("/_dash-update-component", content=b" " * (2**20 + 1), headers=HOME)
    assert (large.status_code, large.json()["code"]) == (413, "body_too_large")
    for length in ("9" * 5_000, "-1"):
        headers = {**HOME, "content-length": length}
        assert client.post("/_dash-update-component", content=b"{}", headers=headers).status_code == 413


def test_what_no_page_sends_is_refused_before_dash_sees_it(client: Browser) -> None:
    log_in(client)
    for body in (b"", b"[]", b'{"a":', b"\xff\xfe"):
        answer = client.post("/_dash-update-component", content=body, headers=HOME)
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_callback"), body


def test_the_wall_stands_before_pages_only(accounts: Logins) -> None:
    api = create_api(accounts, "nats://127.0.0.1:1")
    beside = [route for route in routes_of(api) if not route.path.startswith("/api/")]
    assert {route.path for route in beside} <= set(OPEN)
    # Pages take every path that nobody has declared for GET: before these no login would stand.
    assert {route.path for route in beside} == {route.path for route in beside if "GET" in route.methods}
