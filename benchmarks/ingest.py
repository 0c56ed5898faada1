"""How close the writer comes to what the database can take: both measured in the same run.

Limit: the same number of rows, sorted and encoded beforehand, by one binary COPY a message straight
into `measurement` with its key. Writer: messages of the log as bytes → decode, validate, store,
latest values, accounts, dirty hours; one transaction a message.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ingest.batch import Batch, encode
from ingest.log import Entry
from ingest.storing import Storing
from qunce.embedded.postgres import Postgres
from qunce.process import free_port, stop
from store import measurements
from store.database import Connection, connect
from store.layout import DayPartitions
from store.migrate import migrate
from store.registry import NewUnit, register_unit
from store.rows import Rows, measurement_copy

UNIT, MACHINES, SIGNALS, ROWS, MESSAGES, ROUNDS = "GD-BEN-01", 250, 8, 50_000, 10, 3
TAGS = MACHINES * SIGNALS


def main() -> None:
    """Start a database, measure, print."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        postgres = Postgres(Path(folder) / "postgres", free_port())
        postgres.prepare()
        server = postgres.start(Path(folder) / "log")
        try:
            measure(postgres.dsn)
        finally:
            stop(server, how=postgres.stop_signal, grace_s=postgres.stop_grace_s)


def measure(dsn: str) -> None:
    """Limit and writer in turn; medians and their ratio."""
    with connect(dsn, application="bench", autocommit=True) as conn:
        migrate(conn)
        tag_ids = register(conn)
        now = time.time_ns() // 60_000_000_000 * 60_000_000
        storing = Storing(dsn)
        limits, ours = [], []
        for turn in range(ROUNDS):
            numbers = range(turn * 2 * MESSAGES, (turn + 1) * 2 * MESSAGES)
            batches = [batch(now, number) for number in numbers]
            limits.append(limit(conn, [rows_of(b, tag_ids) for b in batches[:MESSAGES]]))
            ours.append(writer(storing, batches[MESSAGES:]))
        storing.close()
    top, reached = statistics.median(limits), statistics.median(ours)
    print(f"limit   {top:>10,.0f} rows/s  sorted binary COPY into measurement, with its key")
    print(f"writer  {reached:>10,.0f} rows/s  from bytes of the log to commit")
    print(f"ratio   {reached / top:>10.2f}")


def register(conn: Connection) -> npt.NDArray[np.int32]:
    """One unit with TAGS tags; their ids in the order of `names`."""
    with conn.transaction():
        unit = register_unit(conn, NewUnit(UNIT, "基准", "Benchmark", 1, "91440300MA5EXAMP0C"))
        conn.execute(
            "INSERT INTO enterprise (unit_id, uscc, name, region_code, registered_on)"
            " VALUES (%s, '91440300MA5EXAMP0C', '厂', '441900', '2026-01-01')",
            (unit,),
        )
        conn.execute(
            "INSERT INTO equipment (unit_id, enterprise_id, code, name, kind, digital, networked)"
            " SELECT %s, (SELECT enterprise_id FROM enterprise), 'M' || i, 'M', 'CNC', true, true"
            " FROM generate_series(1, %s) i",
            (unit, MACHINES),
        )
        conn.execute(
            "INSERT INTO tag (unit_id, equipment_id, name, signal, data_type, unit, range_min, range_max)"
            " SELECT %s, equipment_id, code || '.p' || i, 'p' || i, 'float', '1', -1e9, 1e9"
            " FROM equipment, generate_series(1, %s) i",
            (unit, SIGNALS),
        )
        ids: dict[str, int] = dict(conn.execute("SELECT name, tag_id FROM tag").fetchall())
    return np.array([ids[name] for name in names()], np.int32)


def names() -> tuple[str, ...]:
    """Names of all tags."""
    return tuple(f"M{m}.p{s}" for m in range(1, MACHINES + 1) for s in range(1, SIGNALS + 1))


def batch(now: int, number: int) -> Batch:
    """ROWS readings of all tags in the order of time, as they arrive; each number later than the last."""
    each = ROWS // TAGS
    ts = now - 86_400_000_000 + (number * each + np.arange(each)) * 10_000_000
    return Batch(
        unit=UNIT,
        source=f"http_push:{UNIT}",
        mode="backfill",
        tags=names(),
        received_at=now,
        tag_index=np.tile(np.arange(TAGS, dtype=np.int32), each),
        ts=np.repeat(ts, TAGS),
        value=np.random.default_rng(number).normal(size=ROWS),
        quality=np.zeros(ROWS, np.int16),
    )


def rows_of(b: Batch, tag_ids: npt.NDArray[np.int32]) -> Rows:
    """The batch as the store takes it, sorted by key."""
    none: Any = np.zeros(len(b), np.int32)
    rows = Rows(tag_ids[b.tag_index], none, none, b.ts, b.value, b.quality, None)
    return rows.in_key_order()


def limit(conn: Connection, batches: list[Rows]) -> float:
    """Rows/s of COPY alone."""
    days = {day.date() for rows in batches for day in measurements.days_of(rows)}
    DayPartitions(conn).ensure(conn, days)
    encoded = [measurement_copy(rows) for rows in batches]
    begun = time.perf_counter()
    for data in encoded:
        with conn.transaction(), conn.cursor() as cursor:
            statement = "COPY measurement (tag_id, ts, value, quality) FROM STDIN (FORMAT binary)"
            with cursor.copy(statement) as copy:
                copy.write(data)
    return len(batches) * ROWS / (time.perf_counter() - begun)


def writer(storing: Storing, batches: list[Batch]) -> float:
    """Rows/s of the writer."""
    entries = [
        Entry("backfill", "batch", UNIT, f"http_push:{UNIT}", 0, i, str(i), len(b), encode(b))
        for i, b in enumerate(batches, 1)
    ]
    begun = time.perf_counter()
    for entry in entries:
        storing.store([entry], "bench")
    return len(batches) * ROWS / (time.perf_counter() - begun)
