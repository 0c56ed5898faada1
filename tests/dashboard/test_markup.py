"""Markup is escaped by construction."""

from __future__ import annotations

from datetime import UTC, datetime

from dashboard import markup as h
from dashboard.markup import Html
from dashboard.pages.supply import original_text
from dashboard.shell import banner
from dashboard.snapshot import Snapshot

HOSTILE = '<img src=x onerror="alert(1)">'


def test_text_and_attributes_are_escaped() -> None:
    made = h.Div([HOSTILE, h.Span(HOSTILE)], title=HOSTILE, className="a", key=HOSTILE)
    assert "<img" not in made
    assert '"alert' not in made
    assert made.startswith('<div title="&lt;img')


def test_html_is_not_escaped_twice() -> None:
    assert h.Div(h.Span("a & b")) == "<div><span>a &amp; b</span></div>"
    assert h.joined([h.Span("1"), h.Span(2)]) == "<span>1</span><span>2</span>"


def test_what_is_done_to_html_gives_plain_text_again() -> None:
    assert type(h.Span("a") + HOSTILE) is str
    assert "<img" not in h.Div(h.Span("a") + HOSTILE)


def test_empty_attributes_are_left_out() -> None:
    assert h.Span("x", className="", title=None) == "<span>x</span>"
    assert h.Span(style={"width": "5%"}) == '<span style="width:5%"></span>'


def test_original_bytes_are_shown_whatever_they_are() -> None:
    assert original_text(b"\xff\x00ok\x1b[0m", 8) == "\\xff\\x00ok\\x1b[0m"
    assert original_text("中".encode(), 3) == "中"
    assert original_text(b"ab", 5000).endswith("5,000 B")


def test_the_banner_speaks_when_the_database_is_away() -> None:
    at = datetime(2026, 11, 23, tzinfo=UTC)
    assert banner("zh", Snapshot(1, at, None, None)) == Html("")
    assert "数据库无响应" in banner("zh", Snapshot(1, at, None, at))
    assert "database does not answer" in banner("en", Snapshot(1, at, None, at))
