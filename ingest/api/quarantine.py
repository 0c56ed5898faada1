"""`/api/v1/quarantine`: what was refused of a unit's data, to read, to export, and for itself to replay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from ingest.api.answers import BINARY, FILE_NAME, Answer, Explained
from ingest.api.body import read_body
from ingest.api.gate import Gate
from ingest.api.moments import Since, Until
from ingest.api.openapi import inlined
from ingest.api.problems import Problem, bad_parameter
from ingest.api.whose import UnitCode, whose
from ingest.breaches import broken
from ingest.held import MEDIA_TYPES, Format, as_dict, lines
from ingest.log import Kind, Lane
from ingest.replay import HINDRANCES, Left, Outcome, Replay
from store import audit, quarantine
from store.database import Connection
from store.quarantine import Filter
from store.reasons import reason_of
from store.registry import Unit
from store.tags import UnitTags

_EXPORT_PAGE = 500
_MOST_ID = 2**63 - 1

_Id = Annotated[int | None, Query(ge=1, le=_MOST_ID, description="`next` of the answer before")]


def _text(description: str) -> Any:
    return Query(max_length=400, description=description)


_EntryId = Annotated[int, Path(ge=1, le=_MOST_ID, description="编号 | number of the entry", examples=[1])]
_Format = Annotated[Format, Query(description="文件格式 | form of the file")]
_REPLAYS: dict[str, Any] = {
    "tag": {
        "summary": "一个标签 | of a tag that is registered now",
        "value": {"filter": {"tag": "CNC-0012.heat"}},
    },
    "ids": {"summary": "指定条目 | these entries", "value": {"ids": [1, 2]}},
}
_LEFT_SHOWN = 100
_REPLAYS_AT_ONCE = 2  # each holds a connection of the pool while it waits for the log


class WantedBody(BaseModel):
    """The same filters in a body."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)
    source: Annotated[str | None, Field(max_length=400)] = None
    """from this source only"""
    reason: Annotated[str | None, Field(max_length=400)] = None
    """refused for this reason only, a code of docs/reasons.md"""
    tag: Annotated[str | None, Field(max_length=400)] = None
    """of this tag only"""
    batch: Annotated[str | None, Field(max_length=400)] = None
    """of this submission only"""
    since: AwareDatetime | None = None
    """that came then or later; RFC 3339 with a zone"""
    until: AwareDatetime | None = None
    """that came before then; RFC 3339 with a zone"""

    @field_validator("*", mode="after")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        if isinstance(value, str) and "\0" in value:
            raise broken("含有字符 U+0000", "contains the character U+0000")
        return value


class ReplayBody(BaseModel):
    """What to replay: either `ids` or a `filter`."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)
    ids: Annotated[list[Annotated[int, Field(ge=1, le=_MOST_ID)]] | None, Field(max_length=2000)] = None
    """these entries"""
    filter: WantedBody | None = None
    """all open entries that fit; {}: all"""
    cursor: Annotated[int | None, Field(ge=1, le=_MOST_ID)] = None
    """`next` of the answer before"""

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.ids is None) == (self.filter is None):
            raise broken("ids 与 filter 须给出其一", "needs either ids or filter", field="ids")
        return self

    def of(self, unit: Unit) -> Filter:
        """As a filter of that unit's own entries."""
        given = {} if self.filter is None else self.filter.model_dump()
        return Filter(unit_id=unit.unit_id, ids=self.ids, **given)


class Wanted:
    """The filters that every reading route takes; `since` and `until` are times of arrival, with a zone."""

    def __init__(
        self,
        source: Annotated[str | None, _text("数据来源 | from this source only")] = None,
        reason: Annotated[str | None, _text("原因,见 docs/reasons.md | refused for this reason only")] = None,
        tag: Annotated[str | None, _text("标签 | of this tag only")] = None,
        batch: Annotated[str | None, _text("提交编号 | of this submission only")] = None,
        since: Since = None,
        until: Until = None,
        open: Annotated[bool | None, Query(description="true: not replayed yet; false: replayed")] = None,
    ) -> None:
        self._given = {
            "source": source, "reason": reason, "tag": tag, "batch": batch, "since": since, "until": until,
            "is_open": open,
        }  # fmt: skip
        for name, text in self._given.items():
            if isinstance(text, str) and "\0" in text:
                raise bad_parameter(name, "含有字符 U+0000", "contains the character U+0000")

    def of(self, unit: Unit) -> Filter:
        """As a filter of that unit's own entries."""
        return Filter(unit_id=unit.unit_id, **self._given)  # type: ignore[arg-type]  # checked by FastAPI

    def told(self) -> dict[str, str]:
        """What was asked for, for the audit log."""
        return {name: str(given) for name, given in self._given.items() if given is not None}


class Entry(Explained):
    """A refused row, or a body that could not be read."""

    id: int
    """number of the entry"""
    unit: str
    """code of the unit; empty: of none that is registered"""
    source: str
    """from which source it came"""
    batch: str
    """the submission it came in"""
    place: str
    """where in that, as records[2].tag"""
    parameters: dict[str, str]
    """what the texts are filled with"""
    tag: str | None
    """of a reading: the tag it named"""
    ts: datetime | None
    """of a reading: its time"""
    received_at: datetime
    """when it came, by the platform's clock"""
    replayed_at: datetime | None
    """when it went into the log again; null: it is open"""
    replay_batch: str | None
    """the submission that carries it again"""
    original_bytes: int
    """size of what came, bytes"""
    original_is_cut: bool
    """the beginning is kept only"""
    original_text: str | None
    """what came; null: it is no text"""
    original_base64: str
    """what came, byte by byte"""


class Entries(Answer):
    """A page of the quarantine, newest first."""

    quarantine: list[Entry]
    """the entries"""
    next: int | None
    """for `cursor`; null: this was the last page"""


class StillOpen(Explained):
    """An entry that was not replayed."""

    id: int
    """number of the entry"""
    state: Literal["refused", "not_replayable"]
    """it would be refused again, or cannot be read again at all"""


class Replayed(Answer):
    """What became of the entries that were looked at."""

    looked_at: int
    """entries"""
    replayed: int
    """entries that went into the log again"""
    readings: int
    """readings in them"""
    still_open: int
    """entries that stay as they are"""
    left: list[StillOpen]
    """the first 100 of these, and why"""
    next: int | None
    """for `cursor`; null: these were all"""


def router(gate: Gate) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter(tags=["quarantine"])
    replaying: set[str] = set()

    @routes.get(
        "/api/v1/quarantine",
        summary="隔离区 | What was refused",
        response_model=Entries,
        dependencies=[gate.allow("quarantine:read")],
    )
    async def held(
        request: Request,
        wanted: Annotated[Wanted, Depends()],
        unit: UnitCode = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="entries a page, at most")] = 100,
        cursor: _Id = None,
    ) -> dict[str, Any]:
        """A unit's refused rows, newest first; go on with `cursor` = `next` until that is null.

        A page may hold fewer than `limit`: it is bounded in bytes as well.
        """
        mine = await whose(gate, request, unit)
        page = await gate.query(quarantine.page, wanted.of(mine), limit=limit, after=cursor)
        following = page.entries[-1].quarantine_id if page.more else None
        return {"quarantine": [as_dict(entry) for entry in page.entries], "next": following}

    @routes.get(
        "/api/v1/quarantine/export",
        summary="导出隔离区 | Export what was refused",
        dependencies=[gate.allow("quarantine:read")],
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "文件,流式传输 | the file, streamed",
                "content": {kind.partition(";")[0]: BINARY for kind in MEDIA_TYPES.values()},
                "headers": FILE_NAME,
            }
        },
    )
    async def export(
        request: Request,
        wanted: Annotated[Wanted, Depends()],
        unit: UnitCode = None,
        format: _Format = "ndjson",
    ) -> StreamingResponse:
        """All of them, oldest first, as NDJSON or CSV, of any size."""
        mine = await whose(gate, request, unit)
        chosen = wanted.of(mine)
        # The first page before the answer begins: what fails until here can be said properly.
        first = await _page(gate, chosen, None)
        asked = {"unit": mine.code, "format": format, **wanted.told()}
        await gate.query(audit.record, "export.begun", "quarantine", asked, mine.unit_id)

        async def parts() -> AsyncIterator[bytes]:
            page, head, rows = first, True, 0
            while True:
                rows += len(page.entries)
                if not page.more:  # as of any export: the last piece comes when it is in the audit log
                    made = {**asked, "rows": rows, "complete": True}
                    await gate.query(audit.record, "export.made", "quarantine", made, mine.unit_id)
                yield b"".join(lines(page.entries, format, head=head))
                if not page.more:
                    return
                page, head = await _page(gate, chosen, page.entries[-1].quarantine_id), False

        disposition = {"Content-Disposition": f'attachment; filename="quarantine.{format}"'}
        return StreamingResponse(parts(), media_type=MEDIA_TYPES[format], headers=disposition)

    @routes.get(
        "/api/v1/quarantine/replay", include_in_schema=False, dependencies=[gate.allow("quarantine:read")]
    )
    async def replay_is_no_entry(request: Request) -> None:
        raise Problem(
            "method_not_allowed", {"path": request.url.path, "method": request.method, "allow": "POST"}
        )

    @routes.get(
        "/api/v1/quarantine/{quarantine_id}",
        summary="隔离区的一条 | One refused row",
        response_model=Entry,
        dependencies=[gate.allow("quarantine:read")],
    )
    async def one(quarantine_id: _EntryId, request: Request, unit: UnitCode = None) -> dict[str, Any]:
        """One of a unit's refused rows."""
        mine = await whose(gate, request, unit)
        entry = await gate.query(quarantine.one, quarantine_id, mine.unit_id)
        if entry is None:
            raise Problem("not_found", {"path": request.url.path})
        return as_dict(entry)

    @routes.post(
        "/api/v1/quarantine/replay",
        summary="重放 | Replay what was refused",
        response_model=Replayed,
        dependencies=[gate.allow("quarantine:write")],
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": inlined(ReplayBody), "examples": _REPLAYS}},
            }
        },
    )
    async def replay(request: Request) -> dict[str, Any]:
        """Put what would be taken now into the log again, up to 2,000 entries a request, oldest first.

        Answers when that is durable. Asking twice doubles nothing. Go on with `cursor` = `next`.
        """
        unit = await gate.unit(request)
        with gate.rooms.enter(unit.code) as room:  # who it is first, and no more than there is room for
            try:
                body = ReplayBody.model_validate_json(await read_body(request, room))
            except ValidationError as error:
                raise RequestValidationError(
                    [{**one, "loc": ("body", *one["loc"])} for one in error.errors()]
                ) from error
        if unit.code in replaying or len(replaying) >= _REPLAYS_AT_ONCE:
            raise Problem("busy", retry_after_s=1)
        replaying.add(unit.code)
        try:
            outcome = await gate.query(_replay, gate, asyncio.get_running_loop(), body, unit)
        finally:
            replaying.discard(unit.code)
        return {
            "looked_at": outcome.looked,
            "replayed": outcome.replayed,
            "readings": outcome.readings,
            "still_open": len(outcome.left),
            "left": [_shown(left) for left in outcome.left[:_LEFT_SHOWN]],
            "next": outcome.after if outcome.more else None,
        }

    return routes


def _replay(
    conn: Connection, gate: Gate, loop: asyncio.AbstractEventLoop, body: ReplayBody, unit: Unit
) -> Outcome:
    def append(
        data: bytes, *, kind: Kind, lane: Lane, unit: str, source: str, msg_id: str, rows: int
    ) -> None:
        appending = gate.append(
            data, kind=kind, lane=lane, unit=unit, source=source, msg_id=msg_id, rows=rows
        )
        asyncio.run_coroutine_threadsafe(appending, loop).result()

    def tags_of(_: Connection, __: str, names: tuple[str, ...]) -> UnitTags:
        tags = asyncio.run_coroutine_threadsafe(gate.tags(unit, names), loop).result()
        if tags is None:  # the database went away: the unit's key was known
            raise Problem("unavailable", retry_after_s=5)
        return tags

    return Replay(append, tags_of).page(conn, body.of(unit), after=body.cursor)


def _shown(left: Left) -> dict[str, Any]:
    reason = HINDRANCES.get(left.reason) or reason_of(left.reason)
    return {
        "id": left.quarantine_id,
        "state": left.state,
        "reason": left.reason,
        "message": reason.message(left.parameters),
        "hint": reason.hint(left.parameters),
    }


async def _page(gate: Gate, wanted: Filter, after: int | None) -> quarantine.Page:
    return await gate.query(quarantine.page, wanted, limit=_EXPORT_PAGE, after=after, newest_first=False)
