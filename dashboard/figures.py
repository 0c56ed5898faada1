"""Figures: pure functions from tables to Plotly figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from dashboard.geo import Box, City, Label, overlaps, place_labels
from dashboard.theme import ACCENT, FAINT, FONT, NEUTRAL, SERIES, STATE, SYMBOL, TEMPLATE, TEXT

LAND = "#14253f"
LAND_WITH_PILOT = "#1d3a5e"
BORDER = "#34527d"
PILOT_TRACE = "pilots"
HALO_TRACE = "halo"
EXTENT_X = (100.72, 107.82)
EXTENT_Y = (20.1, 25.62)
TEXT_HEIGHT = 0.24


def province_map(cities: Sequence[City], names: Mapping[str, str], pilots: pd.DataFrame) -> go.Figure:
    """The province with its pilots.

    `names`: city code → name. `pilots`: columns x, y (map units), label, hover, code, city (str), state (good, warn, bad, stale).
    Colour and shape of a point both tell the state. No network: cities are filled polygons. Traces named
    HALO_TRACE and PILOT_TRACE are the last two, and all that changes while the pilots stay the same.
    """
    figure = go.Figure(layout={"template": TEMPLATE})
    with_pilot = set(pilots["city"])
    for city in cities:
        figure.add_scatter(
            x=city.xs, y=city.ys, mode="lines", fill="toself", name=city.name, hoverinfo="skip",
            fillcolor=LAND_WITH_PILOT if city.code in with_pilot else LAND, line={"color": BORDER, "width": 1},
        )  # fmt: skip
    points = list(zip(pilots["x"], pilots["y"], strict=True))
    spots = place_labels(points, [text_width(str(t)) for t in pilots["label"]], TEXT_HEIGHT, EXTENT_X)
    taken = boxes(points, spots, [text_width(str(t)) for t in pilots["label"]])
    # A city's name gives way to a pilot's: it is there to find one's way, not to be read.
    bare = [
        c
        for c in cities
        if c.code not in with_pilot and not overlaps((c.x - 0.3, c.y - 0.1, c.x + 0.3, c.y + 0.1), taken)
    ]
    figure.add_scatter(
        x=[c.x for c in bare], y=[c.y for c in bare], mode="text", hoverinfo="skip",
        text=[names[c.code] for c in bare], textfont={"size": 11, "color": FAINT, "family": FONT},
    )  # fmt: skip
    lines = [(p, s) for p, s in zip(points, spots, strict=True) if s.from_x is not None]
    figure.add_scatter(
        x=[v for p, s in lines for v in (p[0], s.from_x, None)], mode="lines", hoverinfo="skip",
        y=[v for p, s in lines for v in (p[1], s.from_y, None)], line={"color": "#5a7aa8", "width": 1},
    )  # fmt: skip
    figure.add_scatter(
        x=[s.x for s in spots], y=[s.y for s in spots], mode="text", text=pilots["label"], hoverinfo="skip",
        textfont={"size": 13, "color": TEXT, "family": FONT, "shadow": "0 0 4px #0a1424, 0 0 4px #0a1424"},
    )  # fmt: skip
    marks = pilot_marks(pilots)
    figure.add_scatter(
        x=pilots["x"], y=pilots["y"], mode="markers", name=HALO_TRACE, hoverinfo="skip",
        marker={"size": 26, "color": marks["color"], "opacity": 0.22, "line": {"width": 0}},
    )  # fmt: skip
    figure.add_scatter(
        x=pilots["x"], y=pilots["y"], mode="markers", name=PILOT_TRACE,
        customdata=pilots["code"], hovertext=pilots["hover"], hoverinfo="text",
        marker={"size": 13, "color": marks["color"], "symbol": marks["symbol"],
                "line": {"color": "#0a1424", "width": 1.5}},
    )  # fmt: skip
    figure.update_xaxes(visible=False, fixedrange=True, range=EXTENT_X)
    figure.update_yaxes(visible=False, fixedrange=True, scaleanchor="x", scaleratio=1, range=EXTENT_Y)
    figure.update_layout(hovermode="closest", dragmode=False, margin={"l": 0, "r": 0, "t": 0, "b": 0})
    return figure


def boxes(
    points: Sequence[tuple[float, float]], labels: Sequence[Label], widths: Sequence[float]
) -> list[Box]:
    """The rectangles that points and their names cover."""
    half = TEXT_HEIGHT / 2
    names = [(n.x - w / 2, n.y - half, n.x + w / 2, n.y + half) for n, w in zip(labels, widths, strict=True)]
    return [*names, *((x - 0.15, y - 0.15, x + 0.15, y + 0.15) for x, y in points)]


def text_width(label: str) -> float:
    """About how wide a name is on the map, in map units, on the smallest screen we design for."""
    return sum(0.18 if ord(c) > 0x2E80 else 0.1 for c in label) + 0.08


def pilot_marks(pilots: pd.DataFrame) -> dict[str, list[str]]:
    """Colour and symbol of each pilot's point, in the order of the rows."""
    states = [str(s) for s in pilots["state"]]
    return {"color": [STATE[s] for s in states], "symbol": [SYMBOL[s] for s in states]}


def data_rate(rates: pd.DataFrame, labels: dict[str, str], unit: str) -> go.Figure:
    """Rows per second by protocol, stacked. `rates`: index local time, a column a protocol."""
    figure = go.Figure(layout={"template": TEMPLATE})
    for index, protocol in enumerate(rates.columns):
        color = SERIES[index % len(SERIES)]
        figure.add_scatter(
            x=rates.index, y=rates[protocol], name=labels.get(str(protocol), str(protocol)), stackgroup="all",
            mode="lines", line={"width": 1, "color": color, "shape": "hv"}, fillcolor=_clear(color, 0.35),
            hovertemplate="%{y:,.1f} " + unit,
        )  # fmt: skip
    figure.update_layout(
        showlegend=True,
        hovermode="x unified",
        margin={"l": 4, "r": 8, "t": 22, "b": 4},
        legend={"font": {"size": 11}, "itemwidth": 30},
    )
    figure.update_xaxes(type="date", tickformat="%H:%M", nticks=7, hoverformat="%H:%M:%S", fixedrange=True)
    figure.update_yaxes(rangemode="tozero", nticks=4, fixedrange=True, tickformat=",d")
    return figure


def trend(points: pd.DataFrame, *, ratio: bool, unit: str) -> go.Figure:
    """One indicator over time. `points`: columns at (local time), value (NaN = no value: a gap in the line)."""
    color = NEUTRAL
    figure = go.Figure(layout={"template": TEMPLATE})
    values = points["value"] * 100 if ratio else points["value"]
    figure.add_scatter(
        x=points["at"], y=values, mode="lines", connectgaps=False,
        line={"color": color, "width": 1.8}, fill="tozeroy", fillcolor=_clear(color, 0.10),
        hovertemplate="%{x|%m-%d %H:%M}  %{y:,.1f} " + unit + "<extra></extra>",
    )  # fmt: skip
    last = points.assign(value=values).dropna(subset=["value"]).tail(1)
    figure.add_scatter(
        x=last["at"], y=last["value"], mode="markers", hoverinfo="skip", marker={"size": 6, "color": ACCENT}
    )
    figure.update_layout(margin={"l": 2, "r": 6, "t": 6, "b": 2}, hovermode="closest")
    span = points["at"].iloc[-1] - points["at"].iloc[0] if len(points) else pd.Timedelta(0)
    short = span < pd.Timedelta(days=1.5)
    figure.update_xaxes(
        showgrid=False, fixedrange=True, nticks=4, tickformat="%H:%M" if short else "%m-%d",
        **({} if short else {"dtick": 86_400_000 * max(1, round(span.days / 4))}),
    )  # fmt: skip
    low, high = _range(values)
    figure.update_yaxes(nticks=4, range=[low, high], fixedrange=True)
    return figure


def _range(values: pd.Series) -> tuple[float, float]:
    # The curve's own range with air round it; a baseline of zero would press every ratio flat.
    known = values.dropna()
    if known.empty:
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    air = max((high - low) * 0.18, abs(high) * 0.02, 1e-6)
    return max(0.0, low - air) if low >= 0 else low - air, high + air


def _clear(color: str, opacity: float) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
