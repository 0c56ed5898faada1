"""The hypertable layout on a real TimescaleDB (compiled to WebAssembly): same tables, keys, queries.

That build takes one connection and no COPY, so the writer's path is tested on the servers of
tests/conftest.py; on a full TimescaleDB the whole suite runs with QUNCE_TEST_DSN.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import psycopg
import pytest

from qunce.process import free_port
from store import layout, measurements
from store.database import Connection, connect
from store.migrate import migrate, pending
from store.rows import Parts, Rows, concatenate
from tests.foreign import node_with_packages

HERE = Path(__file__).parent
START = datetime(2026, 11, 20, tzinfo=UTC)
START_US = int(START.timestamp()) * 1_000_000


@pytest.fixture(scope="module")
def timescale() -> Iterator[Connection]:
    node = node_with_packages(HERE)
    port = free_port()
    server = subprocess.Popen([node, "server.mjs", str(port)], cwd=HERE, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        dsn = f"host=127.0.0.1 port={port} user=postgres password=postgres dbname=postgres sslmode=disable"
        with connect(dsn, application="test") as conn:
            migrate(conn)
            yield conn
    finally:
        server.send_signal(signal.SIGKILL)
        server.communicate()


def test_the_layout_is_chosen_from_what_the_server_offers(timescale: Connection) -> None:
    assert layout.offered(timescale) == "hypertable"
    assert layout.current(timescale) == "hypertable"
    assert pending(timescale) == []
    found = timescale.execute("SELECT hypertable_name FROM timescaledb_information.hypertables").fetchall()
    assert found == [("measurement",)]


def test_a_second_migration_changes_nothing(timescale: Connection) -> None:
    assert migrate(timescale) == []
    assert layout.current(timescale) == "hypertable"


SHAPE = """
    SELECT table_name, column_name, data_type, is_nullable, column_default IS NULL
    FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name !~ '_[0-9]{8}$'
    ORDER BY table_name, column_name"""
KEYS = """
    SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE contype IN ('p', 'u') AND connamespace = 'public'::regnamespace
    AND conrelid::regclass::text !~ '_[0-9]{8}$' ORDER BY 1, 2"""


def test_tables_and_keys_are_those_of_plain_postgresql(timescale: Connection, conn: Connection) -> None:
    for question in (SHAPE, KEYS):
        assert timescale.execute(question).fetchall() == conn.execute(question).fetchall()


def test_rows_go_to_chunks_by_day_and_keys_hold(timescale: Connection) -> None:
    layout.DayPartitions(timescale).ensure(timescale, [date(2026, 11, 20)])  # nothing to do here
    for day in range(3):
        timescale.execute(
            "INSERT INTO measurement VALUES (1, %s, %s, 0)", (START + timedelta(days=day), float(day))
        )
    chunks = timescale.execute(
        "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'measurement'"
    ).fetchone()
    assert chunks == (3,)
    with pytest.raises(psycopg.errors.UniqueViolation):
        timescale.execute("INSERT INTO measurement VALUES (1, %s, 9, 0)", (START,))


PARTS = Parts(np.zeros(1, np.int32), np.array([START_US]), np.ones(1, np.bool_), ("b",))


def one(tag_id: int, ts: int, value: float) -> Rows:
    zero = np.zeros(1, np.int32)
    return Rows(
        np.array([tag_id], np.int32), zero, zero, np.array([ts]), np.array([value]), np.zeros(1, np.int16), None
    )  # fmt: skip


def test_the_writers_question_for_what_is_stored_is_the_same_text(timescale: Connection) -> None:
    rows = concatenate([one(1, START_US, 0.0), one(2, START_US, 0.0)])
    found = measurements.met(timescale, rows)
    assert (found.key.tolist(), found.content.tolist(), found.quality.tolist()) == ([0], [0.0], [0])


def test_latest_value_keeps_the_newest_by_source_time(timescale: Connection) -> None:
    for shift, value, first in ((5, 5.0, True), (3, 3.0, False), (3, 3.0, True)):
        measurements.keep_latest(timescale, one(7, START_US + shift, value), np.array([first]), PARTS)
    assert timescale.execute("SELECT value FROM latest_value WHERE tag_id = 7").fetchall() == [(5.0,)]
