"""`/api/v1/codes`: the code tables, each with a version that is its content."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Header, Path, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import ConfigDict

from ingest.api.answers import Answer, Text
from ingest.api.gate import Gate
from ingest.api.problems import Problem
from ingest.codes import Table, choices, fixed, kept
from store import codes

_TTL_S = 300.0
_HASH_SHOWN = 16
_ETAG = {"ETag": {"schema": {"type": "string"}, "description": "of the version, for If-None-Match"}}
_UNCHANGED: dict[int | str, dict[str, Any]] = {
    200: {"description": "有变化 | as it is now", "headers": _ETAG},
    304: {"description": "未变化 | unchanged: If-None-Match names it", "headers": _ETAG},
}
_IfNoneMatch = Annotated[
    str | None,
    Header(max_length=2000, description="ETag of the answer before: 304 while nothing has changed"),
]
_CACHE = {"Cache-Control": "no-cache"}  # ask each time, with If-None-Match


class Published(NamedTuple):
    """A table as it is published: version = day it was first published, and the beginning of its SHA-256."""

    table: Table
    sha256: str
    since: datetime

    @property
    def version(self) -> str:
        """Changes when, and only when, the content does."""
        return f"{self.since:%Y%m%d}-{self.sha256[:_HASH_SHOWN]}"


class Codes:
    """The tables of one process, read anew now and then. `more`: tables that the composition root adds."""

    def __init__(self, gate: Gate, more: Sequence[Table] = ()) -> None:
        self._gate = gate
        self._more = more
        self._read_at = 0.0
        self._tables: dict[str, Published] = {}
        self._reading = asyncio.Lock()

    async def tables(self) -> dict[str, Published]:
        """Name → table. Raises Problem when the database is away and nothing was read yet."""
        async with self._reading:
            if not self._tables or time.monotonic() - self._read_at > _TTL_S:
                try:
                    found = [*kept(await self._gate.query(codes.entries)), *fixed(), *self._more]
                    hashes = {table.name: table.sha256() for table in found}
                    since = await self._gate.query(codes.published, hashes)
                except Problem:
                    if not self._tables:
                        raise
                else:
                    self._tables = {t.name: Published(t, hashes[t.name], since[t.name]) for t in found}
                self._read_at = time.monotonic()
        return self._tables

    async def choices(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        """Table → code → Chinese name, of the tables named: what can be chosen from them. Raises Problem."""
        found: dict[str, dict[str, str]] = {}
        for name in names:
            table = (await self.tables()).get(name)
            found[name] = {} if table is None else choices(table.table)
            if name == "indicator":
                # What nothing computes yet has no name, and can be a target all the same.
                found[name] = dict.fromkeys(await self._gate.query(codes.indicators), "") | found[name]
        return found

    async def version(self) -> str:
        """Of all tables together. Raises Problem."""
        return version_of(await self.tables())


def version_of(tables: dict[str, Published]) -> str:
    """Of all tables together: changes when any of them does."""
    together = hashlib.sha256("\n".join(sorted(t.sha256 for t in tables.values())).encode()).hexdigest()
    return f"{max(t.since for t in tables.values()):%Y%m%d}-{together[:_HASH_SHOWN]}"


class CodeTableHead(Answer):
    """A code table, without its codes."""

    name: str
    """as in paths"""
    title: Text
    """what it is"""
    source: str
    """the standard it comes from"""
    version: str
    """day it was published first and the beginning of its hash; changes when the content does"""
    sha256: str
    """of the content, hexadecimal"""
    valid_from: datetime
    """when this version was published first"""
    entries: int
    """how many codes it has"""


class CodeTables(Answer):
    """All code tables."""

    version: str
    """of all tables together; changes when any of them does"""
    tables: list[CodeTableHead]
    """one entry a table"""


class Code(Answer):
    """A code; tables add members of their own, as `unit` or `parent`."""

    model_config = ConfigDict(extra="allow")
    code: str
    """as it is sent"""
    zh: str
    """中文 | in Chinese"""
    en: str | None = None
    """英文,行政区划没有 | in English; regions have none"""


class CodeTable(CodeTableHead):
    """A code table."""

    codes: list[Code]
    """all of them"""


def router(gate: Gate, kept_codes: Codes) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter(tags=["codes"])

    @routes.get(
        "/api/v1/codes",
        summary="代码表及版本 | Code tables and their versions",
        response_model=CodeTables,
        dependencies=[gate.allow("codes:read")],
        responses=_UNCHANGED,
    )
    async def tables(if_none_match: _IfNoneMatch = None) -> Response:
        """Every code table with its version; with `If-None-Match` 304 while none has changed: ask once a session."""
        found = await kept_codes.tables()
        version = version_of(found)
        return _answer(
            if_none_match, version, {"version": version, "tables": [_head(t) for t in found.values()]}
        )

    @routes.get(
        "/api/v1/codes/{name}",
        summary="一个代码表 | One code table",
        response_model=CodeTable,
        dependencies=[gate.allow("codes:read")],
        responses=_UNCHANGED,
    )
    async def table(
        name: Annotated[
            str,
            Path(max_length=64, description="代码表,见 GET /api/v1/codes | the table", examples=["signal"]),
        ],
        request: Request,
        if_none_match: _IfNoneMatch = None,
    ) -> Response:
        """All entries of a code table, in both languages; with `If-None-Match` 304 while it has not changed."""
        found = (await kept_codes.tables()).get(name)
        if found is None:
            raise Problem("not_found", {"path": request.url.path})
        return _answer(if_none_match, found.version, {**_head(found), "codes": list(found.table.entries)})

    return routes


def _head(found: Published) -> dict[str, Any]:
    table = found.table
    return {
        "name": table.name,
        "title": {"zh": table.zh, "en": table.en},
        "source": table.source,
        "version": found.version,
        "sha256": found.sha256,
        "valid_from": found.since,
        "entries": len(table.entries),
    }


def _answer(seen: str | None, version: str, content: dict[str, Any]) -> Response:
    headers = {"ETag": f'"{version}"', **_CACHE}
    given = [tag.strip().removeprefix("W/") for tag in (seen or "").split(",")]
    if f'"{version}"' in given or "*" in given:
        return Response(status_code=304, headers=headers)
    return JSONResponse(jsonable_encoder(content), headers=headers)
