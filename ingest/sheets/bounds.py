"""What a file may cost, judged before anything is parsed: zip bombs, entities, encrypted and foreign formats. Pure."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from dataclasses import dataclass, field

from ingest.decoded import worded

MOST_ROWS = 50_000
"""Rows of data in one file."""
MOST_CELLS = 500_000
MOST_COLUMNS = 200
_MOST_ENTRIES = 1_000
_MOST_UNPACKED = 64 * 2**20
_MOST_OF_PARTS = {"xl/styles.xml": 4 * 2**20, "xl/workbook.xml": 4 * 2**20, "[Content_Types].xml": 2**20}
"""These are read as a whole, and each element costs a hundred times its text."""
_MOST_RATIO, _RATIO_FROM = 250, 8 * 2**20
_PIECE = 2**18
_LAST_ROW = 1_048_576

_OLE = b"\xd0\xcf\x11\xe0"
_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:[?]xml|!doctype|html|head|meta|table)\b", re.IGNORECASE)
"""What some systems export under the name .xls."""
_FORBIDDEN = re.compile(rb"<!\s*(DOCTYPE|ENTITY)", re.IGNORECASE)
_MERGED = re.compile(rb"<(?:\w+:)?mergeCell\s[^>]{0,200}?ref=[\"']([A-Z]{1,3}\d{1,7}:[A-Z]{1,3}\d{1,7})[\"']")
_MERGED_MOST = 10_000
_UNCALCULATED = re.compile(
    rb"(?:</(?:\w+:)?f>|<(?:\w+:)?f(?:\s[^<>]{0,100})?/>)\s{0,9}(?:</(?:\w+:)?c>|<(?:\w+:)?v(?:\s{0,9}/>|>\s{0,9}</))"
)
"""A formula, and no value after it."""
_FORMULA = re.compile(rb"<(?:\w+:)?f[\s/>]")
_RECALCULATE = re.compile(rb"<(?:\w+:)?calcPr\s[^<>]{0,400}fullCalcOnLoad=[\"'](?:1|true)[\"']")
"""The values of formulas are no values yet: whoever opens the workbook is to calculate them."""
_WORKBOOK = "xl/workbook.xml"
_OVERLAP = 256


@dataclass
class Parts:
    """What the parts of an archive hold, by name: merged ranges; which have formulas, which some without a value.

    `recalculate`: the workbook says that its values of formulas are to be calculated first.
    """

    merged: dict[str, list[str]] = field(default_factory=dict)
    formulas: set[str] = field(default_factory=set)
    uncalculated: set[str] = field(default_factory=set)
    recalculate: bool = False


class FileFault(Exception):
    """The file as a whole cannot be taken: a code of store.reasons, and its parameters."""

    def __init__(self, reason: str, parameters: dict[str, str]) -> None:
        super().__init__(reason)
        self.reason = reason
        self.parameters = parameters


def is_xlsx(data: bytes) -> bool:
    """Whether these bytes are to be read as xlsx; everything else is CSV. Raises FileFault for other known formats."""
    if data.startswith(_OLE):
        raise FileFault("malformed_file", worded("旧版 xls 或加密文件", "xls, or encrypted"))
    if data.startswith(b"%PDF"):
        raise FileFault("malformed_file", {"detail": "PDF"})
    if _MARKUP.match(data[:1024]):
        raise FileFault("malformed_file", worded("实为网页或 XML", "HTML or XML, whatever its name"))
    return data.startswith(b"PK")


def check_archive(data: bytes) -> Parts:
    """Unpack everything once, piece by piece, keeping nothing of it but what is told of the parts.

    Raises FileFault: too many parts, too much in them, packed too well, encrypted, with entities, broken.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _check(archive)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as e:
        raise FileFault("malformed_file", worded("压缩包损坏", f"zip: {e}"[:200])) from e


def _check(archive: zipfile.ZipFile) -> Parts:
    entries = archive.infolist()
    if len(entries) > _MOST_ENTRIES:
        raise _too_much(f"{len(entries)} parts", f"{_MOST_ENTRIES} parts")
    if len({entry.filename for entry in entries}) < len(entries):
        raise FileFault("malformed_file", worded("压缩包中有同名部分", "zip: two parts of one name"))
    declared = sum(entry.file_size for entry in entries)
    if declared > _MOST_UNPACKED:
        raise _too_much(f"{declared} B unpacked", f"{_MOST_UNPACKED} B")
    if _WORKBOOK not in {entry.filename.lower() for entry in entries}:
        raise FileFault("malformed_file", worded("是压缩包而不是 xlsx", "zip, no xlsx"))
    parts = Parts()
    total = 0
    for entry in entries:
        if entry.flag_bits & 1:
            raise FileFault("malformed_file", worded("已加密", "encrypted"))
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise FileFault(
                "malformed_file",
                worded(f"压缩方式 {entry.compress_type}", f"zip: method {entry.compress_type}"),
            )
        found: list[str] = []
        size, before = 0, b""
        most = _MOST_OF_PARTS.get(entry.filename, _MOST_UNPACKED)
        is_xml = entry.filename.lower().endswith((".xml", ".rels", ".vml"))
        with archive.open(entry) as part:
            while piece := part.read(_PIECE):
                size += len(piece)
                if total + size > _MOST_UNPACKED or size > most:
                    raise _too_much(f"{entry.filename[:100]} > {most} B unpacked", f"{most} B")
                if size > _RATIO_FROM and size > _MOST_RATIO * max(entry.compress_size, 1):
                    raise _too_much(f"ratio > {_MOST_RATIO}", f"ratio {_MOST_RATIO}")
                if is_xml:
                    seen = before + piece
                    _look(seen, entry.filename, found)
                    if _UNCALCULATED.search(seen):
                        parts.uncalculated.add(entry.filename)
                    if entry.filename not in parts.formulas and _FORMULA.search(seen):
                        parts.formulas.add(entry.filename)
                    if entry.filename.lower() == _WORKBOOK:
                        parts.recalculate |= _RECALCULATE.search(seen) is not None
                    before = piece[-_OVERLAP:]
        total += size
        if found:
            parts.merged[entry.filename] = list(dict.fromkeys(found))
    if parts.recalculate:
        parts.uncalculated |= parts.formulas
    return parts


def _look(piece: bytes, name: str, merged: list[str]) -> None:
    if piece.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00<", b"<\x00")) or _FORBIDDEN.search(piece):
        raise FileFault(
            "malformed_file",
            worded(
                f"{name}:XML 含 DTD、实体,或不是 UTF-8",
                f"{name}: XML with a DTD, with entities, or not UTF-8",
            ),
        )
    if len(merged) < _MERGED_MOST:
        merged += [ref.decode() for ref in _MERGED.findall(piece)]


def _too_much(got: str, limit: str) -> FileFault:
    return FileFault("file_too_large", {"got": got, "limit": limit})


class Count:
    """Rows and cells seen so far. Raises FileFault beyond what one file may hold."""

    def __init__(self) -> None:
        self._rows = self._cells = 0

    def row(self, number: int, cells: int) -> None:
        """A row's number in the file, and how many cells of it are not blank."""
        self._rows += cells > 0
        self._cells += cells
        if self._rows > MOST_ROWS or number > _LAST_ROW:
            raise _too_much(f"> {MOST_ROWS} 行 rows", f"{MOST_ROWS} 行 rows")
        if self._cells > MOST_CELLS:
            raise _too_much(f"> {MOST_CELLS} 单元格 cells", f"{MOST_CELLS} 单元格 cells")
