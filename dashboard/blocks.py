"""Pieces that pages are made of. Device and unit strings are text nodes, never markup."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from dash import dcc, html
from dash.development.base_component import Component

from dashboard.format import Reading, duration, percent, reading
from dashboard.health import STALE_AFTER_S
from dashboard.indicators import name_of, unit_of
from dashboard.texts import Language, text, text_or
from store.overview import Figure
from supervision.problems import Problem

Children = list[Component]


def panel(title: str, *children: Component, aside: Component | None = None, name: str = "") -> Component:
    """A titled surface; `aside` stands right of the title."""
    head = [html.H2(title, className="panel-title")]
    if aside is not None:
        head.append(html.Div(aside, className="panel-aside"))
    return html.Section(
        [html.Header(head, className="panel-head"), html.Div(list(children), className="panel-body")],
        className=f"panel {name}",
    )


def age(at: datetime | None, stale_after_s: float) -> Component:
    """How old something is. The browser counts on by itself and marks it stale, even with no server left."""
    if at is None:
        return html.Span(className="age")
    return html.Time(
        className="age",
        dateTime=at.isoformat(),
        **{"data-at": f"{at.timestamp() * 1000:.0f}", "data-stale": f"{stale_after_s:.0f}"},
    )


def period_label(language: Language, figure: Figure, zone: str, now: datetime) -> str:
    """The period a figure is of, as people say it."""
    if figure.period == "now":
        return text(language, "period.now")
    start = figure.period_start.astimezone(ZoneInfo(zone))
    if figure.period == "hour":
        end = start + timedelta(hours=1)
        return text(language, "period.hour", start=f"{start:%H:%M}", end=f"{end:%H:%M}")
    today = now.astimezone(ZoneInfo(zone)).date()
    if figure.period == "day":
        if start.date() == today:
            return text(language, "period.today")
        if start.date() == today - timedelta(days=1):
            return text(language, "period.yesterday")
        return f"{start:%m-%d}"
    return f"{start:%Y-%m}"


def headline(label: str, shown: Reading, period: str, at: datetime | None, stale_after_s: float, note: str = "") -> Component:
    """One figure of a headline strip, with unit, period and age."""
    return html.Div(
        [
            html.Div(label, className="fig-label", title=label),
            html.Div(
                [html.Span(shown.digits, className="fig-number"), html.Span(shown.unit, className="fig-unit")],
                className="fig-value",
            ),
            html.Div([html.Span(period, className="fig-period"), age(at, stale_after_s)], className="fig-foot"),
        ],
        className="figure",
        title=note,
    )


def indicator_headline(language: Language, code: str, figure: Figure | None, zone: str, now: datetime) -> Component:
    """A headline figure of an indicator; without a value it says why."""
    label = name_of(language, code)
    if figure is None:
        return headline(label, reading(language, None, unit_of(code)), text(language, "figure.none"), None, 0)
    note = figure_note(language, figure)
    period = period_label(language, figure, zone, now)
    if figure.value is None:
        reason = text_or(language, f"reason.{figure.reason}", figure.reason or "")
        return headline(label, reading(language, None, unit_of(code)), reason, figure.computed_at, 0, note)
    shown = reading(language, figure.value, unit_of(code))
    return headline(label, shown, period, figure.computed_at, STALE_AFTER_S[figure.period], note)


def figure_note(language: Language, figure: Figure) -> str:
    """Where a figure comes from: inputs, completeness, version of the formula."""
    return text(
        language,
        "figure.note",
        n=f"{figure.n_inputs:,}",
        completeness=percent(figure.completeness, 0),
        version=figure.formula_version,
    )


def problem_item(language: Language, problem: Problem, unit_name: str, href: str | None) -> Component:
    """One open problem: what, who, evidence, since when."""
    values = {k: _said(language, k, v) for k, v in problem.evidence.items()}
    title = text(language, f"problem.{problem.kind}.title")
    subject = [html.Span(unit_name, className="problem-unit")] if unit_name else []
    body = html.Div(
        [
            html.Div([html.Span(title, className="problem-title"), *subject], className="problem-line"),
            html.Div(text(language, f"problem.{problem.kind}.evidence", **values), className="problem-evidence"),
        ],
        className="problem-body",
    )
    mark = html.Span(
        text(language, f"severity.{problem.severity}"), className=f"pill is-{problem.severity}"
    )
    inner = [mark, body, age(problem.since, 0)]
    content = dcc.Link(inner, href=href, className="problem-link") if href else html.Div(inner, className="problem-link")
    return html.Li(content, className="problem", key=problem.key)


def problem_list(
    language: Language, problems: Sequence[Problem], unit_names: dict[str, str], hrefs: dict[str, str]
) -> Component:
    """Open problems, gravest first."""
    if not problems:
        return empty(text(language, "problems.none"), "✓")
    return html.Ul(
        [
            problem_item(language, p, unit_names.get(p.unit_code or "", ""), hrefs.get(p.unit_code or ""))
            for p in problems
        ],
        className="problems",
    )


def empty(message: str, mark: str = "…") -> Component:
    """What stands where nothing is to be shown yet."""
    return html.Div([html.Span(mark, className="empty-mark", **{"aria-hidden": "true"}), html.P(message)], className="empty")


def segmented(id_: str, options: Sequence[tuple[str, str]], value: str, label: str) -> Component:
    """A choice of few, side by side."""
    return html.Div(
        dcc.RadioItems(
            id=id_,
            options=[{"label": name, "value": code} for code, name in options],
            value=value,
            inline=True,
            className="segmented",
        ),
        role="group",
        **{"aria-label": label},
    )


def _said(language: Language, name: str, value: str | float) -> str:
    if isinstance(value, str):
        if name == "component":
            return text_or(language, f"component.{value}", value)
        return value
    if name.endswith("_s"):
        return duration(language, value)
    if name in ("share", "rate", "target"):
        return percent(value)
    return f"{value:,.0f}"
