"""我的单位: a unit's keys, data quality, submissions, refused rows and stoppages, kept by itself.

The page is a frame: what stands in it comes from the open interface, with the reader's own session
(assets/unit.js), so that a page can do and show nothing that the interface would not.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from dash import Dash, html
from dash.development.base_component import Component

from dashboard import ids
from dashboard import markup as h
from dashboard.blocks import panel
from dashboard.login import viewer
from dashboard.pages import Page, View
from dashboard.snapshot import Snapshot
from dashboard.texts import Language, either, text, texts
from store.overview import Pilot
from store.supply import Supply

SECTIONS = ("keys", "quality", "stoppages", "submissions", "refused")


def layout(view: View) -> Component:
    """The frame; `?unit=<code>` is for operators, who keep any unit's keys."""
    lang = view.language
    return html.Div(
        [
            html.Div(id="unit-choice", className="unit-choice"),
            html.P(text(lang, "own.loading"), id="unit-notice", className="unit-notice", role="status"),
            *(
                panel(
                    text(lang, f"own.{name}"),
                    html.Div(id=f"unit-{name}", className="unit-section"),
                    name=f"area-unit-{name}",
                )
                for name in SECTIONS
            ),
        ],
        id=ids.UNIT,
        className="page-unit",
        **h.attributes(
            {
                "data-texts": _texts(lang),
                "data-unit": view.query.get("unit", ""),
                "data-units": json.dumps(_units(view), ensure_ascii=False),
                "data-zone": view.zone,
            }
        ),
    )


def _units(view: View) -> dict[str, str]:
    """For operators, the units that have a pilot or sent something: code → name."""
    picture = view.snapshot.picture
    if viewer().role != "operator" or picture is None:
        return {}
    named: list[Pilot | Supply] = [*picture.pilots, *picture.supplies]
    return {one.unit_code: either(view.language, one.unit_zh, one.unit_en) for one in named}


def _texts(lang: Language) -> str:
    """What the script says, as JSON: key without `own.` → text."""
    mine = {key.removeprefix("own."): said for key, said in texts(lang).items() if key.startswith("own.")}
    return json.dumps(mine, ensure_ascii=False)


def register(app: Dash, current: Callable[[], Snapshot], want: Callable[[str], None]) -> None:
    """No callbacks: the script asks the open interface."""


PAGE = Page("/unit", "nav.unit", layout, register, frozenset({"lead_unit", "operator"}))
