"""What all parts of a run share."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from simulators.clock import Clock
from simulators.faults import Faults
from simulators.ledger import Progress
from simulators.outbox import Outbox
from simulators.province import Credentials, Province, Source
from simulators.works import Works


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line asks for. ``history_s`` and ``duration_s`` in seconds; duration 0: until stopped."""

    state_dir: Path
    base_port: int
    history_s: float
    faults: frozenset[str]
    speed: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class Epochs:
    """The run's fixed times in ms, remembered from the first run on."""

    history_start: int
    live_start: int


@dataclass(frozen=True, slots=True)
class RunContext:
    """One run. ``sources`` are those whose unit has credentials."""

    province: Province
    credentials: Credentials
    options: RunOptions
    epochs: Epochs
    sources: tuple[Source, ...]
    outbox: Outbox
    works: Works
    clock: Clock
    faults: Faults
    progress: Progress
    stop: threading.Event
