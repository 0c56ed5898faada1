"""What indicators are computed from, as frames: equipment-hours, arrivals, devices, registers, latency.

Times are int64 µs since the Unix epoch, UTC, in columns; aware datetimes in parameters. Spans are [lo, hi).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from store.columnar import read
from store.database import Connection

Span = tuple[datetime, datetime]

PROVINCE = 0
"""entity_id of the one province."""


@dataclass(frozen=True, slots=True)
class Registry:
    """Who belongs to whom.

    `equipment`: equipment_id, enterprise_id, unit_id, has_state, has_mode, has_counter, has_energy.
    `sources`: source_id, unit_id. `pilots`: unit_id, pilot_id (a unit's first pilot stands for the unit).
    """

    equipment: pd.DataFrame
    sources: pd.DataFrame
    pilots: pd.DataFrame


def registry(conn: Connection) -> Registry:
    """The present registers."""
    equipment = read(
        conn,
        "SELECT e.equipment_id, e.enterprise_id, e.unit_id, coalesce(bool_or(t.signal = 'state'), false),"
        " coalesce(bool_or(t.signal = 'mode'), false), coalesce(bool_or(t.signal IN ('produced', 'good')), false),"
        " coalesce(bool_or(t.signal = 'energy'), false)"
        " FROM equipment e LEFT JOIN tag t USING (equipment_id) GROUP BY 1 ORDER BY 1",
        [],
        {
            "equipment_id": "int4", "enterprise_id": "int4", "unit_id": "int4", "has_state": "bool",
            "has_mode": "bool", "has_counter": "bool", "has_energy": "bool",
        },
    )  # fmt: skip
    sources = read(
        conn,
        "SELECT source_id, unit_id FROM source ORDER BY 1",
        [],
        {"source_id": "int4", "unit_id": "int4"},
    )
    pilots = read(
        conn,
        "SELECT unit_id, min(pilot_id) FROM pilot GROUP BY 1 ORDER BY 1",
        [],
        {"unit_id": "int4", "pilot_id": "int4"},
    )
    return Registry(pd.DataFrame(equipment), pd.DataFrame(sources), pd.DataFrame(pilots))


def _spans(spans: Sequence[Span]) -> list[object]:
    return [[lo for lo, _ in spans], [hi for _, hi in spans]]


def hours(conn: Connection, spans: Sequence[Span]) -> pd.DataFrame:
    """Equipment-hours of some spans (not overlapping): equipment_id, hour, all components (NaN = null) and counts."""
    names = {"equipment_id": "int4", "hour": "timestamptz"}
    floats = (
        "observed_s", "known_s", "state_known_s", "online_s", "executing_s", "apt_s", "pbt_s", "pbt_known_s",
        "pq", "gq", "pri_pq_s", "pri_gq_s", "pri_apt_s", "energy_kwh",
    )  # fmt: skip
    names |= dict.fromkeys(floats, "float8") | dict.fromkeys(("due", "filled", "readings", "valid"), "int8")
    found = read(
        conn,
        "SELECT equipment_id, hour, observed_s, known_s, state_known_s, online_s, coalesce(executing_s, 'NaN'),"
        " coalesce(apt_s, 'NaN'), coalesce(pbt_s, 'NaN'), coalesce(pbt_known_s, 'NaN'), coalesce(pq, 'NaN'),"
        " coalesce(gq, 'NaN'), coalesce(pri_pq_s, 'NaN'), coalesce(pri_gq_s, 'NaN'), coalesce(pri_apt_s, 'NaN'),"
        " coalesce(energy_kwh, 'NaN'), due, filled, readings, valid"
        " FROM unnest(%s::timestamptz[], %s::timestamptz[]) AS s (lo, hi)"
        " JOIN equipment_hour e ON e.hour >= s.lo AND e.hour < s.hi",
        _spans(spans),
        names,
    )
    return pd.DataFrame(found)


def supply(conn: Connection, spans: Sequence[Span]) -> pd.DataFrame:
    """How data of some spans of source time arrived, by equipment (0 unknown), source and hour.

    equipment_id, source_id, hour, accepted (rows stored), brought (and those another brought before),
    quarantined, live, timely.
    """
    found = read(
        conn,
        "SELECT equipment_id, source_id, hour, accepted, accepted + duplicates, quarantined, live, timely"
        " FROM unnest(%s::timestamptz[], %s::timestamptz[]) AS s (lo, hi)"
        " JOIN supply_hour h ON h.hour >= s.lo AND h.hour < s.hi",
        _spans(spans),
        {
            "equipment_id": "int4", "source_id": "int4", "hour": "timestamptz", "accepted": "int8",
            "brought": "int8", "quarantined": "int8", "live": "int8", "timely": "int8",
        },
    )  # fmt: skip
    return pd.DataFrame(found)


def earlier_supply(
    conn: Connection,
    before: Sequence[datetime],
    within: timedelta,
    pairs: pd.DataFrame,
    equipment: Sequence[int],
) -> pd.DataFrame:
    """Who last supplied equipment before some moments: equipment_id, source_id, hour, live, brought.

    For each moment the last hour with live rows of each of `pairs` (equipment_id, source_id) within the
    time before, and of all sources of `equipment`; of these also the last with any rows, however old.
    Index probes: their number is moments × pairs. Sources that never sent live are passed over.
    """
    found = read(
        conn,
        "WITH pair AS MATERIALIZED ("
        "   SELECT equipment_id, source_id, false AS every"
        "   FROM unnest(%(paired)s::int4[], %(source)s::int4[]) AS p (equipment_id, source_id)"
        "   UNION ALL SELECT e.equipment_id, s.source_id, true FROM equipment e JOIN source s USING (unit_id)"
        "   WHERE e.equipment_id = ANY(%(equipment)s::int4[])), live AS MATERIALIZED ("
        "   SELECT source_id FROM source s"
        "   WHERE EXISTS (SELECT 1 FROM latency_bucket l WHERE l.source_id = s.source_id))"
        " SELECT p.equipment_id, p.source_id, h.hour, h.live, h.brought FROM unnest(%(before)s::timestamptz[]) AS b (lo)"
        " CROSS JOIN pair p CROSS JOIN LATERAL ("
        "  (SELECT hour, live, accepted + duplicates AS brought FROM supply_hour h"
        "   WHERE h.equipment_id = p.equipment_id AND h.source_id = p.source_id AND h.hour < b.lo"
        "   AND h.hour >= b.lo - %(within)s AND h.live > 0 AND p.source_id IN (SELECT source_id FROM live)"
        "   ORDER BY h.hour DESC LIMIT 1)"
        "  UNION ALL"
        "  (SELECT hour, live, accepted + duplicates FROM supply_hour h WHERE p.every"
        "   AND h.equipment_id = p.equipment_id AND h.source_id = p.source_id AND h.hour < b.lo"
        "   AND h.accepted + h.duplicates > 0 ORDER BY h.hour DESC LIMIT 1)) h",
        {
            "paired": pairs["equipment_id"].tolist(), "source": pairs["source_id"].tolist(),
            "equipment": list(equipment), "before": list(before), "within": within,
        },
        {"equipment_id": "int4", "source_id": "int4", "hour": "timestamptz", "live": "int8", "brought": "int8"},
    )  # fmt: skip
    return pd.DataFrame(found)


def devices(conn: Connection, now: datetime) -> pd.DataFrame:
    """Every registered equipment at `now`: equipment_id, online, connected (bool).

    Online: some tag's newest reading is not older than 3 of its reporting intervals. Connected: a good
    reading in the last 30 days.
    """
    found = read(
        conn,
        "WITH seen AS (SELECT t.equipment_id,"
        "   bool_or(l.ts > %(now)s - 3 * coalesce(s.interval_s, 60) * interval '1 second') AS online,"
        "   bool_or(l.ts > %(now)s - interval '30 days' AND l.quality >= 0 AND l.quality < 16384) AS good"
        "  FROM latest_value l JOIN tag t USING (tag_id)"
        "  LEFT JOIN LATERAL (SELECT interval_s FROM reporting_schedule r WHERE r.tag_id = t.tag_id"
        "    AND r.valid_from <= %(now)s ORDER BY valid_from DESC LIMIT 1) s ON true"
        "  WHERE l.ts > %(now)s - interval '30 days' GROUP BY 1)"
        " SELECT e.equipment_id, coalesce(s.online, false), coalesce(s.good, false) OR EXISTS ("
        "   SELECT 1 FROM equipment_hour h WHERE h.equipment_id = e.equipment_id"
        "   AND h.hour > %(now)s - interval '30 days' AND h.valid > 0)"
        " FROM equipment e LEFT JOIN seen s USING (equipment_id)",
        {"now": now},
        {"equipment_id": "int4", "online": "bool", "connected": "bool"},
    )
    return pd.DataFrame(found)


def connected_days(conn: Connection, since: datetime, until: datetime) -> pd.DataFrame:
    """Days (+08:00) on which an equipment gave a good reading: equipment_id, day (µs of its start)."""
    found = read(
        conn,
        "SELECT equipment_id, date_trunc('day', hour, 'Asia/Shanghai') AS day FROM equipment_hour"
        " WHERE hour >= %s AND hour < %s AND valid > 0 GROUP BY 1, 2",
        [since, until],
        {"equipment_id": "int4", "day": "timestamptz"},
    )
    return pd.DataFrame(found)


def enterprises(conn: Connection) -> pd.DataFrame:
    """The enterprise register: unit_id, uscc, registered_on (datetime64 day)."""
    rows = conn.execute("SELECT unit_id, uscc, registered_on FROM enterprise").fetchall()
    frame = pd.DataFrame(rows, columns=["unit_id", "uscc", "registered_on"])
    frame["registered_on"] = pd.to_datetime(frame["registered_on"]).astype("datetime64[us]")
    return frame


def milestones(conn: Connection) -> pd.DataFrame:
    """Milestones of all task books: unit_id, planned_on, accepted_on (datetime64 day, NaT = open)."""
    rows = conn.execute("SELECT unit_id, planned_on, accepted_on FROM milestone").fetchall()
    frame = pd.DataFrame(rows, columns=["unit_id", "planned_on", "accepted_on"])
    for name in ("planned_on", "accepted_on"):
        frame[name] = pd.to_datetime(frame[name]).astype("datetime64[us]")
    return frame


def latency(conn: Connection, since: datetime, until: datetime) -> pd.DataFrame:
    """Latency histogram of arrivals in [since, until): source_id, hour (µs), bucket, n."""
    found = read(
        conn,
        "SELECT source_id, date_trunc('hour', slot) AS hour, bucket, sum(n)::bigint FROM latency_bucket"
        " WHERE slot >= %s AND slot < %s GROUP BY 1, 2, 3",
        [since, until],
        {"source_id": "int4", "hour": "timestamptz", "bucket": "int2", "n": "int8"},
    )
    return pd.DataFrame(found)
