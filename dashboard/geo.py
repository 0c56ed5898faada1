"""The 21 cities as flat shapes. No map tiles and no topology from the network: drawn from our own file."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

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


def _city(feature: dict[str, object]) -> City:
    properties, geometry = feature["properties"], feature["geometry"]
    assert isinstance(properties, dict) and isinstance(geometry, dict)
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
