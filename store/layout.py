"""The physical layout of `measurement`: chosen from what the server offers, the same table on all."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from importlib.resources import files
from typing import Literal, LiteralString, cast

from store.database import Connection

Layout = Literal["native", "hypertable"]


def offered(conn: Connection) -> Layout:
    """What this server can do: `hypertable` where TimescaleDB is there to be used."""
    row = conn.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'").fetchone()
    return "hypertable" if row else "native"


def current(conn: Connection) -> Layout | None:
    """The layout `measurement` has; None before one was applied."""
    row = conn.execute("SELECT to_regclass('layout')").fetchone()
    if not row or row[0] is None:
        return None
    row = conn.execute("SELECT name FROM layout").fetchone()
    return cast(Layout, row[0]) if row else None


def apply_layout(conn: Connection) -> Layout:
    """Give `measurement` its layout, once; autocommit connection. Returns the layout in force.

    A layout, once applied, stays: moving rows between layouts is an operator's decision.
    """
    if (layout := current(conn)) is not None:
        return layout
    layout = offered(conn)
    if layout == "hypertable":
        conn.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    # The file is part of the program: its text is as literal as code.
    text: LiteralString = (files("store") / "layouts" / f"{layout}.sql").read_text("utf-8")
    with conn.transaction():
        conn.execute(text)
        conn.execute(
            "CREATE TABLE layout (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        conn.execute("INSERT INTO layout (name) VALUES (%s)", (layout,))
    return layout


class DayPartitions:
    """Makes sure that the days about to be written have their partition; remembers which do.

    On hypertables there is nothing to do. Creating a partition takes an own short transaction on
    `conn`, which must be in autocommit: DDL never waits inside the writer's transaction.
    """

    def __init__(self, conn: Connection) -> None:
        self._native = current(conn) == "native"
        self._known: set[date] = set()
        if self._native:
            names = conn.execute(
                "SELECT relid::regclass::text FROM pg_partition_tree('measurement') WHERE isleaf"
            ).fetchall()
            self._known = {day for (name,) in names if (day := _day_of(name)) is not None}

    def ensure(self, conn: Connection, days: Iterable[date]) -> None:
        """Create the missing daily partitions of these UTC days."""
        if not self._native:
            return
        for day in sorted(set(days) - self._known):
            with conn.transaction():
                conn.execute("SELECT make_day_partition(%s::date)", (day,))
            self._known.add(day)


def _day_of(partition: str) -> date | None:
    name = partition.rpartition(".")[2]
    digits = name.removeprefix("measurement_")
    return datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC).date() if digits.isdigit() else None
