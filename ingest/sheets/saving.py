"""A workbook as the bytes of a file, its parts named as Excel names them: other readers go by these names. Pure."""

from __future__ import annotations

import io
import re
import zipfile

import openpyxl

_PARTS = (
    (re.compile(rb"/xl/comments/comment(\d+)\.xml"), rb"comments\1.xml"),
    (re.compile(rb"/xl/drawings/commentsDrawing(\d+)\.vml"), rb"drawings/vmlDrawing\1.vml"),
)
"""What openpyxl calls the parts of comments, and Excel's own names below xl/."""


def saved(book: openpyxl.Workbook) -> bytes:
    """The workbook as xlsx.

    openpyxl's names of comment parts, and its references from the root, are valid, but there are readers
    (exceljs 4.4) that find comments by Excel's names only, and do not open the file without.
    """
    file = io.BytesIO()
    book.save(file)
    with zipfile.ZipFile(file) as given:
        if not any(name.startswith("xl/comments/") for name in given.namelist()):
            return file.getvalue()
        renamed = io.BytesIO()
        with zipfile.ZipFile(renamed, "w", zipfile.ZIP_DEFLATED) as made:
            for part in given.infolist():
                content = given.read(part)
                if part.filename.startswith("xl/worksheets/_rels/"):
                    content = _named(content, b"../")
                elif part.filename == "[Content_Types].xml":
                    content = _named(content, b"/xl/")
                made.writestr(_named(b"/" + part.filename.encode(), b"xl/").decode().lstrip("/"), content)
    return renamed.getvalue()


def _named(text: bytes, below: bytes) -> bytes:
    for pattern, name in _PARTS:
        text = pattern.sub(below + name, text)
    return text
