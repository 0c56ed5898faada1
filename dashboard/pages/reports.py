"""数据报送: a lead unit's person sends files of datasets, and gets back what was refused, marked.

The page is a frame: its script (assets/reports.js) speaks to the open interface with the session of whoever
is logged in, as any other client does.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from dash import Dash, html
from dash.development.base_component import Component

from dashboard import ids
from dashboard import markup as h
from dashboard.blocks import panel
from dashboard.pages import Page, View
from dashboard.snapshot import Snapshot
from dashboard.texts import text, texts

_PREFIX = "reports."


def layout(view: View) -> Component:
    """Three panels that the script fills; its texts travel with them."""
    lang = view.language
    words = {key.removeprefix(_PREFIX): one for key, one in texts(lang).items() if key.startswith(_PREFIX)}
    told = {
        "data-texts": json.dumps(words, ensure_ascii=False),
        "data-language": lang,
        "data-zone": view.zone,
    }
    return html.Div(
        [
            panel(text(lang, "reports.send"), html.Div(id=ids.REPORTS_FORM), name="area-send"),
            panel(
                text(lang, "reports.result"),
                html.Div(
                    id=ids.REPORTS_RESULT, className="fill scroll", **h.attributes({"aria-live": "polite"})
                ),
                name="area-result",
            ),
            panel(
                text(lang, "reports.recent"),
                html.Div(id=ids.REPORTS_RECENT, className="table-wrap"),
                name="area-recent",
            ),
        ],
        id=ids.REPORTS,
        className="page-reports",
        **h.attributes(told),
    )


def register(app: Dash, current: Callable[[], Snapshot], want: Callable[[str], None]) -> None:
    """Nothing of it is Dash's."""


PAGE = Page("/reports", "nav.reports", layout, register, frozenset({"lead_unit"}))
