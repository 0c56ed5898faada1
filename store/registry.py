"""Who may send: lead units, their keys and pilots, and the sources by which data come."""

from __future__ import annotations

from datetime import date
from typing import Literal, NamedTuple

from store import audit
from store.database import Connection, only
from store.identity import digest


class Unit(NamedTuple):
    """A lead unit as its key identifies it."""

    unit_id: int
    code: str


class NewUnit(NamedTuple):
    """A lead unit to register."""

    code: str
    name_zh: str
    name_en: str
    path: Literal[1, 2]
    uscc: str


class NewPilot(NamedTuple):
    """A pilot to register."""

    code: str
    name_zh: str
    name_en: str
    cluster_code: str
    region_code: str
    unit_code: str
    stage: str
    started_on: date


def unit_ids(conn: Connection) -> dict[str, int]:
    """Unit code → unit_id of every unit."""
    return dict(conn.execute("SELECT code, unit_id FROM lead_unit").fetchall())


def source_id(conn: Connection, unit_id: int, key: str) -> int:
    """The id of a unit's source, registered at first sight."""
    row = conn.execute(
        "SELECT source_id FROM source WHERE unit_id = %s AND key = %s", (unit_id, key)
    ).fetchone()
    if row is None:
        inserted = conn.execute(
            "INSERT INTO source (unit_id, key) VALUES (%s, %s)"
            " ON CONFLICT (unit_id, key) DO UPDATE SET key = excluded.key RETURNING source_id",
            (unit_id, key),
        )
        row = only(inserted)
        conn.execute("INSERT INTO ingest_ledger (source_id) VALUES (%s) ON CONFLICT DO NOTHING", (row[0],))
    return int(row[0])


def register_unit(conn: Connection, unit: NewUnit) -> int:
    """Register a lead unit, or correct its names; returns its unit_id. Raises on a wrong USCC."""
    inserted = conn.execute(
        "INSERT INTO lead_unit (code, name_zh, name_en, path, uscc) VALUES (%s, %s, %s, %s, %s)"
        " ON CONFLICT (code) DO UPDATE SET name_zh = excluded.name_zh, name_en = excluded.name_en,"
        " path = excluded.path, uscc = excluded.uscc RETURNING unit_id",
        unit,
    )
    return int(only(inserted)[0])


def register_pilot(conn: Connection, pilot: NewPilot) -> None:
    """Register a pilot, or bring its stage and names up to date. Raises on unknown unit, cluster or region."""
    conn.execute(
        "INSERT INTO pilot (code, name_zh, name_en, cluster_code, region_code, unit_id, stage, started_on)"
        " SELECT %s, %s, %s, %s, %s, unit_id, %s, %s FROM lead_unit WHERE code = %s"
        " ON CONFLICT (code) DO UPDATE SET name_zh = excluded.name_zh, name_en = excluded.name_en,"
        " stage = excluded.stage, started_on = excluded.started_on",
        (
            pilot.code, pilot.name_zh, pilot.name_en, pilot.cluster_code, pilot.region_code,
            pilot.stage, pilot.started_on, pilot.unit_code,
        ),
    )  # fmt: skip


def add_key(conn: Connection, unit_code: str, key: str) -> None:
    """Keep the digest of a newly issued key."""
    made = conn.execute(
        "INSERT INTO api_key (unit_id, digest) SELECT unit_id, %s FROM lead_unit WHERE code = %s RETURNING key_id, unit_id",
        (digest(key), unit_code),
    ).fetchone()
    if made is not None:
        audit.record(conn, "key.issued", f"key {made[0]}", {"unit": unit_code}, made[1])
