"""One uploaded file, judged in a process of its own: `python -m ingest.sheets.program`.

Reading a spreadsheet holds Python's lock for seconds, and a hostile one does worse: here it can do it
to nobody else. Memory and processor time of the process are limited; when it dies, the file is at fault.

In: a job, the file; later the marks, when there are any. Out: what was read, the judged rows part by
part, the end; later the marked file. Each message is its length (4 bytes, little-endian) and msgpack.
"""

from __future__ import annotations

import os
import resource
import signal
import struct
import sys
from typing import Any, BinaryIO

import msgspec

from ingest.batch import Refusal
from ingest.sheets.judging import Judged, Mark

PART_ROWS = 5_000
_PART_BYTES = 2**20
LENGTH = struct.Struct("<I")
MESSAGE_MOST = 2**28
_MEMORY_BYTES = 2 * 2**30
_CPU_S = 180
_NICE = 5


class Job(msgspec.Struct, frozen=True, tag=True):
    """Judge the file (the next message) as this dataset."""

    dataset: str


class Marks(msgspec.Struct, frozen=True, tag=True):
    """Give the file back with these cells marked."""

    marks: list[Mark]
    counts: dict[str, int]


class Opened(msgspec.Struct, frozen=True, tag=True):
    """The table was found: rows below the heading, where it is, columns that are none of the dataset's, and sheets
    that have such a table too and were not read.
    """

    rows: int
    form: str
    sheet: str
    encoding: str
    heading_row: int
    ignored: list[tuple[str, str]]
    unread: list[str]


class Part(msgspec.Struct, frozen=True, tag=True):
    """Rows judged: the good ones by their number in the file, what is wrong with the others.

    `at`: field → column, for what is found wrong later; `seen` rows of the table, examples included.
    """

    index: list[int]
    records: list[dict[str, Any]]
    marks: list[Mark]
    refused: list[Refusal]
    seen: int
    at: dict[str, int]


class Fault(msgspec.Struct, frozen=True, tag=True):
    """The file as a whole cannot be taken."""

    reason: str
    parameters: dict[str, str]


class End(msgspec.Struct, frozen=True, tag=True):
    """There are no more parts."""

    examples: int


_ENCODER = msgspec.msgpack.Encoder()
ANSWER = msgspec.msgpack.Decoder(Opened | Part | Fault | End)
_JOB = msgspec.msgpack.Decoder(Job)
_MARKS = msgspec.msgpack.Decoder(Marks)


def message(content: msgspec.Struct | bytes) -> bytes:
    """A message as it goes through the pipe."""
    data = content if isinstance(content, bytes) else _ENCODER.encode(content)
    return LENGTH.pack(len(data)) + data


def run(source: BinaryIO, to: BinaryIO) -> None:
    """Judge one file, and mark it when asked to. Raises EOFError when whoever asked is gone."""
    from ingest.sheets.bounds import FileFault
    from ingest.sheets.judging import judge
    from ingest.sheets.marking import marked
    from ingest.sheets.reading import read_table

    job = _JOB.decode(_read(source))
    data = _read(source)
    try:
        table = read_table(job.dataset, data)
    except FileFault as fault:
        _write(to, Fault(fault.reason, fault.parameters))
        return
    heading = table.heading
    _write(
        to,
        Opened(
            len(table.rows), table.form, table.sheet, table.encoding, heading.row, list(heading.ignored),
            list(table.unread),
        ),
    )  # fmt: skip
    part = _Part({column.field: i for i, column in heading.columns.items()})
    judged = 0
    for one in judge(job.dataset, table):
        judged += 1
        if part.full:
            _write(to, part.taken())
        part.add(one)
    _write(to, part.taken())
    _write(to, End(len(table.rows) - judged))
    wanted = _MARKS.decode(_read(source))
    _write(to, marked(data, table, wanted.marks, wanted.counts))


class _Part:
    def __init__(self, at: dict[str, int]) -> None:
        self._at = at
        self._rows: list[Judged] = []
        self._bytes = 0

    @property
    def full(self) -> bool:
        return len(self._rows) >= PART_ROWS or self._bytes >= _PART_BYTES

    def add(self, row: Judged) -> None:
        self._rows.append(row)
        if row.refusal is None:
            self._bytes += len(msgspec.json.encode(row.record))
        else:
            texts = sum(map(len, row.refusal.parameters.values()))
            self._bytes += len(row.refusal.original) * 4 // 3 + texts * 4 + 500

    def taken(self) -> Part:
        rows, self._rows, self._bytes = self._rows, [], 0
        good = [row for row in rows if row.record is not None]
        return Part(
            index=[row.row for row in good],
            records=[row.record for row in good if row.record is not None],
            marks=[mark for row in rows for mark in row.marks],
            refused=[row.refusal for row in rows if row.refusal is not None],
            seen=len(rows),
            at=self._at,
        )


def _read(source: BinaryIO) -> bytes:
    (length,) = LENGTH.unpack(_exactly(source, LENGTH.size))
    return _exactly(source, length)


def _exactly(source: BinaryIO, n: int) -> bytes:
    data = source.read(n)
    if len(data) < n:
        raise EOFError("the other end is gone")
    return data


def _write(to: BinaryIO, content: msgspec.Struct | bytes) -> None:
    to.write(message(content))
    to.flush()


def main() -> int:
    """Judge the file on the standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: whoever started this one decides
    os.nice(_NICE)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
    try:
        run(sys.stdin.buffer, sys.stdout.buffer)
    except (EOFError, BrokenPipeError):
        return 0
    except MemoryError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
