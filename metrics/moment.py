"""What is computed on the clock: the present moment, the registers, latency."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from metrics.catalogue import Indicator, Level, catalogue
from metrics.engine import connected_by_day, save
from metrics.formulas import FORMULAS
from metrics.levels import group, values_of
from metrics.periods import start_of
from metrics.readings import Ints
from store import components
from store.columnar import micros
from store.components import PROVINCE, Registry
from store.database import Connection
from store.indicators import newest_start
from store.times import DAY_US, HOUR_US, moment

DAYS_BACK = 90
"""Registers are told as of each of the last so many days: late entries and acceptances change the past."""
_LATENCY_WINDOW = timedelta(minutes=5)
_SLOT_US = 300_000_000


def live(conn: Connection, now: datetime) -> int:
    """The values of the period `now` that move by the second: online rate and latency. Returns rows written."""
    with conn.transaction():
        registry = components.registry(conn)
        values = [_devices(conn, registry, now, "conn.equip_online_rate")]
        # slots are 5 minutes long: the one in progress and the one before it
        since = moment(micros(now) // _SLOT_US * _SLOT_US) - _LATENCY_WINDOW
        values.append(_latency(conn, registry, "now", since, now + _LATENCY_WINDOW))
        return save(conn, pd.concat(values, ignore_index=True), now)


def _devices(conn: Connection, registry: Registry, now: datetime, code: str) -> pd.DataFrame:
    frame = components.devices(conn, now)
    nothing = np.zeros(len(frame), np.int64)
    groups = group(frame["equipment_id"].to_numpy(np.int64), nothing - 1, nothing, registry)
    indicator = catalogue()[code]
    formula = FORMULAS[code, indicator.version]
    return values_of(indicator, (formula.now or formula.compute)(frame), groups, "now", formula.provenance)


def registers(conn: Connection, now: datetime) -> int:
    """Devices connected, enterprises registered, milestones on time: now and by day; latency by hour and day."""
    today = moment(int(start_of("day", micros(now))))
    with conn.transaction():
        registry = components.registry(conn)
        days = np.arange(DAYS_BACK, -1, -1, dtype=np.int64) * -DAY_US + micros(today)
        values = [_devices(conn, registry, now, "plat.devices_connected")]
        for period, starts in (("now", np.zeros(1, np.int64)), ("day", days)):
            dates = _dates(starts if period == "day" else np.array([micros(today)]))
            values += [
                _enterprises(components.enterprises(conn), registry, period, starts, dates),
                _milestones(components.milestones(conn), registry, period, starts, dates),
            ]
        for period, length in (("hour", timedelta(hours=1)), ("day", timedelta(days=1))):
            newest = newest_start(conn, "dq.latency_p95", period)
            since = newest + length if newest else now - timedelta(days=DAYS_BACK)
            since = moment(int(start_of(period, micros(since))))
            values.append(_latency(conn, registry, period, since, now, from_first=newest is None))
        written = save(conn, pd.concat([v for v in values if len(v)], ignore_index=True), now)
        tomorrow = today + timedelta(days=1)
        connected_by_day(conn, [(today, tomorrow)], now, before=tomorrow)
        return written


def _dates(starts: Ints) -> Ints:
    """The calendar day (+08:00) that each start (µs) begins, as datetime64[us] µs without a zone."""
    return starts + 8 * 3_600_000_000


def _pilots(registry: Registry, unit: Ints) -> Ints:
    table = dict(zip(registry.pilots["unit_id"], registry.pilots["pilot_id"], strict=True))
    return np.array([table.get(u, -1) for u in unit.tolist()], np.int64)


def _each_day(frame: pd.DataFrame, starts: Ints, dates: Ints) -> pd.DataFrame:
    calendar = pd.DataFrame({"start": starts, "as_of": pd.to_datetime(dates, unit="us")})
    return frame.merge(calendar, how="cross")


def _enterprises(
    frame: pd.DataFrame, registry: Registry, period: str, starts: Ints, dates: Ints
) -> pd.DataFrame:
    indicator = catalogue()["plat.enterprises_registered"]
    compute = FORMULAS[indicator.code, indicator.version].compute
    rows = _each_day(frame, starts, dates)
    rows = rows[rows["registered_on"] <= rows["as_of"]]
    out = []
    for level in ("cluster", "province"):
        entities = (
            registry.pilots["pilot_id"].to_numpy(np.int64) if level == "cluster" else np.array([PROVINCE])
        )
        entity = (
            _pilots(registry, rows["unit_id"].to_numpy(np.int64))
            if level == "cluster"
            else np.full(len(rows), PROVINCE)
        )
        index = np.searchsorted(starts, rows["start"].to_numpy(np.int64))
        grouped = rows.assign(group=entity * len(starts) + index)[entity >= 0]
        counted = compute(grouped)
        # Nobody registered is a count: zero, not unknown.
        keys = (entities[:, None] * len(starts) + np.arange(len(starts))).ravel()
        value = pd.Series(0.0, index=keys).add(counted.set_index("group")["value"], fill_value=0.0)
        out.append(
            _table(
                indicator, level, value.index.to_numpy() // len(starts), period,
                starts[value.index.to_numpy() % len(starts)],
            ).assign(
                value=value.to_numpy(), numerator=value.to_numpy(), n_inputs=value.to_numpy().astype(np.int64),
                provenance="reported", completeness=1.0,
            )
        )  # fmt: skip
    return pd.concat(out, ignore_index=True)


def _milestones(
    frame: pd.DataFrame, registry: Registry, period: str, starts: Ints, dates: Ints
) -> pd.DataFrame:
    indicator = catalogue()["proj.milestone_on_time"]
    formula = FORMULAS[indicator.code, indicator.version]
    rows = _each_day(frame, starts, dates)
    if rows.empty:
        return pd.DataFrame()
    groups = group(
        # a milestone belongs to a unit: its number stands where others have an equipment
        np.zeros(len(rows), np.int64),
        rows["unit_id"].to_numpy(np.int64),
        rows["start"].to_numpy(np.int64),
        Registry(
            registry.equipment.iloc[:0],
            pd.DataFrame({"source_id": np.unique(frame["unit_id"]), "unit_id": np.unique(frame["unit_id"])}),
            registry.pilots,
        ),
    )
    terms = formula.compute(rows)
    values = values_of(indicator, terms, groups, period, formula.provenance)
    return values.assign(n_inputs=values["denominator"].fillna(0).astype(np.int64))


def _latency(
    conn: Connection,
    registry: Registry,
    period: str,
    since: datetime,
    until: datetime,
    *,
    from_first: bool = False,
) -> pd.DataFrame:
    """Latency of every source in every period from `since` (or the first with arrivals) to `until`."""
    indicator = catalogue()["dq.latency_p95"]
    compute = FORMULAS[indicator.code, indicator.version].compute
    frame = components.latency(conn, since, until).merge(registry.sources, on="source_id")
    start = start_of(period, frame["hour"].to_numpy(np.int64))
    if period == "now":
        starts = np.zeros(1, np.int64)
    else:
        first = int(start.min(initial=micros(until))) if from_first else micros(since)
        starts = np.arange(first, micros(until), HOUR_US if period == "hour" else DAY_US, dtype=np.int64)
    index = np.searchsorted(starts, start)
    entity: dict[Level, Ints] = {
        "source": frame["source_id"].to_numpy(np.int64),
        "cluster": _pilots(registry, frame["unit_id"].to_numpy(np.int64)),
        "province": np.full(len(frame), PROVINCE, np.int64),
    }
    everyone: dict[Level, Ints] = {
        "source": registry.sources["source_id"].to_numpy(np.int64),
        "cluster": registry.pilots["pilot_id"].to_numpy(np.int64),
        "province": np.array([PROVINCE], np.int64),
    }
    out = []
    for level in indicator.periods:
        mine = entity[level] >= 0
        found = compute(frame.assign(group=entity[level] * len(starts) + index)[mine])
        keys = (everyone[level][:, None] * len(starts) + np.arange(len(starts))).ravel()
        found = found.set_index("group").reindex(keys)
        n = found["n"].fillna(0).to_numpy(np.float64)
        table = _table(indicator, level, keys // len(starts), period, starts[keys % len(starts)])
        reason = pd.Series("no_live_data", index=table.index, dtype=object).where(n == 0, None)
        out.append(
            table.assign(
                value=found["value"].to_numpy(np.float64),
                denominator=np.where(n > 0, n, np.nan),
                n_inputs=n.astype(np.int64),
                completeness=np.where(n > 0, 1.0, np.nan),
                provenance="observed",
                reason=reason,
            )
        )
    return pd.concat(out, ignore_index=True)


def _table(indicator: Indicator, level: str, entity: Ints, period: str, start: Ints) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "code": indicator.code,
            "formula_version": indicator.version,
            "level": level,
            "entity_id": entity,
            "period": period,
            "period_start": start,
            "value": np.nan,
            "numerator": np.nan,
            "denominator": np.nan,
            "n_inputs": 0,
            "completeness": np.nan,
            "provenance": "observed",
            "reason": None,
        }
    )
