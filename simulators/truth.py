"""The ground truth: what each machine did in each UTC hour, from the model itself, not from its samples."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from simulators.machine import RUN, SETUP, Ints, MachineDay
from simulators.shifts import DAY_MS, local_date
from simulators.signals import Machine

HOUR_MS: Final = 3_600_000

COLUMNS: Final = (
    "unit", "equipment_code", "hour", "apt_s", "aust_s", "pbt_s", "executing_s", "calendar_s",
    "produced", "good", "scrap", "pri_produced_s", "pri_good_s", "energy_kwh",
)  # fmt: skip


def hours_of(
    day: MachineDay,
) -> list[tuple[float, float, float, float, float, int, int, int, float, float, float]]:
    """For each of the day's 24 hours: the columns from ``apt_s`` to ``energy_kwh``.

    Orders begin and end on full hours, so each hour has one PRI.
    """
    edges = day.day * DAY_MS + np.arange(25, dtype=np.int64) * HOUR_MS
    produced, scrap = _counted_at(day, edges)
    energy = np.diff(np.append(day.energy(edges[:-1]), day.energy_kwh))
    running, setting_up = _spent(day, RUN, edges), _spent(day, SETUP, edges)
    spans = [span for shift in day.shifts for span in shift.busy()]
    busy = [
        float(sum(max(0, min(end, edges[h + 1]) - max(start, edges[h])) for start, end in spans))
        for h in range(24)
    ]
    rows = []
    for hour in range(24):
        pri = next((o.pri_s for o in day.orders if o.start <= edges[hour] < o.end), 0.0)
        made, bad = int(produced[hour]), int(scrap[hour])
        rows.append(
            (
                running[hour] / 1000, setting_up[hour] / 1000, busy[hour] / 1000, running[hour] / 1000, 3600.0,
                made, made - bad, bad, round(pri * made, 3), round(pri * (made - bad), 3),
                round(float(energy[hour]), 6),
            )
        )  # fmt: skip
    return rows


def _counted_at(day: MachineDay, edges: Ints) -> tuple[Ints, Ints]:
    produced, scrap = day.counted(edges[:-1])
    return np.diff(produced, append=day.produced), np.diff(scrap, append=day.scrap)


def _spent(day: MachineDay, kind: int, edges: Ints) -> list[float]:
    """ms of each hour that the machine spent on ``kind``."""
    mine = day.what == kind
    length = np.where(mine, np.diff(day.start, append=day.end), 0)
    before = np.cumsum(length) - length
    inner = edges[:-1]
    segment = day.segment_at(inner)
    until = before[segment] + np.where(mine[segment], inner - day.start[segment], 0)
    spent: list[float] = np.diff(until, append=length.sum()).astype(np.float64).tolist()
    return spent


def write_day(folder: Path, day: int, machines: Iterable[Machine], hours: range) -> int:
    """Write (replace) these hours of a production day as CSV; returns the rows written.

    The file is named for the UTC day; ``hour`` is the hour's start, RFC 3339 UTC.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    name = local_date(day).isoformat()
    count = 0
    for machine in machines:
        rows = hours_of(machine.day(day))
        for hour in hours:
            writer.writerow((machine.profile.unit, machine.code, f"{name}T{hour:02d}:00:00Z", *rows[hour]))
            count += 1
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.csv"
    partial = target.with_suffix(".tmp")
    partial.write_text(buffer.getvalue(), encoding="utf-8")
    partial.replace(target)
    return count
