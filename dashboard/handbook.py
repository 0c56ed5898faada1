"""The documentation as pages that anybody may read, logged in or not: what an integrator needs is never behind a wall."""

from __future__ import annotations

import re
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from mdit_py_plugins.anchors import anchors_plugin

from dashboard.texts import Language, language_of, text

CHAPTERS = ("guide", "interface", "datasets", "reporting", "reasons", "indicators")
"""Names of the documents of `docs/`, in the order of reading; one in Chinese is beside it as `<name>.zh-CN.md`."""

_FOLDER = files("dashboard") / "data" / "docs"
_LINK = re.compile(r"(?P<name>[a-z]+)(?:\.zh-CN)?\.md(?P<part>#.*)?")


class _Renderer(RendererHTML):
    """Links between the documents lead to their pages, and are called by their titles; one to the same document
    leads to it in the other language. `env`: `name`, `lang`, `other`.
    """

    def link_open(self, tokens: Any, idx: int, options: Any, env: Any) -> str:
        href = tokens[idx].attrGet("href") or ""
        found = _LINK.fullmatch(href)
        if found is not None and found["name"] in CHAPTERS:
            page = f"/docs/{found['name']}{found['part'] or ''}"
            tokens[idx].attrSet("href", page if found["name"] != env["name"] else f"/language/{env['other']}")
            if tokens[idx + 1].content == href:
                tokens[idx + 1].content = text(env["lang"], f"docs.{found['name']}")
        return self.renderToken(tokens, idx, options, env)


_MARKDOWN = (
    MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer)
    .enable("table")
    .use(anchors_plugin, max_level=3)
)


class Reached(NamedTuple):
    """Where units reach this platform, URLs; `mqtt` None: by HTTP only. What is pasted from the guide goes there."""

    http: str
    mqtt: str | None = None


EXAMPLE = Reached("http://127.0.0.1:8760", "mqtt://127.0.0.1:21883")
"""The addresses that stand in the documents."""


def add_routes(api: FastAPI, language_cookie: str, reached: Reached = EXAMPLE) -> None:
    """Declare /docs and /docs/{name}; both open, neither shows data."""

    def first() -> RedirectResponse:
        return RedirectResponse(f"/docs/{CHAPTERS[0]}", status_code=307)

    def chapter(request: Request, name: str) -> HTMLResponse:
        if name not in CHAPTERS:
            raise HTTPException(404)
        lang = language_of(request.cookies.get(language_cookie))
        return HTMLResponse(page(name, lang, reached))

    for path, handler in (("/docs", first), ("/docs/{name}", chapter)):
        api.add_api_route(
            path, handler, methods=["GET", "HEAD"], include_in_schema=False, response_model=None
        )


@cache
def page(name: str, lang: Language, reached: Reached = EXAMPLE) -> str:
    """A chapter as a whole document; in English where there is no Chinese one."""
    chinese = _FOLDER / f"{name}.zh-CN.md"
    source = chinese if lang == "zh" and chinese.is_file() else _FOLDER / f"{name}.md"
    other = "en" if lang == "zh" else "zh"
    links = "".join(
        f'<a class="nav-link{" is-here" if one == name else ""}" href="/docs/{one}">'
        f"{escape(text(lang, f'docs.{one}'))}</a>"
        for one in CHAPTERS
    )
    frame = Template((files("dashboard") / "data" / "handbook.html").read_text("utf-8"))
    return frame.substitute(
        lang="zh-CN" if lang == "zh" else "en",
        brand=escape(text(lang, "brand")),
        title=escape(text(lang, f"docs.{name}")),
        links=links,
        other=other,
        other_name=escape(text(lang, "other_language")),
        content=_MARKDOWN.render(
            _here(source.read_text("utf-8"), reached), {"name": name, "lang": lang, "other": other}
        ),
    )


def _here(source: str, reached: Reached) -> str:
    """A document with this platform's addresses."""
    source = source.replace(EXAMPLE.http, reached.http.rstrip("/"))
    mqtt = urlsplit(reached.mqtt or "")
    if mqtt.hostname:
        port = mqtt.port or (8883 if mqtt.scheme == "mqtts" else 1883)
        source = source.replace("QUNCE_MQTT_HOST:-127.0.0.1", f"QUNCE_MQTT_HOST:-{mqtt.hostname}")
        source = source.replace("QUNCE_MQTT_PORT:-21883", f"QUNCE_MQTT_PORT:-{port}")
    return source
