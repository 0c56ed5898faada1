"""`/api/v1/quarantine`: what was refused of a unit's own data, to read, to export, and to replay."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime

from ingest.api.gate import Gate
from ingest.api.problems import Problem
from ingest.held import MEDIA_TYPES, Format, as_dict, lines
from store import quarantine
from store.quarantine import Filter
from store.registry import Unit

_EXPORT_PAGE = 500
_MOST_ID = 2**63 - 1

_Text = Annotated[str | None, Query(max_length=400)]
_Id = Annotated[int | None, Query(ge=1, le=_MOST_ID)]


class Wanted:
    """The filters that every reading route takes; `since` and `until` are times of arrival, with a zone."""

    def __init__(
        self,
        source: _Text = None,
        reason: _Text = None,
        tag: _Text = None,
        batch: _Text = None,
        since: AwareDatetime | None = None,
        until: AwareDatetime | None = None,
        open: Annotated[bool | None, Query(description="true: not replayed yet; false: replayed")] = None,
    ) -> None:
        self._given = {
            "source": source, "reason": reason, "tag": tag, "batch": batch, "since": since, "until": until,
            "is_open": open,
        }  # fmt: skip
        for name, text in self._given.items():
            if isinstance(text, str) and "\0" in text:
                raise Problem("bad_parameter", {"field": name, "detail": "contains the character U+0000"})

    def of(self, unit: Unit) -> Filter:
        """As a filter of that unit's own entries."""
        return Filter(unit_id=unit.unit_id, **self._given)  # type: ignore[arg-type]  # checked by FastAPI


def router(gate: Gate) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter(tags=["quarantine"])

    @routes.get("/api/v1/quarantine")
    async def held(
        request: Request,
        wanted: Annotated[Wanted, Depends()],
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        before: _Id = None,
    ) -> dict[str, Any]:
        """Your refused rows, newest first; go on with `before` = `next` until that is null.

        A page may hold fewer than `limit`: it is bounded in bytes as well.
        """
        unit = await gate.unit(request)
        page = await gate.query(quarantine.page, wanted.of(unit), limit=limit, after=before)
        following = page.entries[-1].quarantine_id if page.more else None
        return {"quarantine": [as_dict(entry) for entry in page.entries], "next": following}

    @routes.get("/api/v1/quarantine/export")
    async def export(
        request: Request, wanted: Annotated[Wanted, Depends()], format: Format = "ndjson"
    ) -> StreamingResponse:
        """All of them, oldest first, as NDJSON or CSV, of any size."""
        chosen = wanted.of(await gate.unit(request))
        # The first page before the answer begins: what fails until here can be said properly.
        first = await _page(gate, chosen, None)

        async def parts() -> AsyncIterator[bytes]:
            page, head = first, True
            while True:
                yield b"".join(lines(page.entries, format, head=head))
                if not page.more:
                    return
                page, head = await _page(gate, chosen, page.entries[-1].quarantine_id), False

        disposition = {"Content-Disposition": f'attachment; filename="quarantine.{format}"'}
        return StreamingResponse(parts(), media_type=MEDIA_TYPES[format], headers=disposition)

    @routes.get("/api/v1/quarantine/{quarantine_id}")
    async def one(quarantine_id: Annotated[int, Path(ge=1, le=_MOST_ID)], request: Request) -> dict[str, Any]:
        """One of your refused rows."""
        unit = await gate.unit(request)
        entry = await gate.query(quarantine.one, quarantine_id, unit.unit_id)
        if entry is None:
            raise Problem("not_found", {"path": request.url.path})
        return as_dict(entry)

    return routes


async def _page(gate: Gate, wanted: Filter, after: int | None) -> quarantine.Page:
    return await gate.query(quarantine.page, wanted, limit=_EXPORT_PAGE, after=after, newest_first=False)
