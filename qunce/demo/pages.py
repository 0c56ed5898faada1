"""The pages as a person gets them: logged in, over HTTP."""

from __future__ import annotations

import httpx

from qunce.settings import Settings


def statuses(settings: Settings, paths: list[str]) -> dict[str, int]:
    """HTTP status of each page after logging in; 0 = no answer, 401 = the login was refused."""
    found = dict.fromkeys(paths, 0)
    password = settings.dashboard.password.get_secret_value() if settings.dashboard.password else ""
    base = settings.api.local_url
    try:
        with httpx.Client(base_url=base, timeout=10, trust_env=False) as client:
            form = {"user": settings.dashboard.user, "password": password}
            answer = client.post("/login", data=form, headers={"origin": base})
            if answer.status_code >= 400:
                return dict.fromkeys(paths, answer.status_code)
            for path in paths:
                page = client.get(path, headers={"accept": "text/html"})
                # A redirection back to the login is a refusal, not a page.
                found[path] = 401 if "/login" in page.headers.get("location", "") else page.status_code
    except httpx.HTTPError:
        return found
    return found
