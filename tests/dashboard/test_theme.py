"""The look: one set of colours, enough contrast, nothing from the network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dashboard.theme import TOKENS

ASSETS = Path(__file__).parents[2] / "dashboard" / "assets"
CSS = (ASSETS / "open" / "theme.css").read_text("utf-8")


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_css_and_python_name_the_same_colours() -> None:
    declared = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", CSS))
    assert {name: declared.get(name) for name in TOKENS} == TOKENS


@pytest.mark.parametrize(
    "name", ["text", "dim", "accent", "good", "warn", "bad", "stale", "neutral", "faint"]
)
def test_text_can_be_read(name: str) -> None:
    assert contrast(TOKENS[name], TOKENS["surface"]) >= 4.5


def test_nothing_comes_from_the_network() -> None:
    for file in ASSETS.rglob("*.*"):
        assert not re.search(r"https?://|@import|url\(", file.read_text("utf-8")), file
