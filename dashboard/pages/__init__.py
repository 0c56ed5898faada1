"""The pages, in one list."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dash import Dash
from dash.development.base_component import Component

from dashboard.snapshot import Snapshot
from dashboard.texts import Language
from store.identity import Role

STAGES = ("selection", "incubation", "piloting", "assessment", "demonstration")
"""The life cycle of a pilot, in order."""

SUPERVISING: frozenset[Role] = frozenset({"province", "city", "county", "think_tank", "operator"})


@dataclass(frozen=True, slots=True)
class View:
    """What a page is drawn from: the snapshot, how it is read, and what the address asks for."""

    snapshot: Snapshot
    language: Language
    query: Mapping[str, str]

    @property
    def zone(self) -> str:
        """On whose clock times are shown."""
        return self.snapshot.zone


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its path (`<name>` is a variable), the text key of its title, its layout and callbacks.

    `roles`: who may see it; for everybody else it does not exist.
    """

    path: str
    title: str
    layout: Callable[..., Component]
    register: Callable[[Dash, Callable[[], Snapshot], Callable[[str], None]], None]
    roles: frozenset[Role] = SUPERVISING
    in_navigation: bool = True

    def match(self, pathname: str) -> Mapping[str, str] | None:
        """The variables of a path that leads here; None if it does not."""
        pattern = re.sub(r"<(\w+)>", r"(?P<\1>[^/]+)", self.path)
        found = re.fullmatch(pattern + "/?", pathname)
        return None if found is None else found.groupdict()


def pages() -> tuple[Page, ...]:
    """Every page of the dashboard, in the order of the navigation."""
    # they import View and Page from here
    from dashboard.pages import cluster, home, operations, overview, reports, supply, unit

    return (overview.PAGE, home.PAGE, supply.PAGE, reports.PAGE, unit.PAGE, operations.PAGE, cluster.PAGE)


def pages_of(role: Role | None) -> tuple[Page, ...]:
    """The pages that this role may see."""
    return tuple(page for page in pages() if role in page.roles)
