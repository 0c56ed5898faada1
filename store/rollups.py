"""The hour rollup's reads and writes: which equipment-hours are to be computed, from what, and where to.

Times are int64 µs since the Unix epoch, UTC, in arrays; aware datetimes in parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

import numpy as np
import numpy.typing as npt
import pandas as pd

from store.columnar import Columns, read, write
from store.database import Connection
from store.times import HOUR_US

ROLES = ("other", "state", "mode", "produced", "good", "scrap", "energy")
"""What the rollup makes of a tag; `role` in the tags of a slice indexes this. Text tags have TEXT."""
TEXT = 9
_MANY_HOURS = 500  # more than late readings touch, less than a history does

COMPONENTS = (
    "observed_s", "known_s", "state_known_s", "online_s", "executing_s", "apt_s", "aust_s", "pbt_s",
    "pbt_known_s", "pq", "gq", "sq", "pri_pq_s", "pri_gq_s", "pri_apt_s", "energy_kwh", "stopped_s",
)  # fmt: skip
"""Float columns of `equipment_hour`; the comments in the schema say what they mean."""
COUNTS = ("due", "filled", "readings", "valid", "flags")
"""Integer columns of `equipment_hour`."""


@dataclass(frozen=True, slots=True)
class Markers:
    """Equipment-hours that are to be computed: arrays of one length; `marked_at` says which mark was read."""

    equipment_id: npt.NDArray[np.int32]
    hour: npt.NDArray[np.int64]
    marked_at: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.hour)


@dataclass(frozen=True, slots=True)
class RawSlice:
    """All that is needed to compute some equipment-hours.

    `runs`: equipment_id, lo, hi: consecutive hours of one equipment, [lo, hi) in µs. `rows`: run, tag_id,
    ts, value, quality: readings in [lo, hi] and up to three on either side (bad ones and those further
    away than LOOK not among these), in any order. `tags`: tag_id, equipment_id, role. `schedules`: tag_id,
    valid_from, interval_s. `calendar`: equipment_id, start, end, kind (0 shift, 1 takes time off it).
    `orders`: equipment_id, start, end, pri_s. `rated`: equipment_id, per_h (NaN unknown).
    `stoppages`: equipment_id, start, end: declared ones, sorted, none of one equipment touching another.
    """

    runs: Columns
    rows: Columns
    tags: Columns
    schedules: Columns
    calendar: Columns
    orders: Columns
    rated: Columns
    stoppages: Columns


def dirty_hours(conn: Connection, now: datetime, *, limit: int, settle_s: float, live: bool) -> Markers:
    """Marked equipment-hours not later than `now`, newest first.

    `live`: those of the last two hours, at once; else the older ones, and only when no mark came for
    `settle_s` (they are still being filled) or the first one is older than eight times that.
    """
    found = read(
        conn,
        "SELECT equipment_id, hour, marked_at FROM dirty_hour WHERE hour <= %s AND CASE WHEN %s"
        " THEN hour >= %s - interval '2 hours'"
        " ELSE hour < %s - interval '2 hours' AND (marked_at <= clock_timestamp() - %s * interval '1 second'"
        "   OR since <= clock_timestamp() - %s * interval '8 seconds') END"
        " ORDER BY hour DESC, equipment_id LIMIT %s",
        [now, live, now, now, settle_s, settle_s, limit],
        {"equipment_id": "int4", "hour": "timestamptz", "marked_at": "timestamptz"},
    )
    return Markers(found["equipment_id"], found["hour"], found["marked_at"])


def stale_hours(conn: Connection, now: datetime, *, refresh_s: float, limit: int) -> Markers:
    """Provisional equipment-hours that were computed more than `refresh_s` before `now`: time itself changed them."""
    found = read(
        conn,
        "SELECT equipment_id, hour, computed_at FROM equipment_hour WHERE provisional"
        " AND computed_at <= %s - %s * interval '1 second' AND hour <= %s ORDER BY hour DESC LIMIT %s",
        [now, refresh_s, now, limit],
        {"equipment_id": "int4", "hour": "timestamptz", "marked_at": "timestamptz"},
    )
    return Markers(found["equipment_id"], found["hour"], found["marked_at"])


def incomplete_hours(conn: Connection, within: datetime) -> npt.NDArray[np.int32]:
    """Equipment whose hour that holds `within` lacks readings of a counter: the next reading may complete it."""
    found = read(
        conn,
        "SELECT equipment_id FROM equipment_hour WHERE hour = date_trunc('hour', %s::timestamptz) AND flags & 1 = 1",
        [within],
        {"equipment_id": "int4"},
    )
    return np.asarray(found["equipment_id"], np.int32)


def backlog(conn: Connection) -> int:
    """How many equipment-hours are marked."""
    row = conn.execute("SELECT count(*) FROM dirty_hour").fetchone()
    return int(row[0]) if row else 0


def mark_silent_hours(conn: Connection, since: datetime, now: datetime, *, quiet_s: float) -> int:
    """Mark the hours in which an equipment that reports on schedule sent nothing, so that they count as missing.

    From `since`, or each equipment's first computed hour if that is later, to `now`. Does nothing (and
    returns 0) while many older hours are marked or were computed in the last `quiet_s`: history is being
    filled, and what looks silent may yet come.
    """
    row = conn.execute(
        "SELECT (SELECT count(*) FROM dirty_hour WHERE hour < %(now)s - interval '3 hours')"
        " + (SELECT count(*) FROM equipment_hour WHERE hour < %(now)s - interval '3 hours'"
        "    AND computed_at > %(now)s - %(quiet)s * interval '1 second')",
        {"now": now, "quiet": quiet_s},
    ).fetchone()
    if row and row[0] > _MANY_HOURS:
        return 0
    return conn.execute(
        "INSERT INTO dirty_hour (equipment_id, hour)"
        " SELECT f.equipment_id, h FROM (SELECT e.equipment_id, (SELECT min(hour) FROM equipment_hour h"
        "     WHERE h.equipment_id = e.equipment_id) AS hour FROM equipment e) f"
        " CROSS JOIN LATERAL generate_series(greatest(f.hour, date_trunc('hour', %(since)s::timestamptz)),"
        "   date_trunc('hour', %(now)s::timestamptz), interval '1 hour') h"
        " WHERE f.hour IS NOT NULL"
        "   AND EXISTS (SELECT 1 FROM tag t JOIN reporting_schedule USING (tag_id) WHERE t.equipment_id = f.equipment_id)"
        "   AND NOT EXISTS (SELECT 1 FROM equipment_hour e WHERE e.equipment_id = f.equipment_id AND e.hour = h)"
        " ON CONFLICT DO NOTHING",
        {"since": since, "now": now},
    ).rowcount


def runs_of(equipment_id: npt.NDArray[np.int32], hour: npt.NDArray[np.int64]) -> Columns:
    """Consecutive hours of one equipment as runs: equipment_id, lo, hi (µs, `hi` exclusive). Duplicates are fine."""
    order = np.lexsort((hour, equipment_id))
    who, when = equipment_id[order], hour[order]
    new = np.ones(len(who), np.bool_)
    new[1:] = (who[1:] != who[:-1]) | (when[1:] - when[:-1] > HOUR_US)
    last = np.append(new[1:], True) if len(who) else new
    return {"equipment_id": who[new], "lo": when[new], "hi": when[last] + HOUR_US}


# Readings: one index range scan a tag and run, and three probes on either side. The day partitions
# outside a run are pruned when the range is known, at run time.
_ROWS: LiteralString = """
WITH wanted AS MATERIALIZED (
    SELECT r.run::int4 AS run, t.tag_id, t.signal IN ('state', 'mode') AS bad_counts,
           'epoch'::timestamptz + r.lo * interval '1 microsecond' AS lo,
           'epoch'::timestamptz + r.hi * interval '1 microsecond' AS hi,
           greatest(interval '3 hours', 3 * coalesce(s.interval_s, 0) * interval '1 second') AS look
    FROM unnest(%s::int4[], %s::int8[], %s::int8[]) WITH ORDINALITY AS r (equipment_id, lo, hi, run)
    JOIN tag t USING (equipment_id)
    LEFT JOIN LATERAL (SELECT max(interval_s) AS interval_s FROM reporting_schedule s WHERE s.tag_id = t.tag_id) s ON true
    WHERE t.data_type <> 'text'
)
SELECT w.run, w.tag_id, m.ts, m.value, m.quality
FROM wanted w CROSS JOIN LATERAL (
    (SELECT ts, value, quality FROM measurement WHERE tag_id = w.tag_id AND ts >= w.lo AND ts <= w.hi)
    UNION ALL
    (SELECT ts, value, quality FROM measurement
     WHERE tag_id = w.tag_id AND ts < w.lo AND ts >= w.lo - w.look AND (quality >= 0 OR w.bad_counts)
     ORDER BY ts DESC LIMIT 3)
    UNION ALL
    (SELECT ts, value, quality FROM measurement
     WHERE tag_id = w.tag_id AND ts > w.hi AND ts <= w.hi + w.look AND (quality >= 0 OR w.bad_counts)
     ORDER BY ts LIMIT 3)
) m
"""
_TEXTS: LiteralString = """
SELECT r.run::int4, e.tag_id, e.ts, 'NaN'::float8, e.quality
FROM unnest(%s::int4[], %s::int8[], %s::int8[]) WITH ORDINALITY AS r (equipment_id, lo, hi, run)
JOIN tag t USING (equipment_id)
JOIN event e ON e.tag_id = t.tag_id
 AND e.ts >= 'epoch'::timestamptz + r.lo * interval '1 microsecond'
 AND e.ts < 'epoch'::timestamptz + r.hi * interval '1 microsecond'
WHERE t.data_type = 'text'
"""
_ROW = {"run": "int4", "tag_id": "int4", "ts": "timestamptz", "value": "float8", "quality": "int2"}


def raw_slice(conn: Connection, equipment_id: npt.NDArray[np.int32], hour: npt.NDArray[np.int64]) -> RawSlice:
    """Fetch what these equipment-hours are computed from, in eight set-based queries of one transaction."""
    runs = runs_of(equipment_id, hour)
    who = np.unique(runs["equipment_id"]).tolist()
    arrays = [runs["equipment_id"].tolist(), runs["lo"].tolist(), runs["hi"].tolist()]
    # Thousands of index probes: compiling the plan costs more than running it, and partitions that were
    # just filled have no statistics yet that would keep the planner from reading them whole.
    conn.execute("SET LOCAL jit = off; SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off")
    rows = read(conn, _ROWS, arrays, _ROW)
    conn.execute("SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on")
    texts = read(conn, _TEXTS, arrays, _ROW)
    rows = {name: np.concatenate([rows[name], texts[name]]) for name in rows}
    rows["run"] = rows["run"] - 1
    window = [who, int(runs["hi"].max()), int(runs["lo"].min())]
    return RawSlice(
        runs=runs,
        rows=rows,
        tags=read(
            conn,
            "SELECT tag_id, equipment_id, CASE WHEN data_type = 'text' THEN 9 ELSE coalesce(array_position("
            "ARRAY['state','mode','produced','good','scrap','energy'], signal), 0) END::int2"
            " FROM tag WHERE equipment_id = ANY(%s) ORDER BY tag_id",
            [who],
            {"tag_id": "int4", "equipment_id": "int4", "role": "int2"},
        ),
        schedules=read(
            conn,
            "SELECT s.tag_id, s.valid_from, s.interval_s FROM reporting_schedule s JOIN tag t USING (tag_id)"
            " WHERE t.equipment_id = ANY(%s) ORDER BY 1, 2",
            [who],
            {"tag_id": "int4", "valid_from": "timestamptz", "interval_s": "float8"},
        ),
        calendar=read(
            conn,
            "SELECT equipment_id, start_at, end_at, (kind <> 'shift')::int::int2 FROM shift_calendar"
            " WHERE equipment_id = ANY(%s)"
            " AND start_at < 'epoch'::timestamptz + %s * interval '1 microsecond' + interval '7 days'"
            " AND end_at > 'epoch'::timestamptz + %s * interval '1 microsecond' - interval '7 days' ORDER BY 1, 2",
            window,
            {"equipment_id": "int4", "start": "timestamptz", "end": "timestamptz", "kind": "int2"},
        ),
        orders=read(
            conn,
            "SELECT equipment_id, start_at, coalesce(end_at, '2200-01-01'), pri_s FROM production_order"
            " WHERE equipment_id = ANY(%s) AND start_at < 'epoch'::timestamptz + %s * interval '1 microsecond'"
            " AND coalesce(end_at, '2200-01-01') > 'epoch'::timestamptz + %s * interval '1 microsecond'"
            " ORDER BY 1, 2, order_id",
            window,
            {"equipment_id": "int4", "start": "timestamptz", "end": "timestamptz", "pri_s": "float8"},
        ),
        rated=read(
            conn,
            "SELECT equipment_id, coalesce(rated_capacity_per_h, 'NaN') FROM equipment"
            " WHERE equipment_id = ANY(%s) ORDER BY 1",
            [who],
            {"equipment_id": "int4", "per_h": "float8"},
        ),
        stoppages=read(
            conn,
            "SELECT equipment_id, lower(span), upper(span) FROM (SELECT q.equipment_id,"
            "   unnest(range_agg(tstzrange(s.start_at, coalesce(s.end_at, '2200-01-01')))) AS span"
            "  FROM stoppage_equipment q JOIN stoppage s USING (stoppage_id)"
            "  WHERE q.equipment_id = ANY(%s) AND s.withdrawn_at IS NULL"
            "   AND s.start_at < 'epoch'::timestamptz + %s * interval '1 microsecond'"
            "   AND coalesce(s.end_at, '2200-01-01') > 'epoch'::timestamptz + %s * interval '1 microsecond'"
            "  GROUP BY 1) AS merged ORDER BY 1, 2",
            window,
            {"equipment_id": "int4", "start": "timestamptz", "end": "timestamptz"},
        ),
    )


_STAGE: LiteralString = """
CREATE TEMP TABLE IF NOT EXISTS fresh_hour (
    equipment_id int, hour bigint, observed_s float8, known_s float8, state_known_s float8, online_s float8,
    executing_s float8, apt_s float8, aust_s float8, pbt_s float8, pbt_known_s float8, pq float8, gq float8,
    sq float8, pri_pq_s float8, pri_gq_s float8, pri_apt_s float8, energy_kwh float8, stopped_s float8, due bigint,
    filled bigint, readings bigint, valid bigint, flags smallint, provisional boolean
) ON COMMIT DELETE ROWS
"""
_UPSERT: LiteralString = """
WITH changed AS (
    INSERT INTO equipment_hour AS e (equipment_id, hour, observed_s, known_s, state_known_s, online_s,
        executing_s, apt_s, aust_s, pbt_s, pbt_known_s, pq, gq, sq, pri_pq_s, pri_gq_s, pri_apt_s, energy_kwh,
        stopped_s, due, filled, readings, valid, flags, provisional, computed_at)
    SELECT equipment_id, 'epoch'::timestamptz + hour * interval '1 microsecond', observed_s, known_s,
        state_known_s, online_s, executing_s, apt_s, aust_s, pbt_s, pbt_known_s, pq, gq, sq, pri_pq_s, pri_gq_s,
        pri_apt_s, energy_kwh, stopped_s, due, filled, readings, valid, flags, provisional, %(now)s
    FROM fresh_hour ORDER BY equipment_id, hour
    ON CONFLICT (equipment_id, hour) DO UPDATE SET observed_s = excluded.observed_s, known_s = excluded.known_s,
        state_known_s = excluded.state_known_s, online_s = excluded.online_s, executing_s = excluded.executing_s,
        apt_s = excluded.apt_s, aust_s = excluded.aust_s, pbt_s = excluded.pbt_s,
        pbt_known_s = excluded.pbt_known_s, pq = excluded.pq, gq = excluded.gq, sq = excluded.sq,
        pri_pq_s = excluded.pri_pq_s, pri_gq_s = excluded.pri_gq_s, pri_apt_s = excluded.pri_apt_s,
        energy_kwh = excluded.energy_kwh, stopped_s = excluded.stopped_s, due = excluded.due,
        filled = excluded.filled, readings = excluded.readings, valid = excluded.valid, flags = excluded.flags,
        provisional = excluded.provisional, computed_at = excluded.computed_at
    WHERE (e.observed_s, e.known_s, e.state_known_s, e.online_s, e.executing_s, e.apt_s, e.aust_s, e.pbt_s,
           e.pbt_known_s, e.pq, e.gq, e.sq, e.pri_pq_s, e.pri_gq_s, e.pri_apt_s, e.energy_kwh, e.stopped_s,
           e.due, e.filled, e.readings, e.valid, e.flags, e.provisional)
       IS DISTINCT FROM (excluded.observed_s, excluded.known_s, excluded.state_known_s, excluded.online_s,
           excluded.executing_s, excluded.apt_s, excluded.aust_s, excluded.pbt_s, excluded.pbt_known_s,
           excluded.pq, excluded.gq, excluded.sq, excluded.pri_pq_s, excluded.pri_gq_s, excluded.pri_apt_s,
           excluded.energy_kwh, excluded.stopped_s, excluded.due, excluded.filled, excluded.readings,
           excluded.valid, excluded.flags, excluded.provisional)
    RETURNING hour
), marked AS (
    INSERT INTO dirty_period AS d (period, period_start)
    SELECT 'hour', hour FROM changed
    UNION SELECT 'day', date_trunc('day', hour, 'Asia/Shanghai') FROM changed
    UNION SELECT 'month', date_trunc('month', hour, 'Asia/Shanghai') FROM changed
    ORDER BY 1, 2
    ON CONFLICT (period, period_start) DO UPDATE SET marked_at = clock_timestamp()
)
SELECT count(*) FROM changed
"""


def save_hours(conn: Connection, hours: pd.DataFrame, done: Markers, now: datetime) -> int:
    """Store computed equipment-hours and remove the marks they were computed for; returns how many changed.

    `hours`: equipment_id, hour (µs), COMPONENTS, COUNTS, provisional. Within the caller's transaction,
    which must be the one that read the marks or a later one. A mark set again since it was read stays;
    so does one that a writer holds just now (it is about to be set again).
    """
    conn.execute(_STAGE)
    write(conn, "fresh_hour", hours)
    row = conn.execute(_UPSERT, {"now": now}).fetchone()
    conn.execute("TRUNCATE fresh_hour")
    unmark_hours(conn, done)
    return int(row[0]) if row else 0


def unmark_hours(conn: Connection, done: Markers) -> None:
    """Remove marks that were not set again since they were read."""
    conn.execute(
        "WITH done AS MATERIALIZED (SELECT d.equipment_id, d.hour FROM dirty_hour d"
        " JOIN unnest(%s::int4[], %s::int8[], %s::int8[]) AS m (equipment_id, hour, marked_at)"
        "   ON d.equipment_id = m.equipment_id AND d.hour = 'epoch'::timestamptz + m.hour * interval '1 microsecond'"
        "  AND d.marked_at = 'epoch'::timestamptz + m.marked_at * interval '1 microsecond'"
        " ORDER BY 1, 2 FOR UPDATE OF d SKIP LOCKED)"
        " DELETE FROM dirty_hour d USING done WHERE d.equipment_id = done.equipment_id AND d.hour = done.hour",
        [done.equipment_id.tolist(), done.hour.tolist(), done.marked_at.tolist()],
    )


def refused_hours(conn: Connection, marked: Markers) -> npt.NDArray[np.int64]:
    """Hours (µs) among the marked ones in which rows were refused: that changes no equipment-hour, but its validity."""
    found = read(
        conn,
        "SELECT DISTINCT hour FROM unnest(%s::int4[], %s::int8[]) AS m (equipment_id, us)"
        " CROSS JOIN LATERAL (SELECT hour FROM supply_hour h WHERE h.equipment_id = m.equipment_id"
        "   AND h.hour = 'epoch'::timestamptz + m.us * interval '1 microsecond' AND h.quarantined > 0 LIMIT 1) h",
        [marked.equipment_id.tolist(), marked.hour.tolist()],
        {"hour": "timestamptz"},
    )
    return np.asarray(found["hour"], np.int64)


def dirty_periods(
    conn: Connection, now: datetime, *, settle_s: float, limit: int
) -> list[tuple[str, datetime, datetime]]:
    """Periods to compute anew: (period, start, marked_at), hours first, newest first.

    An hour of the last two waits for nothing. Other periods wait until none of their equipment-hours is
    marked, or eight times `settle_s`; days at least twice and months four times `settle_s` since the first mark.
    """
    rows = conn.execute(
        "WITH p AS (SELECT period, period_start, marked_at, clock_timestamp() - since AS age,"
        "   CASE period WHEN 'hour' THEN period_start + interval '1 hour'"
        "     WHEN 'day' THEN period_start + interval '1 day'"
        # months are those of +08:00
        "     ELSE (period_start AT TIME ZONE 'Asia/Shanghai' + interval '1 month') AT TIME ZONE 'Asia/Shanghai' END AS period_end"
        "   FROM dirty_period)"
        " SELECT period, period_start, marked_at FROM p"
        " WHERE period = 'hour' AND period_start >= %(now)s - interval '2 hours'"
        "    OR age >= CASE period WHEN 'hour' THEN 0 WHEN 'day' THEN 2 ELSE 4 END * %(settle)s * interval '1 second'"
        "   AND (age >= 8 * %(settle)s * interval '1 second' OR NOT EXISTS (SELECT 1 FROM dirty_hour d"
        "        WHERE d.hour >= p.period_start AND d.hour < least(p.period_end, %(now)s - interval '2 hours')))"
        " ORDER BY array_position(ARRAY['hour', 'day', 'month'], period), period_start DESC LIMIT %(limit)s",
        {"now": now, "settle": settle_s, "limit": limit},
    ).fetchall()
    return [(row[0], row[1], row[2]) for row in rows]


def mark_periods(conn: Connection, period: str, starts: list[datetime]) -> None:
    """Have these periods computed anew, whether or not an equipment-hour changed."""
    conn.execute(
        "INSERT INTO dirty_period (period, period_start) SELECT %s, unnest(%s::timestamptz[])"
        " ON CONFLICT (period, period_start) DO UPDATE SET marked_at = clock_timestamp()",
        [period, starts],
    )


def unmark_periods(conn: Connection, done: list[tuple[str, datetime, datetime]]) -> None:
    """Remove marks of periods that were not set again since they were read."""
    conn.execute(
        "DELETE FROM dirty_period d USING unnest(%s::text[], %s::timestamptz[], %s::timestamptz[])"
        " AS m (period, period_start, marked_at)"
        " WHERE d.period = m.period AND d.period_start = m.period_start AND d.marked_at = m.marked_at",
        [[d[0] for d in done], [d[1] for d in done], [d[2] for d in done]],
    )
