"""A form with a file (multipart/form-data), from a body that was read within its limits. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from ingest.api.problems import Problem
from ingest.decoded import worded

_FIELDS_MOST = 20
_HEADER_MOST = 4_096


@dataclass
class Form:
    """The file of a form, and the other fields."""

    file_name: str = ""
    content: bytes = b""
    files: int = 0
    fields: dict[str, str] = field(default_factory=dict)


class _Reader:
    def __init__(self) -> None:
        self.form = Form()
        self.ended = False
        self._parts = 0
        self._name = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._data = bytearray()

    def begin(self) -> None:
        self._parts += 1
        if self._parts > _FIELDS_MOST:
            raise FormParserError("too many fields")
        self._headers, self._data = {}, bytearray()

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]
        self._bounded(self._name)

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._bounded(self._value)

    def header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]

    def end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if b"filename" in options:
            self.form.files += 1
            if self.form.files == 1:
                self.form.file_name = options[b"filename"].decode("utf-8", "replace")
                self.form.content = bytes(self._data)
        elif b"name" in options:
            self.form.fields[options[b"name"].decode("utf-8", "replace")] = self._data[:1000].decode(
                "utf-8", "replace"
            )

    def finish(self) -> None:
        self.ended = True

    def _bounded(self, text: bytes) -> None:
        if len(text) > _HEADER_MOST:
            raise FormParserError("a header is too long")


def read_form(content_type: str, body: bytes) -> Form:
    """The form in a body. Raises Problem: it is none, or has not just one file."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    reader = _Reader()
    try:
        if not boundary or len(boundary) > 200:
            raise FormParserError("no boundary")
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": reader.begin,
                "on_part_data": reader.data,
                "on_part_end": reader.end,
                "on_header_field": reader.header_name,
                "on_header_value": reader.header_value,
                "on_header_end": reader.header_end,
                "on_end": reader.finish,
            },
        )
        parser.write(body)
        parser.finalize()
        if not reader.ended:
            raise FormParserError("it ends before its end")
    except FormParserError as error:
        raise _wrong("格式不合法", str(error)[:200]) from error
    if reader.form.files > 1:
        raise _wrong(
            f"一次只能上传一个文件,收到 {reader.form.files} 个",
            f"one file at a time, got {reader.form.files}",
        )
    if not reader.form.files:
        raise _wrong("没有文件(name=file)", "no file (name=file)")
    return reader.form


def _wrong(zh: str, en: str) -> Problem:
    return Problem("wrong_shape", {"place": "multipart/form-data"} | worded(zh, en))
