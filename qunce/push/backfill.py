"""A file of measurements to the interface, chunk by chunk: never the whole in memory, and resumed where it was."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from qunce.push.mapping import Mapping, MappingError
from qunce.push.readings import Readings, readings
from qunce.push.service import Refused, Service

_READINGS = 50_000
_ARROW = "application/vnd.apache.arrow.stream"
_ENDS = 2**20
_ERRORS_SHOWN = 20
_BLOCK = 2**20
_DELIMITERS = (",", ";", "\t")


@dataclass
class Outcome:
    """Counts of all chunks, and the first of what was refused: (row of the file from 1, tag, text).

    `before`: readings among the received of chunks that had been taken before, and were not stored again.
    """

    chunks: int = 0
    rows: int = 0
    received: int = 0
    accepted: int = 0
    quarantined: int = 0
    before: int = 0
    untimed: int = 0
    errors: list[tuple[int, str, str]] = field(default_factory=list)

    def note(self, row: int, tag: str, text: str) -> None:
        """Keep an error, if it is one of the first."""
        if len(self.errors) < _ERRORS_SHOWN:
            self.errors.append((row, tag, text))


def chunks(file: Path, mapping: Mapping) -> Iterator[tuple[int, Any]]:
    """(first row, pyarrow table of rows), always cut at the same rows. Raises MappingError, OSError."""
    size = max(1, _READINGS // max(1, len(mapping.tags)))
    at = 0
    waiting: list[Any] = []
    held = 0
    try:
        for batch in _batches(file, mapping):
            waiting.append(batch)
            held += batch.num_rows
            while held >= size:
                table = pa.Table.from_batches(waiting)
                yield at, table.slice(0, size).combine_chunks()
                at, held = at + size, held - size
                waiting = table.slice(size).to_batches()
        if held:
            yield at, pa.Table.from_batches(waiting).combine_chunks()
    except (pa.ArrowException, UnicodeError, LookupError) as error:
        raise MappingError(f"{file.name}: {error}") from error


def _batches(file: Path, mapping: Mapping) -> Iterator[Any]:
    if file.suffix.lower() in (".parquet", ".pq"):
        with pq.ParquetFile(file) as parquet:
            _require(parquet.schema_arrow.names, mapping, file)
            yield from parquet.iter_batches(batch_size=_READINGS, columns=mapping.columns)
        return
    with file.open("rb") as binary:
        head = binary.read(_BLOCK)
    encoding = mapping.csv.encoding or _encoding(head)
    text = head.decode(encoding, "replace").removeprefix("\ufeff")
    delimiter = mapping.csv.delimiter or max(_DELIMITERS, key=lambda one: len(_names(text, one)))
    _require(_names(text, delimiter), mapping, file)
    with pacsv.open_csv(
        file,
        read_options=pacsv.ReadOptions(block_size=_BLOCK, encoding=encoding, use_threads=False),
        parse_options=pacsv.ParseOptions(delimiter=delimiter),
        convert_options=pacsv.ConvertOptions(
            include_columns=mapping.columns,
            column_types=dict.fromkeys(mapping.columns, pa.string()),
            strings_can_be_null=True,
            null_values=["", "NULL", "null", "NaN", "nan", "N/A", "NA", "--"],
        ),
    ) as reader:
        yield from reader


def _encoding(head: bytes) -> str:
    """That of a CSV by its beginning, which may end within a character."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "gb18030"
    return "utf-8"


def _names(head: str, delimiter: str) -> list[str]:
    return next(csv.reader(io.StringIO(head, newline=""), delimiter=delimiter), [])


def _require(names: list[str], mapping: Mapping, file: Path) -> None:
    missing = [column for column in mapping.columns if column not in names]
    if missing:
        raise MappingError(
            f"{file.name}: 没有列 / has no column {', '.join(missing)}; 有 / it has: {', '.join(names)[:500]}"
        )


def identity(file: Path, mapping: Mapping) -> str:
    """Of a file's content and how it is read, without reading all of it: its size and both ends."""
    size = file.stat().st_size
    digest = hashlib.sha256(f"{size}\n{mapping.model_dump_json()}\n".encode())
    with file.open("rb") as binary:
        digest.update(binary.read(_ENDS))
        binary.seek(max(0, size - _ENDS))
        digest.update(binary.read(_ENDS))
    return digest.hexdigest()[:32]


def progress_file(file: Path) -> Path:
    """Where it is written down how far a file has come."""
    return file.with_name(f"{file.name}.qunce-push.json")


def backfill(
    service: Service, file: Path, mapping: Mapping, console: Console, *, restart: bool = False
) -> Outcome:
    """Send all of it, or what an earlier run has not sent. Raises MappingError, Refused, OSError."""
    name, noted = identity(file, mapping), progress_file(file)
    outcome = Outcome() if restart else _resumed(noted, name)
    skip = outcome.chunks
    bars = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*bars, console=console) as progress:
        task = progress.add_task("补传 back-fill", total=_rows(file))
        for number, (first, rows) in enumerate(chunks(file, mapping)):
            if number >= skip:
                _send(service, f"{name}-{number}", readings(rows, mapping, first), outcome)
                outcome.chunks, outcome.rows = number + 1, first + rows.num_rows
                noted.write_text(json.dumps({"identity": name, **vars(outcome)}), "utf-8")
            progress.update(
                task, completed=first + rows.num_rows, description=f"补传 back-fill {outcome.accepted:,}"
            )
    noted.unlink(missing_ok=True)
    return outcome


def _rows(file: Path) -> int | None:
    """How many rows a file says it has; CSV does not."""
    if file.suffix.lower() not in (".parquet", ".pq"):
        return None
    with pq.ParquetFile(file) as parquet:
        return int(parquet.metadata.num_rows)


def _resumed(noted: Path, name: str) -> Outcome:
    try:
        kept = json.loads(noted.read_text("utf-8"))
        if kept.pop("identity") == name:
            return Outcome(**{**kept, "errors": [tuple(error) for error in kept["errors"]]})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return Outcome()


def arrow(table: Any) -> bytes:
    """Readings as a request's body."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


def _send(service: Service, key: str, sending: Readings, outcome: Outcome) -> None:
    outcome.untimed += len(sending.untimed)
    for row, text in sending.untimed:
        outcome.note(row + 1, "", f"时间无法识别 / not a time: {text[:60]}")
    if sending.table.num_rows == 0:
        return
    headers = {"Content-Type": _ARROW, "Idempotency-Key": key}
    taken_before = False
    try:
        answer = service.post("/api/v1/measurements", arrow(sending.table), headers, {"mode": "backfill"})
        body, taken_before = answer.json(), "Idempotent-Replayed" in answer.headers
    except Refused as refused:
        if refused.status != 422 or "quarantined" not in refused.body:
            raise
        body = refused.body
    outcome.before += body["received"] if taken_before else 0
    for count in ("received", "accepted", "quarantined"):
        setattr(outcome, count, getattr(outcome, count) + body[count])
    for error in body["errors"]:
        i = error["index"]
        known = i is not None and i < sending.table.num_rows
        message, hint = error["message"], error["hint"]
        outcome.note(
            int(sending.row[i]) + 1 if known else 0,
            str(sending.table.column("tag")[i].as_py()) if known else "",
            f"{message['zh']}。{hint['zh']} / {message['en']}. {hint['en']}",
        )


def check(file: Path, mapping: Mapping, console: Console) -> Outcome:
    """Show what would be sent of the first chunk, and send nothing. Raises MappingError, OSError."""
    outcome = Outcome()
    for first, rows in chunks(file, mapping):
        found = readings(rows, mapping, first)
        outcome.rows, outcome.received = rows.num_rows, found.table.num_rows
        outcome.untimed = len(found.untimed)
        for row, text in found.untimed:
            outcome.note(row + 1, "", f"时间无法识别 / not a time: {text[:60]}")
        table = Table(
            title=f"文件前 {rows.num_rows:,} 行将发送的读数,示其 10 条 | what would be sent of the first {rows.num_rows:,}"
            f" rows: 10 of {found.table.num_rows:,} readings"
        )
        for name in ("行 row", "标签 tag", "时间 time (UTC)", "值 value", "质量 quality"):
            table.add_column(name, overflow="fold")
        for i, one in enumerate(found.table.slice(0, 10).to_pylist()):
            value = one["text"] if one["value"] is None else f"{one['value']:g}"
            cells = (
                str(int(found.row[i]) + 1),
                one["tag"],
                one["ts"].isoformat(),
                value,
                one["quality"] or "good",
            )
            table.add_row(*(Text(cell) for cell in cells))
        console.print(table)
        break
    return outcome


def show(outcome: Outcome, console: Console) -> None:
    """What became of it, for a person."""
    console.print(
        Text(
            f"行 rows {outcome.rows:,}   读数 readings {outcome.received:,}   接收 accepted {outcome.accepted:,}"
            f"   拒收 refused {outcome.quarantined:,}   时间无法识别 without a time {outcome.untimed:,}"
        )
    )
    if outcome.before:
        console.print(
            Text(
                f"其中 {outcome.before:,} 条此前已收,没有重复入库 / taken before, and not stored again",
                style="yellow",
            )
        )
    if outcome.errors:
        table = Table(title="被拒收的(前 20 条) | refused: the first 20")
        for name in ("行 row", "标签 tag", "原因与处理 | rule and how to mend"):
            table.add_column(name, overflow="fold")
        for row, tag, text in outcome.errors:
            table.add_row(Text(str(row)), Text(tag), Text(text))
        console.print(table)
