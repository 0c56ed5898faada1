"""Code tables that the database holds, and since when each table has been what it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, LiteralString

from store.database import Connection, only

_KEPT: Mapping[str, LiteralString] = {
    "region": "SELECT code, name AS zh, level, parent FROM region ORDER BY code",
    "cluster": "SELECT code, name_zh AS zh, name_en AS en, kind FROM cluster ORDER BY code",
    "sub_sector": "SELECT code, name_zh AS zh, name_en AS en, cluster_code FROM sub_sector ORDER BY code",
}


def entries(conn: Connection) -> dict[str, list[dict[str, Any]]]:
    """Table → its entries, by code: `region` (GB/T 2260), `cluster`, `sub_sector`."""
    found = {}
    for name, statement in _KEPT.items():
        cursor = conn.execute(statement)
        columns = [column.name for column in cursor.description or ()]
        found[name] = [dict(zip(columns, row, strict=True)) for row in cursor]
    return found


def indicators(conn: Connection) -> list[str]:
    """The indicators that can be a target or be reported, by code; not all of them are computed."""
    return [code for (code,) in conn.execute("SELECT code FROM indicator_code ORDER BY code")]


def published(conn: Connection, contents: Mapping[str, str]) -> dict[str, datetime]:
    """Since when each table has had its content (SHA-256, hexadecimal); a new one: from now on. Aware, UTC."""
    return {
        name: only(conn.execute("SELECT note_code_version(%s, %s)", (name, content)))[0]
        for name, content in contents.items()
    }
