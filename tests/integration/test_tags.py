"""The tags of a unit from a real database, by pages and by what changed."""

from __future__ import annotations

import numpy as np
import pytest

from store import tags as tags_of
from store.database import Connection
from store.registry import NewUnit, register_unit
from store.tags import NEVER, Names, renew, unit_tags

UNIT = "GD-TAG-01"


@pytest.fixture
def unit(conn: Connection) -> int:
    unit_id = register_unit(conn, NewUnit(UNIT, "单位", "Unit", 1, "91440300MA5EXAMP0C"))
    conn.execute(
        "INSERT INTO enterprise (unit_id, uscc, name, region_code, registered_on)"
        " VALUES (%s, '91440300MA5EXAMP0C', '厂', '441900', '2026-01-01')",
        (unit_id,),
    )
    conn.execute(
        "INSERT INTO equipment (unit_id, enterprise_id, code, name, kind, digital, networked)"
        " SELECT %s, enterprise_id, 'M1', 'M', 'CNC', true, true FROM enterprise",
        (unit_id,),
    )
    register(conn, unit_id, 1, 25)
    conn.commit()
    return unit_id


def register(conn: Connection, unit_id: int, first: int, last: int) -> None:
    conn.execute(
        "INSERT INTO tag (unit_id, equipment_id, name, signal, data_type, unit, range_min)"
        " SELECT %s, equipment_id, 'M1.' || 'p,\"' || i, 'p', 'float', '℃', i"
        " FROM equipment, generate_series(%s::int, %s::int) i",
        (unit_id, first, last),
    )


def test_tags_come_in_pages_with_their_newest_reading(
    conn: Connection, unit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tags_of, "_PAGE", 10)
    conn.execute(
        "INSERT INTO latest_value (tag_id, ts, value, quality, received_at)"
        " SELECT tag_id, '2026-11-25T00:00:00.000001Z', 7, 0, now() FROM tag ORDER BY tag_id LIMIT 1"
    )
    found = unit_tags(conn, UNIT)
    assert found is not None
    assert len(found) == len(found.rows) == 25
    rows = found.rows.find(['M1.p,"1', 'M1.p,"25', "M1.nothing"])
    assert rows[2] == -1
    assert found.low[rows[:2]].tolist() == [1.0, 25.0]
    assert found.newest[rows[:2]].tolist() == [1_795_564_800_000_001, NEVER]
    assert found.value[rows[0]] == 7
    assert np.isnan(found.high).all()
    assert set(found.unit) == {"℃"}


def test_new_and_changed_tags_are_read_and_the_rest_is_kept(conn: Connection, unit: int) -> None:
    before = unit_tags(conn, UNIT)
    assert before is not None
    before.newest[:] = 5
    register(conn, unit, 26, 27)
    conn.execute("UPDATE tag SET range_min = -1 WHERE name = 'M1.p,\"3'")
    after = renew(conn, before, ['M1.p,"3'])
    assert len(after) == 27
    rows = after.rows.find(['M1.p,"3', 'M1.p,"4', 'M1.p,"27'])
    assert after.low[rows].tolist() == [-1.0, 4.0, 27.0]
    assert after.newest[rows].tolist() == [NEVER, 5, NEVER]
    assert renew(conn, after) is after
    assert unit_tags(conn, "GD-NOBODY") is None


def test_a_unit_without_tags_has_none(conn: Connection) -> None:
    register_unit(conn, NewUnit(UNIT, "单位", "Unit", 1, "91440300MA5EXAMP0C"))
    found = unit_tags(conn, UNIT)
    assert found is not None
    assert len(found) == 0
    assert found.rows.find(["x"]).tolist() == [-1]


def test_a_hundred_thousand_names_are_all_found_where_they_stand() -> None:
    names = [f"M{i // 10}.p{i % 10}" for i in range(100_000)]
    found = Names.of(names)
    some = list(range(0, 100_000, 7))
    assert found.find([names[i] for i in some]).tolist() == some
    assert found.find([f"x{name}" for name in names[:100]]).tolist() == [-1] * 100
