"""One cluster pilot: progress, indicators with their trend, enterprises, equipment right now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import plotly.graph_objects as go
from dash import Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component

from dashboard import ids
from dashboard import markup as h
from dashboard.blocks import empty, indicator_headline, panel, problem_list, segmented
from dashboard.figures import trend
from dashboard.format import NOTHING, day, duration
from dashboard.indicators import CLUSTER, TRENDS, is_percent, name_of, shown, unit_label, why
from dashboard.markup import SLOT, Html
from dashboard.pages import STAGES, SUPERVISING, Page, View
from dashboard.snapshot import Cluster, Snapshot, pick
from dashboard.texts import Language, either, language_of, text
from store.identity import Role
from store.overview import EquipmentNow, Milestone, Pilot, Point

FIRM_COLUMNS = ("conn.equip_online_rate", "equip.oee", "equip.run_rate", "dq.effective_rate", "energy.total")
GLYPH = {"run": "●", "setup": "◆", "idle": "○", "fault": "■", "off": "□", "unknown": "?"}


def layout(view: View, code: str) -> Component:
    """The page of one pilot; an unknown code says so."""
    lang = view.language
    picture = view.snapshot.picture
    if picture is None:
        return html.Div(html.P(text(lang, "empty.starting")), className="page-plain")
    if picture.pilot(code) is None:  # not there, or not for these eyes
        return html.Div(html.P(text(lang, "empty.no_pilot", code=code)), className="page-plain")
    return html.Div(
        [
            dcc.Store(id=ids.CLUSTER_CODE, data=code),
            h.slot(ids.CLUSTER_HEAD, head(view, code), className="cluster-head"),
            h.slot(ids.CLUSTER_FIGURES, headlines(view, code), className="headlines is-7"),
            panel(
                text(lang, "cluster.trend"),
                dcc.Store(id=ids.CLUSTER_TREND_DRAWN),
                html.Div(_trend_cards(view, code), className="trends"),
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
                h.slot(ids.CLUSTER_MILESTONES, milestones(view, code), className="fill scroll"),
                name="area-milestones",
            ),
            panel(
                text(lang, "overview.problems"),
                h.slot(ids.CLUSTER_PROBLEMS, problems(view, code), className="fill scroll"),
                name="area-problems",
            ),
            panel(
                text(lang, "cluster.equipment"),
                h.slot(ids.CLUSTER_EQUIPMENT, equipment(view, code)),
                aside=h.slot(
                    ids.CLUSTER_EQUIPMENT_SUMMARY, equipment_summary(view, code), className="legend"
                ),
                name="area-equipment",
            ),
            panel(
                text(lang, "cluster.enterprises"),
                h.slot(ids.CLUSTER_ENTERPRISES, enterprises(view, code), className="table-wrap"),
                name="area-enterprises",
            ),
        ],
        className="page-cluster",
    )


def head(view: View, code: str) -> Html:
    """Name, lead unit, place, and where in the life cycle the pilot stands."""
    lang, pilot = view.language, _pilot(view, code)
    if pilot is None:
        return h.H1(code)
    facts = (
        ("cluster.lead_unit", either(lang, pilot.unit_zh, pilot.unit_en)),
        ("cluster.region", pilot.region),
        (
            "cluster.cluster",
            f"{either(lang, pilot.cluster_zh, pilot.cluster_en)} · {text(lang, f'kind.{pilot.kind}')}",
        ),
        ("cluster.started", day(pilot.started_on)),
    )
    at = STAGES.index(pilot.stage)
    steps = [
        h.Li(
            [h.Span(className="step-dot"), h.Span(text(lang, f"stage.{stage}"))],
            className="step " + ("is-done" if n < at else "is-now" if n == at else ""),
            **({"aria-current": "step"} if n == at else {}),
        )
        for n, stage in enumerate(STAGES)
    ]
    return h.joined(
        [
            h.Div(
                [
                    h.H1(either(lang, pilot.name_zh, pilot.name_en)),
                    h.Dl(
                        [h.Div([h.Dt(text(lang, key)), h.Dd(value)]) for key, value in facts],
                        className="facts",
                    ),
                ]
            ),
            h.Ol(steps, className="steps", **{"aria-label": text(lang, "cluster.stage")}),
        ]
    )


def headlines(view: View, code: str) -> Html:
    """The pilot's headline figures."""
    picture, pilot = view.snapshot.picture, _pilot(view, code)
    if picture is None or pilot is None:
        return empty(text(view.language, "empty.starting"))
    return h.joined(
        indicator_headline(
            view.language, s.code, pick(picture.by_pilot, pilot.pilot_id, s.code, s.periods), view.zone,
            picture.read_at,
        )
        for s in CLUSTER
    )  # fmt: skip


def trend_table(points: Sequence[Point], code: str, zone: str) -> pd.DataFrame:
    """Columns at (local time), value (float, NaN where there is none) of one indicator."""
    rows = [(p.period_start, p.value) for p in points if p.code == code]
    table = pd.DataFrame(rows, columns=["at", "value"])
    table["at"] = pd.to_datetime(table["at"], utc=True).dt.tz_convert(ZoneInfo(zone))
    return table.astype({"value": "float64"})


def trends(view: View, code: str, period: str) -> list[go.Figure]:
    """A small curve an indicator, in the order of TRENDS; empty ones say why."""
    lang, cluster = view.language, _cluster(view, code)
    points = () if cluster is None else cluster.hours if period == "hour" else cluster.days
    figures = []
    for indicator in TRENDS:
        table = trend_table(points, indicator, view.zone)
        figure = trend(table, ratio=is_percent(indicator), unit=unit_label(lang, indicator))
        if table["value"].notna().sum() == 0:
            note = text(lang, "empty.reading" if cluster is None else "empty.trend")
            figure.add_annotation(text=note, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
            figure.update_xaxes(visible=False).update_yaxes(visible=False)
        figures.append(figure)
    return figures


def trend_heads(view: View, code: str, period: str) -> list[Html]:
    """Name and last value of each curve."""
    lang, cluster = view.language, _cluster(view, code)
    points = () if cluster is None else cluster.hours if period == "hour" else cluster.days
    last = {p.code: p.value for p in points if p.value is not None}  # in order of time: the newest stays
    return [_trend_head(lang, indicator, last.get(indicator)) for indicator in TRENDS]


def _trend_head(lang: Language, code: str, value: float | None) -> Html:
    number = shown(lang, code, value)
    return h.joined(
        [
            h.Span(name_of(lang, code), className="trend-name", title=name_of(lang, code)),
            h.Span([number.digits, h.Small(number.unit)], className="trend-last"),
        ]
    )


def _trend_cards(view: View, code: str) -> list[Component]:
    heads, figures = trend_heads(view, code, "hour"), trends(view, code, "hour")
    return [
        html.Div(
            [
                h.slot(ids.CLUSTER_TREND_HEADS[n], head, className="trend-head"),
                html.Div(
                    dcc.Graph(
                        id=ids.CLUSTER_TREND_GRAPHS[n],
                        figure=figure,
                        config={"displayModeBar": False},
                        responsive=True,
                    ),
                    className="trend-graph",
                ),
            ],
            className="trend",
        )
        for n, (head, figure) in enumerate(zip(heads, figures, strict=True))
    ]


def milestones(view: View, code: str) -> Html:
    """The task book's milestones on a line of time."""
    lang, picture, pilot = view.language, view.snapshot.picture, _pilot(view, code)
    own = [m for m in picture.milestones if pilot and m.unit_id == pilot.unit_id] if picture else []
    if not own:
        return empty(text(lang, "empty.milestones"))
    today = view.snapshot.at.astimezone(ZoneInfo(view.zone)).date()
    return h.Ol([_milestone(lang, m, today) for m in own], className="milestones")


def milestone_state(milestone: Milestone, today: date) -> str:
    """on_time, late (accepted after the plan), overdue, soon (within 30 days), planned."""
    if milestone.accepted_on is not None:
        return "on_time" if milestone.accepted_on <= milestone.planned_on else "late"
    if milestone.planned_on < today:
        return "overdue"
    return "soon" if milestone.planned_on - today <= timedelta(days=30) else "planned"


def _milestone(lang: Language, milestone: Milestone, today: date) -> Html:
    state = milestone_state(milestone, today)
    days = abs(((milestone.accepted_on or today) - milestone.planned_on).days)
    return h.Li(
        [
            h.Span(className="milestone-dot"),
            h.Div(
                [
                    h.Div(milestone.name, className="milestone-name"),
                    h.Div(
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


def problems(view: View, code: str) -> Html:
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


def equipment(view: View, code: str) -> Html:
    """A tile a machine of the pilot."""
    return equipment_tiles(view.language, _cluster(view, code))


def equipment_tiles(lang: Language, cluster: Cluster | None) -> Html:
    """A tile a machine: state now, since when; grey and dated when it has fallen silent."""
    if cluster is None:
        return empty(text(lang, "empty.reading"))
    if not cluster.equipment:
        return empty(text(lang, "empty.equipment"))
    now = pd.Timestamp(cluster.read_at)
    return h.Div([_tile(lang, m, equipment_state(m, now), now) for m in cluster.equipment], className="tiles")


def _tile(lang: Language, machine: EquipmentNow, state: str, now: pd.Timestamp) -> Html:
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
    return h.Div(
        [
            h.Div(
                [h.Span(GLYPH[state], className="tile-glyph", **{"aria-hidden": "true"}), label],
                className="tile-state",
            ),
            h.Div(machine.code, className="tile-code"),
            h.Div(foot, className="tile-foot"),
        ],
        className=f"tile is-{state}",
        title=f"{machine.name} · {machine.enterprise}",
        key=machine.code,
        **(
            {
                "data-at": f"{machine.state_at.timestamp() * 1000:.0f}",
                "data-stale": f"{3 * (machine.interval_s or 60):.0f}",
            }
            if machine.state_at
            else {}
        ),
    )


def equipment_summary(view: View, code: str) -> Html:
    """How many machines are in which state."""
    lang, cluster = view.language, _cluster(view, code)
    if cluster is None:
        return h.Span()
    now = pd.Timestamp(cluster.read_at)
    counts = Counter(equipment_state(m, now) for m in cluster.equipment)
    return h.joined(
        h.Span(
            [
                h.Span(GLYPH[state], className=f"glyph is-{state}"),
                f"{text(lang, f'state.{state}')} {counts[state]}",
            ],
            className="legend-item",
        )
        for state in GLYPH
    )


def enterprises(view: View, code: str) -> Html:
    """The enterprises on the unit's platform with their own figures."""
    return enterprise_table(view.language, _cluster(view, code))


def enterprise_table(lang: Language, cluster: Cluster | None) -> Html:
    """One row an enterprise, with its own figures."""
    if cluster is None:
        return empty(text(lang, "empty.reading"))
    if not cluster.enterprises:
        return empty(text(lang, "empty.enterprises"))
    header = [text(lang, f"column.{c}") for c in ("enterprise", "region", "scale", "joined", "equipment")]
    names = [name_of(lang, c) for c in FIRM_COLUMNS]
    rows = []
    for firm in cluster.enterprises:
        cells: list[Html] = [
            h.Th(firm.name, scope="row"),
            h.Td(firm.region),
            h.Td(text(lang, f"scale.{firm.scale}") if firm.scale else NOTHING),
            h.Td(day(firm.registered_on)),
            h.Td(f"{firm.equipment:,}", className="num"),
        ]
        for indicator in FIRM_COLUMNS:
            periods = ("now", "hour", "day") if indicator.startswith("conn.") else ("day", "hour")
            figure = pick(cluster.enterprise_figures, firm.enterprise_id, indicator, periods)
            number = shown(lang, indicator, figure.value if figure else None)
            reason = why(lang, figure.reason) if figure else ""
            cells.append(h.Td([number.digits, h.Small(number.unit)], className="num", title=reason))
        rows.append(h.Tr(cells, key=str(firm.enterprise_id)))
    return h.Table(
        [
            h.Thead(
                h.Tr(
                    [
                        h.Th(title, scope="col", className="num" if n == 4 else "")
                        for n, title in enumerate(header)
                    ]
                    + [h.Th(n, scope="col", className="num") for n in names]
                )
            ),
            h.Tbody(rows),
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

    @app.callback(
        Output(ids.CLUSTER_HEAD, SLOT),
        Output(ids.CLUSTER_FIGURES, SLOT),
        Output(ids.CLUSTER_MILESTONES, SLOT),
        Output(ids.CLUSTER_PROBLEMS, SLOT),
        Output(ids.CLUSTER_EQUIPMENT, SLOT),
        Output(ids.CLUSTER_EQUIPMENT_SUMMARY, SLOT),
        Output(ids.CLUSTER_ENTERPRISES, SLOT),
        Input(ids.TICK, "data"),
        State(ids.CLUSTER_CODE, "data"),
        State(ids.LANGUAGE, "data"),
    )
    def renew(_tick: object, code: str, language: str) -> tuple[object, ...]:
        want(code)
        view = View(current(), language_of(language), {})
        return view.snapshot.once(
            ("cluster", code, view.language),
            lambda: (
                head(view, code), headlines(view, code), milestones(view, code), problems(view, code),
                equipment(view, code), equipment_summary(view, code), enterprises(view, code),
            ),
        )  # fmt: skip

    @app.callback(
        *(Output(id_, "figure") for id_ in ids.CLUSTER_TREND_GRAPHS),
        *(Output(id_, SLOT) for id_ in ids.CLUSTER_TREND_HEADS),
        Output(ids.CLUSTER_TREND_DRAWN, "data"),
        Input(ids.TICK, "data"),
        Input(ids.CLUSTER_TREND_PERIOD, "value"),
        State(ids.CLUSTER_CODE, "data"),
        State(ids.CLUSTER_TREND_DRAWN, "data"),
        State(ids.LANGUAGE, "data"),
    )
    def curves(_tick: object, period: str, code: str, drawn: str, language: str) -> tuple[object, ...]:
        view = View(current(), language_of(language), {})
        cluster = _cluster(view, code)
        points = () if cluster is None else cluster.hours if period == "hour" else cluster.days
        # Curves are redrawn when they changed, not at every pulse: a hover must not be wiped away.
        version = f"{period}:{hash(points)}"
        if version == drawn:
            return (no_update,) * (2 * len(TRENDS) + 1)
        return view.snapshot.once(
            ("trends", code, period, view.language),
            lambda: (*trends(view, code, period), *trend_heads(view, code, period), version),
        )


ROLES: frozenset[Role] = SUPERVISING | {"lead_unit"}
PAGE = Page("/cluster/<code>", "nav.cluster", layout, register, ROLES, in_navigation=False)
