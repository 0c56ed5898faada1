"""Tables as files of any size, piece by piece: CSV, Parquet, and Excel workbooks. Pure but for Excel's temporary file.

A table comes as Arrow record batches of one schema. Memory does not grow with it: what is written is handed on.
"""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterator
from typing import Any, Literal, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell

from ingest.sheets.harmless import FORMULA, harmless, put_text

Format = Literal["csv", "xlsx", "parquet"]
MEDIA_TYPES: dict[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "parquet": "application/vnd.apache.parquet",
}
MOST_SHEET_ROWS = 1_048_576 - 1
"""Excel's own bound, without the heading."""
MOST_CELL_CHARACTERS = 32_767
_ROW_GROUP = 65_536
_PIECE = 256 * 2**10
_FORMULA = f"^[{re.escape(''.join(FORMULA))}]"


class SheetFull(Exception):
    """More than Excel can hold; the message says what."""


class Writing(Protocol):
    """A file that grows: `add` and `end` give the bytes that are ready; `drop` frees what is not ended."""

    def add(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        """The next rows. Raises SheetFull."""

    def end(self) -> Iterator[bytes]:
        """What is left; nothing may be added after it."""

    def drop(self) -> None:
        """Free what the file holds; may be called at any time, and again."""


def writing(form: Format, schema: pa.Schema) -> Writing:
    """A new file of this form."""
    kinds: dict[Format, type[Csv | Parquet | Sheet]] = {"csv": Csv, "parquet": Parquet, "xlsx": Sheet}
    return kinds[form](schema)


class Csv:
    """UTF-8 with the mark by which spreadsheets know it; no cell is a formula there. Times are RFC 3339, UTC."""

    def __init__(self, schema: pa.Schema) -> None:
        self._names = schema.names
        self._began = False

    def add(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        """The next rows."""
        if batch.num_rows or not self._began:
            yield self._lines(batch)

    def end(self) -> Iterator[bytes]:
        """The heading, if there was no row at all."""
        if not self._began:
            yield b"\xef\xbb\xbf" + (",".join(f'"{name}"' for name in self._names) + "\n").encode()

    def drop(self) -> None:
        """There is nothing to free."""

    def _lines(self, batch: pa.RecordBatch) -> bytes:
        columns = [_printed(column) for column in batch.columns]
        sink = io.BytesIO() if self._began else io.BytesIO(b"\xef\xbb\xbf")
        sink.seek(0, io.SEEK_END)
        options = pyarrow.csv.WriteOptions(include_header=not self._began)
        pyarrow.csv.write_csv(pa.RecordBatch.from_arrays(columns, self._names), sink, options)
        self._began = True
        return sink.getvalue()


class Parquet:
    """Row groups, each handed on when it is full; ZSTD."""

    def __init__(self, schema: pa.Schema) -> None:
        self._sink = _Sink()
        self._schema = schema
        self._writer = pyarrow.parquet.ParquetWriter(
            pa.PythonFile(self._sink, mode="w"), schema, compression="zstd"
        )
        self._held: list[pa.RecordBatch] = []
        self._rows = 0

    def add(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        """The next rows."""
        self._held.append(batch)
        self._rows += batch.num_rows
        if self._rows >= _ROW_GROUP:
            self._write()
        yield from self._sink.take()

    def end(self) -> Iterator[bytes]:
        """The last row group and the footer, without which the file cannot be read."""
        if self._rows:
            self._write()
        self._writer.close()
        yield from self._sink.take()

    def drop(self) -> None:
        """There is nothing to free."""

    def _write(self) -> None:
        table = pa.Table.from_batches(self._held, self._schema)
        self._writer.write_table(table, row_group_size=table.num_rows)
        self._held, self._rows = [], 0


class Sheet:
    """A workbook, which is ready when it is complete: all of it comes at the end, from a temporary file.

    Times are text in RFC 3339, UTC: Excel knows no zones.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._book = Workbook(write_only=True)
        self._sheet = self._book.create_sheet("data")
        self._sheet.append(schema.names)
        self._rows = 0
        self._saved = False

    def add(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        """The next rows. Raises SheetFull."""
        self._rows += batch.num_rows
        if self._rows > MOST_SHEET_ROWS:
            raise SheetFull(f"more than {MOST_SHEET_ROWS:,} rows, Excel's own bound")
        columns = [_times(column).to_pylist() for column in batch.columns]
        for row in zip(*columns, strict=True):
            self._sheet.append([self._cell(value) for value in row])
        yield from ()

    def end(self) -> Iterator[bytes]:
        """The whole file."""
        with tempfile.TemporaryFile(prefix="qunce-export-") as file:
            self._book.save(file)
            self._saved = True
            file.seek(0)
            while piece := file.read(_PIECE):
                yield piece

    def drop(self) -> None:
        """Remove the sheet's temporary file, if the workbook was never saved."""
        if not self._saved:
            self._saved = True
            self._sheet.close()
            # openpyxl itself removes it at the end of the process only.
            self._sheet._writer.cleanup()

    def _cell(self, value: object) -> object:
        if not isinstance(value, str):
            return value
        if len(value) > MOST_CELL_CHARACTERS:
            raise SheetFull(f"a text of more than {MOST_CELL_CHARACTERS:,} characters, Excel's own bound")
        if value.isprintable() and harmless(value) == value:
            return value  # a cell of its own costs three times as much
        cell = WriteOnlyCell(self._sheet)
        put_text(cell, value)
        return cell


class _Sink(io.RawIOBase):
    """Where Parquet writes to; `take` gives what came since the last time."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        return len(self._pieces[-1])

    def take(self) -> Iterator[bytes]:
        if self._pieces:
            yield b"".join(self._pieces)
            self._pieces.clear()


def _times(column: pa.Array) -> pa.Array:
    """Times as RFC 3339, UTC; anything else as it is."""
    if pa.types.is_timestamp(column.type):
        return pc.binary_join_element_wise(pc.strftime(column, "%Y-%m-%dT%H:%M:%S"), "Z", "")
    return column


def _printed(column: pa.Array) -> pa.Array:
    """A column as CSV shows it: texts harmless, times as RFC 3339."""
    if not pa.types.is_string(column.type):
        return _times(column)
    if not pc.any(pc.match_substring_regex(column, _FORMULA)).as_py():
        return column
    return pa.array([None if text is None else harmless(text) for text in column.to_pylist()], pa.string())
