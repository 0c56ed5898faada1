"""Datasets as files: templates to fill in, uploads, and what became of them."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import PurePath
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from ingest.api.body import coding, content_type, read_body
from ingest.api.definitions import TEXT_MOST
from ingest.api.filing import ERRORS_KEPT, Filing
from ingest.api.gate import Gate
from ingest.api.idempotency import submission_name
from ingest.api.multipart import read_form
from ingest.api.problems import Problem
from ingest.datasets import DATASETS
from ingest.decoded import Malformed
from ingest.sheets.columns import columns_of, title_of
from ingest.sheets.reading import address
from ingest.sheets.template import template_csv, template_xlsx
from ingest.unpacking import unpack
from store import files
from store.files import FINISHED, Upload
from store.reasons import reason_of

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CSV = "text/csv"
FORM = "multipart/form-data"
_TYPES = (
    XLSX, CSV, FORM, "application/octet-stream", "application/vnd.ms-excel", "text/plain",
    "application/vnd.ms-excel.sheet.macroenabled.12",
)  # fmt: skip
_NAME_MOST = 200
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FILE = "file"
_Said = Annotated[str | None, Query(max_length=TEXT_MOST, pattern=r"^[^\x00]*$")]


def router(gate: Gate, filing: Filing) -> APIRouter:
    """The routes, on this process's gate and its files at work."""
    routes = APIRouter(tags=["files"])

    @routes.get(
        "/api/v1/datasets/{name}/template",
        dependencies=[gate.allow("codes:read")],
        response_class=Response,
        responses={200: {"description": "The template", "content": {XLSX: _BINARY, CSV: _BINARY}}},
    )
    async def template(
        name: str, format: Annotated[str, Query(pattern="^(xlsx|csv)$", max_length=4)] = "xlsx"
    ) -> Response:
        """The file of a dataset to be filled in: xlsx with drop-downs and a guide, or CSV."""
        return await _template(name, format)

    @routes.get(
        "/api/v1/datasets/{name}/template.xlsx",
        dependencies=[gate.allow("codes:read")],
        response_class=Response,
        responses={200: {"description": "The template", "content": {XLSX: _BINARY}}},
    )
    async def template_as_xlsx(name: str) -> Response:
        """The same as xlsx."""
        return await _template(name, "xlsx")

    @routes.get(
        "/api/v1/datasets/{name}/template.csv",
        dependencies=[gate.allow("codes:read")],
        response_class=Response,
        responses={200: {"description": "The template", "content": {CSV: _BINARY}}},
    )
    async def template_as_csv(name: str) -> Response:
        """The same as CSV."""
        return await _template(name, "csv")

    @routes.post(
        "/api/v1/datasets/{name}/files",
        status_code=202,
        dependencies=[gate.allow("datasets:write")],
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    XLSX: _BINARY,
                    CSV: _BINARY,
                    FORM: {
                        "schema": {
                            "type": "object",
                            "properties": {
                                _FILE: {"type": "string", "format": "binary"},
                                "dry_run": {"type": "boolean"},
                                "reason": {"type": "string", "maxLength": TEXT_MOST},
                                "voucher": {"type": "string", "maxLength": TEXT_MOST},
                            },
                            "required": [_FILE],
                        }
                    },
                },
            }
        },
    )
    async def upload(
        name: str,
        request: Request,
        response: Response,
        dry_run: Annotated[bool, Query(description="judge it, store nothing")] = False,
        file_name: Annotated[str | None, Query(max_length=_NAME_MOST, description="of a raw body")] = None,
        reason: Annotated[_Said, Query(description="更正的原因 | why it corrects what it corrects")] = None,
        voucher: Annotated[_Said, Query(description="凭证号 | number of the document that proves it")] = None,
        idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
    ) -> dict[str, Any]:
        """Take a file of records, xlsx or CSV, as the body or in a form; answers 202 when it is durable.

        It is judged row by row and submitted as `POST /api/v1/datasets/{name}` would. Follow it at `Location`.
        """
        unit = await gate.sender(request)
        who = await gate.who(request)
        with gate.rooms.enter(unit.code) as room:
            body = await read_body(request, room, _TYPES)
            if name not in DATASETS:
                raise Problem("unknown_dataset", {"dataset": name, "known": ", ".join(DATASETS)})
            if packed := coding(request):
                body = await run_in_threadpool(_unpacked, body, packed)
            given = file_name or ""
            if content_type(request) == FORM:
                form = await run_in_threadpool(read_form, request.headers["content-type"], body)
                body, given = form.content, file_name or form.file_name
                dry_run = dry_run or form.fields.get("dry_run", "").lower() in ("true", "1", "on", "yes")
                reason = reason or _plain(form.fields.get("reason"))
                voucher = voucher or _plain(form.fields.get("voucher"))
            reason, voucher = ((text or "").strip() or None for text in (reason, voucher))
            digest = await run_in_threadpool(_digest, (name, dry_run, reason, voucher), body)
            key = idempotency_key and f"{idempotency_key}\n{digest.hex()}"
            upload_id = submission_name(unit, key, "file")
            sent_by = f"{who.kind}:{who.name}"
            kept = await gate.query(
                files.add,
                upload_id,
                unit.unit_id,
                name,
                _base_name(given, name),
                sent_by,
                body,
                dry_run=dry_run,
                reason=reason,
                voucher=voucher,
            )
            if not kept:
                raise Problem("busy", retry_after_s=5)
        filing.begin(unit, upload_id)
        response.headers["Location"] = f"/api/v1/files/{upload_id}"
        found = await gate.query(files.one, upload_id, unit.unit_id)
        if found is None:
            raise Problem("not_found", {"path": f"/api/v1/files/{upload_id}"})
        return _job(found)

    @routes.get("/api/v1/files", dependencies=[gate.allow("datasets:read")])
    async def uploads(
        request: Request, limit: Annotated[int, Query(ge=1, le=files.KEPT_MOST)] = 20
    ) -> dict[str, Any]:
        """Your last files, newest first, without their errors."""
        unit = await gate.unit(request)
        await _take_up(unit)
        found = await gate.query(files.recent, unit.unit_id, limit)
        return {"files": [_job(one) for one in found]}

    @routes.get("/api/v1/files/{upload_id}", dependencies=[gate.allow("datasets:read")])
    async def one(upload_id: str, request: Request) -> dict[str, Any]:
        """How far a file has come, the counts, and the refused cells (the first 1,000; the marked file has all)."""
        unit = await gate.unit(request)
        found = await gate.query(files.one, upload_id, unit.unit_id)
        if found is None:
            raise Problem("not_found", {"path": request.url.path})
        if found.finished_at is None:
            await _take_up(unit)
        return _job(found)

    @routes.get(
        "/api/v1/files/{upload_id}/marked",
        dependencies=[gate.allow("datasets:read")],
        response_class=Response,
        responses={200: {"description": "The file, marked", "content": {XLSX: _BINARY, CSV: _BINARY}}},
    )
    async def marked(upload_id: str, request: Request) -> Response:
        """Your file with the refused cells marked and explained; 404 when nothing was refused."""
        unit = await gate.unit(request)
        found = await gate.query(files.one, upload_id, unit.unit_id)
        content = None if found is None else await gate.query(files.marked, upload_id, unit.unit_id)
        if found is None or content is None:
            raise Problem("not_found", {"path": request.url.path})
        form = "xlsx" if found.notes.get("form") == "xlsx" else "csv"
        stem = PurePath(found.file_name).stem or found.dataset
        return _attachment(content, f"{stem}.marked.{form}", XLSX if form == "xlsx" else CSV)

    async def _take_up(unit: Any) -> None:
        for upload_id in await gate.query(files.orphans, unit.unit_id):
            filing.begin(unit, upload_id)

    return routes


async def _template(name: str, form: str) -> Response:
    if name not in DATASETS:
        raise Problem("unknown_dataset", {"dataset": name, "known": ", ".join(DATASETS)})
    if form == "csv":
        return _attachment(await run_in_threadpool(template_csv, name), f"{name}.csv", CSV)
    return _attachment(await run_in_threadpool(template_xlsx, name), f"{name}.xlsx", XLSX)


def _attachment(content: bytes, name: str, media_type: str) -> Response:
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_. ") else "_" for c in name)
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    headers = {"Content-Disposition": disposition, "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type=media_type, headers=headers)


def _unpacked(body: bytes, packed: str) -> bytes:
    try:
        return unpack(body, packed)
    except Malformed as fault:
        raise Problem(fault.reason, fault.parameters) from fault


def _digest(said: tuple[object, ...], body: bytes) -> bytes:
    return hashlib.sha256(repr(said).encode() + b"\n" + body).digest()


def _plain(text: str | None) -> str | None:
    """A text of a form, without what cannot be stored, cut to what is kept."""
    return None if text is None else text.replace("\0", "")[:TEXT_MOST]


def _base_name(given: str, dataset: str) -> str:
    """The file's own name, without where it was, and without what cannot be stored or shown."""
    name = given.replace("\\", "/").rpartition("/")[2]
    name = "".join(c for c in name if c.isprintable())[:_NAME_MOST].strip()
    return name or dataset


def _job(upload: Upload) -> dict[str, Any]:
    path = f"/api/v1/files/{upload.upload_id}"
    zh, en = title_of(upload.dataset) if upload.dataset in DATASETS else (upload.dataset, upload.dataset)
    problem = None
    if upload.problem is not None:
        reason, parameters = reason_of(upload.problem["reason"]), upload.problem["parameters"]
        problem = {
            "reason": upload.problem["reason"],
            "message": reason.message(parameters),
            "hint": reason.hint(parameters),
        }
    return {
        "id": upload.upload_id,
        "dataset": upload.dataset,
        "title": {"zh": zh, "en": en},
        "file_name": upload.file_name,
        "bytes": upload.n_bytes,
        "dry_run": upload.dry_run,
        "sent_by": upload.sent_by,
        "stage": upload.stage,
        "finished": upload.stage in FINISHED,
        "rows": {"done": upload.done, "of": upload.total},
        "counts": {
            "accepted": upload.accepted,
            "duplicates": upload.duplicates,
            "corrections": upload.corrections,
            "quarantined": upload.quarantined,
        },
        "problem": problem,
        "notes": upload.notes,
        "errors": [_error(upload.dataset, one) for one in upload.errors],
        "errors_cut": len(upload.errors) >= ERRORS_KEPT,
        "marked": f"{path}/marked" if upload.has_marked else None,
        "created_at": _time(upload.created_at),
        "finished_at": _time(upload.finished_at),
    }


def _error(dataset: str, mark: dict[str, Any]) -> dict[str, Any]:
    reason, parameters = reason_of(mark["reason"]), mark["parameters"]
    labels = {column.field: column.zh for column in columns_of(dataset)} if dataset in DATASETS else {}
    return {
        "row": mark["row"],
        "cell": address(mark["row"], mark["column"]),
        "field": mark["field"],
        "label": labels.get(mark["field"], mark["field"]),
        "reason": mark["reason"],
        "message": reason.message(parameters),
        "hint": reason.hint(parameters),
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
