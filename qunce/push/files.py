"""A dataset's file to the interface: uploaded, followed until it is judged, the marked file kept beside it."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from qunce.push.service import Refused, Service

_TYPES = {".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".csv": "text/csv"}
_STAGES = {
    "queued": "排队 queued",
    "reading": "读取 reading",
    "submitting": "提交 submitting",
    "marking": "标注 marking",
    "done": "完成 done",
    "refused": "拒收 refused",
    "failed": "失败 failed",
}
_ERRORS_SHOWN = 20
_POLL_S = 0.3
_NAMES = (
    ("accepted", "接收 accepted"),
    ("duplicates", "重复 duplicates"),
    ("corrections", "其中更正 corrections among them"),
    ("quarantined", "拒收 refused"),
)


def push_file(
    service: Service, file: Path, dataset: str, *, dry_run: bool, parameters: dict[str, str], console: Console
) -> dict[str, Any]:
    """The job as the interface answers it once it is finished. Raises Refused, OSError."""
    content = file.read_bytes()
    bars = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*bars, console=console) as progress:
        upload = progress.add_task("上传 uploading", total=max(len(content), 1))
        answer = service.post(
            f"/api/v1/datasets/{quote(dataset, safe='')}/files",
            content,
            {
                "Content-Type": _TYPES.get(file.suffix.lower(), "application/octet-stream"),
                "Idempotency-Key": uuid.uuid4().hex,
            },
            {"dry_run": str(dry_run).lower(), "file_name": file.name[-200:], **parameters},
            lambda sent: progress.update(upload, completed=sent),
        )
        progress.update(upload, completed=max(len(content), 1))
        job: dict[str, Any] = answer.json()
        judged = progress.add_task(_STAGES["queued"], total=None)
        while not job["finished"]:
            time.sleep(_POLL_S)
            job = service.get(f"/api/v1/files/{job['id']}").json()
            rows = job["rows"]
            progress.update(
                judged, description=_STAGES[job["stage"]], total=rows["of"], completed=rows["done"]
            )
        progress.update(judged, total=1, completed=1)
    return job


def keep_marked(service: Service, job: dict[str, Any], file: Path) -> Path | None:
    """Save the marked file beside the one that was sent; None when nothing was refused."""
    if job["marked"] is None:
        return None
    answer = service.get(job["marked"])
    form = ".xlsx" if answer.content.startswith(b"PK") else ".csv"
    kept = file.with_name(f"{file.stem}.marked{form}")
    kept.write_bytes(answer.content)
    return kept


def show(job: dict[str, Any], marked: Path | None, console: Console) -> None:
    """What became of the file, for a person."""
    if job["problem"] is not None:
        console.print(Text(_both(job["problem"]["message"]), style="red"))
        console.print(Text(_both(job["problem"]["hint"])))
        return
    if job["stage"] == "failed":
        console.print(
            Text("处理失败,请重试或联系平台 / it failed; try again, or ask the platform", style="red")
        )
        return
    if job["dry_run"]:
        console.print(Text("试运行:没有保存任何数据 / dry run: nothing was stored", style="yellow"))
    console.print(Text("   ".join(f"{name} {job['counts'][key]:,}" for key, name in _NAMES)))
    for column in job["notes"].get("ignored_columns", []):
        console.print(
            Text(f"已忽略的列 / column ignored: {column['cell']} {column['heading']}", style="yellow")
        )
    for sheet in job["notes"].get("unread_sheets", []):
        console.print(
            Text(f"未读取的工作表,请单独上传 / sheet not read, send it by itself: {sheet}", style="yellow")
        )
    if examples := job["notes"].get("ignored_examples"):
        said = f"跳过模板的示例行 / the template's example rows, left out: {examples:,}"
        console.print(Text(said, style="yellow"))
    if not job["errors"]:
        return
    table = Table(title="被拒收的单元格 | refused cells")
    for name in ("单元格 cell", "列 column", "原因与处理 | rule and how to mend"):
        table.add_column(name, overflow="fold")
    for error in job["errors"][:_ERRORS_SHOWN]:
        table.add_row(
            Text(error["cell"]),
            Text(error["label"]),
            Text(f"{_both(error['message'])}\n{_both(error['hint'])}"),
        )
    console.print(table)
    if len(job["errors"]) > _ERRORS_SHOWN:
        console.print(Text(f"… 共 {len(job['errors'])} 处 | {len(job['errors'])} in all"))
    if marked is not None:
        console.print(Text(f"已标注的文件 | the marked file: {marked}"))


def pull_template(service: Service, dataset: str, output: Path) -> None:
    """Save a dataset's template, xlsx or CSV by the file's ending. Raises Refused, OSError."""
    form = output.suffix.lower().removeprefix(".")
    if form not in ("xlsx", "csv"):
        raise Refused(f"模板只有 .xlsx 与 .csv / templates are .xlsx or .csv: {output.name}")
    answer = service.get(f"/api/v1/datasets/{quote(dataset, safe='')}/template.{form}")
    output.write_bytes(answer.content)


def _both(text: dict[str, str]) -> str:
    return f"{text['zh']} / {text['en']}"
