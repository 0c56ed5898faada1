"""The map: 21 cities, and names that do not cover each other."""

from __future__ import annotations

import itertools

import pandas as pd

from dashboard.figures import EXTENT_X, EXTENT_Y, boxes, province_map, text_width
from dashboard.geo import cities, city_code, overlaps, place_labels, project, spread


def test_twenty_one_cities_inside_the_frame() -> None:
    assert len(cities()) == 21
    for city in cities():
        assert EXTENT_X[0] < city.x < EXTENT_X[1]
        assert EXTENT_Y[0] < city.y < EXTENT_Y[1]
        assert city.xs.count(None) == city.ys.count(None)


def test_counties_belong_to_their_city() -> None:
    assert city_code("440606") == "440600"
    assert city_code("441900") == "441900"


def test_points_of_one_place_are_moved_apart() -> None:
    apart = spread([(1.0, 1.0), (2.0, 2.0), (1.0, 1.0)])
    assert apart[1] == (2.0, 2.0)
    assert apart[0] != apart[2]


def test_names_of_crowded_points_do_not_overlap() -> None:
    points = [project(*p) for p in ((113.28, 23.12), (113.12, 23.02), (113.75, 23.04), (114.08, 22.55), (113.38, 22.52),
                                    (113.55, 22.22), (114.41, 23.08), (116.70, 23.37), (116.35, 23.54))]  # fmt: skip
    widths = [text_width("东莞电子信息")] * len(points)
    placed = boxes(points, place_labels(points, widths, 0.24, EXTENT_X), widths)[: len(points)]
    assert not any(overlaps(a, [b]) for a, b in itertools.combinations(placed, 2))


def test_map_of_no_pilots() -> None:
    table = pd.DataFrame(columns=["x", "y", "label", "hover", "code", "city", "state"])
    figure = province_map(cities(), {c.code: c.name for c in cities()}, table)
    assert len(figure.data) == 21 + 5
    assert "geo" not in figure.layout.to_plotly_json()
