"""What is done to the platform: each fault runs in its own thread and ends healed."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg

from qunce.supervisor import started_at
from store.database import connect
from tests.chaos.ground import ROLES, Ballast, Ground
from tests.chaos.readings import Record

DRAIN_S = 8.0
SERVERS = ("nats", "postgres")
WINDOW_S = 8.0
"""Faults of a round begin within this time."""


@dataclass
class Faults:
    """The faults of one round, and what happened when."""

    ground: Ground
    record: Record
    rng: random.Random
    netem: bool
    """Whether `tc netem` works here, on a loopback of our own."""
    begun: float = field(default_factory=time.monotonic)
    events: list[dict[str, Any]] = field(default_factory=list)
    drains: list[float] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _frozen: set[int] = field(default_factory=set)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)

    def plan(self, at_s: float, name: str, action: Callable[[], None]) -> None:
        """Do it `at_s` seconds after the round began."""

        def run() -> None:
            time.sleep(max(0.0, self.begun + at_s - time.monotonic()))
            event: dict[str, Any] = {"at_s": round(time.monotonic() - self.begun, 2), "fault": name}
            self.events.append(event)
            try:
                action()
            except Exception as error:  # a fault that could not be made proves nothing
                self.record.surprised(f"fault {name}: {type(error).__name__}: {error}")
            event["until_s"] = round(time.monotonic() - self.begun, 2)

        thread = threading.Thread(target=run, name=f"fault-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def over(self) -> bool:
        """Whether all faults are done and healed."""
        return not any(thread.is_alive() for thread in self._threads)

    def heal(self) -> None:
        """Whatever happens: nothing stays frozen, full or held down."""
        for pid in self._frozen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.ground.held.clear()
        for name in SERVERS:
            Ballast(self.ground.root / name).drop()
        self.ground.set_network({})
        self._netem(None)

    def kill(self, name: str) -> None:
        """kill -9; PostgreSQL: its postmaster."""
        if pid := self.ground.pid(name):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_backend(self, which: float) -> None:
        """kill -9 of one process of PostgreSQL (0 ≤ which < 1), which then ends all sessions and recovers."""
        if pids := self.ground.all_pids("postgres")[1:]:
            with suppress(ProcessLookupError):
                os.kill(pids[int(which * len(pids))], signal.SIGKILL)

    def burst(self, kills: list[tuple[str, float]]) -> None:
        """One kill after the other, some while the former is being recovered from; (what, pause after it in s)."""
        for name, pause_s in kills:
            if name == "backend":
                self.kill_backend(pause_s % 1)
            else:
                self.kill(name)
            time.sleep(pause_s)

    def outage(self, name: str, seconds: float) -> None:
        """Killed, and not there for a while."""
        self.ground.held.add(name)
        try:
            self.kill(name)
            time.sleep(seconds)
        finally:
            self.ground.held.discard(name)

    def torn_record(self) -> None:
        """The power fails while the log's last record is being written: a part of it is on the disk."""
        self.ground.held.add("nats")
        try:
            pid = self.ground.pid("nats")
            self.kill("nats")
            while pid and started_at(pid) is not None:
                time.sleep(0.02)
            time.sleep(0.1)
            for stream in ("QUNCE_INGEST", "$MQTT_msgs"):
                if (block := self.ground.newest_block(stream)) is not None:
                    with block.open("ab") as file:
                        file.write(torn_bytes(self.rng))
        finally:
            self.ground.held.discard("nats")

    def disk_full(self, name: str, seconds: float) -> None:
        """Not one byte left where this server writes."""
        ballast = Ballast(self.ground.root / name)
        try:
            ballast.fill()
            time.sleep(seconds)
        finally:
            ballast.drop()

    def freeze(self, name: str, seconds: float) -> None:
        """SIGSTOP, then SIGCONT: as a machine that swaps, or a virtual one that is moved."""
        with self._lock(name):
            pids = self.ground.all_pids(name)
            self._frozen.update(pids)
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            time.sleep(seconds)
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            self._frozen.difference_update(pids)

    def drain(self, role: str) -> None:
        """SIGTERM: must end by itself, in time."""
        with self._lock(role):
            pid = self.ground.pid(role)
            if not pid:
                return
            asked = time.monotonic()
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            while started_at(pid) is not None and time.monotonic() - asked < 4 * DRAIN_S:
                time.sleep(0.02)
            took = time.monotonic() - asked
            self.drains.append(round(took, 2))
            if took >= DRAIN_S:
                self.record.surprised(f"{role}: SIGTERM took {took:.1f} s")

    def take_over(self) -> None:
        """The writer freezes, the database forgets it, another one takes its partitions; then it comes back."""
        with self._lock("writer"):
            pids = self.ground.all_pids("writer")
            self._frozen.update(pids)
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            try:
                self.ground.errands.put(self.ground.launch_second_writer)
                time.sleep(0.5)
                with suppress(psycopg.Error):
                    self._end_writer_sessions()
                time.sleep(6)  # the second one starts and writes
            finally:
                for pid in pids:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)
                self._frozen.difference_update(pids)
            time.sleep(2)
            gone = threading.Event()

            def end_second() -> None:
                self.ground.supervisor.remove("writer-2")
                gone.set()

            self.ground.errands.put(end_second)
            gone.wait(40)

    def _end_writer_sessions(self) -> None:
        with connect(self.ground.postgres.admin_dsn, application="chaos", autocommit=True) as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'qunce-writer%'"
            )

    def slow_network(self, seconds: float) -> None:
        """Delay, jitter and little room: netem where the kernel has it, else a proxy on the way."""
        if self.netem:
            self._netem("delay 20ms 10ms loss 0.5%")
        else:
            self.ground.set_network({"delay_s": 0.04, "bytes_per_second": 400_000})
        time.sleep(seconds)
        self.ground.set_network({})
        self._netem(None)

    def hole(self, seconds: float) -> None:
        """Nothing comes through, and nobody is told."""
        self.ground.set_network({"hole": True})
        time.sleep(seconds)
        self.ground.set_network({})

    def cut(self, number: int) -> None:
        """All connections through the network are reset."""
        self.ground.set_network({"cuts": number})
        time.sleep(0.3)

    def _netem(self, how: str | None) -> None:
        if self.netem:
            words = ["del", "dev", "lo", "root"] if how is None else ["replace", "dev", "lo", "root", "netem"]
            command = ["tc", "qdisc", *words, *(how or "").split()]
            subprocess.run(command, check=False, capture_output=True)

    def _lock(self, name: str) -> threading.Lock:
        return self._locks.setdefault(name, threading.Lock())


def torn_bytes(rng: random.Random) -> bytes:
    """The beginning of a record of the log: a header that announces more than there is."""
    length = rng.randint(200, 4000)
    header = struct.pack("<IQQH", length, rng.getrandbits(40), time.time_ns(), 40)
    return header + secrets.token_bytes(rng.randint(0, length - 60))


def netem_works() -> bool:
    """Whether this kernel can spoil our own loopback."""
    if shutil.which("tc") is None:
        return False
    add = ["tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]
    if subprocess.run(add, check=False, capture_output=True).returncode != 0:
        return False
    subprocess.run(["tc", "qdisc", "del", "dev", "lo", "root"], check=False, capture_output=True)
    return True


SPECIALS = ("burst", "torn", "outage", "network", "disk", "takeover")


def special_of(number: int, *, disks: bool) -> str:
    """What is special about a round; they take turns."""
    special = SPECIALS[number % len(SPECIALS)]
    return "burst" if special == "disk" and not disks else special


def plan_round(faults: Faults, number: int, *, long_outages: bool) -> None:
    """Choose the faults of a round; the same seed chooses the same."""
    rng, ground = faults.rng, faults.ground
    turn = number // len(SPECIALS)
    special = special_of(number, disks=ground.disks)
    at: Callable[[], float] = lambda: rng.uniform(1.0, WINDOW_S)  # noqa: E731
    if special == "burst":
        kills = [
            (rng.choice((*ROLES, *SERVERS, "backend")), rng.uniform(0, 1.5)) for _ in range(rng.randint(4, 7))
        ]
        faults.plan(at(), f"burst {' '.join(name for name, _ in kills)}", lambda: faults.burst(kills))
    elif special == "torn":
        faults.plan(at(), "torn record nats", faults.torn_record)
    elif special == "outage":
        seconds = 60.0 if long_outages and turn % 3 == 1 else rng.uniform(4, 6)
        faults.plan(
            rng.uniform(1, 4), f"outage postgres {seconds:.0f} s", lambda: faults.outage("postgres", seconds)
        )
    elif special == "network":
        hole, slow = rng.uniform(2, 6), rng.uniform(4, 8)
        faults.plan(0.5, "slow network", lambda: faults.slow_network(slow))
        faults.plan(slow + 1.0, "hole in network", lambda: faults.hole(hole))
        faults.plan(slow + hole + 2.0, "cut network", lambda: faults.cut(number + 1))
    elif special == "disk":
        name = SERVERS[turn % 2]
        seconds = rng.uniform(4, 7)
        faults.plan(at(), f"disk full {name}", lambda: faults.disk_full(name, seconds))
    else:
        faults.plan(rng.uniform(1, 3), "writer taken over", faults.take_over)
    for _ in range(rng.randint(2, 4)):
        _plan_common(faults, rng, at())


def _plan_common(faults: Faults, rng: random.Random, at_s: float) -> None:
    kind = rng.choices(("kill", "backend", "drain", "freeze", "outage"), (5, 2, 2, 2, 1))[0]
    if kind == "kill":
        name = rng.choice((*ROLES, *SERVERS))
        faults.plan(at_s, f"kill {name}", lambda: faults.kill(name))
    elif kind == "backend":
        which = rng.random()
        faults.plan(at_s, "kill backend", lambda: faults.kill_backend(which))
    elif kind == "drain":
        role = rng.choice(ROLES)
        faults.plan(at_s, f"SIGTERM {role}", lambda: faults.drain(role))
    elif kind == "freeze":
        name, seconds = rng.choice((*ROLES, *SERVERS)), rng.uniform(1, 5)
        faults.plan(at_s, f"freeze {name} {seconds:.1f} s", lambda: faults.freeze(name, seconds))
    else:
        seconds = rng.uniform(1, 4)
        faults.plan(at_s, f"outage nats {seconds:.1f} s", lambda: faults.outage("nats", seconds))
