"""A simulated province put straight into the store, with what really happened beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd

from simulators.machine import MODES, STATES
from simulators.plan import plan_province
from simulators.profile import profile_of
from simulators.province import Province
from simulators.shifts import DAY_MS
from simulators.signals import Machine, Origin
from simulators.truth import COLUMNS, hours_of
from store.columnar import write
from store.database import Connection

_CODES = {name: code for names in (STATES, MODES) for code, name in enumerate(names)}


@dataclass
class Totals:
    """Totals of machine-days, in memory."""

    kept: dict[tuple[str, str, int], tuple[int, int, float]] = field(default_factory=dict)

    def get_total(self, unit: str, code: str, day: int) -> tuple[int, int, float] | None:
        return self.kept.get((unit, code, day))

    def put_total(self, unit: str, code: str, day: int, total: tuple[int, int, float]) -> None:
        self.kept[unit, code, day] = total


@dataclass
class Loaded:
    """What was put into the store: `ids` (unit, equipment code) → equipment_id, and the machines themselves."""

    province: Province
    machines: dict[int, Machine]
    tags: dict[str, int]

    def truth(self, first_day: int, days: int) -> pd.DataFrame:
        """What happened in each machine-hour: equipment_id, hour (aware UTC) and the simulator's columns."""
        rows = []
        for equipment_id, machine in self.machines.items():
            for day in range(first_day, first_day + days):
                start = datetime.fromtimestamp(day * DAY_MS / 1000, UTC)
                rows += [
                    (equipment_id, start + pd.Timedelta(hours=hour), *row)
                    for hour, row in enumerate(hours_of(machine.day(day)))
                ]
        return pd.DataFrame(rows, columns=["equipment_id", "hour", *COLUMNS[3:]])


def load(conn: Connection, first_day: int, days: int, *, machines_per_unit: int = 0, seed: int = 7) -> Loaded:
    """Register a province and store the readings of some production days (UTC days since 1970), marked dirty."""
    province = plan_province(seed=seed, as_of=date(1970, 1, 1) + pd.Timedelta(days=first_day + days))
    loaded = Loaded(province, {}, {})
    origin, totals = Origin(first_day, first_day), Totals()
    for pilot in province.pilots:
        unit_id = _one(
            conn,
            "INSERT INTO lead_unit (code, name_zh, name_en, path, uscc) VALUES (%s, %s, %s, %s, %s) RETURNING 1, unit_id",
            pilot.unit.code, pilot.unit.name_zh, pilot.unit.name_en, pilot.unit.path, pilot.unit.uscc,
        )  # fmt: skip
        conn.execute(
            "INSERT INTO pilot (code, name_zh, name_en, cluster_code, region_code, unit_id, stage, started_on)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (pilot.code, pilot.name_zh, pilot.name_en, pilot.cluster_code, pilot.region_code, unit_id, pilot.stage,
             pilot.started_on),
        )  # fmt: skip
        source_id = _one(
            conn,
            "INSERT INTO source (unit_id, key) VALUES (%s, %s) RETURNING 1, source_id",
            unit_id, f"http_push:{pilot.unit.code}",
        )  # fmt: skip
        for milestone in pilot.milestones:
            conn.execute(
                "INSERT INTO milestone VALUES (%s, %s, %s, %s, %s)",
                (unit_id, milestone.code, milestone.name, milestone.planned_on, milestone.accepted_on),
            )
        enterprises = {
            one.uscc: _one(
                conn,
                "INSERT INTO enterprise (unit_id, uscc, name, region_code, industry, registered_on, scale)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING 1, enterprise_id",
                unit_id, one.uscc, one.name, one.region_code, one.industry, one.registered_on, one.scale,
            )
            for one in province.enterprises
            if one.unit == pilot.unit.code
        }  # fmt: skip
        mine = [one for one in province.equipment if one.unit == pilot.unit.code]
        for one in mine[: machines_per_unit or None]:
            equipment_id = _one(
                conn,
                "INSERT INTO equipment (unit_id, enterprise_id, code, name, kind, rated_capacity_per_h, digital, networked)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING 1, equipment_id",
                unit_id, enterprises[one.enterprise_uscc], one.code, one.name, one.kind, one.rated_capacity_per_h,
                one.digital, one.networked,
            )  # fmt: skip
            machine = Machine(profile_of(province, one, pilot), one, origin, totals)
            loaded.machines[equipment_id] = machine
            for tag in one.tags:
                tag_id = _one(
                    conn,
                    "INSERT INTO tag (unit_id, equipment_id, name, signal, data_type, unit) VALUES (%s, %s, %s, %s, %s, %s)"
                    " RETURNING 1, tag_id",
                    unit_id, equipment_id, tag.name, tag.signal, tag.data_type, tag.unit,
                )  # fmt: skip
                loaded.tags[f"{equipment_id}.{tag.signal}"] = tag_id
                conn.execute(
                    "INSERT INTO reporting_schedule VALUES (%s, %s, %s)",
                    (tag_id, datetime.fromtimestamp(first_day * DAY_MS / 1000, UTC), tag.history_interval_s),
                )
            _plans(conn, unit_id, equipment_id, machine, range(first_day, first_day + days))
        conn.execute(
            "INSERT INTO supply_hour SELECT equipment_id, %s, to_timestamp(h), 100, 0, 0, 0, 0 FROM equipment,"
            " generate_series(%s, %s, 3600) h WHERE unit_id = %s",
            (source_id, first_day * 86400, (first_day + days) * 86400 - 3600, unit_id),
        )
    _readings(conn, loaded, first_day, days)
    conn.execute(
        "INSERT INTO dirty_hour (equipment_id, hour, marked_at, since) SELECT equipment_id, to_timestamp(h),"
        " now() - interval '1 hour', now() - interval '1 hour' FROM equipment, generate_series(%s, %s, 3600) h",
        (first_day * 86400, (first_day + days) * 86400 - 3600),
    )
    return loaded


def _one(conn: Connection, query: str, *params: object) -> int:
    row = conn.execute(query, params).fetchone()  # type: ignore[call-overload]
    assert row is not None
    return int(row[1])


def _plans(conn: Connection, unit_id: int, equipment_id: int, machine: Machine, days: range) -> None:
    def at(ms: int) -> datetime:
        return datetime.fromtimestamp(ms / 1000, UTC)

    calendar, orders = [], []
    for number in days:
        day = machine.day(number)
        for shift in day.shifts:
            calendar.append((unit_id, equipment_id, at(shift.start), at(shift.end), "shift"))
            calendar += [(unit_id, equipment_id, at(a), at(b), "break") for a, b in shift.breaks]
            if shift.planned_downtime:
                a, b = shift.planned_downtime
                calendar.append((unit_id, equipment_id, at(a), at(b), "planned_downtime"))
        orders += [
            (unit_id, o.order_id, equipment_id, "p", o.pri_s, o.planned_quantity, at(o.start), at(o.end))
            for o in day.orders
        ]
    with conn.cursor() as cursor:
        cursor.executemany("INSERT INTO shift_calendar VALUES (%s, %s, %s, %s, %s)", calendar)
        cursor.executemany(
            "INSERT INTO production_order (unit_id, order_id, equipment_id, product, pri_s, planned_quantity, start_at, end_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            orders,
        )


def _readings(conn: Connection, loaded: Loaded, first_day: int, days: int) -> None:
    conn.execute("CREATE TEMP TABLE reading (tag_id int, ts bigint, value float8) ON COMMIT DROP")
    native = conn.execute("SELECT relkind = 'p' FROM pg_class WHERE oid = 'measurement'::regclass").fetchone()
    for number in range(first_day, first_day + days):
        start = datetime.fromtimestamp(number * DAY_MS / 1000, UTC)
        # the sample on the closing edge lies in the next day
        for day in (start, start + pd.Timedelta(days=1)):
            if native and native[0]:
                conn.execute(
                    f"CREATE TABLE IF NOT EXISTS measurement_{day:%Y%m%d} PARTITION OF measurement"  # type: ignore[arg-type]
                    f" FOR VALUES FROM ('{day.isoformat()}') TO ('{(day + pd.Timedelta(days=1)).isoformat()}')"
                )
        parts = []
        last = number == first_day + days - 1
        for equipment_id, machine in loaded.machines.items():
            end = (number + 1) * DAY_MS + (1 if last else 0)
            for signal, ts, values in machine.window(number * DAY_MS, end, machine.history_ms):
                value = [_CODES[v] for v in values] if signal in ("state", "mode") else values
                parts.append(
                    pd.DataFrame(
                        {
                            "tag_id": loaded.tags[f"{equipment_id}.{signal}"],
                            "ts": ts * 1000,
                            "value": np.asarray(value, float),
                        }
                    )
                )
        write(conn, "reading", pd.concat(parts))
        conn.execute(
            "INSERT INTO measurement SELECT tag_id, 'epoch'::timestamptz + ts * interval '1 microsecond', value, 0"
            " FROM reading ON CONFLICT DO NOTHING"
        )
        conn.execute("TRUNCATE reading")
