"""The unit's office: registers data, fills the past and the gaps, writes the truth, and keeps it all up to date."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Final

import msgspec

from simulators.clock import Clock
from simulators.history import Backfill, plan_chunks
from simulators.ledger import Progress
from simulators.outbox import Outbox
from simulators.province import Credentials, Province, Source
from simulators.registration import AHEAD_DAYS, Registrar, Stopped
from simulators.shifts import DAY_MS
from simulators.signals import Machine
from simulators.truth import HOUR_MS, write_day
from simulators.works import Works

if TYPE_CHECKING:
    from simulators.run import RunOptions

log = logging.getLogger("simulators.office")

LONG_GAP_MS: Final = 600_000
"""A client that was away for longer sends the time between on the history grid; shorter, every live sample."""

REPORTED_DAYS: Final = 7


class Office:
    """Two threads: one registers and keeps up to date, one back-fills and writes the truth."""

    def __init__(
        self,
        province: Province,
        credentials: Credentials,
        outbox: Outbox,
        works: Works,
        history_start: int,
        live_start: int,
        clock: Clock,
        progress: Progress,
        stop: threading.Event,
        options: RunOptions,
    ) -> None:
        self._province = province
        self._credentials = credentials
        self._outbox = outbox
        self._works = works
        self._history_start = history_start
        self._live_start = live_start
        self._clock = clock
        self._progress = progress
        self._stop = stop
        self._options = options
        self._registrar = Registrar(province, credentials, outbox, stop)
        self.is_registered = threading.Event()
        self._is_caught_up = threading.Event()
        self._truth_lock = threading.Lock()
        self._truth_machines = {unit: works.machines(unit) for unit in credentials.units}
        self._truth_hour = -1
        self._threads = [
            threading.Thread(target=self._guard, args=(work,), daemon=True, name=name)
            for name, work in (("registration", self._register), ("history", self._backfill))
        ]

    def start(self) -> None:
        """Start both threads; without an address of the platform only the truth is written."""
        if not self._credentials.api_url:
            self.is_registered.set()
        elif self._outbox.get("chunks") is None:
            self._plan_history()
        for thread in self._threads:
            thread.start()

    def join(self, seconds: float) -> None:
        """Wait a little for the threads to end by themselves."""
        for thread in self._threads:
            thread.join(seconds)

    def settle_gap(self, source: Source, lane: str) -> None:
        """At start: a lane that was away for long resumes now; the time between becomes history."""
        cursor = self._outbox.cursor(lane)
        if cursor is None or source.protocol == "opcua" or self._options.speed > 1:
            return
        now = self._clock.now()
        if now - cursor > LONG_GAP_MS:
            self.fill(source, lane, cursor, now // 60_000 * 60_000)

    def fill(self, source: Source, lane: str, start: int, end: int) -> None:
        """Plan the back-filling of [start, end) ms of one lane's machines, and let the lane go on from ``end``."""
        if not self._credentials.api_url or end <= start:
            return
        machines = self._machines(source.unit, lane)
        with self._outbox.transaction():
            self._outbox.add_chunks(plan_chunks(source.unit, lane, machines, start, end))
            if source.protocol != "opcua":
                self._outbox.set_cursor(lane, end)
            if end - start > LONG_GAP_MS:
                codes = [machine.code for machine in machines]
                declared = msgspec.json.decode(self._outbox.get("declare") or "[]")
                declared += [[source.unit, codes, start, False], [source.unit, codes, end, True]]
                self._outbox.set("declare", msgspec.json.encode(declared).decode())

    def _plan_history(self) -> None:
        with self._outbox.transaction():
            for unit in self._registrar.units:
                machines = self._truth_machines[unit]
                chunks = plan_chunks(unit, "", machines, self._history_start, self._live_start)
                self._outbox.add_chunks(chunks)
            self._outbox.set("chunks", "planned")

    def _machines(self, unit: str, lane: str) -> list[Machine]:
        if not lane:
            return self._works.machines(unit)
        for source in self._province.sources:
            if source.key == lane:
                return self._works.machines(unit, source.equipment)
            for gateway in source.gateways:
                if gateway.client_id == lane:
                    return self._works.machines(unit, gateway.equipment)
        raise KeyError(lane)

    def _guard(self, work: Any) -> None:
        try:
            work()
        except Stopped:
            pass
        except Exception:
            if not self._stop.is_set():
                log.exception("the office failed")

    def _register(self) -> None:
        if not self._credentials.api_url:
            return
        registrar = self._registrar
        registrar.master_data()
        registrar.tags(self._history_start, live=False)
        if self._live_start > self._history_start:
            registrar.tags(self._live_start, live=True)
        self.is_registered.set()
        log.info("registered %d units", len(registrar.units))
        while not self._stop.is_set():
            self._keep_up()
            self._stop.wait(5.0)

    def _keep_up(self) -> None:
        """Send whatever has become due: declarations after gaps, calendars, orders, milestones, daily reports."""
        registrar = self._registrar
        for unit, codes, start, live in msgspec.json.decode(self._outbox.get("declare") or "[]"):
            registrar.tags(start, live=live, machines={unit: set(codes)})
        first, today = self._history_start // DAY_MS, self._clock.now() // DAY_MS
        profiles = list(self._works.profiles.values())
        registrar.calendars(profiles, first, today + AHEAD_DAYS)
        registrar.orders(profiles, first, today + 1)
        registrar.milestones()
        last = (self._clock.now() - 16 * HOUR_MS) // DAY_MS
        with self._truth_lock:
            for day in range(max(first + 1, last - REPORTED_DAYS + 1), last + 1):
                registrar.reports(self._truth_machines, first, day, self._exaggerating())

    def _exaggerating(self) -> str | None:
        if "over_report" not in self._options.faults:
            return None
        return min(self._province.pilots, key=lambda pilot: pilot.gain).unit.code

    def _backfill(self) -> None:
        while not self.is_registered.wait(0.2):
            if self._stop.is_set():
                return
        machines: dict[tuple[str, str], list[Machine]] = {}
        while not self._stop.is_set():
            pending = (
                [chunk for chunk in self._outbox.chunks() if not chunk.done]
                if self._credentials.api_url
                else []
            )
            if pending:
                for chunk in pending:
                    key = (chunk.unit, chunk.machines)
                    if key not in machines:
                        machines[key] = self._machines(*key)
                if not self._is_caught_up.is_set():
                    self._progress.set(phase="history")
                Backfill(
                    self._credentials, self._outbox, machines, self._progress, self._stop, self._truth_before
                ).run()
            if not self._stop.is_set():
                self._write_truth(self._clock.now())
                self._is_caught_up.set()
                self._progress.set(phase="live")
            self._stop.wait(2.0)

    def _truth_before(self, start: int) -> None:
        """Before a chunk is sent: the truth of the days before it and of its own, if over."""
        now = self._clock.now()
        self._write_truth(min(now, (start // DAY_MS + 1) * DAY_MS))

    def _write_truth(self, until: int) -> None:
        """Write all hours that ended by ``until`` (ms) and are not written yet."""
        hour = until // HOUR_MS
        with self._truth_lock:
            if self._truth_hour < 0:
                self._truth_hour = int(self._outbox.get("truth_hour") or -(-self._history_start // HOUR_MS))
            while self._truth_hour < hour and not self._stop.is_set():
                day = self._truth_hour // 24
                through = min(24, hour - day * 24)
                everything = [machine for machines in self._truth_machines.values() for machine in machines]
                begin = max(0, -(-self._history_start // HOUR_MS) - day * 24)
                write_day(self._options.state_dir / "truth", day, everything, begin, through)
                self._truth_hour = day * 24 + through
                self._outbox.set("truth_hour", str(self._truth_hour))
