"""How close the hour rollup comes to merely reading its rows: both measured in the same run.

Limit: one binary COPY of every stored reading (tag, time, value, quality) to this process, unordered.
Rollup: all equipment-hours of 300 simulated machines from marked to stored; then the indicator values
of all hours, days and months that they bear upon.
"""

from __future__ import annotations

import os
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from metrics import engine
from qunce.embedded.postgres import Postgres
from qunce.process import free_port, stop
from store.columnar import read
from store.database import Connection, connect
from store.migrate import migrate
from tests.metrics.province import load

DAYS = int(os.environ.get("QUNCE_BENCH_DAYS", "3"))
FIRST = 20_600


def main() -> None:
    """Start a database, fill it, measure, print."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        postgres = Postgres(Path(folder) / "postgres", free_port())
        postgres.prepare()
        server = postgres.start(Path(folder) / "log")
        try:
            with connect(postgres.dsn, application="bench") as conn:
                migrate(conn)
                conn.autocommit = False
                load(conn, FIRST, DAYS)
                conn.commit()
                measure(conn, datetime.fromtimestamp((FIRST + DAYS) * 86400, UTC) + timedelta(hours=3))
        finally:
            stop(server, how=postgres.stop_signal, grace_s=postgres.stop_grace_s)


def measure(conn: Connection, now: datetime) -> None:
    """Limit, rollup, indicators in turn."""
    columns = {"tag_id": "int4", "ts": "timestamptz", "value": "float8", "quality": "int2"}
    scan, rows = float("inf"), 0
    for _ in range(3):  # the first one also settles what the load left to do
        began = time.perf_counter()
        rows = len(read(conn, "SELECT tag_id, ts, value, quality FROM measurement", [], columns)["ts"])
        scan = min(scan, time.perf_counter() - began)

    began, hours = time.perf_counter(), 0
    while n := engine.rollup(conn, now, live=False, settle_s=0):
        hours += n
    conn.commit()
    rollup = time.perf_counter() - began

    began, periods = time.perf_counter(), 0
    while n := engine.indicators(conn, now, settle_s=0):
        periods += n
    conn.commit()
    indicators = time.perf_counter() - began
    row = conn.execute("SELECT count(*) FROM indicator_value").fetchone()
    values = row[0] if row else 0

    print(f"scan        {rows:>10,} readings         {rows / scan:>12,.0f} readings/s")
    print(
        f"rollup      {hours:>10,} equipment-hours  {rows / rollup:>12,.0f} readings/s  {hours / rollup:,.0f} equipment-hours/s"
    )
    print(
        f"indicators  {values:>10,} values           {values / indicators:>12,.0f} values/s    {periods} periods"
    )
    print(f"rollup reaches {scan / rollup:.0%} of the scan rate")


if __name__ == "__main__":
    main()
