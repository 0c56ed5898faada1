"""The refresher: a thread that renews the snapshot of one scope off the request path.

However many pages are open, the database is read once a period and scope, as the role `dashboard` with the
scope of whoever looks: row security decides what there is to show. A failed reading leaves the last picture
in place and says so; it never takes a page down.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import psycopg

from dashboard.indicators import CODES, PERIODS, SOURCE_CODES
from dashboard.lines import Lines
from dashboard.paces import Paces
from dashboard.snapshot import Cluster, Figures, Picture, Snapshot
from store import canary, operations, overview, supply
from store.database import Connection
from store.identity import Principal, acting
from store.status import Component, components
from supervision.operations import canary_facts, disk_facts, log_fact
from supervision.problems import (
    ComponentFact,
    DayFact,
    Facts,
    MilestoneFact,
    SourceFact,
    Thresholds,
    TransmissionFact,
    open_problems,
)

log = logging.getLogger(__name__)
T = TypeVar("T")

RATE_WINDOW = timedelta(minutes=30)
HOURS = timedelta(hours=48)
DAYS = timedelta(days=60)
INTEREST_S = 60.0
MOST_WANTED = 500
SERIES_EVERY_S = 20.0
REFUSALS = 200
COUNTED = 20_000
UNASSIGNED_COUNTED = 100_000
MASTER_DATA_DAYS = timedelta(days=7)
MASTER_DATA_LEAST_S = 7200.0
MASTER_DATA_MOST = 100
MASTER_DATA_EVERY_S = 60.0


@dataclass(slots=True)
class _Kept:
    value: object
    until: float


class Board:
    """Keeps the snapshot of one scope fresh. `current()` never waits and never fails.

    `want(code)` says that somebody looks at a pilot; its details are read while somebody does.
    `on_renewed` is called from the refreshing thread after each renewal, successful or not.
    """

    def __init__(
        self,
        lines: Lines,
        who: Principal,
        *,
        period_s: float = 2.0,
        thresholds: Thresholds | None = None,
        zone: str = "Asia/Shanghai",
        on_renewed: Callable[[Snapshot], None] = lambda _: None,
    ) -> None:
        self._lines = lines
        self._who = who
        self._period_s = period_s
        self._thresholds = thresholds or Thresholds()
        self._zone = zone
        self._on_renewed = on_renewed
        self._snapshot = Snapshot(0, datetime.now(UTC), None, None, zone)
        self._wanted: dict[str, float] = {}
        self._kept: dict[object, _Kept] = {}
        self._open: frozenset[str] = frozenset()
        self._paces = Paces()
        self._wake = threading.Event()
        self._ending = False
        self._thread: threading.Thread | None = None

    def current(self) -> Snapshot:
        """The newest snapshot."""
        return self._snapshot

    def want(self, code: str) -> None:
        """Somebody looks at this pilot now; a code that no pilot has is not kept."""
        picture = self._snapshot.picture
        if len(self._wanted) >= MOST_WANTED or (picture is not None and picture.pilot(code) is None):
            return
        if self._wanted.get(code, 0) < time.monotonic():
            self._wake.set()  # not read yet: do not make them wait for the next round
        self._wanted[code] = time.monotonic() + INTEREST_S

    def seen_by(self, who: Principal) -> None:
        """Somebody of this scope looks now: what he may see is read from now on."""
        self._who = who

    def start(self) -> None:
        """Begin to refresh."""
        self._thread = threading.Thread(target=self._run, name="board", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End refreshing, soon; does not wait."""
        self._ending = True
        self._wake.set()

    @property
    def is_running(self) -> bool:
        """Whether it refreshes, be it for the last time."""
        return self._thread is not None and self._thread.is_alive()

    def join(self) -> None:
        """Wait until it has ended."""
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._ending:
            began = time.monotonic()
            self._wake.clear()
            self.renew()
            self._wake.wait(max(0.1, self._period_s - (time.monotonic() - began)))

    def renew(self) -> None:
        """Read everything once and publish. Errors of the database become the snapshot's `failing_since`."""
        last = self._snapshot
        try:
            picture = self._read()
            fresh = Snapshot(last.seq + 1, picture.read_at, picture, None, self._zone)
            if last.failing_since is not None:
                log.info("database answers again")
        except (psycopg.Error, OSError) as error:
            now = datetime.now(UTC)
            if last.failing_since is None:
                log.warning("database does not answer: %s", error)
            fresh = Snapshot(last.seq + 1, now, last.picture, last.failing_since or now, self._zone)
        self._snapshot = fresh
        if not self._ending:
            self._on_renewed(fresh)

    def _read(self) -> Picture:
        who = self._who
        with self._lines.one() as conn, acting(conn, who):
            if who.role in ("enterprise", "bank"):
                return self._of_enterprises(conn)
            return self._picture(conn)

    def _of_enterprises(self, conn: Connection) -> Picture:
        """What an enterprise sees of itself, and a bank of those that let it."""
        enterprises = tuple(overview.enterprises(conn))
        firms = [e.enterprise_id for e in enterprises]
        now = overview.clock(conn)
        own = Cluster(
            read_at=now,
            hours=(),
            days=(),
            enterprises=enterprises,
            enterprise_figures=_indexed(overview.figures(conn, "enterprise", firms, CODES, PERIODS)),
            equipment=tuple(overview.equipment_now(conn)),
        )
        return Picture(read_at=now, own=own)

    def _picture(self, conn: Connection) -> Picture:
        now = overview.clock(conn)
        pilots = tuple(overview.pilots(conn))
        pilot_ids = [p.pilot_id for p in pilots]
        by_pilot = _indexed(overview.figures(conn, "cluster", pilot_ids, CODES, PERIODS))
        # An hour that has just begun says little: transmission is judged by the last full one.
        rates = overview.figures(conn, "cluster", pilot_ids, ["dq.transmission_rate"], ["hour"], closed=True)
        supplies = tuple(supply.supplies(conn))
        sources = [s.source_id for s in supplies]
        by_source = _indexed(overview.figures(conn, "source", sources, SOURCE_CODES, PERIODS))
        milestones = tuple(overview.milestones(conn))
        parts = tuple(components(conn))
        over = self._every("over", MASTER_DATA_EVERY_S, lambda: self._days_over(conn, now))
        canaries = tuple(canary.arrived(conn))
        facts = replace(
            _facts(pilots, _indexed(rates), supplies, by_source, over, milestones, parts),
            canaries=canary_facts(parts, canaries),
            log=log_fact(parts, now),
            disks=disk_facts(parts, now),
        )
        problems = open_problems(
            facts, now, thresholds=self._thresholds, open_before=self._open, zone=self._zone
        )
        self._open = frozenset(p.key for p in problems)
        return Picture(
            read_at=now,
            whole=overview.sees_province(conn),
            pilots=pilots,
            province=_indexed(overview.figures(conn, "province", [0], CODES, PERIODS)),
            by_pilot=by_pilot,
            by_source=by_source,
            milestones=milestones,
            arrivals=tuple(overview.arrivals(conn, now - RATE_WINDOW)),
            supplies=supplies,
            refusals=tuple(supply.refusals(conn, REFUSALS)),
            refusal_counts=self._every("refusals", 10, lambda: tuple(supply.refusal_counts(conn, COUNTED))),
            components=parts,
            problems=problems,
            clusters=self._clusters(conn, pilots, now),
            canaries=canaries,
            skews=tuple(operations.skews(conn)),
            unassigned=self._every(
                "unassigned", 10, lambda: tuple(operations.unassigned(conn, UNASSIGNED_COUNTED))
            ),
            paces=self._paces.note(parts),
        )

    def _days_over(self, conn: Connection, now: datetime) -> tuple[supply.DayOver, ...]:
        limits = {
            "equip.effectiveness": self._thresholds.effectiveness_off,
            "equip.availability": self._thresholds.availability_on,
        }
        since = now - MASTER_DATA_DAYS
        return tuple(
            supply.days_over(conn, limits, since, least_s=MASTER_DATA_LEAST_S, most=MASTER_DATA_MOST)
        )

    def _clusters(
        self, conn: Connection, pilots: Sequence[overview.Pilot], now: datetime
    ) -> dict[str, Cluster]:
        for code, until in list(self._wanted.items()):
            if until <= time.monotonic():
                self._wanted.pop(code, None)
        return {p.code: self._cluster(conn, p, now) for p in pilots if p.code in self._wanted}

    def _cluster(self, conn: Connection, pilot: overview.Pilot, now: datetime) -> Cluster:
        enterprises = tuple(overview.enterprises(conn, pilot.unit_id))
        firms = [e.enterprise_id for e in enterprises]

        def points(period: str, back: timedelta) -> tuple[overview.Point, ...]:
            return self._every(
                (period, pilot.code),
                SERIES_EVERY_S,
                lambda: tuple(overview.series(conn, "cluster", pilot.pilot_id, CODES, period, now - back)),
            )

        return Cluster(
            read_at=now,
            hours=points("hour", HOURS),
            days=points("day", DAYS),
            enterprises=enterprises,
            enterprise_figures=self._every(
                ("firms", pilot.code),
                SERIES_EVERY_S / 4,
                lambda: _indexed(overview.figures(conn, "enterprise", firms, CODES, PERIODS)),
            ),
            equipment=tuple(overview.equipment_now(conn, pilot.unit_id)),
        )

    def _every(self, key: object, seconds: float, load: Callable[[], T]) -> T:
        kept = self._kept.get(key)
        if kept is None or kept.until <= time.monotonic():
            kept = self._kept[key] = _Kept(load(), time.monotonic() + seconds)
        return kept.value  # type: ignore[return-value]  # what this key's `load` gave


def _indexed(figures: Sequence[overview.Figure]) -> Figures:
    return {(f.entity_id, f.code, f.period): f for f in figures}


def _facts(
    pilots: Sequence[overview.Pilot],
    hourly_rates: Figures,
    supplies: Sequence[supply.Supply],
    by_source: Figures,
    over: Sequence[supply.DayOver],
    milestones: Sequence[overview.Milestone],
    parts: Sequence[Component],
) -> Facts:
    def p95(source_id: int) -> overview.Figure | None:
        return by_source.get((source_id, "dq.latency_p95", "now")) or by_source.get(
            (source_id, "dq.latency_p95", "hour")
        )

    sources = []
    for s in supplies:
        delay = p95(s.source_id)
        sources.append(
            SourceFact(
                s.unit_code, s.key, s.interval_s, s.last_received_at, s.last_source_ts,
                delay.value if delay else None, delay.computed_at if delay else None,
                s.recent_accepted, s.recent_quarantined,
                s.sends_live and not s.stopped,
            )
        )  # fmt: skip
    rates = [
        TransmissionFact(p.unit_code, p.code, f.value, f.period_start)
        for p in pilots
        if (f := hourly_rates.get((p.pilot_id, "dq.transmission_rate", "hour"))) is not None
    ]
    days = [DayFact(d.unit_code, d.equipment_code, d.indicator, d.value, d.since, d.days) for d in over]
    due = [
        MilestoneFact(m.unit_code, m.code, m.name, m.planned_on) for m in milestones if m.accepted_on is None
    ]
    told = [ComponentFact(c.component, c.instance, c.status, c.beat_at) for c in parts]
    return Facts(tuple(sources), tuple(rates), tuple(days), tuple(due), tuple(told))
