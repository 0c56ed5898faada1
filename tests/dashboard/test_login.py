"""Sessions, and the wall that denies by default."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import SecretStr
from starlette.routing import Mount, Route

from dashboard.app import attach
from dashboard.login import Login, Sessions, local_path

LOGIN = Login(user="admin", password=SecretStr("correct horse"), signing_key=SecretStr("k" * 40))
HTML = {"accept": "text/html"}


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_session_opens_and_closes() -> None:
    sessions = Sessions(LOGIN)
    cookie = sessions.open("admin", "correct horse", "a")
    assert sessions.user(cookie) == "admin"
    sessions.close(cookie)
    assert sessions.user(cookie) is None
    assert sessions.user("forged") is None
    assert sessions.user(None) is None


def test_session_of_another_key_is_none() -> None:
    other = LOGIN.model_copy(update={"signing_key": SecretStr("x" * 40)})
    assert Sessions(LOGIN).user(Sessions(other).open("admin", "correct horse", "a")) is None


def test_five_tries_a_minute() -> None:
    clock = Clock()
    sessions = Sessions(LOGIN, clock=clock)
    for _ in range(5):
        assert sessions.wait_s("a") == 0
        assert sessions.open("admin", "wrong", "a") is None
    assert sessions.wait_s("a") > 0
    assert sessions.wait_s("b") == 0
    clock.now += 61
    assert sessions.wait_s("a") == 0


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


@pytest.fixture
def client() -> Browser:
    api = FastAPI()

    @api.get("/healthz")
    def healthz() -> dict[str, bool]:
        return {"ok": True}

    @api.get("/api/{rest:path}")
    def nothing(rest: str) -> JSONResponse:
        return JSONResponse({"status": 404}, status_code=404)

    # No lifespan and so no refresher: nothing here needs a database.
    attach(api, dsn="host=127.0.0.1 port=1 dbname=none", login=LOGIN)
    return Browser(api)


def log_in(client: Browser) -> None:
    answer = client.post("/login", data={"user": "admin", "password": "correct horse", "next": "/supply"})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/supply"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie


def test_every_route_is_denied_without_session(client: Browser) -> None:
    checked = 0
    for route in client.app.routes:
        path = getattr(route, "path", "").replace("{rest:path}", "x").replace("{path:path}", "any")
        if not isinstance(route, (Route, Mount)) or path.startswith(
            ("/api/", "/healthz", "/login", "/language")
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
        answer = client.post("/login", data={"user": "admin", "password": "<b>"})
        assert answer.status_code == 401
        assert "<b>" not in answer.text
    answer = client.post("/login", data={"user": "admin", "password": "correct horse"})
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


def test_short_secrets_are_refused() -> None:
    with pytest.raises(ValueError, match="signing_key"):
        Login(user="a", password=SecretStr("correct horse"), signing_key=SecretStr("short"))


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
