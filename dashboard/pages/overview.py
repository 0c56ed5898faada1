"""全省总览: the province on one screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import plotly.graph_objects as go
from dash import Dash, Input, Output, Patch, State, dcc, html, no_update
from dash.development.base_component import Component

from dashboard import ids
from dashboard import markup as h
from dashboard.blocks import empty, headline, indicator_headline, panel, problem_list, segmented
from dashboard.figures import data_rate, pilot_marks, province_map
from dashboard.format import NOTHING, Reading, count
from dashboard.geo import cities, city_code, spread
from dashboard.indicators import HEADLINES, RANKINGS, Shown, name_of, shown, why
from dashboard.markup import SLOT, Html
from dashboard.pages import STAGES, Page, View
from dashboard.snapshot import Picture, Snapshot, pick
from dashboard.texts import Language, either, language_of, text, text_or
from store.overview import Arrival, Pilot
from supervision.problems import worst

SLOT_S = 10
WINDOW = timedelta(minutes=30)
MAP_TRACES = len(cities()) + 5  # cities, their names, leader lines, labels, halos, points
PICTURE_STALE_S = 15


def layout(view: View) -> Component:
    """The whole page, drawn from the snapshot; live parts are renewed by the callbacks below."""
    lang = view.language
    map_, drawn = map_figure(view, drawn="-")
    return html.Div(
        [
            h.slot(ids.OVERVIEW_HEADLINES, headlines(view), className="headlines is-8"),
            panel(
                text(lang, "overview.ranking"),
                h.slot(ids.OVERVIEW_RANKING, ranking(view, RANKINGS[0].code), className="fill scroll"),
                aside=segmented(
                    ids.OVERVIEW_RANK_BY,
                    [(s.code, text(lang, f"rank.{s.code}")) for s in RANKINGS],
                    RANKINGS[0].code,
                    text(lang, "overview.rank_by"),
                ),
                name="area-ranking",
            ),
            panel(
                text(lang, "overview.map"),
                dcc.Store(id=ids.OVERVIEW_MAP_PILOTS, data=drawn),
                html.Div(
                    dcc.Graph(
                        id=ids.OVERVIEW_MAP,
                        figure=map_,
                        config={"displayModeBar": False, "scrollZoom": False},
                        responsive=True,
                    ),
                    className="map",
                ),
                h.slot(ids.OVERVIEW_STAGES, stages(view)),
                aside=_legend(lang),
                name="area-map",
            ),
            panel(
                text(lang, "overview.rate"),
                dcc.Graph(
                    id=ids.OVERVIEW_RATE,
                    figure=rate_figure(view),
                    config={"displayModeBar": False},
                    responsive=True,
                    className="fill",
                ),
                aside=html.Span(rate_now(view), id=ids.OVERVIEW_RATE_NOW, className="aside-figure"),
                name="area-rate",
            ),
            panel(
                text(lang, "overview.problems"),
                h.slot(ids.OVERVIEW_PROBLEMS, problems(view), className="fill scroll"),
                aside=html.Span(problem_count(view), id=ids.OVERVIEW_PROBLEM_COUNT, className="aside-figure"),
                name="area-problems",
            ),
        ],
        className="page-overview",
    )


def headlines(view: View) -> Html:
    """The strip of headline figures: of the province, for who sees it as a whole; else how much there is in sight."""
    lang, picture = view.language, view.snapshot.picture
    if picture is None:
        return empty(text(lang, "empty.starting"))
    stages = Counter(p.stage for p in picture.pilots)
    note = " · ".join(f"{text(lang, f'stage.{s}')} {n}" for s, n in stages.items())
    pilots = headline(
        text(lang, "figure.pilots"),
        Reading(count(len(picture.pilots)), text(lang, "unit.pilots")),
        text(lang, "period.now"),
        picture.read_at,
        PICTURE_STALE_S,
        note,
    )
    if not picture.whole:
        counts = {
            "enterprises": sum(p.enterprises for p in picture.pilots),
            "equipment": sum(p.equipment for p in picture.pilots),
        }
        registered = [
            headline(
                text(lang, f"figure.{key}"), Reading(count(n), text(lang, f"unit.{key}")), text(lang, "period.now"),
                picture.read_at, PICTURE_STALE_S,
            )
            for key, n in counts.items()
        ]  # fmt: skip
        return h.joined([pilots, *registered])
    return h.joined(
        [
            pilots,
            *(
                indicator_headline(
                    lang, s.code, pick(picture.province, 0, s.code, s.periods), view.zone, picture.read_at
                )
                for s in HEADLINES
            ),
        ]
    )


def stages(view: View) -> Html:
    """The life cycle of the pilots: how many stand in each stage, and how their milestones stand."""
    lang, picture = view.language, view.snapshot.picture
    counts = Counter(p.stage for p in picture.pilots) if picture else Counter[str]()
    late = Counter(p.unit_code for p in picture.problems if p.kind == "milestone_overdue") if picture else {}
    behind = Counter(p.stage for p in picture.pilots if late.get(p.unit_code)) if picture else Counter[str]()
    return h.Ol(
        [
            h.Li(
                [
                    h.Span(text(lang, f"stage.{stage}"), className="stage-name"),
                    h.Span([f"{counts[stage]}", h.Small(text(lang, "unit.pilots"))], className="stage-count"),
                    h.Span(
                        text(lang, "stage.behind", n=behind[stage])
                        if behind[stage]
                        else text(lang, "stage.on_plan"),
                        className="stage-note" + (" is-bad-text" if behind[stage] else ""),
                    )
                    if counts[stage]
                    else h.Span("", className="stage-note"),
                ],
                className="stage" + ("" if counts[stage] else " is-empty"),
            )
            for stage in STAGES
        ],
        className="stages",
    )


def ranking(view: View, by: str) -> Html:
    """Pilots by one indicator, best first; those without a value last, with the reason."""
    lang, picture = view.language, view.snapshot.picture
    ranked = next((s for s in RANKINGS if s.code == by), RANKINGS[0])
    if picture is None or not picture.pilots:
        return empty(text(lang, "empty.pilots"))
    rows = sorted(
        ((p, pick(picture.by_pilot, p.pilot_id, ranked.code, ranked.periods)) for p in picture.pilots),
        key=lambda row: -(row[1].value if row[1] and row[1].value is not None else -1.0),
    )
    top = max((f.value for _, f in rows if f and f.value is not None), default=0.0) or 1.0
    return h.Ol(
        [_rank_row(view, n, p, ranked, f.value if f else None, f.reason if f else None, top)
         for n, (p, f) in enumerate(rows, 1)],
        className="ranking",
    )  # fmt: skip


def _rank_row(
    view: View, place: int, pilot: Pilot, ranked: Shown, value: float | None, reason: str | None, top: float
) -> Html:
    lang = view.language
    number = shown(lang, ranked.code, value)
    width = 0.0 if value is None else max(0.0, min(1.0, value / top))
    picture = view.snapshot.picture
    state = worst(picture.problems, pilot.unit_code) if picture else None
    mark = h.Span(
        className=f"dot is-{state or 'good'}", title=text(lang, f"severity.{state or 'good'}"), role="img",
        **{"aria-label": text(lang, f"severity.{state or 'good'}")},
    )  # fmt: skip
    missing = why(lang, reason) if value is None else ""
    return h.Li(
        h.Link(
            [
                h.Span(f"{place}", className="rank-place"),
                h.Span([mark, h.Span(pilot_label(pilot, lang), className="clip")], className="rank-name"),
                h.Span(
                    [number.digits, h.Small(number.unit)] if value is not None else missing or NOTHING,
                    className="rank-value",
                ),
                h.Span(h.Span(style={"width": f"{width:.1%}"}), className="rank-bar"),
            ],
            href=f"/cluster/{pilot.code}",
            className="rank-row",
        ),
        key=pilot.code,
    )


def pilot_state(picture: Picture, pilot: Pilot) -> str:
    """good, warn, bad by the worst open problem; stale when none of its sources has sent for 5 minutes."""
    arrived = [
        s.last_received_at for s in picture.supplies if s.unit_id == pilot.unit_id and s.last_received_at
    ]
    if not arrived or picture.read_at - max(arrived) > timedelta(minutes=5):
        return "stale"
    return worst(picture.problems, pilot.unit_code) or "good"


def pilot_table(picture: Picture | None, lang: Language) -> pd.DataFrame:
    """One row a pilot, as figures.province_map wants it."""
    columns = ["x", "y", "label", "hover", "code", "city", "state"]
    if picture is None:
        return pd.DataFrame(columns=columns)
    centre = {c.code: (c.x, c.y) for c in cities()}
    known = [p for p in picture.pilots if city_code(p.region_code) in centre]
    places = spread([centre[city_code(p.region_code)] for p in known])
    rows = []
    for pilot, (x, y) in zip(known, places, strict=True):
        state = pilot_state(picture, pilot)
        rows.append(
            (x, y, pilot_label(pilot, lang), _hover(picture, pilot, state, lang), pilot.code,
             city_code(pilot.region_code), state)
        )  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def pilot_label(pilot: Pilot, lang: Language) -> str:
    """The cluster's name, short enough for the map."""
    name = either(lang, pilot.name_zh, pilot.name_en)
    for tail in (
        "产业集群数字化转型试点",
        "产业集群试点",
        "集群数字化转型试点",
        "集群试点",
        "产业集群",
        "试点",
    ):
        name = name.removesuffix(tail)
    for tail in (" cluster pilot", " Cluster Pilot", " pilot", " Pilot", " cluster", " Cluster"):
        name = name.removesuffix(tail)
    return name


def _hover(picture: Picture, pilot: Pilot, state: str, lang: Language) -> str:
    lines = [
        f"<b>{_plain(either(lang, pilot.name_zh, pilot.name_en))}</b>",
        f"{text(lang, f'severity.{state}')} · {text(lang, f'stage.{pilot.stage}')}",
    ]
    for entry in RANKINGS:
        figure = pick(picture.by_pilot, pilot.pilot_id, entry.code, entry.periods)
        number = shown(lang, entry.code, figure.value if figure else None)
        lines.append(f"{_plain(name_of(lang, entry.code))}  {number.digits} {number.unit}")
    return "<br>".join(lines)


def _plain(name: str) -> str:
    # Plotly reads a few tags in hover text; a name must stay a name.
    return name.replace("<", "‹").replace(">", "›")


def rate_table(arrivals: Sequence[Arrival], view: View) -> pd.DataFrame:
    """Rows per second by protocol over the window; slots without a row are zero, the running slot is left out."""
    if not arrivals:
        return pd.DataFrame()
    table = pd.DataFrame(arrivals).pivot_table(index="slot", columns="protocol", values="live", aggfunc="sum")
    now = pd.Timestamp(view.snapshot.at).floor(f"{SLOT_S}s")
    full = pd.date_range(now - WINDOW, now, freq=f"{SLOT_S}s", inclusive="left")
    return table.reindex(full).fillna(0).div(SLOT_S).tz_convert(ZoneInfo(view.zone))


def rate_figure(view: View) -> go.Figure:
    """The live data rate."""
    lang, picture = view.language, view.snapshot.picture
    rates = rate_table(picture.arrivals if picture else (), view)
    labels = {str(p): text_or(lang, f"protocol.{p}", str(p)).removeprefix("HTTP ") for p in rates.columns}
    figure = data_rate(rates, labels, text(lang, "unit.rows_s"))
    if rates.empty:
        figure.add_annotation(
            text=text(lang, "empty.rate"), showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper"
        )
    return figure


def rate_now(view: View) -> str:
    """Rows per second over the last full minute."""
    picture = view.snapshot.picture
    rates = rate_table(picture.arrivals if picture else (), view)
    value = 0.0 if rates.empty else float(rates.tail(6).sum(axis=1).mean())
    return f"{value:,.0f} {text(view.language, 'unit.rows_s')}"


def problems(view: View) -> Html:
    """Open data problems of all units."""
    lang, picture = view.language, view.snapshot.picture
    if picture is None:
        return empty(text(lang, "empty.starting"))
    names = {p.unit_code: pilot_label(p, lang) for p in picture.pilots}
    hrefs = {p.unit_code: f"/cluster/{p.code}" for p in picture.pilots}
    return problem_list(lang, picture.problems, names, hrefs)


def problem_count(view: View) -> str:
    """How many problems are open."""
    picture = view.snapshot.picture
    return text(view.language, "problems.count", n=len(picture.problems) if picture else 0)


def _legend(lang: Language) -> Component:
    return html.Div(
        [
            html.Span(
                [html.Span(className=f"dot is-{s}"), text(lang, f"severity.{s}")], className="legend-item"
            )
            for s in ("good", "warn", "bad", "stale")
        ],
        className="legend",
    )


def map_change(view: View) -> Patch:
    """What changes on the map: the points' colours, shapes and hover texts, never outlines or places."""
    table = pilot_table(view.snapshot.picture, view.language)
    marks = pilot_marks(table)
    change = Patch()
    last = MAP_TRACES - 1
    change["data"][last - 1]["marker"]["color"] = marks["color"]
    change["data"][last]["marker"]["color"] = marks["color"]
    change["data"][last]["marker"]["symbol"] = marks["symbol"]
    change["data"][last]["hovertext"] = list(table["hover"])
    return change


def map_figure(view: View, drawn: str) -> tuple[Any, Any]:
    """The map and which pilots it has: a patch while they are those already drawn, else the whole figure."""
    picture = view.snapshot.picture
    pilots = ",".join(f"{p.code}@{p.region_code}" for p in picture.pilots) if picture else ""
    if drawn == pilots:
        return map_change(view), no_update
    names = {c.code: text(view.language, f"city.{c.code}") for c in cities()}
    return province_map(cities(), names, pilot_table(picture, view.language)), pilots


def register(app: Dash, current: Callable[[], Snapshot], want: Callable[[str], None]) -> None:
    """Callbacks: read the snapshot, draw, return."""

    @app.callback(
        Output(ids.OVERVIEW_HEADLINES, SLOT),
        Output(ids.OVERVIEW_STAGES, SLOT),
        Output(ids.OVERVIEW_RATE, "figure"),
        Output(ids.OVERVIEW_RATE_NOW, "children"),
        Output(ids.OVERVIEW_PROBLEMS, SLOT),
        Output(ids.OVERVIEW_PROBLEM_COUNT, "children"),
        Input(ids.TICK, "data"),
        State(ids.LANGUAGE, "data"),
        prevent_initial_call=True,
    )
    def renew(_tick: object, language: str) -> tuple[object, ...]:
        view = View(current(), language_of(language), {})
        return view.snapshot.once(
            ("overview", view.language),
            lambda: (
                headlines(view), stages(view), rate_figure(view), rate_now(view), problems(view),
                problem_count(view),
            ),
        )  # fmt: skip

    @app.callback(
        Output(ids.OVERVIEW_RANKING, SLOT),
        Input(ids.TICK, "data"),
        Input(ids.OVERVIEW_RANK_BY, "value"),
        State(ids.LANGUAGE, "data"),
        prevent_initial_call=True,
    )
    def rank(_tick: object, by: str, language: str) -> Html:
        view = View(current(), language_of(language), {})
        return view.snapshot.once(("ranking", by, view.language), lambda: ranking(view, by))

    @app.callback(
        Output(ids.OVERVIEW_MAP, "figure"),
        Output(ids.OVERVIEW_MAP_PILOTS, "data"),
        Input(ids.TICK, "data"),
        State(ids.OVERVIEW_MAP_PILOTS, "data"),
        State(ids.LANGUAGE, "data"),
        prevent_initial_call=True,
    )
    def mark(_tick: object, drawn: str, language: str) -> tuple[object, object]:
        return map_figure(View(current(), language_of(language), {}), drawn)

    @app.callback(
        Output(ids.URL, "pathname", allow_duplicate=True),
        Input(ids.OVERVIEW_MAP, "clickData"),
        prevent_initial_call=True,
    )
    def follow(click: dict[str, list[dict[str, object]]] | None) -> object:
        points = click["points"] if click else []
        code = points[0].get("customdata") if points else None
        return f"/cluster/{code}" if code else no_update


PAGE = Page("/", "nav.overview", layout, register)
