"""One cluster pilot: progress, indicators with their trend, enterprises, equipment right now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
from dash import Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component

from dashboard import ids
from dashboard.blocks import age, empty, indicator_headline, panel, problem_list, segmented
from dashboard.figures import trend
from dashboard.format import NOTHING, day, duration, reading
from dashboard.indicators import CLUSTER, TRENDS, name_of, unit_of
from dashboard.pages import Page, View
from dashboard.snapshot import Cluster, Snapshot, pick
from dashboard.texts import Language, either, language_of, text, text_or
from store.overview import EquipmentNow, Milestone, Pilot, Point

STAGES = ("selection", "incubation", "piloting", "assessment", "demonstration")
FIRM_COLUMNS = ("conn.equip_online_rate", "equip.oee", "equip.run_rate", "dq.effective_rate", "energy.total")
GLYPH = {"run": "●", "setup": "◆", "idle": "○", "fault": "■", "off": "□", "unknown": "?"}


def layout(view: View, code: str) -> Component:
    """The page of one pilot; an unknown code says so."""
    lang = view.language
    picture = view.snapshot.picture
    pilot = picture.pilot(code) if picture else None
    if picture is not None and pilot is None:
        return html.Div(empty(text(lang, "empty.no_pilot", code=code), "?"), className="page-plain")
    return html.Div(
        [
            dcc.Store(id=ids.CLUSTER_CODE, data=code),
            html.Div(head(view, code), id=ids.CLUSTER_HEAD, className="cluster-head"),
            html.Div(headlines(view, code), id=ids.CLUSTER_FIGURES, className="headlines is-7"),
            panel(
                text(lang, "cluster.trend"),
                html.Div(trends(view, code, "hour"), id=ids.CLUSTER_TREND, className="trends"),
                aside=segmented(
                    ids.CLUSTER_TREND_PERIOD,
                    [("hour", text(lang, "trend.hour")), ("day", text(lang, "trend.day"))],
                    "hour",
                    text(lang, "cluster.trend"),
                ),
                name="area-trend",
            ),
            panel(
                text(lang, "cluster.milestones"),
                html.Div(milestones(view, code), id=ids.CLUSTER_MILESTONES, className="fill scroll"),
                name="area-milestones",
            ),
            panel(
                text(lang, "overview.problems"),
                html.Div(problems(view, code), id=ids.CLUSTER_PROBLEMS, className="fill scroll"),
                name="area-problems",
            ),
            panel(
                text(lang, "cluster.equipment"),
                html.Div(equipment(view, code), id=ids.CLUSTER_EQUIPMENT),
                aside=html.Div(equipment_summary(view, code), id=ids.CLUSTER_EQUIPMENT_SUMMARY, className="legend"),
                name="area-equipment",
            ),
            panel(
                text(lang, "cluster.enterprises"),
                html.Div(enterprises(view, code), id=ids.CLUSTER_ENTERPRISES, className="table-wrap"),
                name="area-enterprises",
            ),
        ],
        className="page-cluster",
    )


def head(view: View, code: str) -> list[Component]:
    """Name, lead unit, place, and where in the life cycle the pilot stands."""
    lang, pilot = view.language, _pilot(view, code)
    if pilot is None:
        return [html.H1(code)]
    facts = (
        ("cluster.lead_unit", either(lang, pilot.unit_zh, pilot.unit_en)),
        ("cluster.region", pilot.region),
        ("cluster.cluster", f"{either(lang, pilot.cluster_zh, pilot.cluster_en)} · {text(lang, f'kind.{pilot.kind}')}"),
        ("cluster.started", day(pilot.started_on)),
    )
    at = STAGES.index(pilot.stage)
    steps = [
        html.Li(
            [html.Span(className="step-dot"), html.Span(text(lang, f"stage.{stage}"))],
            className="step " + ("is-done" if n < at else "is-now" if n == at else ""),
            **({"aria-current": "step"} if n == at else {}),
        )
        for n, stage in enumerate(STAGES)
    ]
    return [
        html.Div(
            [
                html.H1(either(lang, pilot.name_zh, pilot.name_en)),
                html.Dl(
                    [html.Div([html.Dt(text(lang, key)), html.Dd(value)]) for key, value in facts],
                    className="facts",
                ),
            ]
        ),
        html.Ol(steps, className="steps", **{"aria-label": text(lang, "cluster.stage")}),
    ]


def headlines(view: View, code: str) -> list[Component]:
    """The pilot's headline figures."""
    picture, pilot = view.snapshot.picture, _pilot(view, code)
    if picture is None or pilot is None:
        return [empty(text(view.language, "empty.starting"))]
    return [
        indicator_headline(
            view.language, s.code, pick(picture.by_pilot, pilot.pilot_id, s.code, s.periods), view.zone,
            picture.read_at,
        )
        for s in CLUSTER
    ]  # fmt: skip


def trends(view: View, code: str, period: str) -> list[Component]:
    """A small curve an indicator."""
    cluster = _cluster(view, code)
    if cluster is None:
        return [empty(text(view.language, "empty.reading"))]
    points = cluster.hours if period == "hour" else cluster.days
    if not points:
        return [empty(text(view.language, "empty.trend"))]
    return [_trend_card(view, indicator, points) for indicator in TRENDS]


def trend_table(points: Sequence[Point], code: str, zone: str) -> pd.DataFrame:
    """Columns at (local time), value (float, NaN where there is none) of one indicator."""
    rows = [(p.period_start, p.value) for p in points if p.code == code]
    table = pd.DataFrame(rows, columns=["at", "value"])
    table["at"] = pd.to_datetime(table["at"], utc=True).dt.tz_convert(ZoneInfo(zone))
    return table.astype({"value": "float64"})


def _trend_card(view: View, code: str, points: Sequence[Point]) -> Component:
    lang, unit = view.language, unit_of(code)
    table = trend_table(points, code, view.zone)
    known = table["value"].dropna()
    last = reading(lang, float(known.iloc[-1]) if len(known) else None, unit)
    shown_unit = text_or(lang, f"unit.{unit}", unit)
    body: Component = (
        dcc.Graph(
            figure=trend(table, ratio=unit == "%", unit=shown_unit),
            config={"displayModeBar": False},
            responsive=True,
            className="trend-graph",
        )
        if len(known)
        else empty(text(lang, "empty.trend"))
    )
    return html.Div(
        [
            html.Div(
                [
                    html.Span(name_of(lang, code), className="trend-name"),
                    html.Span([last.digits, html.Small(last.unit)], className="trend-last"),
                ],
                className="trend-head",
            ),
            body,
        ],
        className="trend",
    )


def milestones(view: View, code: str) -> Component:
    """The task book's milestones on a line of time."""
    lang, picture, pilot = view.language, view.snapshot.picture, _pilot(view, code)
    own = [m for m in picture.milestones if pilot and m.unit_id == pilot.unit_id] if picture else []
    if not own:
        return empty(text(lang, "empty.milestones"))
    today = view.snapshot.at.astimezone(ZoneInfo(view.zone)).date()
    return html.Ol([_milestone(lang, m, today) for m in own], className="milestones")


def milestone_state(milestone: Milestone, today: date) -> str:
    """on_time, late (accepted after the plan), overdue, soon (within 30 days), planned."""
    if milestone.accepted_on is not None:
        return "on_time" if milestone.accepted_on <= milestone.planned_on else "late"
    if milestone.planned_on < today:
        return "overdue"
    return "soon" if milestone.planned_on - today <= timedelta(days=30) else "planned"


def _milestone(lang: Language, milestone: Milestone, today: date) -> Component:
    state = milestone_state(milestone, today)
    days = abs(((milestone.accepted_on or today) - milestone.planned_on).days)
    return html.Li(
        [
            html.Span(className="milestone-dot"),
            html.Div(
                [
                    html.Div(milestone.name, className="milestone-name"),
                    html.Div(
                        text(lang, f"milestone.{state}", planned=day(milestone.planned_on),
                             accepted=day(milestone.accepted_on), n=days),
                        className="milestone-when",
                    ),
                ]
            ),
        ],
        className=f"milestone is-{state}",
        key=milestone.code,
    )  # fmt: skip


def problems(view: View, code: str) -> Component:
    """Open problems of this pilot's unit."""
    lang, picture, pilot = view.language, view.snapshot.picture, _pilot(view, code)
    if picture is None or pilot is None:
        return empty(text(lang, "empty.starting"))
    return problem_list(lang, [p for p in picture.problems if p.unit_code == pilot.unit_code], {}, {})


def equipment_state(machine: EquipmentNow, now: pd.Timestamp) -> str:
    """run, setup, idle, fault, off, or unknown when its word is older than three reporting intervals."""
    if machine.state is None or machine.state_at is None:
        return "unknown"
    if (now - pd.Timestamp(machine.state_at)).total_seconds() > 3 * (machine.interval_s or 60):
        return "unknown"
    if machine.state == "Executing":
        return "setup" if machine.mode == "Setup" else "run"
    if machine.state == "OutOfService":
        return "fault"
    if machine.state == "NotAvailable":
        return "off"
    return "setup" if machine.mode == "Setup" else "idle"


def equipment(view: View, code: str) -> Component:
    """A tile a machine: state now, since when; grey and dated when it has fallen silent."""
    lang, cluster = view.language, _cluster(view, code)
    if cluster is None:
        return empty(text(lang, "empty.reading"))
    if not cluster.equipment:
        return empty(text(lang, "empty.equipment"))
    now = pd.Timestamp(cluster.read_at)
    return html.Div([_tile(lang, m, equipment_state(m, now), now) for m in cluster.equipment], className="tiles")


def _tile(lang: Language, machine: EquipmentNow, state: str, now: pd.Timestamp) -> Component:
    if state == "unknown":
        seen = machine.seen_at
        foot = (
            text(lang, "tile.seen", t=duration(lang, (now - pd.Timestamp(seen)).total_seconds()))
            if seen
            else text(lang, "tile.never")
        )
    elif machine.since is None:
        foot = text(lang, "tile.long")
    else:
        foot = duration(lang, (now - pd.Timestamp(machine.since)).total_seconds())
    label = text(lang, f"state.{state}")
    return html.Div(
        [
            html.Div(
                [html.Span(GLYPH[state], className="tile-glyph", **{"aria-hidden": "true"}), label],
                className="tile-state",
            ),
            html.Div(machine.code, className="tile-code"),
            html.Div(foot, className="tile-foot"),
        ],
        className=f"tile is-{state}",
        title=f"{machine.name} · {machine.enterprise}",
        key=machine.code,
        **(
            {"data-at": f"{machine.state_at.timestamp() * 1000:.0f}", "data-stale": f"{3 * (machine.interval_s or 60):.0f}"}
            if machine.state_at
            else {}
        ),
    )


def equipment_summary(view: View, code: str) -> list[Component]:
    """How many machines are in which state."""
    lang, cluster = view.language, _cluster(view, code)
    if cluster is None:
        return []
    now = pd.Timestamp(cluster.read_at)
    counts = Counter(equipment_state(m, now) for m in cluster.equipment)
    return [
        html.Span(
            [html.Span(GLYPH[state], className=f"glyph is-{state}"), f"{text(lang, f'state.{state}')} {counts[state]}"],
            className="legend-item",
        )
        for state in GLYPH
    ]


def enterprises(view: View, code: str) -> Component:
    """The enterprises on the unit's platform with their own figures."""
    lang, cluster = view.language, _cluster(view, code)
    if cluster is None:
        return empty(text(lang, "empty.reading"))
    if not cluster.enterprises:
        return empty(text(lang, "empty.enterprises"))
    header = [text(lang, f"column.{c}") for c in ("enterprise", "region", "scale", "joined", "equipment")]
    names = [name_of(lang, c) for c in FIRM_COLUMNS]
    rows = []
    for firm in cluster.enterprises:
        cells: list[Component] = [
            html.Th(firm.name, scope="row"),
            html.Td(firm.region),
            html.Td(text(lang, f"scale.{firm.scale}") if firm.scale else NOTHING),
            html.Td(day(firm.registered_on)),
            html.Td(f"{firm.equipment:,}", className="num"),
        ]
        for indicator in FIRM_COLUMNS:
            periods = ("now", "hour", "day") if indicator.startswith("conn.") else ("day", "hour")
            figure = pick(cluster.enterprise_figures, firm.enterprise_id, indicator, periods)
            number = reading(lang, figure.value if figure else None, unit_of(indicator))
            why = text_or(lang, f"reason.{figure.reason}", figure.reason or "") if figure and figure.reason else ""
            cells.append(html.Td([number.digits, html.Small(number.unit)], className="num", title=why))
        rows.append(html.Tr(cells, key=str(firm.enterprise_id)))
    return html.Table(
        [
            html.Thead(
                html.Tr(
                    [html.Th(h, scope="col", className="num" if n == 4 else "") for n, h in enumerate(header)]
                    + [html.Th(n, scope="col", className="num") for n in names]
                )
            ),
            html.Tbody(rows),
        ],
        className="table",
    )


def _pilot(view: View, code: str) -> Pilot | None:
    picture = view.snapshot.picture
    return picture.pilot(code) if picture else None


def _cluster(view: View, code: str) -> Cluster | None:
    picture = view.snapshot.picture
    return picture.clusters.get(code) if picture else None


def register(app: Dash, current: Callable[[], Snapshot], want: Callable[[str], None]) -> None:
    """Callbacks: read the snapshot, draw, return."""

    @app.callback(  # type: ignore[untyped-decorator]  # Dash has no types for callbacks
        Output(ids.CLUSTER_HEAD, "children"),
        Output(ids.CLUSTER_FIGURES, "children"),
        Output(ids.CLUSTER_MILESTONES, "children"),
        Output(ids.CLUSTER_PROBLEMS, "children"),
        Output(ids.CLUSTER_EQUIPMENT, "children"),
        Output(ids.CLUSTER_EQUIPMENT_SUMMARY, "children"),
        Output(ids.CLUSTER_ENTERPRISES, "children"),
        Input(ids.TICK, "data"),
        State(ids.CLUSTER_CODE, "data"),
        State(ids.LANGUAGE, "data"),
        State(ids.ZONE, "data"),
    )
    def renew(_tick: object, code: str, language: str, zone: str) -> tuple[object, ...]:
        want(code)
        view = View(current(), language_of(language), zone, {})
        return view.snapshot.once(
            ("cluster", code, view.language),
            lambda: (
                head(view, code), headlines(view, code), milestones(view, code), problems(view, code),
                equipment(view, code), equipment_summary(view, code), enterprises(view, code),
            ),
        )  # fmt: skip

    @app.callback(  # type: ignore[untyped-decorator]
        Output(ids.CLUSTER_TREND, "children"),
        Output(ids.CLUSTER_TREND, "data-shown"),
        Input(ids.TICK, "data"),
        Input(ids.CLUSTER_TREND_PERIOD, "value"),
        State(ids.CLUSTER_CODE, "data"),
        State(ids.CLUSTER_TREND, "data-shown"),
        State(ids.LANGUAGE, "data"),
        State(ids.ZONE, "data"),
    )
    def curves(_tick: object, period: str, code: str, shown: str, language: str, zone: str) -> tuple[object, object]:
        view = View(current(), language_of(language), zone, {})
        cluster = _cluster(view, code)
        points = () if cluster is None else cluster.hours if period == "hour" else cluster.days
        # Curves are redrawn when they changed, not at every pulse: a hover must not be wiped away.
        version = f"{period}:{hash(points)}"
        if version == shown:
            return no_update, no_update
        return view.snapshot.once(
            ("trends", code, period, view.language), lambda: trends(view, code, period)
        ), version


PAGE = Page("/cluster/<code>", "nav.cluster", layout, register, in_navigation=False)
