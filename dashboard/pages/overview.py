"""全省总览: the province on one screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import plotly.graph_objects as go
from dash import Dash, Input, Output, Patch, State, dcc, html, no_update
from dash.development.base_component import Component

from dashboard import ids
from dashboard.blocks import empty, headline, indicator_headline, panel, problem_list, segmented
from dashboard.figures import HALO_TRACE, PILOT_TRACE, data_rate, pilot_marks, province_map
from dashboard.format import NOTHING, Reading, count, reading
from dashboard.geo import cities, city_code, spread
from dashboard.indicators import HEADLINES, RANKINGS, Shown, name_of, unit_of
from dashboard.pages import Page, View
from dashboard.snapshot import Picture, Snapshot, pick
from dashboard.texts import Language, either, language_of, text, text_or
from store.overview import Arrival, Pilot
from supervision.problems import worst

SLOT_S = 10
PICTURE_STALE_S = 15


def layout(view: View) -> Component:
    """The whole page, drawn from the snapshot; live parts are renewed by the callbacks below."""
    lang, picture = view.language, view.snapshot.picture
    return html.Div(
        [
            html.Div(headlines(view), id=ids.OVERVIEW_HEADLINES, className="headlines is-8"),
            panel(
                text(lang, "overview.ranking"),
                html.Div(ranking(view, RANKINGS[0].code), id=ids.OVERVIEW_RANKING, className="fill scroll"),
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
                dcc.Graph(
                    id=ids.OVERVIEW_MAP,
                    figure=province_map(cities(), pilot_table(picture, lang)),
                    config={"displayModeBar": False, "scrollZoom": False},
                    responsive=True,
                    className="fill",
                ),
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
                html.Div(problems(view), id=ids.OVERVIEW_PROBLEMS, className="fill scroll"),
                aside=html.Span(problem_count(view), id=ids.OVERVIEW_PROBLEM_COUNT, className="aside-figure"),
                name="area-problems",
            ),
        ],
        className="page-overview",
    )


def headlines(view: View) -> list[Component]:
    """The strip of headline figures of the province."""
    lang, picture = view.language, view.snapshot.picture
    if picture is None:
        return [empty(text(lang, "empty.starting"))]
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
    return [pilots] + [
        indicator_headline(lang, s.code, pick(picture.province, 0, s.code, s.periods), view.zone, picture.read_at)
        for s in HEADLINES
    ]


def ranking(view: View, by: str) -> Component:
    """Pilots by one indicator, best first; those without a value last, with the reason."""
    lang, picture = view.language, view.snapshot.picture
    shown = next((s for s in RANKINGS if s.code == by), RANKINGS[0])
    if picture is None or not picture.pilots:
        return empty(text(lang, "empty.pilots"))
    rows = sorted(
        ((p, pick(picture.by_pilot, p.pilot_id, shown.code, shown.periods)) for p in picture.pilots),
        key=lambda row: -(row[1].value if row[1] and row[1].value is not None else -1.0),
    )
    top = max((f.value for _, f in rows if f and f.value is not None), default=0.0) or 1.0
    return html.Ol(
        [_rank_row(view, n, p, shown, f.value if f else None, f.reason if f else None, top)
         for n, (p, f) in enumerate(rows, 1)],
        className="ranking",
    )  # fmt: skip


def _rank_row(
    view: View, place: int, pilot: Pilot, shown: Shown, value: float | None, reason: str | None, top: float
) -> Component:
    lang = view.language
    number = reading(lang, value, unit_of(shown.code))
    width = 0.0 if value is None else max(0.0, min(1.0, value / top))
    picture = view.snapshot.picture
    state = worst(picture.problems, pilot.unit_code) if picture else None
    mark = html.Span(
        className=f"dot is-{state or 'good'}", title=text(lang, f"severity.{state or 'good'}"), role="img",
        **{"aria-label": text(lang, f"severity.{state or 'good'}")},
    )  # fmt: skip
    missing = text_or(lang, f"reason.{reason}", reason or "") if value is None else ""
    return html.Li(
        dcc.Link(
            [
                html.Span(f"{place}", className="rank-place"),
                html.Span([mark, either(lang, pilot.name_zh, pilot.name_en)], className="rank-name"),
                html.Span(
                    [number.digits, html.Small(number.unit)] if value is not None else missing or NOTHING,
                    className="rank-value",
                ),
                html.Span(html.Span(style={"width": f"{width:.1%}"}), className="rank-bar"),
            ],
            href=f"/cluster/{pilot.code}",
            className="rank-row",
        ),
        key=pilot.code,
    )


def pilot_state(picture: Picture, pilot: Pilot) -> str:
    """good, warn, bad by the worst open problem; stale when none of its sources has sent for 5 minutes."""
    arrived = [s.last_received_at for s in picture.supplies if s.unit_id == pilot.unit_id and s.last_received_at]
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
            (x, y, short_name(pilot, lang), _hover(picture, pilot, state, lang), pilot.code,
             city_code(pilot.region_code), state)
        )  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def short_name(pilot: Pilot, lang: Language) -> str:
    """The cluster's name, short enough for the map."""
    name = either(lang, pilot.name_zh, pilot.name_en)
    for tail in ("产业集群数字化转型试点", "产业集群试点", "集群数字化转型试点", "集群试点", "产业集群", "试点"):
        name = name.removesuffix(tail)
    for tail in (" cluster pilot", " Cluster Pilot", " pilot", " Pilot", " cluster", " Cluster"):
        name = name.removesuffix(tail)
    return name


def _hover(picture: Picture, pilot: Pilot, state: str, lang: Language) -> str:
    lines = [
        f"<b>{_plain(either(lang, pilot.name_zh, pilot.name_en))}</b>",
        f"{text(lang, f'severity.{state}')} · {text(lang, f'stage.{pilot.stage}')}",
    ]
    for shown in RANKINGS:
        figure = pick(picture.by_pilot, pilot.pilot_id, shown.code, shown.periods)
        number = reading(lang, figure.value if figure else None, unit_of(shown.code))
        lines.append(f"{_plain(name_of(lang, shown.code))}  {number.digits} {number.unit}")
    return "<br>".join(lines)


def _plain(name: str) -> str:
    # Plotly reads a few tags in hover text; a name must stay a name.
    return name.replace("<", "‹").replace(">", "›")


def rate_table(arrivals: Sequence[Arrival], view: View) -> pd.DataFrame:
    """Rows per second by protocol over the window; slots without a row are zero, the running slot is left out."""
    if not arrivals:
        return pd.DataFrame()
    table = pd.DataFrame(arrivals).pivot_table(index="slot", columns="protocol", values="received", aggfunc="sum")
    now = pd.Timestamp(view.snapshot.at).floor(f"{SLOT_S}s")
    full = pd.date_range(table.index.min(), now, freq=f"{SLOT_S}s", inclusive="left")
    return table.reindex(full).fillna(0).div(SLOT_S).tz_convert(ZoneInfo(view.zone))


def rate_figure(view: View) -> go.Figure:
    """The live data rate."""
    lang, picture = view.language, view.snapshot.picture
    rates = rate_table(picture.arrivals if picture else (), view)
    labels = {str(p): text_or(lang, f"protocol.{p}", str(p)) for p in rates.columns}
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


def problems(view: View) -> Component:
    """Open data problems of all units."""
    lang, picture = view.language, view.snapshot.picture
    if picture is None:
        return empty(text(lang, "empty.starting"))
    names = {p.unit_code: either(lang, p.name_zh, p.name_en) for p in picture.pilots}
    hrefs = {p.unit_code: f"/cluster/{p.code}" for p in picture.pilots}
    return problem_list(lang, picture.problems, names, hrefs)


def problem_count(view: View) -> str:
    """How many problems are open."""
    picture = view.snapshot.picture
    return text(view.language, "problems.count", n=len(picture.problems) if picture else 0)


def _legend(lang: Language) -> Component:
    return html.Div(
        [
            html.Span([html.Span(className=f"dot is-{s}"), text(lang, f"severity.{s}")], className="legend-item")
            for s in ("good", "warn", "bad", "stale")
        ],
        className="legend",
    )


def map_change(view: View) -> Patch:
    """What changes on the map: the points' colours, shapes and texts, never the outlines."""
    table = pilot_table(view.snapshot.picture, view.language)
    marks = pilot_marks(table)
    change = Patch()
    order = len(cities()) + 1
    for trace, name in ((order, HALO_TRACE), (order + 1, PILOT_TRACE)):
        data = change["data"][trace]
        data["name"] = name
        data["x"], data["y"] = list(table["x"]), list(table["y"])
        data["marker"]["color"] = marks["color"]
        if name == PILOT_TRACE:
            data["marker"]["symbol"] = marks["symbol"]
            data["text"], data["customdata"] = list(table["label"]), list(table["code"])
            data["hovertext"] = list(table["hover"])
    return change


def register(app: Dash, current: Callable[[], Snapshot], want: Callable[[str], None]) -> None:
    """Callbacks: read the snapshot, draw, return."""

    @app.callback(  # type: ignore[untyped-decorator]  # Dash has no types for callbacks
        Output(ids.OVERVIEW_HEADLINES, "children"),
        Output(ids.OVERVIEW_MAP, "figure"),
        Output(ids.OVERVIEW_RATE, "figure"),
        Output(ids.OVERVIEW_RATE_NOW, "children"),
        Output(ids.OVERVIEW_PROBLEMS, "children"),
        Output(ids.OVERVIEW_PROBLEM_COUNT, "children"),
        Input(ids.TICK, "data"),
        State(ids.LANGUAGE, "data"),
        State(ids.ZONE, "data"),
        prevent_initial_call=True,
    )
    def renew(_tick: object, language: str, zone: str) -> tuple[object, ...]:
        view = View(current(), language_of(language), zone, {})
        return view.snapshot.once(
            ("overview", view.language),
            lambda: (
                headlines(view), map_change(view), rate_figure(view), rate_now(view), problems(view),
                problem_count(view),
            ),
        )  # fmt: skip

    @app.callback(  # type: ignore[untyped-decorator]
        Output(ids.OVERVIEW_RANKING, "children"),
        Input(ids.TICK, "data"),
        Input(ids.OVERVIEW_RANK_BY, "value"),
        State(ids.LANGUAGE, "data"),
        State(ids.ZONE, "data"),
        prevent_initial_call=True,
    )
    def rank(_tick: object, by: str, language: str, zone: str) -> Component:
        view = View(current(), language_of(language), zone, {})
        return view.snapshot.once(("ranking", by, view.language), lambda: ranking(view, by))

    @app.callback(  # type: ignore[untyped-decorator]
        Output(ids.URL, "pathname", allow_duplicate=True),
        Input(ids.OVERVIEW_MAP, "clickData"),
        prevent_initial_call=True,
    )
    def follow(click: dict[str, list[dict[str, object]]] | None) -> object:
        points = click["points"] if click else []
        code = points[0].get("customdata") if points else None
        return f"/cluster/{code}" if code else no_update


PAGE = Page("/", "nav.overview", layout, register)
