"""At each start: the first operator has his account, and what was set anew is in the audit log, without values."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from qunce.beginning import SEEN_FILE, begin
from qunce.settings import Settings
from store import audit, people
from store.database import Connection

pytestmark = pytest.mark.concurrent


def test_what_was_set_anew_is_noted_once(conn: Connection, dsn: str, tmp_path: Path) -> None:
    def start(**dashboard: object) -> list[str]:
        settings = Settings.model_validate(
            {"data_dir": tmp_path, "database": {"dsn": dsn}, "dashboard": dashboard}
        )
        asyncio.run(begin(settings, asyncio.Event()))
        conn.rollback()
        return [e.detail for e in audit.events(conn, limit=10, action="configuration.changed")]

    assert len(start(user="root-op", password="correct horse")) == 1
    assert [p.name for p in people.listed(conn)] == ["root-op"]
    assert len(start(user="root-op", password="correct horse")) == 1
    told = start(user="root-op", password="battery staple", session_hours=1)
    assert told[0] == '{"names": ["dashboard.password", "dashboard.session_hours"]}'
    assert "battery" not in str(told)
    assert "battery" not in (tmp_path / SEEN_FILE).read_text()
