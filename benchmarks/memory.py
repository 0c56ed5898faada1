"""Memory of processes over time: a thread that looks once a second and writes what it sees as JSON lines."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

EVERY_S = 1.0
WARM_UP_SHARE = 0.2
FLAT = 0.10
"""A process is flat when, after warm-up, it stays within this share of its median."""

Sample = dict[str, float]


class Watch:
    """Samples `pids()` (name → process id) and a directory's size into `file`. Use as a context manager."""

    def __init__(self, pids: Callable[[], dict[str, int]], log: Path, file: Path) -> None:
        self._pids, self._log, self._file = pids, log, file
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)
        self.samples: list[Sample] = []

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        began = time.monotonic()
        with self._file.open("w", encoding="utf-8") as file:
            while not self._ended.wait(EVERY_S):
                sample: Sample = {"seconds": round(time.monotonic() - began, 2)}
                for name, pid in self._pids().items():
                    sample |= memory_of(name, pid)
                sample["log_bytes"] = size_of(self._log)
                self.samples.append(sample)
                file.write(json.dumps(sample) + "\n")
                file.flush()


def memory_of(name: str, pid: int) -> Sample:
    """Bytes of a process and its children, each by itself.

    PostgreSQL's processes share their buffers, which RSS would count once for each: of them all together
    `postgres` is the proportional size (PSS), `postgres_private` what is in no other process.
    """
    try:
        main = psutil.Process(pid)
        family = [main, *main.children(recursive=True)]
    except psutil.NoSuchProcess:
        return {}
    if name == "postgres":
        return _shared(family)
    found: Sample = {}
    for number, process in enumerate(family):
        try:
            found[name if number == 0 else f"{name}.{number}"] = process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return found


def _shared(family: list[psutil.Process]) -> Sample:
    proportional = private = 0
    for process in family:
        try:
            full = process.memory_full_info()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        proportional += getattr(full, "pss", full.rss)
        private += full.uss
    return {"postgres": proportional, "postgres_private": private}


def size_of(folder: Path) -> int:
    """Bytes of the files below a folder that changes meanwhile."""
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size
        except FileNotFoundError:
            continue
    return total


def summary(samples: list[Sample]) -> dict[str, dict[str, Any]]:
    """Of each series: the most there was; after warm-up: median, slope (bytes a minute), whether flat."""
    found: dict[str, dict[str, Any]] = {}
    names = sorted({name for sample in samples for name in sample} - {"seconds"})
    until = samples[-1]["seconds"] * WARM_UP_SHARE if samples else 0.0
    for name in names:
        seen = [(sample["seconds"], sample[name]) for sample in samples if name in sample]
        warm = np.array([(at, size) for at, size in seen if at >= until], float)
        if len(warm) < 2:
            continue
        median = float(np.median(warm[:, 1]))
        slope = float(np.polyfit(warm[:, 0], warm[:, 1], 1)[0]) * 60
        low, high = float(warm[:, 1].min()), float(warm[:, 1].max())
        found[name] = {
            "max_bytes": int(max(size for _, size in seen)),
            "median_bytes": int(median),
            "slope_bytes_per_minute": int(slope),
            "flat": bool(median > 0 and low >= median * (1 - FLAT) and high <= median * (1 + FLAT)),
        }
    return found


def peak_bytes(pid: int) -> int:
    """The most memory a process has had (VmHWM); 0 when it is not there or the system does not say."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
