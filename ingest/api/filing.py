"""Uploaded files at work: each judged in a process of its own, submitted part by part, marked at the end."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import structlog

from ingest.api.gate import Gate
from ingest.api.limits import Turns
from ingest.api.problems import Problem
from ingest.datasets import natural_key
from ingest.datasets.rules import rules_of
from ingest.records import Records, encode_records
from ingest.sheets.judging import Mark
from ingest.sheets.program import (
    ANSWER,
    LENGTH,
    MESSAGE_MOST,
    End,
    Fault,
    Job,
    Marks,
    Opened,
    Part,
    message,
)
from store import datasets, files, quarantine, submissions
from store.files import Progress, Upload
from store.quarantine import Filter
from store.registry import Unit
from store.submissions import Submission

AT_ONCE = max(1, min(2, (os.cpu_count() or 1) // 2))
"""Files judged at once in one process of the interface."""
MARKS_MOST = 20_000
"""Refused cells of one file that are kept and marked; the counts are exact beyond it."""
ERRORS_KEPT = 1_000
"""Of them, those that the answer tells; the marked file has all."""
MARKED_MOST_BYTES = 32 * 2**20
_BEAT_S = 8.0
_TURN_S = 3600.0
_HANGS_S = 600.0
_PAUSE_S = 0.05
_log = structlog.get_logger("ingest.api")


class Died(Exception):
    """The process that judged the file ended before it was done."""


class Filing:
    """The files that this process of the interface works on. Used in one loop only."""

    def __init__(self, gate: Gate, window: timedelta) -> None:
        self._gate = gate
        self._window = window
        self._turns = Turns(AT_ONCE, _TURN_S)
        self._running: dict[str, asyncio.Task[None]] = {}

    def begin(self, unit: Unit, upload_id: str) -> None:
        """Work on a file, unless somebody does; with the scope of the caller who asks. Returns at once."""
        if upload_id not in self._running:
            task = asyncio.create_task(self._claimed(unit, upload_id))
            self._running[upload_id] = task
            task.add_done_callback(lambda _: self._running.pop(upload_id, None))

    async def close(self) -> None:
        """Stop; what is not finished is taken up again when its sender asks for it."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _claimed(self, unit: Unit, upload_id: str) -> None:
        query = self._gate.query
        try:
            if not await query(files.claim, upload_id, unit.unit_id):
                return
            async with self._alive(upload_id), self._turns.turn(unit.code):
                upload = await query(files.one, upload_id, unit.unit_id)
                content = await query(files.content, upload_id)
                if upload is None or content is None:
                    return
                await _Work(self._gate, unit, upload, self._window).run(content)
        except Died as error:
            _log.error("a file could not be judged", unit=unit.code, upload=upload_id, error=str(error))
            with contextlib.suppress(Problem):
                problem = {"reason": "malformed_file", "parameters": {"detail": str(error)}}
                await query(files.finish, upload_id, "failed", problem=problem)
        except Problem as problem_:  # the database or the log is away: taken up again when its sender asks
            _log.warning("a file has to wait", unit=unit.code, upload=upload_id, error=problem_.code)
        except Exception as error:
            _log.error(
                "a file could not be judged",
                unit=unit.code,
                upload=upload_id,
                error=repr(error),
                exc_info=error,
            )
            with contextlib.suppress(Problem):
                await query(files.finish, upload_id, "failed")

    @asynccontextmanager
    async def _alive(self, upload_id: str) -> AsyncIterator[None]:
        async def beat() -> None:
            while True:
                await asyncio.sleep(_BEAT_S)
                with contextlib.suppress(Problem):
                    await self._gate.query(files.beat, upload_id)

        beating = asyncio.create_task(beat())
        try:
            yield
        finally:
            beating.cancel()


class _Work:
    """One file from its content to its end."""

    def __init__(self, gate: Gate, unit: Unit, upload: Upload, window: timedelta) -> None:
        self._window = window
        self._gate = gate
        self._unit = unit
        self._upload = upload
        self._progress = Progress()
        self._marks: list[Mark] = []
        self._parts = 0

    async def run(self, content: bytes) -> None:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ingest.sheets.program",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env=_environment(),
        )  # fmt: skip
        try:
            await self._converse(child, content)
        except (asyncio.IncompleteReadError, BrokenPipeError, ConnectionResetError, TimeoutError) as gone:
            raise Died("the file needs more memory or time than one may take (超出内存或时间上限)") from gone
        finally:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
            await child.wait()

    async def _converse(self, child: asyncio.subprocess.Process, content: bytes) -> None:
        await self._keep("reading")
        await _tell(child, Job(self._upload.dataset))
        await _tell(child, content)
        notes: dict[str, Any] = {}
        while True:
            told = ANSWER.decode(await _hear(child))
            if isinstance(told, Fault):
                problem = {"reason": told.reason, "parameters": told.parameters}
                await self._gate.query(files.finish, self._upload.upload_id, "refused", problem=problem)
                return
            if isinstance(told, Opened):
                self._progress = self._progress._replace(total=told.rows)
                notes = _notes(told)
                await self._keep("submitting", notes)
            elif isinstance(told, Part):
                await self._take(told)
                await self._keep("submitting")
            elif isinstance(told, End):
                notes["ignored_examples"] = told.examples
                break
        self._progress = self._progress._replace(total=self._progress.done)
        marked = None
        if self._marks:
            await self._keep("marking")
            counts = {name: n for name, n in self._progress._asdict().items() if n is not None} | {
                "examples": notes["ignored_examples"]
            }
            self._marks.sort(key=lambda mark: (mark.row, -1 if mark.column is None else mark.column))
            await _tell(child, Marks(self._marks, counts))
            with contextlib.suppress(asyncio.IncompleteReadError):  # the result is known, only not marked
                marked = await _hear(child)
        await self._keep("marking", notes)
        errors = [msgspec.to_builtins(mark) for mark in self._marks[:ERRORS_KEPT]]
        if marked is not None and len(marked) > MARKED_MOST_BYTES:
            marked = None
        await self._gate.query(files.finish, self._upload.upload_id, "done", errors=errors, marked=marked)

    async def _keep(self, stage: str, notes: dict[str, Any] | None = None) -> None:
        await self._gate.query(files.keep_progress, self._upload.upload_id, stage, self._progress, notes)

    async def _take(self, part: Part) -> None:
        """Submit a part, or in a dry run foresee what would become of it."""
        if part.seen == 0:
            return
        self._add(part.marks)
        number, self._parts = self._parts, self._parts + 1
        if self._upload.dry_run:
            counts: Progress | Submission = await self._foreseen(part)
        else:
            counts = await self._submitted(
                part, hashlib.sha256(f"{self._upload.upload_id}/{number}".encode()).hexdigest()[:32]
            )
        before = self._progress
        self._progress = before._replace(
            done=before.done + part.seen,
            accepted=before.accepted + counts.accepted,
            duplicates=before.duplicates + counts.duplicates,
            corrections=before.corrections + counts.corrections,
            quarantined=before.quarantined + counts.quarantined,
        )

    def _add(self, marks: Sequence[Mark]) -> None:
        self._marks += marks[: max(0, MARKS_MOST - len(self._marks))]

    async def _foreseen(self, part: Part) -> Progress:
        dataset, n_refused = self._upload.dataset, len(part.refused)
        keys = [natural_key(dataset, record) for record in part.records]
        report = datasets.Report("", time.time_ns() // 1000, self._upload.reason)
        judged = await self._gate.query(
            datasets.judge, self._unit.unit_id, dataset, part.records, keys,
            rules_of(dataset, self._window), report,
        )  # fmt: skip
        self._add(
            [
                Mark(part.index[p.row], part.at.get(p.field), p.field, p.reason, p.parameters)
                for p in judged.problems
            ]
        )
        counts = Counter(judged.verdicts)
        return Progress(
            None, part.seen, len(judged.revisions), counts[datasets.DUPLICATE], counts[datasets.CORRECTION],
            n_refused + len(judged.problems),
        )  # fmt: skip

    async def _submitted(self, part: Part, batch: str) -> Submission:
        """Append to the log, and wait until the writer has applied it."""
        verdict = await self._verdict(batch)
        if verdict is None:  # else an earlier process came as far as this
            await self._append(part, batch)
            pause = _PAUSE_S
            while (verdict := await self._verdict(batch)) is None:
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, 1.0)
        self._gate.refused_rows.spend(self._unit.code, verdict.quarantined)
        if self._upload.dataset == "tag":
            self._gate.forget_tags(self._unit)
        if verdict.quarantined > len(part.refused):
            self._add(await self._found_by_writer(part, batch))
        return verdict

    async def _verdict(self, batch: str) -> Submission | None:
        return (await self._gate.query(submissions.find, [batch], self._unit.unit_id)).get(batch)

    async def _append(self, part: Part, batch: str) -> None:
        unit = self._unit.code
        records = Records(
            unit=unit,
            source=f"http_push:{unit}",
            dataset=self._upload.dataset,
            batch=batch,
            received=part.seen,
            received_at=time.time_ns() // 1000,
            index=part.index,
            records=part.records,
            refused=part.refused,
            reason=self._upload.reason,
            voucher=self._upload.voucher,
            by=self._upload.sent_by,
        )
        data = encode_records(records)
        while True:
            try:
                await self._gate.append(
                    data, kind="records", lane="live", unit=unit, source=records.source, msg_id=batch, rows=0
                )
            except Problem as busy:  # full, or away: the file is safe, and can wait
                await asyncio.sleep(busy.retry_after_s or 2)
            else:
                return

    async def _found_by_writer(self, part: Part, batch: str) -> list[Mark]:
        """What only the writer could judge: read back from the quarantine, where it put the rows."""
        known = {refusal.place for refusal in part.refused}
        found: list[Mark] = []
        after: int | None = None
        while len(found) < MARKS_MOST:
            page = await self._gate.query(
                quarantine.page, Filter(unit_id=self._unit.unit_id, batch=batch), limit=1000, after=after,
                newest_first=False,
            )  # fmt: skip
            for entry in page.entries:
                if entry.place not in known:
                    row, field = _place(entry.place)
                    found.append(Mark(row, part.at.get(field), field, entry.reason, entry.parameters))
            if not page.more:
                break
            after = page.entries[-1].quarantine_id
        return found


def _place(place: str) -> tuple[int, str]:
    """Row and field of a place such as `enterprise records[17].park_code`."""
    inner, _, field = place.partition("records[")[2].partition("]")
    return (int(inner) if inner.isdigit() else 0), field.removeprefix(".")


def _notes(told: Opened) -> dict[str, Any]:
    return {
        "form": told.form,
        "sheet": told.sheet,
        "encoding": told.encoding,
        "heading_row": told.heading_row,
        "ignored_columns": [{"cell": cell, "heading": heading} for cell, heading in told.ignored],
        "unread_sheets": told.unread,
    }


def _environment() -> dict[str, str]:
    """What the process needs to start, and none of the secrets of this one."""
    wanted = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR", "LANG", "VIRTUAL_ENV")
    given = {name: os.environ[name] for name in wanted if name in os.environ}
    return given | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


async def _tell(child: asyncio.subprocess.Process, content: msgspec.Struct | bytes) -> None:
    assert child.stdin is not None  # noqa: S101 it was asked for
    child.stdin.write(message(content))
    await child.stdin.drain()


async def _hear(child: asyncio.subprocess.Process) -> bytes:
    assert child.stdout is not None  # noqa: S101 it was asked for
    async with asyncio.timeout(_HANGS_S):
        (length,) = LENGTH.unpack(await child.stdout.readexactly(LENGTH.size))
        if length > MESSAGE_MOST:
            raise Died("the process that judged the file said too much")
        return await child.stdout.readexactly(length)
