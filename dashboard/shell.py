"""The frame round every page: brand, navigation, badge of liveness, language, banner."""

from __future__ import annotations

from dash import dcc, html
from dash.development.base_component import Component

from dashboard import ids
from dashboard import markup as h
from dashboard.blocks import age
from dashboard.health import health
from dashboard.markup import Html
from dashboard.pages import View, pages_of
from dashboard.snapshot import Snapshot
from dashboard.texts import Language, text
from store.identity import Principal, Role

INDEX = """<!DOCTYPE html>
<html lang="zh-CN">
<head>{%metas%}<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{%title%}</title>{%favicon%}{%css%}</head>
<body>{%app_entry%}<footer>{%config%}{%scripts%}{%renderer%}</footer></body>
</html>"""


def frame(language: Language, zone: str, period_s: float, who: Principal | None = None) -> Component:
    """The document's body. `data-period`: seconds between two pulses, for the page's own watch."""
    return html.Div(
        [
            dcc.Location(id=ids.URL, refresh=False),
            dcc.Store(id=ids.TICK),
            dcc.Store(id=ids.LANGUAGE, data=language),
            html.A(text(language, "skip"), href="#page", className="skip"),
            html.Header(
                [
                    dcc.Link(
                        [
                            html.Span(text(language, "brand"), className="brand-mark"),
                            html.Span(
                                [
                                    html.Span(text(language, "title"), className="brand-title"),
                                    html.Span(text(language, "subtitle"), className="brand-sub"),
                                ],
                                className="brand-text",
                            ),
                        ],
                        href="/",
                        className="brand",
                    ),
                    html.Nav(
                        navigation(language, "/", who.role if who else None),
                        id=ids.NAV,
                        className="nav",
                        **h.attributes({"aria-label": text(language, "nav")}),
                    ),
                    html.Div(
                        [
                            html.Span(
                                [
                                    html.Span(className="live-dot"),
                                    html.Span(text(language, "live.on"), className="live-on"),
                                    html.Span(text(language, "live.off"), className="live-off"),
                                    html.Span(text(language, "live.wait"), className="live-wait"),
                                ],
                                className="live",
                                id="live-badge",
                                role="status",
                            ),
                            html.Time(className="clock", id="clock", **h.attributes({"data-zone": zone})),
                            html.A(
                                text(language, "other_language"),
                                href=f"/language/{'en' if language == 'zh' else 'zh'}",
                                className="chip",
                                id="language-switch",
                                lang="en" if language == "zh" else "zh-CN",
                            ),
                            *([_person(language, who)] if who else []),
                            html.Form(
                                html.Button(text(language, "logout"), type="submit", className="chip"),
                                method="post",
                                action="/login/end",
                            ),
                        ],
                        className="tools",
                    ),
                ],
                className="top",
            ),
            h.slot(ids.BANNER, Html(""), className="banner-slot", **h.attributes({"aria-live": "polite"})),
            html.Div(
                [
                    html.Strong(text(language, "banner.offline")),
                    html.Span(text(language, "banner.offline.more")),
                ],
                className="banner is-bad offline-banner",
                role="alert",
            ),
            html.Main(html.Div(id=ids.PAGE, className="page"), id="main", tabIndex="-1"),
        ],
        id=ids.SHELL,
        className="shell",
        lang="zh-CN" if language == "zh" else "en",
        **h.attributes({"data-period": f"{period_s:g}"}),
    )


def _person(language: Language, who: Principal) -> Component:
    return html.Span(
        [
            html.Span(who.display_name or who.name, className="person-name"),
            html.Span(text(language, f"role.{who.role}"), className="person-role"),
        ],
        className="person",
        id="person",
        title=f"{who.display_name} · {who.name}" if who.display_name else who.name,
    )


def navigation(language: Language, pathname: str, role: Role | None) -> list[Component]:
    """Links to the pages of this role, the present one marked."""
    return [
        dcc.Link(
            text(language, page.title),
            href=page.path,
            className="nav-link" + (" is-here" if page.match(pathname) is not None else ""),
        )
        for page in pages_of(role)
        if page.in_navigation
    ]


def banner(language: Language, snapshot: Snapshot) -> Html:
    """What is wrong with the whole picture, since when; nothing when it is current."""
    verdict = health(snapshot)
    if verdict.level == "ok":
        return Html("")
    return h.Div(
        [
            h.Strong(text(language, f"banner.{verdict.key}")),
            h.Span(text(language, f"banner.{verdict.key}.more")),
            age(verdict.since, 0) if verdict.since else None,
        ],
        className=f"banner is-{verdict.level}",
        role="alert",
    )


def page_for(pathname: str, view: View, role: Role | None) -> Component:
    """The page of a path; one that is not there, or not for this role, says so."""
    for page in pages_of(role):
        variables = page.match(pathname)
        if variables is not None:
            return page.layout(view, **variables)
    return html.Div(
        [
            html.H1("404"),
            html.P(text(view.language, "empty.no_page")),
            dcc.Link(text(view.language, "nav.home"), href="/"),
        ],
        className="page-plain",
    )
