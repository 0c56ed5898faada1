"""首页 of lead units, enterprises and banks: what is theirs, and the way to it."""

from __future__ import annotations

from collections.abc import Callable

from dash import Dash, Input, Output, State, html
from dash.development.base_component import Component

from dashboard import ids
from dashboard import markup as h
from dashboard.blocks import empty, panel
from dashboard.format import NOTHING, day
from dashboard.login import viewer
from dashboard.markup import SLOT, Html
from dashboard.pages import Page, View
from dashboard.pages.cluster import enterprise_table, equipment_tiles
from dashboard.snapshot import Cluster, Snapshot
from dashboard.texts import Language, either, language_of, text
from store.identity import Role

ROLES: frozenset[Role] = frozenset({"lead_unit", "enterprise", "bank"})


def layout(view: View) -> Component:
    """The whole page, by the role of whoever looks."""
    role = viewer().role or "bank"
    return html.Div(
        [
            html.H1(text(view.language, f"home.{role}")),
            html.P(
                [
                    text(view.language, f"home.{role}.more"),
                    " ",
                    html.A(text(view.language, "docs"), href="/docs"),
                ],
                className="home-note",
            ),
            panel(
                text(view.language, f"home.{role}.list"),
                h.slot(ids.HOME_LIST, listed(view, role), className="table-wrap"),
                name="area-list",
            ),
            *(
                [
                    panel(
                        text(view.language, "cluster.equipment"),
                        h.slot(ids.HOME_EQUIPMENT, equipment(view)),
                        name="area-equipment",
                    )
                ]
                if role == "enterprise"
                else []
            ),
        ],
        className="page-home",
    )


def listed(view: View, role: Role) -> Html:
    """A unit's pilots, an enterprise itself, or the enterprises that authorised a bank."""
    lang, picture = view.language, view.snapshot.picture
    if picture is None:
        return empty(text(lang, "empty.starting"))
    if role == "lead_unit":
        return _pilots(view)
    if picture.own is None or not picture.own.enterprises:
        return empty(text(lang, f"home.{role}.none"))
    return enterprise_table(lang, picture.own) if role == "enterprise" else _pool(lang, picture.own)


def equipment(view: View) -> Html:
    """The enterprise's machines, now."""
    picture = view.snapshot.picture
    return equipment_tiles(view.language, picture.own if picture else None)


def _pilots(view: View) -> Html:
    lang, picture = view.language, view.snapshot.picture
    if picture is None or not picture.pilots:
        return empty(text(lang, "home.lead_unit.none"))
    header = ("pilot", "cluster", "region", "stage", "started")
    rows = [
        h.Tr(
            [
                h.Th(h.Link(either(lang, p.name_zh, p.name_en), href=f"/cluster/{p.code}"), scope="row"),
                h.Td(either(lang, p.cluster_zh, p.cluster_en)),
                h.Td(p.region),
                h.Td(text(lang, f"stage.{p.stage}")),
                h.Td(day(p.started_on)),
            ],
            key=p.code,
        )
        for p in picture.pilots
    ]
    return _table([text(lang, f"column.{name}") for name in header], rows)


def _pool(lang: Language, pool: Cluster) -> Html:
    header = ("enterprise", "region", "industry", "scale")
    rows = [
        h.Tr(
            [
                h.Th(firm.name, scope="row"),
                h.Td(firm.region),
                h.Td(firm.industry or NOTHING),
                h.Td(text(lang, f"scale.{firm.scale}") if firm.scale else NOTHING),
            ],
            key=str(firm.enterprise_id),
        )
        for firm in pool.enterprises
    ]
    return _table([text(lang, f"column.{name}") for name in header], rows)


def _table(header: list[str], rows: list[Html]) -> Html:
    head = h.Thead(h.Tr([h.Th(name, scope="col") for name in header]))
    return h.Table([head, h.Tbody(rows)], className="table")


def register(app: Dash, current: Callable[[], Snapshot], want: Callable[[str], None]) -> None:
    """Callbacks: read the snapshot, draw, return."""

    @app.callback(
        Output(ids.HOME_LIST, SLOT),
        Input(ids.TICK, "data"),
        State(ids.LANGUAGE, "data"),
    )
    def renew(_tick: object, language: str) -> object:
        view = View(current(), language_of(language), {})
        role = viewer().role or "bank"
        return view.snapshot.once(("home", view.language), lambda: listed(view, role))

    @app.callback(
        Output(ids.HOME_EQUIPMENT, SLOT),
        Input(ids.TICK, "data"),
        State(ids.LANGUAGE, "data"),
    )
    def machines(_tick: object, language: str) -> object:
        view = View(current(), language_of(language), {})
        return view.snapshot.once(("home machines", view.language), lambda: equipment(view))


PAGE = Page("/", "nav.home", layout, register, ROLES)
