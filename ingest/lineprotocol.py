"""InfluxDB line protocol → Batch (docs.influxdata.com, "Line protocol"). Pure functions, no I/O.

    measurement[,tag=value…] field=value[,field=value…] timestamp

Every quantifier of the patterns is possessive: what was taken is never given back, so that a line is
read once, whatever is in it. A line that is wrong is refused by itself, with its bytes.
"""

from __future__ import annotations

import re
from typing import Any

from ingest.decoded import Decoded, mode_of, worded
from ingest.points import Points, ticks_of

_NAME = rb"(?:[^, \n\\]++|\\[, ]?+)++"
_KEY = rb"(?:[^,= \n\\]++|\\[,= ]?+)++"
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_SERIES = rb"(?!\#)" + _NAME + rb"(?:," + _KEY + rb"=" + _KEY + rb")*+"
_FIELD = _KEY + rb"=(?:" + _STRING + rb'|[^," \r\n]++)'
_LINE = re.compile(
    rb"[ \t]*+("
    + _SERIES
    + rb")\ ++("
    + _FIELD
    + rb"(?:,"
    + _FIELD
    + rb")*+)(?:\ ++([^ \r\n]++))?+[ \r]*+(?:\n|\Z)",
    re.DOTALL,
)
_SKIPPED = re.compile(rb"(?:[ \t\r]*+(?:\#[^\n]*+)?+\n)*+(?:[ \t\r]*+(?:\#[^\n]*+)?+\Z)?+")
"""Blank lines and comments."""
_FIELDS = re.compile(
    rb"("
    + _KEY
    + rb")=(?:\"((?:[^\"\\]++|\\.)*+)\"|([+-]?+(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?+[0-9]++)?+)"
    rb"|([+-]?+[0-9]{1,19}+)i|([0-9]{1,20}+)u|(t(?:rue)?+|T(?:rue|RUE)?+)|(f(?:alse)?+|F(?:alse|ALSE)?+)"
    rb"|([^,\"]*+))(?:,|\Z)",
    re.DOTALL,
)
_PAIR = re.compile(rb",(" + _KEY + rb")=(" + _KEY + rb")")
_NAME_ESCAPED, _KEY_ESCAPED, _STRING_ESCAPED = (
    re.compile(rb"\\([, ])"),
    re.compile(rb"\\([,= ])"),
    re.compile(rb'\\(["\\])'),
)
_TIME = re.compile(rb"-?+[0-9]{1,19}+")
_STRING_GROUP, _FLOAT, _INT, _UINT, _TRUE, _FALSE, _OTHER = range(2, 9)
_LEAST, _MOST, _MOST_UNSIGNED = -(2**63), 2**63 - 1, 2**64 - 1
_SHOWN = 60


class _Wrong(Exception):
    """Why a line is refused: a code of store.reasons, and its parameters."""

    def __init__(self, reason: str, **parameters: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.parameters = parameters


def decode_lines(
    body: bytes,
    *,
    unit: str,
    source: str,
    received_at: int,
    mode: str | None = None,
    precision: str = "ns",
    equipment_tag: str | None = None,
) -> Decoded:
    """Decode the body of `POST /api/v2/write`. Raises Malformed."""
    points = Points(ticks_of(precision), equipment_tag)
    reader = _Reader(points)
    at, line, end = 0, 1, len(body)
    while True:
        skipped = _SKIPPED.match(body, at)
        if skipped is not None and skipped.end() > at:
            line += body.count(b"\n", at, skipped.end())
            at = skipped.end()
        if at >= end:
            break
        match = _LINE.match(body, at)
        after = 0 if match is None else match.end()
        try:
            if match is None:
                raise _malformed(body, at)
            reader.read(line, match)
        except _Wrong as wrong:
            # A quotation mark may be what is wrong: then its text did not go on on the next line either.
            newline = body.find(b"\n", at)
            after = end if newline < 0 else newline + 1
            parameters = {"line": str(line), **wrong.parameters}
            points.refuse(line, wrong.reason, parameters, body[at:after].rstrip(b"\r\n"))
        line += body.count(b"\n", at, after)
        at = after
    return points.decoded("line", mode_of(mode or "live"), unit, source, received_at)


class _Reader:
    """Lines that have the right form → points; what many lines have in common is read once."""

    def __init__(self, points: Points) -> None:
        self._points = points
        self._series: dict[bytes, tuple[str, tuple[str, bool] | None, dict[bytes, int]]] = {}

    def read(self, line: int, match: re.Match[bytes]) -> None:
        """Take one line. Raises _Wrong, with nothing taken of it."""
        series, fields, time = match.groups()
        try:
            known = self._series.get(series)
            if known is None:
                known = self._series[series] = self._named(series)
            measurement, equipment, codes = known
            if equipment is None:
                raise _Wrong("missing_equipment", measurement=measurement[:_SHOWN])
            found: list[int] = []
            values: list[Any] = []
            for field in _FIELDS.finditer(fields):
                key = field[1]
                code = codes.get(key)
                if code is None:
                    name = _KEY_ESCAPED.sub(rb"\1", key).decode()
                    code = codes[key] = self._points.code(measurement, equipment, name)
                found.append(code)
                values.append(_value(field, match.start(2) - match.start()))
        except UnicodeDecodeError:
            raise _Wrong(
                "malformed_line", column="1", **worded("不是合法的 UTF-8", "invalid UTF-8")
            ) from None
        if time is None:  # InfluxDB takes its own clock then, and clients of it rely on that
            self._points.add(line, found, values, None)
            return
        ts = int(time) if _TIME.fullmatch(time) else None
        if ts is None or not _LEAST <= ts <= _MOST:
            column = str(match.start(3) - match.start() + 1)
            got = _shown(time)
            said = worded(f"时间戳应为整数,收到 {got}", f"a timestamp is a whole number, got {got}")
            raise _Wrong("malformed_line", column=column, **said)
        self._points.add(line, found, values, ts)

    def _named(self, series: bytes) -> tuple[str, tuple[str, bool] | None, dict[bytes, int]]:
        name = re.match(_NAME, series)
        end = 0 if name is None else name.end()
        measurement = _NAME_ESCAPED.sub(rb"\1", series[:end]).decode()
        tags: dict[str, str] = {}
        for pair in _PAIR.finditer(series, end):
            key, value = (_KEY_ESCAPED.sub(rb"\1", text).decode() for text in pair.groups())
            tags.setdefault(key, value)
        return measurement, self._points.equipment(measurement, tags), {}


def _value(field: re.Match[bytes], before: int) -> float | int | bool | str:
    """A field's value. Raises _Wrong."""
    kind = field.lastindex or _OTHER
    token = field[kind]
    if kind == _FLOAT:
        return float(token)
    if kind == _STRING_GROUP:
        return (_STRING_ESCAPED.sub(rb"\1", token) if b"\\" in token else token).decode()
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE
    if kind == _INT and _LEAST <= (number := int(token)) <= _MOST:
        return number
    if kind == _UINT and (number := int(token)) <= _MOST_UNSIGNED:
        return number
    got = _shown(token)
    said = worded(
        f"值 {got} 不是数字、整数(12i、12u)、布尔或带引号的文本",
        f"the value {got} is no number, integer (12i, 12u), boolean or text in quotation marks",
    )
    raise _Wrong("malformed_line", column=str(before + field.start(kind) + 1), **said)


def _malformed(body: bytes, at: int) -> _Wrong:
    """Where a line that has not the right form leaves it, and what should be there."""
    newline = body.find(b"\n", at)
    line = body[at : len(body) if newline < 0 else newline].rstrip(b"\r")
    place = len(line) - len(line.lstrip(b" \t"))
    series = re.compile(_SERIES).match(line, place)
    if series is None:
        return _expected(line, place, "measurement", "a measurement")
    place = series.end()
    if line[place : place + 1] == b",":
        return _expected(
            line, place + 1, "标签 key=value(两者均非空)", "a tag as key=value, neither of them empty,"
        )
    fields = re.compile(rb"\ ++").match(line, place)
    if fields is None:
        return _expected(line, place, "空格与字段", "a blank and the fields")
    place = fields.end()
    one = re.compile(_FIELD, re.DOTALL)
    while True:
        field = one.match(line, place)
        if field is None:
            key = re.compile(_KEY + rb"=").match(line, place)
            if key is not None and line[key.end() : key.end() + 1] == b'"':
                return _expected(
                    line, key.end(), "以引号结束的文本", "a text with a quotation mark at its end"
                )
            return _expected(line, place, "字段 key=value", "a field as key=value")
        place = field.end()
        if line[place : place + 1] != b",":
            break
        place += 1
    rest = line[place:].strip(b" ")
    zh, en = (
        ("空格或逗号", "a blank or a comma")
        if line[place : place + 1] != b" "
        else ("时间戳,其后再无内容", "a timestamp and nothing after it")
    )
    blanks = len(line[place:]) - len(line[place:].lstrip(b" ")) if rest else 0
    return _expected(line, place + blanks, zh, en)


def _expected(line: bytes, place: int, zh: str, en: str) -> _Wrong:
    at_end = place >= len(line)
    got, got_zh = ("the end of the line", "行尾") if at_end else (_shown(line[place:]),) * 2
    said = worded(f"此处应为{zh},收到 {got_zh}", f"{en} is expected, got {got}")
    return _Wrong("malformed_line", column=str(place + 1), **said)


def _shown(token: bytes) -> str:
    text = token[: 4 * _SHOWN].decode(errors="replace")
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
