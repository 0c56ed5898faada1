from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from store import periods
from store.database import Connection
from store.registry import NewUnit, register_unit

OCTOBER = datetime(2026, 10, 1, tzinfo=timezone(timedelta(hours=8)))
DAY = timedelta(days=1)


@pytest.fixture
def unit_id(conn: Connection) -> int:
    return register_unit(conn, NewUnit("GD-T-01", "测试", "Test", 1, "91440300MA5DTE0T0B"))


def test_closing_goes_forward_and_opening_back(conn: Connection, unit_id: int) -> None:
    assert periods.closed_until(conn, unit_id) is None
    periods.close(conn, "GD-T-01", OCTOBER, "审计")
    periods.close(conn, "GD-T-01", OCTOBER, "again")
    assert periods.closed_until(conn, unit_id) == int(OCTOBER.timestamp()) * 1_000_000
    with pytest.raises(periods.Backwards):
        periods.close(conn, "GD-T-01", OCTOBER - DAY, "somebody")
    with pytest.raises(periods.Backwards):
        periods.reopen(conn, "GD-T-01", OCTOBER + DAY, "somebody")
    periods.reopen(conn, "GD-T-01", OCTOBER - DAY, "somebody")
    (one,) = periods.closed(conn)
    assert (one.unit, one.until, one.closed_by) == ("GD-T-01", OCTOBER.astimezone(UTC) - DAY, "somebody")
    periods.reopen(conn, "GD-T-01", None, "somebody")
    assert periods.closed(conn) == []
    assert periods.closed_until(conn, unit_id) is None


def test_a_unit_nobody_knows_cannot_be_closed(conn: Connection) -> None:
    with pytest.raises(periods.UnknownUnit):
        periods.close(conn, "GD-NO", OCTOBER, "somebody")
