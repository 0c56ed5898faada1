"""The unit's office: registers data, fills the past and the gaps, writes the truth, and keeps it all up to date."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Final

import msgspec

from simulators.context import RunContext
from simulators.history import Backfill, plan_chunks
from simulators.province import Source
from simulators.registration import AHEAD_DAYS, Registrar, Stopped
from simulators.shifts import DAY_MS
from simulators.signals import Machine
from simulators.truth import HOUR_MS, write_day

log = logging.getLogger("simulators.office")

LONG_GAP_MS: Final = 600_000
"""A client that was away for longer sends the time between on the history grid; shorter, every live sample."""

REPORTED_DAYS: Final = 7


class Office:
    """Two threads: one registers and keeps up to date, one back-fills and writes the truth."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._outbox = context.outbox
        self._epochs = context.epochs
        self._stop = context.stop
        self._has_api = bool(context.credentials.api_url)
        self._registrar = Registrar(context)
        self._is_registered = threading.Event()
        self._is_caught_up = threading.Event()
        self._truth_lock = threading.Lock()
        self._truth_machines = [
            machine for unit in context.credentials.units for machine in context.works.machines(unit)
        ]
        self._truth_hour = int(self._outbox.get("truth_hour") or -(-self._epochs.history_start // HOUR_MS))
        self._threads = [
            threading.Thread(target=self._guard, args=(work,), daemon=True, name=name)
            for name, work in (("registration", self._register), ("history", self._backfill))
        ]

    def start(self) -> None:
        """Start both threads; without an address of the platform only the truth is written."""
        if not self._has_api:
            self._is_registered.set()
        elif self._outbox.get("chunks") is None:
            self._plan_history()
        for thread in self._threads:
            thread.start()

    def join(self, seconds: float) -> None:
        """Wait a little for the threads to end by themselves."""
        for thread in self._threads:
            thread.join(seconds)

    def wait_registered(self) -> None:
        """Block until tags are registered or the run stops."""
        while not self._is_registered.wait(0.1):
            if self._stop.is_set():
                return

    def settle_gap(self, source: Source, lane: str) -> None:
        """At start: a lane that was away for long resumes now; the time between becomes history."""
        cursor = self._outbox.cursor(lane)
        if cursor is None or source.protocol == "opcua" or self._context.options.speed > 1:
            return
        now = self._context.clock.now()
        if now - cursor > LONG_GAP_MS:
            self.fill(source, lane, cursor, now // 60_000 * 60_000)

    def fill(self, source: Source, lane: str, start: int, end: int) -> None:
        """Plan the back-filling of [start, end) ms of one lane's machines, and let the lane go on from ``end``."""
        if not self._has_api or end <= start:
            return
        machines = self._machines(source.unit, lane)
        with self._outbox.transaction():
            self._outbox.add_chunks(plan_chunks(source.unit, lane, machines, (start, end)))
            if source.protocol != "opcua":
                self._outbox.set_cursor(lane, end)
            if end - start > LONG_GAP_MS:
                codes = [machine.code for machine in machines]
                declared = msgspec.json.decode(self._outbox.get("declare") or "[]")
                declared += [[source.unit, codes, start, False], [source.unit, codes, end, True]]
                self._outbox.set("declare", msgspec.json.encode(declared).decode())

    def _plan_history(self) -> None:
        window = (self._epochs.history_start, self._epochs.live_start)
        with self._outbox.transaction():
            for unit in self._registrar.units:
                self._outbox.add_chunks(plan_chunks(unit, "", self._machines(unit, ""), window))
            self._outbox.set("chunks", "planned")

    def _machines(self, unit: str, lane: str) -> list[Machine]:
        """New machines of a lane, of the whole unit if the name is empty."""
        works = self._context.works
        if not lane:
            return works.machines(unit)
        for source in self._context.province.sources:
            if source.key == lane:
                return works.machines(unit, source.equipment)
            for gateway in source.gateways:
                if gateway.client_id == lane:
                    return works.machines(unit, gateway.equipment)
        raise KeyError(lane)

    def _guard(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except Stopped:
            pass
        except Exception:
            if not self._stop.is_set():
                log.exception("the office failed")

    def _register(self) -> None:
        if not self._has_api:
            return
        registrar = self._registrar
        registrar.master_data()
        registrar.tags(self._epochs.history_start, live=False)
        if self._epochs.live_start > self._epochs.history_start:
            registrar.tags(self._epochs.live_start, live=True)
        self._is_registered.set()
        log.info("registered %d units", len(registrar.units))
        while not self._stop.is_set():
            self._keep_up()
            self._stop.wait(5.0)

    def _keep_up(self) -> None:
        """Send whatever has become due: declarations after gaps, calendars, orders, milestones, statements, daily reports."""
        registrar = self._registrar
        for unit, codes, start, live in msgspec.json.decode(self._outbox.get("declare") or "[]"):
            registrar.tags(start, live=live, machines={unit: set(codes)})
        now = self._context.clock.now()
        first, today = self._epochs.history_start // DAY_MS, now // DAY_MS
        registrar.calendars(first, today + AHEAD_DAYS)
        registrar.orders(first, today + 1)
        registrar.milestones()
        registrar.statements()
        # a local day ends at 16:00 UTC
        last = (now - 16 * HOUR_MS) // DAY_MS
        for day in range(max(first + 1, last - REPORTED_DAYS + 1), last + 1):
            registrar.report(day, first, self._exaggerating())

    def _exaggerating(self) -> str | None:
        """The unit that over-reports: the one whose pilot fares worst."""
        if "over_report" not in self._context.options.faults:
            return None
        return min(self._context.province.pilots, key=lambda pilot: pilot.gain).unit.code

    def _backfill(self) -> None:
        self.wait_registered()
        machines: dict[tuple[str, str], list[Machine]] = {}
        progress = self._context.progress
        while not self._stop.is_set():
            pending = [chunk for chunk in self._outbox.chunks() if not chunk.done] if self._has_api else []
            if pending:
                for chunk in pending:
                    key = (chunk.unit, chunk.machines)
                    if key not in machines:
                        machines[key] = self._machines(*key)
                if not self._is_caught_up.is_set():
                    progress.set(phase="history")
                Backfill(self._context, machines, self._truth_before).run()
            if not self._stop.is_set():
                self._write_truth(self._context.clock.now())
                self._is_caught_up.set()
                progress.set(phase="live")
                machines.clear()
            self._stop.wait(2.0)

    def _truth_before(self, start: int) -> None:
        """Before a chunk is sent: the truth of the days before it and of its own, if over."""
        self._write_truth(min(self._context.clock.now(), (start // DAY_MS + 1) * DAY_MS))

    def _write_truth(self, until: int) -> None:
        """Write all hours that ended by ``until`` (ms) and are not written yet."""
        hour = until // HOUR_MS
        with self._truth_lock:
            while self._truth_hour < hour and not self._stop.is_set():
                day = self._truth_hour // 24
                through = min(24, hour - day * 24)
                begin = max(0, -(-self._epochs.history_start // HOUR_MS) - day * 24)
                folder = self._context.options.state_dir / "truth"
                write_day(folder, day, self._truth_machines, range(begin, through))
                self._truth_hour = day * 24 + through
                self._outbox.set("truth_hour", str(self._truth_hour))
