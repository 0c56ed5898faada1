"""Indicator values: appended, superseded, and read, also as of an earlier moment.

Frames of values have the columns code, formula_version, level, entity_id, period, period_start (aware
UTC), value (ratios as fractions of 1; NaN = null), numerator, denominator, n_inputs, completeness
(0..1), provenance, reason (None when there is a value), provisional, computed_at (aware UTC).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString

import pandas as pd

from store.columnar import write
from store.database import Connection

COLUMNS = (
    "code", "formula_version", "level", "entity_id", "period", "period_start", "value", "numerator",
    "denominator", "n_inputs", "completeness", "provenance", "reason", "provisional", "computed_at",
)  # fmt: skip
# What was current at a moment; with null for it, what is current now.
_IN_SPAN: LiteralString = """
SELECT code, formula_version, level, entity_id, period, period_start, value, numerator, denominator, n_inputs,
    completeness, provenance, reason, provisional, computed_at
FROM indicator_value
WHERE code = ANY(%(codes)s) AND level = %(level)s AND period = %(period)s
  AND period_start >= %(start)s AND period_start < %(end)s
  AND (%(ids)s::int[] IS NULL OR entity_id = ANY(%(ids)s))
  AND (%(as_of)s::timestamptz IS NULL AND superseded_at IS NULL OR computed_at <= %(as_of)s
       AND (superseded_at IS NULL OR superseded_at > %(as_of)s))
ORDER BY period_start, code, entity_id
"""
_NEWEST: LiteralString = """
SELECT v.* FROM unnest(%(codes)s::text[]) AS c (code)
CROSS JOIN (
    SELECT unnest(%(ids)s::int[])
    UNION ALL SELECT equipment_id FROM equipment WHERE %(ids)s::int[] IS NULL AND %(level)s = 'equipment'
    UNION ALL SELECT source_id FROM source WHERE %(ids)s::int[] IS NULL AND %(level)s = 'source'
    UNION ALL SELECT enterprise_id FROM enterprise WHERE %(ids)s::int[] IS NULL AND %(level)s = 'enterprise'
    UNION ALL SELECT pilot_id FROM pilot WHERE %(ids)s::int[] IS NULL AND %(level)s = 'cluster'
    UNION ALL SELECT 0 WHERE %(ids)s::int[] IS NULL AND %(level)s = 'province'
) e (entity_id)
CROSS JOIN LATERAL (
    SELECT code, formula_version, level, entity_id, period, period_start, value, numerator, denominator, n_inputs,
    completeness, provenance, reason, provisional, computed_at
    FROM indicator_value i
    WHERE i.code = c.code AND i.level = %(level)s AND i.entity_id = e.entity_id AND i.period = %(period)s
      AND NOT (%(closed)s AND provisional)
      AND (%(as_of)s::timestamptz IS NULL AND superseded_at IS NULL OR computed_at <= %(as_of)s
           AND (superseded_at IS NULL OR superseded_at > %(as_of)s))
    ORDER BY period_start DESC LIMIT 1) v
ORDER BY v.code, v.entity_id
"""


def current(
    conn: Connection,
    codes: Sequence[str],
    level: str,
    period: str,
    start: datetime,
    end: datetime,
    *,
    entity_ids: Sequence[int] | None = None,
    as_of: datetime | None = None,
) -> pd.DataFrame:
    """Values of several codes and entities of a level whose period begins in [start, end), by time."""
    return _frame(
        conn,
        _IN_SPAN,
        {
            "codes": list(codes), "level": level, "period": period, "start": start, "end": end,
            "ids": None if entity_ids is None else list(entity_ids), "as_of": as_of,
        },
    )  # fmt: skip


def latest(
    conn: Connection,
    codes: Sequence[str],
    level: str,
    entity_ids: Sequence[int] | None,
    period: str,
    *,
    closed: bool = False,
    as_of: datetime | None = None,
) -> pd.DataFrame:
    """The newest period's value of each code and entity (all entities of the level with None).

    `closed`: the newest period that is over, instead of one still in progress. A value may be null
    (see reason): it is not replaced by an older one.
    """
    return _frame(
        conn,
        _NEWEST,
        {
            "codes": list(codes), "level": level, "period": period, "closed": closed,
            "ids": None if entity_ids is None else list(entity_ids), "as_of": as_of,
        },
    )  # fmt: skip


def series(
    conn: Connection,
    code: str,
    level: str,
    entity_id: int,
    period: str,
    start: datetime,
    end: datetime,
    *,
    as_of: datetime | None = None,
) -> pd.DataFrame:
    """One entity's values of one code whose period begins in [start, end), by time."""
    return current(conn, [code], level, period, start, end, entity_ids=[entity_id], as_of=as_of)


def history(
    conn: Connection, code: str, level: str, entity_id: int, period: str, period_start: datetime
) -> pd.DataFrame:
    """Every value one period ever had, oldest first, with a further column superseded_at (NaT = current)."""
    cursor = conn.execute(
        "SELECT code, formula_version, level, entity_id, period, period_start, value, numerator, denominator,"
        " n_inputs, completeness, provenance, reason, provisional, computed_at, superseded_at FROM indicator_value"
        " WHERE code = %s AND level = %s AND entity_id = %s AND period = %s AND period_start = %s"
        " ORDER BY computed_at, superseded_at",
        [code, level, entity_id, period, period_start],
    )
    return pd.DataFrame(cursor.fetchall(), columns=[*COLUMNS, "superseded_at"])


def machine_hours(
    conn: Connection, start: datetime, end: datetime, equipment_ids: Sequence[int] | None = None
) -> pd.DataFrame:
    """Components and indicators of every equipment-hour in [start, end), for comparison with what happened.

    Columns: unit (code), equipment_code, equipment_id, hour (aware UTC), provisional, flags, observed_s,
    known_s, executing_s, apt_s, aust_s, pbt_s, pq, gq, sq, pri_pq_s, pri_gq_s, energy_kwh, and one column
    an indicator code (equip.*, energy.total) with the stored value; NaN = null.
    """
    names = [
        "unit", "equipment_code", "equipment_id", "hour", "provisional", "flags", "observed_s", "known_s",
        "executing_s", "apt_s", "aust_s", "pbt_s", "pq", "gq", "sq", "pri_pq_s", "pri_gq_s", "energy_kwh",
    ]  # fmt: skip
    ids = None if equipment_ids is None else list(equipment_ids)
    rows = conn.execute(
        "SELECT u.code, e.code, h.equipment_id, h.hour, h.provisional, h.flags, h.observed_s, h.known_s,"
        " h.executing_s, h.apt_s, h.aust_s, h.pbt_s, h.pq, h.gq, h.sq, h.pri_pq_s, h.pri_gq_s, h.energy_kwh"
        " FROM equipment_hour h JOIN equipment e USING (equipment_id) JOIN lead_unit u USING (unit_id)"
        " WHERE h.hour >= %s AND h.hour < %s AND (%s::int[] IS NULL OR h.equipment_id = ANY(%s))"
        " ORDER BY u.code, e.code, h.hour",
        [start, end, ids, ids],
    ).fetchall()
    parts = pd.DataFrame(rows, columns=names)
    values = pd.DataFrame(
        conn.execute(
            "SELECT entity_id, period_start, code, value FROM indicator_value WHERE level = 'equipment'"
            " AND period = 'hour' AND superseded_at IS NULL AND period_start >= %s AND period_start < %s"
            " AND (%s::int[] IS NULL OR entity_id = ANY(%s))",
            [start, end, ids, ids],
        ).fetchall(),
        columns=["equipment_id", "hour", "code", "value"],
    )
    if values.empty:
        return parts
    values["value"] = values["value"].astype(float)
    wide = values.pivot_table(
        index=["equipment_id", "hour"], columns="code", values="value", dropna=False
    ).reset_index()
    return parts.merge(wide, on=["equipment_id", "hour"], how="left")


def _frame(conn: Connection, query: LiteralString, params: dict[str, object]) -> pd.DataFrame:
    frame = pd.DataFrame(conn.execute(query, params).fetchall(), columns=list(COLUMNS))
    for name in ("value", "numerator", "denominator", "completeness"):
        frame[name] = frame[name].astype("float64")
    for name in ("period_start", "computed_at"):
        frame[name] = pd.to_datetime(frame[name], utc=True)
    return frame


_STAGE: LiteralString = """
CREATE TEMP TABLE IF NOT EXISTS fresh_value (
    code text, formula_version smallint, level text, entity_id int, period text, period_start bigint,
    value float8, numerator float8, denominator float8, n_inputs int, completeness real, provenance text,
    reason text, provisional boolean
) ON COMMIT DELETE ROWS
"""
_REPLACE: LiteralString = """
UPDATE indicator_value v SET formula_version = f.formula_version, value = f.value, numerator = f.numerator,
    denominator = f.denominator, n_inputs = f.n_inputs, completeness = f.completeness,
    provenance = f.provenance, reason = f.reason, provisional = f.provisional, computed_at = %(now)s
FROM fresh_value f
WHERE v.superseded_at IS NULL AND v.code = f.code AND v.level = f.level AND v.entity_id = f.entity_id
  AND v.period = f.period AND v.period_start = 'epoch'::timestamptz + f.period_start * interval '1 microsecond'
  AND v.provisional
"""
# Sums of floats may differ in the last digits with the order of their parts: that is no change.
_SUPERSEDE: LiteralString = """
UPDATE indicator_value v SET superseded_at = %(now)s
FROM fresh_value f
WHERE v.superseded_at IS NULL AND v.code = f.code AND v.level = f.level AND v.entity_id = f.entity_id
  AND v.period = f.period AND v.period_start = 'epoch'::timestamptz + f.period_start * interval '1 microsecond'
  AND NOT v.provisional AND NOT f.provisional
  AND ((v.formula_version, v.n_inputs, v.completeness, v.provenance, v.reason)
       IS DISTINCT FROM (f.formula_version, f.n_inputs, f.completeness, f.provenance, f.reason)
    OR (v.value IS NULL, v.numerator IS NULL, v.denominator IS NULL)
       <> (f.value IS NULL, f.numerator IS NULL, f.denominator IS NULL)
    OR abs(v.value - f.value) > 1e-9 * greatest(abs(v.value), abs(f.value))
    OR abs(v.numerator - f.numerator) > 1e-9 * greatest(abs(v.numerator), abs(f.numerator))
    OR abs(v.denominator - f.denominator) > 1e-9 * greatest(abs(v.denominator), abs(f.denominator)))
"""
_APPEND: LiteralString = """
INSERT INTO indicator_value (code, formula_version, level, entity_id, period, period_start, value, numerator,
    denominator, n_inputs, completeness, provenance, reason, provisional, computed_at)
SELECT f.code, f.formula_version, f.level, f.entity_id, f.period,
    'epoch'::timestamptz + f.period_start * interval '1 microsecond', f.value, f.numerator, f.denominator,
    f.n_inputs, f.completeness, f.provenance, f.reason, f.provisional, %(now)s
FROM fresh_value f
WHERE NOT EXISTS (SELECT 1 FROM indicator_value v WHERE v.superseded_at IS NULL AND v.code = f.code AND v.level = f.level AND v.entity_id = f.entity_id
  AND v.period = f.period AND v.period_start = 'epoch'::timestamptz + f.period_start * interval '1 microsecond')
"""


def save_values(conn: Connection, values: pd.DataFrame, now: datetime) -> int:
    """Append values; returns how many rows were written. One per code, level, entity and period at most.

    `values`: COLUMNS without computed_at, `period_start` in µs. A provisional value is replaced in
    place; a closed one that is the same stays, one that differs is superseded and the new one appended.
    Within the caller's transaction.
    """
    if values.empty:
        return 0
    conn.execute(_STAGE)
    # One index probe a value, however the table's statistics stand: it may just have been filled.
    conn.execute(
        "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off"
    )
    write(conn, "fresh_value", values)
    written = conn.execute(_REPLACE, {"now": now}).rowcount
    conn.execute(_SUPERSEDE, {"now": now})
    written += conn.execute(_APPEND, {"now": now}).rowcount
    conn.execute("TRUNCATE fresh_value")
    conn.execute(
        "SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on; SET LOCAL enable_seqscan = on"
    )
    return written


def newest_start(conn: Connection, code: str, period: str) -> datetime | None:
    """The newest closed period of a code at province level; None before there is one."""
    row = conn.execute(
        "SELECT max(period_start) FROM indicator_value WHERE code = %s AND level = 'province' AND entity_id = 0"
        " AND period = %s AND superseded_at IS NULL AND NOT provisional",
        [code, period],
    ).fetchone()
    return row[0] if row else None
