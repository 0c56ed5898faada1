"""Data quality by source: history by one source, live data of the same machine by another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from metrics import engine, moment
from store.database import Connection
from store.indicators import current

START = datetime(2026, 5, 28, 0, tzinfo=UTC)
DAY = START - timedelta(hours=8)  # of +08:00: the UTC hours 0 to 15 of it
NOW = START + timedelta(days=1)
PUSH, MQTT = 1, 2
TAGS = 2
BACKFILL, LIVE, LATE = "backfill", "live", "late"


class Machine:
    """One machine with two tags that are due every minute, and what its sources bring of it."""

    def __init__(self, conn: Connection) -> None:
        self.conn = conn
        conn.execute(
            "INSERT INTO lead_unit (code, name_zh, name_en, path, uscc) VALUES ('GD-X-01', 'u', 'u', 1, '91350100M000100Y43');"
            "INSERT INTO source (unit_id, key) VALUES (1, 'http_push:GD-X-01'), (1, 'mqtt:GD-X-01'), (1, 'opcua:X');"
            "INSERT INTO enterprise (unit_id, uscc, name, region_code, registered_on)"
            " SELECT 1, '91350100M000100Y43', 'e', min(code), '2026-01-01' FROM region;"
            "INSERT INTO equipment (unit_id, enterprise_id, code, name, kind, digital, networked)"
            " VALUES (1, 1, 'M', 'm', 'k', true, true);"
            "INSERT INTO tag (unit_id, equipment_id, name, signal, data_type, unit)"
            " VALUES (1, 1, 'a', 'other', 'float', '1'), (1, 1, 'b', 'other', 'float', '1');"
            "INSERT INTO reporting_schedule SELECT tag_id, '2026-05-28T00:00Z', 60 FROM tag"
        )

    def brings(self, source: int, hours: range, mode: str, minutes: range = range(60)) -> None:
        """Readings of these minutes of these hours of the day."""
        times = [START + timedelta(hours=h, minutes=m) for h in hours for m in minutes]
        n = TAGS * len(minutes)
        live, timely = (n if mode != BACKFILL else 0), (n if mode == LIVE else 0)
        with self.conn.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO measurement (tag_id, ts, value, quality) SELECT tag_id, %s, 1, 0 FROM tag",
                [[t] for t in times],
            )
            for hour in (START + timedelta(hours=h) for h in hours):
                cursor.execute(
                    "INSERT INTO supply_hour VALUES (1, %s, %s, %s, %s, %s, 0, 0)",
                    [source, hour, n, live, timely],
                )
                self.mark(hour)
                if live:
                    cursor.execute(
                        "INSERT INTO latency_bucket VALUES (%s, %s, 40, %s) ON CONFLICT DO NOTHING",
                        [source, hour, n],
                    )

    def mark(self, hour: datetime) -> None:
        self.conn.execute(
            "INSERT INTO dirty_hour (equipment_id, hour) VALUES (1, %s)"
            " ON CONFLICT (equipment_id, hour) DO UPDATE SET marked_at = clock_timestamp()",
            [hour],
        )

    def compute(self, now: datetime = NOW) -> None:
        for live in (True, False):
            while engine.rollup(self.conn, now, live=live, settle_s=0):
                pass
        while engine.indicators(self.conn, now, settle_s=0):
            pass
        self.conn.commit()

    def rates(self, code: str, hour: int | None = None) -> dict[int, tuple[float, float, str | None]]:
        """Source → (numerator, denominator, reason) of an hour, or of the day."""
        start = DAY if hour is None else START + timedelta(hours=hour)
        found = current(
            self.conn, [code], "source", "day" if hour is None else "hour", start, start + timedelta(hours=1)
        )
        rows = zip(found["entity_id"], found["numerator"], found["denominator"], found["reason"], strict=True)
        return {s: (n, d, r if isinstance(r, str) else None) for s, n, d, r in rows}


@pytest.fixture
def machine(conn: Connection) -> Machine:
    for day in (START, START + timedelta(days=1)):
        conn.execute(
            f"CREATE TABLE IF NOT EXISTS measurement_{day:%Y%m%d} PARTITION OF measurement"  # type: ignore[arg-type]
            f" FOR VALUES FROM ('{day.isoformat()}') TO ('{(day + timedelta(days=1)).isoformat()}')"
        )
    return Machine(conn)


@pytest.fixture
def day(machine: Machine) -> Machine:
    """History to 4:20, then live; 6 an outage, 8 delivered late, 9 an outage filled in by the other source."""
    machine.brings(PUSH, range(4), BACKFILL)
    machine.brings(PUSH, range(4, 5), BACKFILL, range(20))
    machine.brings(MQTT, range(4, 5), LIVE, range(20, 60))
    machine.brings(MQTT, range(5, 6), LIVE)
    machine.mark(START + timedelta(hours=6))
    machine.brings(MQTT, range(7, 8), LIVE)
    machine.brings(MQTT, range(8, 9), LATE)
    machine.brings(PUSH, range(9, 10), BACKFILL)
    machine.brings(MQTT, range(10, 16), LIVE)
    machine.compute()
    return machine


def test_due_slots_are_those_of_the_source_that_is_responsible(day: Machine):
    full = 60 * TAGS
    for hour in range(4):
        assert day.rates("dq.transmission_rate", hour) == {PUSH: (full, full, None)}
    assert day.rates("dq.transmission_rate", 4) == {
        PUSH: (20 * TAGS, 20 * TAGS, None), MQTT: (40 * TAGS, 40 * TAGS, None)
    }  # fmt: skip
    for hour in (5, 7, 8, 10, 15):
        assert day.rates("dq.transmission_rate", hour) == {MQTT: (full, full, None)}
    assert day.rates("dq.transmission_rate", 6) == {MQTT: (0, full, None)}
    filled_by_the_other = day.rates("dq.transmission_rate", 9)
    assert filled_by_the_other[MQTT] == (0, full, None)
    assert filled_by_the_other[PUSH][2] == "nothing_due"
    total = day.rates("dq.transmission_rate")
    assert total[PUSH] == (4 * full + 20 * TAGS, 4 * full + 20 * TAGS, None)
    assert total[MQTT] == (9 * full + 40 * TAGS, 11 * full + 40 * TAGS, None)
    # The machine itself lacks the one hour that nobody delivered.
    own = current(day.conn, ["dq.transmission_rate"], "equipment", "day", DAY, DAY + timedelta(hours=1)).iloc[
        0
    ]
    assert (own["numerator"], own["denominator"]) == (15 * full, 16 * full)


def test_every_source_that_sent_has_every_rate_or_a_reason(day: Machine):
    full = 60 * TAGS
    moment.registers(day.conn, NOW)
    assert day.rates("dq.validity_rate", 4) == {
        PUSH: (20 * TAGS, 20 * TAGS, None), MQTT: (40 * TAGS, 40 * TAGS, None)
    }  # fmt: skip
    assert day.rates("dq.validity_rate", 6)[MQTT][2] == "no_data"
    assert day.rates("dq.validity_rate", 9)[PUSH] == (full, full, None)
    assert day.rates("dq.timeliness", 8) == {MQTT: (0, full, None)}
    assert day.rates("dq.timeliness", 9)[PUSH][2] == "no_live_data"
    codes = ("transmission_rate", "validity_rate", "effective_rate", "timeliness", "latency_p95")
    for code in (f"dq.{name}" for name in codes):
        for hour in (None, 4, 9):
            found = day.rates(code, hour)
            assert PUSH in found, (code, hour)
            assert MQTT in found, (code, hour)
            assert all(reason or not np.isnan(d) for _, d, reason in found.values())
    share = 9 + 40 / 60
    assert day.rates("dq.effective_rate")[MQTT][0] == pytest.approx(share * full)


def test_an_outage_before_the_day_is_the_live_sources(machine: Machine):
    """What is known of the source lies outside of the period that is computed."""
    machine.brings(PUSH, range(1), BACKFILL)
    machine.brings(MQTT, range(1, 3), LIVE)
    machine.brings(PUSH, range(17, 18), BACKFILL)
    machine.mark(START + timedelta(hours=18))
    machine.compute()
    full = 60 * TAGS
    assert machine.rates("dq.transmission_rate", 17)[MQTT] == (0, full, None)
    assert machine.rates("dq.transmission_rate", 18) == {MQTT: (0, full, None)}


def test_another_live_source_takes_over_and_both_may_be_live(machine: Machine):
    opcua = 3
    machine.brings(MQTT, range(2), LIVE)
    machine.mark(START + timedelta(hours=2))
    machine.brings(MQTT, range(3, 4), LIVE, range(30))
    machine.brings(opcua, range(3, 4), LIVE, range(30, 60))
    machine.brings(opcua, range(4, 6), LIVE)
    machine.mark(START + timedelta(hours=6))
    machine.compute()
    full = 60 * TAGS
    assert machine.rates("dq.transmission_rate", 2) == {MQTT: (0, full, None)}
    assert machine.rates("dq.transmission_rate", 6) == {opcua: (0, full, None)}
    assert machine.rates("dq.transmission_rate", 4) == {opcua: (full, full, None)}


def test_a_row_refused_later_lowers_the_validity_of_its_hour(day: Machine):
    full = 60 * TAGS
    day.conn.execute(
        "UPDATE supply_hour SET quarantined = 30 WHERE source_id = %s AND hour = %s",
        [MQTT, START + timedelta(hours=5)],
    )
    day.mark(START + timedelta(hours=5))
    day.compute(NOW + timedelta(minutes=1))
    assert day.rates("dq.validity_rate", 5) == {MQTT: (full, full + 30, None)}
