"""The 21 cities as flat shapes. No map tiles and no topology from the network: drawn from our own file."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

_MIDDLE = math.radians(23.2)  # the province's middle latitude: one degree east is this much shorter


@dataclass(frozen=True, slots=True)
class City:
    """One city: outline in map units (degrees of latitude), rings separated by None; centre; extent."""

    code: str
    name: str
    x: float
    y: float
    xs: tuple[float | None, ...]
    ys: tuple[float | None, ...]


def project(longitude: float, latitude: float) -> tuple[float, float]:
    """Equirectangular projection true at the province's middle latitude."""
    return longitude * math.cos(_MIDDLE), latitude


@cache
def cities() -> tuple[City, ...]:
    """All cities of the province, from data/guangdong.geojson."""
    content = json.loads((files("dashboard") / "data" / "guangdong.geojson").read_text("utf-8"))
    return tuple(_city(feature) for feature in content["features"])


def city_code(region_code: str) -> str:
    """The city a GB/T 2260 code of a county (or the city itself) belongs to."""
    return f"{region_code[:4]}00"


def spread(places: Sequence[tuple[float, float]], radius: float = 0.14) -> list[tuple[float, float]]:
    """Move points that share a place apart, on a ring round it, so that each can be seen."""
    result = []
    for index, place in enumerate(places):
        same = [i for i, other in enumerate(places) if other == place]
        if len(same) == 1:
            result.append(place)
            continue
        angle = 2 * math.pi * same.index(index) / len(same)
        result.append((place[0] + radius * math.cos(angle), place[1] + radius * math.sin(angle)))
    return result


@dataclass(frozen=True, slots=True)
class Label:
    """Where a point's name stands: centre of the text, and the end of its leader line (None: no line needed)."""

    x: float
    y: float
    from_x: float | None
    from_y: float | None


Box = tuple[float, float, float, float]
"""x and y of the lower left and the upper right corner."""

_RINGS = (0.26, 0.5, 0.78, 1.08, 1.4)
_TURNS = tuple(math.radians(d) for d in (90, 270, 0, 180, 45, 135, 315, 225, 67, 113, 247, 293))
_DOT = 0.13


def place_labels(
    points: Sequence[tuple[float, float]], widths: Sequence[float], height: float, bounds: tuple[float, float]
) -> list[Label]:
    """Places for names so that none covers another or a point; greedy, crowded points first.

    All in map units. `bounds`: smallest and largest x that a text may reach. Where no free place is
    left, the least bad one is taken.
    """

    def crowd(i: int) -> float:
        return sum(1 / (0.1 + math.dist(points[i], p)) for j, p in enumerate(points) if j != i)

    taken: list[Box] = [(x - _DOT, y - _DOT, x + _DOT, y + _DOT) for x, y in points]
    placed: dict[int, Label] = {}
    # The loneliest last: they have the freedom to give way.
    for i in sorted(range(len(points)), key=lambda i: -crowd(i)):
        x, y = points[i]
        tried: list[tuple[float, Label, Box]] = []
        for ring in _RINGS:
            for turn in _TURNS:
                # An ellipse: a text is wider than high, so it must stand off further to the side.
                cx = x + math.cos(turn) * (ring + widths[i] / 2 * abs(math.cos(turn)))
                cy = y + math.sin(turn) * ring
                box = (cx - widths[i] / 2, cy - height / 2, cx + widths[i] / 2, cy + height / 2)
                cost = sum(_overlap(box, other) for other in taken) * 100
                cost += max(0.0, bounds[0] - box[0], box[2] - bounds[1]) * 50
                cost += ring * 0.1 + _TURNS.index(turn) * 0.002
                far = ring > _RINGS[0]
                edge = min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3])
                tried.append((cost, Label(cx, cy, edge[0] if far else None, edge[1] if far else None), box))
        _, placed[i], box = min(tried, key=lambda t: t[0])
        taken.append(box)
    return [placed[i] for i in range(len(points))]


def overlaps(box: Box, others: Sequence[Box]) -> bool:
    """Whether a rectangle meets any of the others."""
    return any(_overlap(box, other) > 0 for other in others)


def _overlap(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0


def _city(feature: dict[str, Any]) -> City:
    properties, geometry = feature["properties"], feature["geometry"]
    shapes = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    xs: list[float | None] = []
    ys: list[float | None] = []
    for shape in shapes:
        # Only outer rings: an enclave is drawn by the city it belongs to.
        for longitude, latitude in shape[0]:
            x, y = project(longitude, latitude)
            xs.append(round(x, 4))
            ys.append(round(y, 4))
        xs.append(None)
        ys.append(None)
    x, y = project(*properties["center"])
    return City(properties["code"], properties["name"], x, y, tuple(xs[:-1]), tuple(ys[:-1]))
