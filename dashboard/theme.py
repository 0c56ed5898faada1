"""Colours with a meaning, the same as in assets/theme.css, and the one Plotly template."""

from __future__ import annotations

from typing import Final

import plotly.graph_objects as go

INK: Final = "#0a1424"
SURFACE: Final = "#101e34"
LINE: Final = "#24395a"
TEXT: Final = "#e9eff8"
DIM: Final = "#9db0cb"
FAINT: Final = "#7488a6"
ACCENT: Final = "#d8b778"
GOOD: Final = "#56b894"
WARN: Final = "#e3a857"
BAD: Final = "#e8776a"
STALE: Final = "#7d8ba3"
NEUTRAL: Final = "#6ea4dc"

TOKENS: Final = {
    "ink": INK, "surface": SURFACE, "line": LINE, "text": TEXT, "dim": DIM, "faint": FAINT,
    "accent": ACCENT, "good": GOOD, "warn": WARN, "bad": BAD, "stale": STALE, "neutral": NEUTRAL,
}  # fmt: skip
"""Custom properties that theme.css must define with the same values."""

SERIES: Final = (NEUTRAL, ACCENT, GOOD, "#a98fd6", "#5fb6c4")
"""Colours of categories without a meaning of good or bad."""

STATE: Final = {"good": GOOD, "warn": WARN, "bad": BAD, "stale": STALE}
SYMBOL: Final = {"good": "circle", "warn": "diamond", "bad": "square", "stale": "circle-open"}
"""Shape says the same as colour."""

FONT: Final = '"PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", system-ui, sans-serif'

_AXIS: Final = {
    "gridcolor": "rgba(157,176,203,0.10)",
    "zeroline": False,
    "linecolor": LINE,
    "tickfont": {"color": FAINT, "size": 11},
    "showline": False,
    "ticks": "",
    "automargin": True,
}

TEMPLATE: Final = go.layout.Template(
    layout={
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "color": DIM, "size": 12},
        "margin": {"l": 4, "r": 4, "t": 4, "b": 4},
        "colorway": list(SERIES),
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "showlegend": False,
        "hoverlabel": {
            "bgcolor": "#1c3052",
            "bordercolor": "#35507c",
            "font": {"family": FONT, "color": TEXT, "size": 12},
        },
        "legend": {
            "orientation": "h",
            "font": {"color": DIM, "size": 11},
            "bgcolor": "rgba(0,0,0,0)",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
        },
    }
)
