"""The engine: from marked equipment-hours to stored indicator values, in short idempotent transactions.

Each function takes a connection (not in autocommit), does one piece of work in its own transactions and
can be killed at any instant: what is left is still marked in `dirty_hour` or `dirty_period`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from metrics import responsibility
from metrics.catalogue import Indicator, catalogue
from metrics.formulas import FORMULAS, Formula, Reads
from metrics.levels import VALUE_COLUMNS, Groups, group, product, values_of
from metrics.periods import end_of, start_of
from metrics.readings import Ints
from metrics.rollup import SETTLE_S, compute
from store import components, rollups
from store.columnar import micros
from store.components import Registry
from store.database import Connection
from store.indicators import save_values
from store.rollups import Markers
from store.times import HOUR_US, moment

SLICE_HOURS = 4000
"""Equipment-hours computed at once: about 300,000 readings, some 100 MB."""
REFRESH_S = 60
"""An equipment-hour in progress is computed anew this often even when nothing came: time passes."""
_EDGE = timedelta(minutes=5)
_AT_ONCE = {"hour": 48, "day": 7, "month": 1}


def rollup(
    conn: Connection, now: datetime, *, live: bool, settle_s: float = 15.0, limit: int = SLICE_HOURS
) -> int:
    """Compute the next slice of marked equipment-hours, newest first; returns how many were marked (0: none left).

    A changed hour touches its neighbours: the one before by interpolation across the edge, the one after
    by what is carried forward. `live`: the last two hours and hours in progress; else older ones, that have settled.
    """
    with conn.transaction():
        marked = rollups.dirty_hours(conn, now, limit=limit, settle_s=settle_s, live=live)
        stale = rollups.stale_hours(conn, now, refresh_s=REFRESH_S, limit=limit) if live else None
        if not len(marked) and not (stale and len(stale)):
            return 0
        incomplete = rollups.incomplete_hours(conn, now - timedelta(hours=1)) if live else np.empty(0)
        equipment, hour = _with_neighbours(marked, stale, incomplete, now)
        known = np.isin(equipment, components.registry(conn).equipment["equipment_id"])
        if known.any():
            raw = rollups.raw_slice(conn, equipment[known], hour[known])
            hours = compute(raw, micros(now))
            # A neighbour before an equipment's first schedule is no hour of its: nothing was due or sent.
            hours = hours[hours[["due", "readings", "online_s", "stopped_s"]].gt(0).any(axis=1)]
            rollups.save_hours(conn, hours, marked, now)
        else:
            rollups.unmark_hours(conn, marked)
        # Rows of unknown tags and refused rows: no equipment-hour changes, but arrivals.
        arrivals = np.union1d(hour[~known], rollups.refused_hours(conn, marked))
        if len(arrivals):
            _mark(conn, arrivals)
    return len(marked)


def _with_neighbours(
    marked: Markers, stale: Markers | None, incomplete: np.ndarray[Any, Any], now: datetime
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    who, when = [marked.equipment_id], [marked.hour]
    now_us, edge_us = micros(now), int(_EDGE.total_seconds() * 1e6)
    over = marked.hour + HOUR_US <= now_us
    # While an hour is in progress, the one before it waits for its last readings, not for every new one.
    before = over | (now_us < marked.hour + edge_us) | np.isin(marked.equipment_id, incomplete)
    who += [marked.equipment_id[before], marked.equipment_id[over]]
    when += [marked.hour[before] - HOUR_US, marked.hour[over] + HOUR_US]
    if stale is not None and len(stale):
        closing = stale.hour + HOUR_US <= now_us
        who += [stale.equipment_id, stale.equipment_id[closing]]
        when += [stale.hour, stale.hour[closing] - HOUR_US]
    equipment, hour = np.concatenate(who), np.concatenate(when)
    pairs = np.unique(np.stack([equipment.astype(np.int64), hour]), axis=1)
    return pairs[0].astype(np.int32), pairs[1]


def _mark(conn: Connection, hours: Ints) -> None:
    for period in ("hour", "day", "month"):
        starts = [moment(us) for us in np.unique(start_of(period, hours)).tolist()]
        rollups.mark_periods(conn, period, starts)


def indicators(conn: Connection, now: datetime, *, settle_s: float = 15.0) -> int:
    """Compute the values of the next marked periods (hours, else days, else months); returns how many periods."""
    with conn.transaction():
        due = rollups.dirty_periods(conn, now, settle_s=settle_s, limit=_AT_ONCE["hour"])
        if not due:
            return 0
        period = due[0][0]
        mine = [entry for entry in due if entry[0] == period][: _AT_ONCE[period]]
        starts = np.array(sorted(micros(start) for _, start, _ in mine), np.int64)
        spans = [(moment(a), moment(b)) for a, b in zip(starts, end_of(period, starts), strict=True)]
        values = _values(conn, period, spans)
        save(conn, values, now)
        if period == "day":
            connected_by_day(conn, spans, now, before=moment(int(start_of("day", micros(now)))))
        rollups.unmark_periods(conn, mine)
    return len(mine)


def _values(conn: Connection, period: str, spans: list[components.Span]) -> pd.DataFrame:
    registry = components.registry(conn)
    hours = components.hours(conn, spans).merge(registry.equipment, on="equipment_id")
    supply = components.supply(conn, spans)
    earlier = _earlier(conn, spans, hours, supply)
    owner = responsibility.owners(hours, supply, earlier)
    frames = {
        "hours": hours.assign(source_id=responsibility.NOBODY),
        "slots": responsibility.slots(hours, supply, owner),
        "arrivals": responsibility.received(hours, supply, owner),
    }
    grouped = {name: _grouped(frame, period, registry) for name, frame in frames.items()}
    done: dict[str, pd.DataFrame] = {}
    for indicator, formula in _reading("hours", "slots", "arrivals"):
        if any(period in periods for periods in indicator.periods.values()):
            terms = formula.compute(frames[formula.reads])
            done[indicator.code] = values_of(
                indicator, terms, grouped[formula.reads], period, formula.provenance
            )
    for indicator, formula in _reading("values"):
        first, second = (done[code] for code in indicator.inputs)
        done[indicator.code] = product(indicator, first, second, formula.compute)
    return pd.concat([frame for frame in done.values() if len(frame)], ignore_index=True)


def _earlier(
    conn: Connection, spans: list[components.Span], hours: pd.DataFrame, supply: pd.DataFrame
) -> pd.DataFrame:
    """What was supplied before the spans, as far as it matters: of spans that meet, before the first."""
    ends = {hi for _, hi in spans}
    starts = [lo for lo, _ in spans if lo not in ends]
    pairs, equipment = responsibility.needed(hours, supply)
    within = timedelta(microseconds=responsibility.WINDOW_US)
    return components.earlier_supply(conn, starts, within, pairs, equipment.tolist())


def _grouped(frame: pd.DataFrame, period: str, registry: Registry) -> Groups:
    return group(
        frame["equipment_id"].to_numpy(np.int64),
        frame["source_id"].to_numpy(np.int64),
        start_of(period, frame["hour"].to_numpy(np.int64)),
        registry,
    )


def _reading(*reads: Reads) -> list[tuple[Indicator, Formula]]:
    found = [(one, FORMULAS[one.code, one.version]) for one in catalogue().values()]
    return [(one, formula) for one, formula in found if formula.reads in reads]


def connected_by_day(
    conn: Connection, spans: list[components.Span], now: datetime, *, before: datetime
) -> None:
    """Devices connected on each day before `before` that these days (+08:00) bear upon: themselves and the 29 after."""
    code = "plat.devices_connected"
    indicator, window = catalogue()[code], 30
    day = timedelta(days=1)
    first = min(lo for lo, _ in spans)
    last = min(max(lo for lo, _ in spans) + (window - 1) * day, before - day)
    if last < first:
        return
    seen = components.connected_days(conn, first - (window - 1) * day, last + day)
    registry = components.registry(conn)
    ids = registry.equipment["equipment_id"].to_numpy(np.int64)
    days = (last - first) // day + 1
    active = np.zeros((len(ids), days + window), np.int64)
    column = (seen["day"].to_numpy(np.int64) - micros(first - (window - 1) * day)) // (24 * HOUR_US)
    mine = np.isin(seen["equipment_id"], ids)
    active[np.searchsorted(ids, seen["equipment_id"].to_numpy()[mine]), column[mine] + 1] = 1
    total = active.cumsum(axis=1)
    connected = total[:, window:] - total[:, :-window] > 0
    start = micros(first) + np.arange(days) * 24 * HOUR_US
    frame = pd.DataFrame(
        {
            "equipment_id": np.repeat(ids, days),
            "source_id": -1,
            "hour": np.tile(start, len(ids)),
            "connected": connected.ravel(),
        }
    )
    formula = FORMULAS[code, indicator.version]
    terms = formula.compute(frame)
    save(conn, values_of(indicator, terms, _grouped(frame, "day", registry), "day", formula.provenance), now)


def save(conn: Connection, values: pd.DataFrame, now: datetime) -> int:
    """Store values; a period that has not ended and settled is provisional. Returns the rows written."""
    if values.empty:
        return 0
    end = np.empty(len(values), np.int64)
    for period in values["period"].unique():
        mine = (values["period"] == period).to_numpy()
        end[mine] = end_of(period, values["period_start"].to_numpy(np.int64)[mine])
    settled = np.minimum(end, np.iinfo(np.int64).max // 2) + SETTLE_S * 1_000_000 <= micros(now)
    return save_values(conn, values.assign(provisional=~settled)[list(VALUE_COLUMNS)], now)
