"""Read queries for the operators: how far the log is stored, rows of nobody, clocks that differ."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from store.database import Connection


class Unassigned(NamedTuple):
    """Rows in the quarantine that name a unit which is not registered; `unit` as sent, empty where none could be read."""

    unit: str
    rows: int


class Skew(NamedTuple):
    """How far a source's clock is ahead of the platform's (s; negative = behind, or data are late).

    `worst_s`: the largest there was. `measured_at` aware UTC, `age_s` by the database's clock.
    """

    unit: str
    source: str
    ahead_s: float
    worst_s: float
    measured_at: datetime
    age_s: float


def unassigned(conn: Connection, most: int) -> list[Unassigned]:
    """What is held for unknown units, by unit; at most `most` rows are counted, the oldest."""
    rows = conn.execute(
        "SELECT coalesce(parameters ->> 'unit', ''), count(*)"
        " FROM (SELECT parameters FROM quarantine WHERE unit_id = 0 ORDER BY quarantine_id LIMIT %s) q"
        " GROUP BY 1 ORDER BY 1",
        (most,),
    )
    return [Unassigned(*row) for row in rows]


def skews(conn: Connection) -> list[Skew]:
    """Every source's clock as last measured, the one most ahead first."""
    rows = conn.execute(
        "SELECT u.code, s.key, c.ahead_s, c.worst_s, c.measured_at,"
        " extract(epoch FROM clock_timestamp() - c.measured_at)::float8"
        " FROM clock_skew c JOIN source s USING (source_id) JOIN lead_unit u USING (unit_id)"
        " ORDER BY c.ahead_s DESC, u.code, s.key"
    )
    return [Skew(*row) for row in rows]
