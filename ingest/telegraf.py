"""Telegraf's `data_format = "json"` (outputs.http, MQTT): metrics → readings, mapped as ingest.points says. Pure.

One metric is `{"name", "tags", "fields", "timestamp"}`, a batch `{"metrics": [metric, …]}`. The timestamp
is a number in `json_timestamp_units` (seconds by default), or RFC 3339 where `json_timestamp_format` says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np

from ingest.batch import Mode
from ingest.decoded import Decoded
from ingest.points import Points, ticks_of
from ingest.rfc3339 import BadTime, epoch_us

_US = 1_000_000
_LIMITS = np.iinfo(np.int64)


class Metric(msgspec.Struct, gc=False):
    """One metric as Telegraf writes it."""

    name: str
    fields: dict[str, Any]
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    timestamp: int | str | None = None


class Faulty(msgspec.Struct):
    """A metric that has another shape: its bytes, and what is wrong."""

    reason: str
    parameters: dict[str, str]
    original: bytes


def decode_metrics(
    metrics: Iterable[Metric | Faulty],
    *,
    unit: str,
    source: str,
    received_at: int,
    mode: Mode,
    precision: str = "s",
    equipment_tag: str | None = None,
) -> Decoded:
    """Readings of metrics; `precision` is that of timestamps that are numbers. Raises Malformed."""
    ticks = ticks_of(precision)
    points = Points(_US, equipment_tag)
    for i, metric in enumerate(metrics):
        if isinstance(metric, Faulty):
            points.refuse(i, metric.reason, metric.parameters, metric.original)
            continue
        equipment = points.equipment(metric.name, metric.tags)
        if equipment is None:
            points.refuse(i, "missing_equipment", {"measurement": metric.name[:60]}, _bytes(metric))
            continue
        if metric.timestamp is None:
            points.refuse(i, "missing_timestamp", {}, _bytes(metric))
            continue
        try:
            ts = (
                epoch_us(metric.timestamp)
                if isinstance(metric.timestamp, str)
                else metric.timestamp * _US // ticks
            )
        except BadTime as wrong:
            points.refuse(i, wrong.reason, {"got": str(metric.timestamp)[:100]}, _bytes(metric))
            continue
        codes = [points.code(metric.name, equipment, field) for field in metric.fields]
        points.add(i, codes, list(metric.fields.values()), min(max(ts, int(_LIMITS.min)), int(_LIMITS.max)))
    return points.decoded("metrics", mode, unit, source, received_at)


def _bytes(metric: Metric) -> bytes:
    return msgspec.json.encode(metric)
