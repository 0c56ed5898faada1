"""What the pages show: one immutable picture of the platform, each part with the time it was read."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar, cast

from store.canary import Arrived
from store.operations import Skew, Unassigned
from store.overview import Arrival, Enterprise, EquipmentNow, Figure, Milestone, Pilot, Point
from store.status import Component
from store.supply import Refusal, Supply
from supervision.problems import Problem

T = TypeVar("T")
_MOST_KEPT, _LONGEST_KEY = 1_000, 300
Figures = Mapping[tuple[int, str, str], Figure]
"""(entity_id, code, period) → figure."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a cluster page needs besides the overview, read together."""

    read_at: datetime
    hours: tuple[Point, ...]
    days: tuple[Point, ...]
    enterprises: tuple[Enterprise, ...]
    enterprise_figures: Figures
    equipment: tuple[EquipmentNow, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """All that was read from the database at `read_at` (its clock), as far as its viewers may see it.

    `whole`: they see the province as a whole. `own`: of enterprises and banks, what concerns them, and nothing else.
    """

    read_at: datetime
    whole: bool = False
    own: Cluster | None = None
    pilots: tuple[Pilot, ...] = ()
    province: Figures = field(default_factory=dict)
    by_pilot: Figures = field(default_factory=dict)
    by_source: Figures = field(default_factory=dict)
    milestones: tuple[Milestone, ...] = ()
    arrivals: tuple[Arrival, ...] = ()
    supplies: tuple[Supply, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    refusal_counts: tuple[tuple[str, str, int], ...] = ()
    components: tuple[Component, ...] = ()
    problems: tuple[Problem, ...] = ()
    clusters: Mapping[str, Cluster] = field(default_factory=dict)
    canaries: tuple[Arrived, ...] = ()
    skews: tuple[Skew, ...] = ()
    unassigned: tuple[Unassigned, ...] = ()
    paces: Mapping[str, float] = field(default_factory=dict)
    """Writer's instance → rows a second it judged of late; without it, it is not known yet."""

    def pilot(self, code: str) -> Pilot | None:
        """The pilot of this code."""
        return next((p for p in self.pilots if p.code == code), None)


@dataclass(frozen=True)
class Snapshot:
    """The newest picture there is, and whether it could be renewed.

    `at`: the moment of publication on the database's clock (carried on by our own while it is away).
    `failing_since`: since when the database does not answer; None = it does. `zone`: on whose clock times are shown.
    """

    seq: int
    at: datetime
    picture: Picture | None
    failing_since: datetime | None
    zone: str = "Asia/Shanghai"
    _rendered: dict[Hashable, object] = field(default_factory=dict, repr=False, compare=False)

    def once(self, key: Hashable, render: Callable[[], T]) -> T:
        """Render something for this snapshot once, however many pages ask for it.

        Two threads asking at the same time may both render; the result is the same. `key` holds what pages sent: what
        no page of ours would send is rendered, and not kept.
        """
        if key in self._rendered:
            return cast(T, self._rendered[key])
        rendered = render()
        if len(self._rendered) < _MOST_KEPT and len(repr(key)) < _LONGEST_KEY:
            self._rendered[key] = rendered
        return rendered


def pick(figures: Figures, entity: int, code: str, periods: tuple[str, ...]) -> Figure | None:
    """The figure of the first period that has a value; else the first there is."""
    found = [f for period in periods if (f := figures.get((entity, code, period))) is not None]
    return next((f for f in found if f.value is not None), found[0] if found else None)
