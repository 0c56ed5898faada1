"""Latest values over HTTP: one's own, newest by source time, as columns."""

from __future__ import annotations

import pytest

from store import latest
from store.database import connect
from tests.integration.test_api import OTHER, go, platform, register_master, registered

pytestmark = pytest.mark.concurrent
__all__ = ["registered"]

TAGS = [("M1.state", "state", "enum"), ("M1.alarm", "alarm", "text"), ("M1.empty", "empty", "text")]


def test_latest_values_of_ones_own_tags(registered: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        dsn, url = registered
        async with platform(dsn, url) as client:
            await register_master(client)
            with connect(dsn, application="test") as conn:
                for name, signal, kind in TAGS:
                    conn.execute(
                        "INSERT INTO tag (unit_id, equipment_id, name, signal, data_type, unit)"
                        " SELECT unit_id, equipment_id, %s, %s, %s, '1' FROM equipment",
                        (name, signal, kind),
                    )
                for name, value, text, quality in (
                    ("M1.produced", 7.5, None, 0),
                    ("M1.state", 3, None, -0x8000),
                    ("M1.alarm", None, 'a,"b"\nc', 0x4000),
                    ("M1.empty", None, "", 0),
                ):
                    conn.execute(
                        "INSERT INTO latest_value (tag_id, ts, value, text, quality, received_at)"
                        " SELECT tag_id, '2026-11-23T00:00:00Z', %s, %s, %s, '2026-11-23T00:00:01Z' FROM tag"
                        " WHERE name = %s",
                        (value, text, quality, name),
                    )
            found = (await client.get("/api/v1/latest")).json()
            at = 1_795_392_000_000_000
            assert found == {
                "tags": ["M1.produced", "M1.state", "M1.alarm", "M1.empty"],
                "ts": [at] * 4,
                "value": [7.5, 3.0, None, None],
                "text": [None, "Executing", 'a,"b"\nc', ""],
                "quality": [0, 0x80000000, 0x40000000, 0],
                "received_at": [at + 1_000_000] * 4,
                "next": None,
            }
            chosen = (await client.get("/api/v1/latest?tags=M1.state,M1.none")).json()
            assert chosen["tags"] == ["M1.state"]
            assert len((await client.get("/api/v1/latest?equipment=M1")).json()["tags"]) == 4
            assert (await client.get("/api/v1/latest?equipment=M2")).json()["tags"] == []
            other = await client.get("/api/v1/latest", headers={"Authorization": f"Bearer {OTHER}"})
            assert other.json()["tags"] == []
            assert (await client.get("/api/v1/latest?tags=%00")).status_code == 422
            monkeypatch.setattr(latest.latest, "__kwdefaults__", {**latest.latest.__kwdefaults__, "limit": 3})
            monkeypatch.setattr(latest, "PAGE", 3)
            first = (await client.get("/api/v1/latest")).json()
            rest = (await client.get(f"/api/v1/latest?cursor={first['next']}")).json()
            assert (first["tags"] + rest["tags"], rest["next"]) == (found["tags"], None)

    go(test())
