"""Datasets as files: templates to fill in, uploads, and what became of them."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import PurePath
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from ingest.api.answers import BINARY, FILE_NAME, Answer, Explained, Text
from ingest.api.answers import REPLAYED as REPLAYED_HEADER
from ingest.api.bodies import PACKED
from ingest.api.body import coding, content_type, read_body
from ingest.api.codes import Codes
from ingest.api.definitions import TEXT_MOST, DatasetName
from ingest.api.filing import ERRORS_KEPT, Filing
from ingest.api.gate import Gate
from ingest.api.idempotency import REPLAYED, reused, submission_name
from ingest.api.measurements import IdempotencyKey
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
_FILE = "file"
_CSV = """\
里程碑代码,里程碑名称,计划日期,验收日期
M-03,行业平台上线运行,2026-09-30,2026-09-28
"""
_UPLOAD: dict[str, Any] = {
    "required": True,
    "description": f"xlsx 或 CSV(UTF-8、GBK);也可用表单上传 | xlsx or CSV (UTF-8, GBK), raw or in a form; {PACKED}",
    "content": {
        XLSX: BINARY,
        CSV: {
            "schema": {"type": "string", "description": "with headings as in the template"},
            "example": _CSV,
        },
        FORM: {
            "schema": {
                "type": "object",
                "properties": {
                    _FILE: {"type": "string", "format": "binary", "description": "the file, with its name"},
                    "dry_run": {"type": "boolean", "description": "judge it, store nothing"},
                    "reason": {
                        "type": "string",
                        "maxLength": TEXT_MOST,
                        "description": "why it corrects what it corrects",
                    },
                    "voucher": {
                        "type": "string",
                        "maxLength": TEXT_MOST,
                        "description": "number of the document that proves it",
                    },
                },
                "required": [_FILE],
            },
            "example": {_FILE: _CSV, "dry_run": True},
        },
    },
}


def _template_of(*kinds: str) -> dict[int | str, dict[str, Any]]:
    description = "模板文件 | the file to fill in"
    return {200: {"description": description, "content": dict.fromkeys(kinds, BINARY), "headers": FILE_NAME}}


_Said = Annotated[str | None, Query(max_length=TEXT_MOST, pattern=r"^[^\x00]*$")]


_UploadId = Annotated[
    str,
    Path(
        pattern="^[0-9a-f]{32}$",
        description="文件编号 | `id` of the answer to the upload",
        examples=["9f6c1f0e5b7a4c3d8e2a1b0c9d8e7f60"],
    ),
]


class Rows(Answer):
    """How far a file has come."""

    done: int
    """rows judged so far"""
    of: int | None
    """rows of the file; null: not read yet"""


class Counts(Answer):
    """What became of the rows so far; duplicates and corrections are among the accepted."""

    accepted: int
    """stored; of a dry run: would be"""
    duplicates: int
    """were there already, the same"""
    corrections: int
    """replaced another record"""
    quarantined: int
    """refused"""


class Ignored(Answer):
    """A column that belongs to no field."""

    cell: str
    """where its heading is"""
    heading: str
    """what that says"""


class Notes(Answer):
    """How the file was read; empty until it was."""

    form: str | None = None
    """xlsx or csv"""
    sheet: str | None = None
    """of a workbook: the sheet that was read"""
    encoding: str | None = None
    """of CSV"""
    heading_row: int | None = None
    """the row with the headings, from 1"""
    ignored_columns: list[Ignored] | None = None
    """columns without a field"""
    unread_sheets: list[str] | None = None
    """other sheets with a heading of the dataset, hidden ones too: send each by itself"""
    ignored_examples: int | None = None
    """rows that are the template's examples, unchanged: they were left out; known at the end"""


class CellError(Explained):
    """A refused cell, or a refused row."""

    row: int
    """row of the sheet, from 1"""
    cell: str
    """as A1; of a whole row its first"""
    field: str
    """of the dataset; empty: the whole row"""
    label: str
    """the field's Chinese name"""


class File(Answer):
    """An uploaded file, and what became of it so far. It is kept for 7 days."""

    id: str
    """name of the upload"""
    dataset: str
    """what it holds records of"""
    title: Text
    """name of the dataset"""
    file_name: str
    """as it was uploaded"""
    bytes: int
    """size, bytes"""
    dry_run: bool
    """judged only; nothing is stored"""
    sent_by: str
    """unit:<code> or person:<name>"""
    stage: Literal["queued", "reading", "submitting", "marking", "done", "refused", "failed"]
    """refused: as a whole, see `problem`; failed: by the platform's fault"""
    finished: bool
    """it is done, refused or failed"""
    rows: Rows
    """how far it has come"""
    counts: Counts
    """what became of the rows"""
    problem: Explained | None
    """why it was refused as a whole"""
    notes: Notes
    """how it was read"""
    errors: list[CellError]
    """the refused cells, the first 1,000"""
    errors_cut: bool
    """there are more; the marked file has all"""
    marked: str | None
    """path of the file with the refused cells marked; null: nothing was refused, or it is not finished"""
    created_at: datetime
    """when it came"""
    finished_at: datetime | None
    """when it was finished"""


class Files(Answer):
    """A unit's last files."""

    files: list[File]
    """newest first"""


def router(gate: Gate, filing: Filing, tables: Codes) -> APIRouter:
    """The routes, on this process's gate and its files at work; `tables`: what templates offer to choose from."""
    routes = APIRouter(tags=["files"])

    @routes.get(
        "/api/v1/datasets/{name}/template",
        summary="填报模板 | Template of a dataset",
        dependencies=[gate.allow("codes:read")],
        response_class=Response,
        responses=_template_of(XLSX, CSV),
    )
    async def template(
        name: DatasetName,
        format: Annotated[Literal["xlsx", "csv"], Query(description="文件格式 | form of the file")] = "xlsx",
    ) -> Response:
        """The file of a dataset to be filled in: xlsx with drop-downs and a guide, or CSV."""
        return await _template(tables, name, format)

    @routes.get(
        "/api/v1/datasets/{name}/template.xlsx",
        summary="Excel 填报模板 | Template as xlsx",
        dependencies=[gate.allow("codes:read")],
        response_class=Response,
        responses=_template_of(XLSX),
    )
    async def template_as_xlsx(name: DatasetName) -> Response:
        """The file of a dataset to be filled in, as xlsx with drop-downs and a guide."""
        return await _template(tables, name, "xlsx")

    @routes.get(
        "/api/v1/datasets/{name}/template.csv",
        summary="CSV 填报模板 | Template as CSV",
        dependencies=[gate.allow("codes:read")],
        response_class=Response,
        responses=_template_of(CSV),
    )
    async def template_as_csv(name: DatasetName) -> Response:
        """The file of a dataset to be filled in, as CSV."""
        return await _template(tables, name, "csv")

    @routes.post(
        "/api/v1/datasets/{name}/files",
        status_code=202,
        summary="上传填报文件 | Upload a file of records",
        response_model=File,
        response_model_exclude_unset=True,
        responses={
            202: {
                "description": "已持久保存,正在逐行判定 | durable; it is judged row by row now",
                "headers": {
                    "Location": {"schema": {"type": "string"}, "description": "where to follow it"},
                    **REPLAYED_HEADER,
                },
            }
        },
        dependencies=[gate.allow("datasets:write")],
        openapi_extra={"requestBody": _UPLOAD},
    )
    async def upload(
        name: DatasetName,
        request: Request,
        response: Response,
        dry_run: Annotated[bool, Query(description="只判定,不入库 | judge it, store nothing")] = False,
        file_name: Annotated[
            str | None, Query(max_length=_NAME_MOST, description="文件名 | name of the file, of a raw body")
        ] = None,
        reason: Annotated[_Said, Query(description="更正的原因 | why it corrects what it corrects")] = None,
        voucher: Annotated[_Said, Query(description="凭证号 | number of the document that proves it")] = None,
        idempotency_key: IdempotencyKey = None,
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
            upload_id = submission_name(unit, idempotency_key, "file")
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
                digest=digest if idempotency_key else None,
            )
            if kept == "other":
                raise reused()
            if kept == "busy":
                raise Problem("busy", retry_after_s=5)
        if kept == "same":
            response.headers.update(REPLAYED)
        filing.begin(unit, upload_id)
        response.headers["Location"] = f"/api/v1/files/{upload_id}"
        found = await gate.query(files.one, upload_id, unit.unit_id)
        if found is None:
            raise Problem("not_found", {"path": f"/api/v1/files/{upload_id}"})
        return _job(found)

    @routes.get(
        "/api/v1/files",
        summary="上传的文件 | Your files",
        response_model=Files,
        response_model_exclude_unset=True,
        dependencies=[gate.allow("datasets:read")],
    )
    async def uploads(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=files.KEPT_MOST, description="so many, at most")] = 20,
    ) -> dict[str, Any]:
        """Your last files, newest first, without their errors."""
        unit = await gate.unit(request)
        await _take_up(unit)
        found = await gate.query(files.recent, unit.unit_id, limit)
        return {"files": [_job(one) for one in found]}

    @routes.get(
        "/api/v1/files/{upload_id}",
        summary="文件处理进度与结果 | What became of a file",
        response_model=File,
        response_model_exclude_unset=True,
        dependencies=[gate.allow("datasets:read")],
    )
    async def one(upload_id: _UploadId, request: Request) -> dict[str, Any]:
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
        summary="标注错误的文件 | Your file, marked",
        dependencies=[gate.allow("datasets:read")],
        response_class=Response,
        responses={
            200: {
                "description": "标注后的文件 | the file, marked",
                "content": {XLSX: BINARY, CSV: BINARY},
                "headers": FILE_NAME,
            }
        },
    )
    async def marked(upload_id: _UploadId, request: Request) -> Response:
        """Your file with the refused cells marked and explained; 404 when nothing was refused."""
        unit = await gate.unit(request)
        found = await gate.query(files.one, upload_id, unit.unit_id)
        content = None if found is None else await gate.query(files.marked, upload_id, unit.unit_id)
        if found is None or content is None:
            raise Problem("not_found", {"path": request.url.path})
        form = "xlsx" if found.notes.get("form") == "xlsx" else "csv"
        stem = PurePath(found.file_name).stem or found.dataset
        charset = str(found.notes.get("encoding") or "utf-8").removesuffix("-sig")  # it goes back as it came
        kind = XLSX if form == "xlsx" else f"{CSV}; charset={charset}"
        return _attachment(content, f"{stem}.marked.{form}", kind)

    async def _take_up(unit: Any) -> None:
        for upload_id in await gate.query(files.orphans, unit.unit_id):
            filing.begin(unit, upload_id)

    return routes


async def _template(tables: Codes, name: str, form: str) -> Response:
    if name not in DATASETS:
        raise Problem("unknown_dataset", {"dataset": name, "known": ", ".join(DATASETS)})
    codes = await tables.choices({column.table for column in columns_of(name) if column.table is not None})
    if form == "csv":
        return _attachment(await run_in_threadpool(template_csv, name, codes), f"{name}.csv", CSV)
    return _attachment(await run_in_threadpool(template_xlsx, name, codes), f"{name}.xlsx", XLSX)


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
