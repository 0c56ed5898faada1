"""Pieces that pages are made of. Device and unit strings are text nodes, never markup."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from dash import dcc, html
from dash.development.base_component import Component

from dashboard import markup as h
from dashboard.format import Reading, duration, percent, size
from dashboard.health import STALE_AFTER_S
from dashboard.indicators import name_of, short_name, shown, why
from dashboard.markup import Html
from dashboard.texts import Language, text, text_or
from store.overview import Figure
from supervision.problems import Problem


def panel(title: str, *children: Component, aside: Component | None = None, name: str = "") -> Component:
    """A titled surface; `aside` stands right of the title."""
    head: list[Component] = [html.H2(title, className="panel-title")]
    if aside is not None:
        head.append(html.Div(aside, className="panel-aside"))
    return html.Section(
        [html.Header(head, className="panel-head"), html.Div(list(children), className="panel-body")],
        className=f"panel {name}",
    )


def age(at: datetime | None, stale_after_s: float) -> Html:
    """How old something is. The browser counts on by itself and marks it stale, even with no server left."""
    if at is None:
        return h.Span(className="age")
    return h.Time(
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


def headline(
    label: str, number: Reading, period: str, at: datetime | None, stale_after_s: float, note: str = ""
) -> Html:
    """One figure of a headline strip, with unit, period and age."""
    return h.Div(
        [
            h.Div(label, className="fig-label", title=label),
            h.Div(
                [h.Span(number.digits, className="fig-number"), h.Span(number.unit, className="fig-unit")],
                className="fig-value",
            ),
            h.Div([h.Span(period, className="fig-period"), age(at, stale_after_s)], className="fig-foot"),
        ],
        className="figure",
        title=note,
    )


def indicator_headline(
    language: Language, code: str, figure: Figure | None, zone: str, now: datetime
) -> Html:
    """A headline figure of an indicator; without a value it says why."""
    label = short_name(language, code)
    if figure is None:
        return headline(label, shown(language, code, None), text(language, "figure.none"), None, 0)
    note = f"{name_of(language, code)} · {figure_note(language, figure)}"
    period = period_label(language, figure, zone, now)
    if figure.value is None:
        number, reason = shown(language, code, None), why(language, figure.reason)
        return headline(label, number, reason, figure.computed_at, 0, f"{period} · {reason} · {note}")
    number = shown(language, code, figure.value)
    return headline(label, number, period, figure.computed_at, STALE_AFTER_S[figure.period], note)


def figure_note(language: Language, figure: Figure) -> str:
    """Where a figure comes from: inputs, completeness, version of the formula."""
    return text(
        language,
        "figure.note",
        n=f"{figure.n_inputs:,}",
        completeness=percent(figure.completeness, 0),
        version=figure.formula_version,
    )


def problem_item(language: Language, problem: Problem, unit_name: str, href: str | None) -> Html:
    """One open problem: what, who, evidence, since when."""
    values = {k: _said(language, k, v) for k, v in problem.evidence.items()}
    title = text(language, f"problem.{problem.kind}.title")
    subject = [h.Span(unit_name, className="problem-unit")] if unit_name else []
    body = h.Div(
        [
            h.Div([h.Span(title, className="problem-title"), *subject], className="problem-line"),
            h.Div(text(language, f"problem.{problem.kind}.evidence", **values), className="problem-evidence"),
        ],
        className="problem-body",
    )
    mark = h.Span(text(language, f"severity.{problem.severity}"), className=f"pill is-{problem.severity}")
    inner = [mark, body, age(problem.since, 0)]
    content = (
        h.Link(inner, href=href, className="problem-link") if href else h.Div(inner, className="problem-link")
    )
    return h.Li(content, className="problem", key=problem.key)


def problem_list(
    language: Language, problems: Sequence[Problem], unit_names: dict[str, str], hrefs: dict[str, str]
) -> Html:
    """Open problems, gravest first."""
    if not problems:
        return empty(text(language, "problems.none"), "✓")
    return h.Ul(
        [
            problem_item(language, p, unit_names.get(p.unit_code or "", ""), hrefs.get(p.unit_code or ""))
            for p in problems
        ],
        className="problems",
    )


def empty(message: str, mark: str = "…") -> Html:
    """What stands where nothing is to be shown yet."""
    return h.Div(
        [h.Span(mark, className="empty-mark", **{"aria-hidden": "true"}), h.P(message)], className="empty"
    )


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
        **h.attributes({"aria-label": label}),
    )


def _said(language: Language, name: str, value: str | float) -> str:
    if isinstance(value, str):
        if name == "component":
            return text_or(language, f"component.{value}", value)
        return short_name(language, value) if name == "indicator" else value
    if name.endswith("_s"):
        return duration(language, value)
    if name.endswith("_bytes"):
        return size(value)
    if name in ("share", "rate", "target"):
        return percent(value)
    return f"{value:,.0f}"
