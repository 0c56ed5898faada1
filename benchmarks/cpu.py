"""Processor seconds of every process of a run: on a machine that others use too they tell more than the clock does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

Seconds = dict[str, float]


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds, user and system, that each process has had, by name; `busy`: all processors of the machine."""

    by_name: Seconds
    busy: float

    def until(self, later: Sample) -> Seconds:
        """What each had between two samples; `elsewhere`: what the rest of the machine had.

        A process that `later` does not know any more is left out, one that is new counts from its start.
        """
        used = {name: seconds - self.by_name.get(name, 0.0) for name, seconds in later.by_name.items()}
        used["elsewhere"] = max(0.0, later.busy - self.busy - sum(used.values()))
        return {name: round(max(0.0, seconds), 2) for name, seconds in used.items()}


OWN = ("bench", "bench_backend", "elsewhere")
"""What the path that is measured does not cost: the benchmark's looking on, and others."""


def us_per_row(used: Seconds, rows: int) -> float:
    """Processor microseconds that a reading cost, in all processes that took part."""
    return round(sum(seconds for name, seconds in used.items() if name not in OWN) / rows * 1e6, 2)


def sample(pids: Mapping[str, int], *, own_backend: int) -> Sample:
    """Look at these processes (name → process id) and their children, now.

    Of the benchmark itself (`bench`), whose children are all the others, only what it does itself. Children are `<name>_children`. PostgreSQL's are `postgres_backends` (they serve connections; with
    those that have ended) and `postgres`; `own_backend` serves the benchmark and is a name by itself.
    """
    found: defaultdict[str, float] = defaultdict(float)
    for name, pid in pids.items():
        try:
            main = psutil.Process(pid)
            times = main.cpu_times()
            found[name] += times.user + times.system
            if name == "bench":
                continue
            children = main.children(recursive=True)
        except psutil.NoSuchProcess:
            continue
        ended = times.children_user + times.children_system
        if name == "postgres":
            found["postgres_backends"] += ended
        elif children or ended:
            found[f"{name}_children"] += ended
        for child in children:
            try:
                seconds = sum(child.cpu_times()[:2])
                found[_name_of(name, child, own_backend)] += seconds
            except psutil.NoSuchProcess:
                continue
    total = psutil.cpu_times()
    busy = sum(getattr(total, kind, 0.0) for kind in ("user", "nice", "system", "irq", "softirq"))
    return Sample(dict(found), busy)


def _name_of(name: str, child: psutil.Process, own_backend: int) -> str:
    if name != "postgres":
        return f"{name}_children"
    if child.pid == own_backend:
        return "bench_backend"
    return "postgres_backends" if "127.0.0.1" in " ".join(child.cmdline()) else "postgres"
