"""Logins by a certified OpenID provider: whoever has an account that names him comes in, nobody else does."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from dashboard.app import attach
from dashboard.oidc import Authority, Provider, Refused, ask, unpacked
from qunce.process import free_port
from store import audit, people
from store.database import Connection, connect
from store.people import Wanted
from store.roles import logins
from store.sessions import Sessions
from tests.foreign import node_with_packages

pytestmark = pytest.mark.concurrent
HERE = Path(__file__).parent
PAGES = "http://qunce.test"
BACK = f"{PAGES}/login/oidc/back"


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """The address of a running provider."""
    node = node_with_packages(HERE)
    port = free_port()
    server = subprocess.Popen(
        [node, "server.mjs", str(port), BACK],
        cwd=HERE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield f"http://127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGKILL)
        server.communicate()


@pytest.fixture(scope="module")
def owner(module_dsn: str, issuer: str) -> Iterator[Connection]:
    with connect(module_dsn, application="test", autocommit=True) as conn:
        people.add(conn, Wanted("wang", "王某", "province", oidc_subject=f"{issuer} wang-1"), None)
        people.add(conn, Wanted("gone", "走了", "province", oidc_subject=f"{issuer} gone-1"), None)
        people.change(conn, "gone", disabled=True)
        yield conn


def provider(issuer: str, **other: str) -> Provider:
    given = {
        "issuer": issuer,
        "client_id": "qunce",
        "client_secret": "client-secret",
        "label": "SSO",
        "back": BACK,
    }
    return Provider(**{**given, **other, "client_secret": SecretStr({**given, **other}["client_secret"])})


async def consented(client: httpx.AsyncClient, address: str, account: str) -> str:
    """Go through the provider's own pages as `account`; the address it sends back to."""
    answer = await client.get(address)
    for _ in range(12):
        if answer.is_redirect:
            onward = str(answer.headers["location"])
            if onward.startswith(BACK):
                return onward
            answer = await client.get(httpx.URL(address).join(onward))
        else:
            action = unescape(re.findall(r'action="([^"]+)"', answer.text)[0])
            prompt = re.findall(r'name="prompt" value="(\w+)"', answer.text)[0]
            answer = await client.post(
                httpx.URL(address).join(action), data={"prompt": prompt, "login": account, "password": "x"}
            )
    raise AssertionError(answer.text)


def through(dsn: str, of: Provider, account: str, *, spoil: str | None = None) -> httpx.Response:
    """Log in at the pages by the provider, up to the page that follows."""

    async def go() -> httpx.Response:
        accounts, api = logins(dsn), FastAPI()
        attach(api, dsn=accounts.dashboard, sessions=Sessions(accounts.auth), provider=of)
        async with (
            api.router.lifespan_context(api),
            httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url=PAGES) as browser,
            httpx.AsyncClient() as outside,
        ):
            assert 'href="/login/oidc?next=/supply"' in (await browser.get("/login?next=/supply")).text
            begun = await browser.get("/login/oidc?next=/supply")
            assert begun.status_code == 303
            query = parse_qs(urlsplit(begun.headers["location"]).query)
            assert query["code_challenge_method"] == ["S256"]
            onward = await consented(outside, begun.headers["location"], account)
            if spoil == "state":
                onward = re.sub(r"state=[^&]+", "state=another", onward)
            if spoil == "browser":
                browser.cookies.clear()
            came = await browser.get(onward)
            if spoil == "again" and came.status_code == 303:
                return await browser.get(onward)
            if came.status_code == 303:
                assert came.headers["location"] == "/supply"
                assert "HttpOnly" in came.headers["set-cookie"]
                assert (await browser.get("/live/session")).status_code == 200
            return came

    return asyncio.run(go())


def test_whoever_has_an_account_comes_in(module_dsn: str, issuer: str, owner: Connection) -> None:
    assert through(module_dsn, provider(issuer), "wang-1").status_code == 303
    (opened,) = audit.events(owner, limit=1, action="session.opened")
    assert (opened.actor, '"way": "oidc"' in opened.detail) == ("person:wang", True)


@pytest.mark.parametrize("account", ["stranger", "gone-1"])
def test_nobody_gets_an_account_by_it(module_dsn: str, issuer: str, owner: Connection, account: str) -> None:
    before = len(people.listed(owner))
    answer = through(module_dsn, provider(issuer), account)
    assert answer.status_code == 403
    assert "没有与之对应的账号" in answer.text
    assert len(people.listed(owner)) == before
    (refused,) = audit.events(owner, limit=1, action="session.refused")
    assert refused.object == f"{issuer} {account}"


@pytest.mark.parametrize("spoil", ["state", "browser", "again"])
def test_an_answer_that_this_browser_did_not_ask_for_is_refused(
    module_dsn: str, issuer: str, owner: Connection, spoil: str
) -> None:
    assert through(module_dsn, provider(issuer), "wang-1", spoil=spoil).status_code == 401


def test_a_wrong_secret_issuer_nonce_or_verifier_is_refused(issuer: str) -> None:
    async def subject(of: Provider, **changed: str) -> str:
        authority, asked = Authority(of), ask("/")
        try:
            async with httpx.AsyncClient() as outside:
                onward = await consented(outside, await authority.address(asked), "wang-1")
            code = parse_qs(urlsplit(onward).query)["code"][0]
            return await authority.subject(asked._replace(**changed), code)
        finally:
            await authority.close()

    assert asyncio.run(subject(provider(issuer))) == f"{issuer} wang-1"
    for of, changed in (
        (provider(issuer, client_secret="wrong"), {}),
        (provider(issuer), {"nonce": "another"}),
        (provider(issuer), {"verifier": "v" * 43}),
        (provider(issuer.replace("127.0.0.1", "localhost")), {}),
    ):
        with pytest.raises(Refused):
            asyncio.run(subject(of, **changed))


@pytest.mark.parametrize("cookie", [None, "", "nonsense", "W10=", "eyJhIjoxfQ=="])
def test_a_cookie_that_is_none_of_ours_is_nothing(cookie: str | None) -> None:
    assert unpacked(cookie) is None
