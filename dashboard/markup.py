"""HTML as text, escaped by construction: for the parts of a page that are renewed at every pulse.

A tree of Dash components costs the browser time that grows faster than their number (1,500 of them
blocked it for eight seconds); one string costs next to nothing. So a live part is one Dash component, a
`slot`, whose `data-html` the page's script turns into elements (assets/live.js), changing only what
differs: what somebody has opened stays open, what has the focus keeps it.

Every text that is not `Html` is escaped. Nothing but this module may make an `Html`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from html import escape
from typing import Any, Union

from dash import html
from dash.development.base_component import Component


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Content = Union[None, str, int, "Iterable[Content]"]

_NAMES = {"className": "class", "dateTime": "datetime", "tabIndex": "tabindex", "key": "data-key"}


def _text(content: Content) -> str:
    if content is None:
        return ""
    if isinstance(content, Html):
        return content
    if isinstance(content, (str, int)):
        return escape(str(content))
    return "".join(_text(piece) for piece in content)


def _attribute(name: str, value: Any) -> str:
    if value is None or value is False or value == "":
        return ""
    if isinstance(value, Mapping):
        value = ";".join(f"{key}:{part}" for key, part in value.items())
    return f' {_NAMES.get(name, name)}="{escape(str(value))}"'


def _element(tag: str) -> Callable[..., Html]:
    def make(children: Content = None, **attributes: Any) -> Html:
        opened = "".join(_attribute(name, value) for name, value in attributes.items())
        return Html(f"<{tag}{opened}>{_text(children)}</{tag}>")

    make.__doc__ = f"A <{tag}> element; attributes as Dash names them (className, data-…)."
    return make


Code, Dd, Details, Div, Dl, Dt, H1, Li, Ol, P, Pre, Small, Span, Strong, Summary, Table, Tbody, Td, Th, Thead, Time, Tr, Ul = (
    _element(tag)
    for tag in (
        "code", "dd", "details", "div", "dl", "dt", "h1", "li", "ol", "p", "pre", "small", "span", "strong", "summary",
        "table", "tbody", "td", "th", "thead", "time", "tr", "ul",
    )
)  # fmt: skip


def Link(children: Content = None, *, href: str, **attributes: Any) -> Html:  # noqa: N802 - an element
    """A link to another page of ours, followed without loading the document anew."""
    return _element("a")(children, href=href, **{"data-nav": "1"}, **attributes)


def joined(pieces: Iterable[Html]) -> Html:
    """Several elements, one after the other."""
    return Html("".join(pieces))


def slot(id_: str, content: Html, *, className: str = "", **extra: Any) -> Component:  # noqa: N803 - Dash's name
    """The Dash component that shows `content`; a callback renews it by its property SLOT."""
    shown: dict[str, Any] = {SLOT: content, **extra}
    return html.Div(id=id_, className=className, **shown)


def attributes(named: Mapping[str, str]) -> dict[str, Any]:
    """aria-… and data-… attributes for a Dash component, whose typed parameters do not know them."""
    return dict(named)


SLOT = "data-html"
"""The property of a slot that callbacks write."""
