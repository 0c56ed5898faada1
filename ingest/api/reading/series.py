"""Readings over time: raw when they fit into the points asked for, else rolled up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import psycopg
from fastapi import APIRouter, Query, Request, Response

from ingest.api.answers import Answer
from ingest.api.gate import Gate
from ingest.api.limits import Turns
from ingest.api.problems import bad_parameter
from ingest.api.reading.latest import status_codes
from ingest.api.reading.parameters import From, To, names
from ingest.api.whose import UnitCode, absent, whose
from store import scope, series
from store.database import Connection, limit_statements
from store.scope import Tag
from store.signals import ENUMERATIONS
from store.times import moment

MOST_TAGS = 20
MOST_POINTS = 2_000
MOST_READINGS = 8_000_000
"""Read for one answer: some seconds of work of the database."""
_STATEMENT_S = 30
_ROLLUPS_AT_ONCE = 2
_TEXTS = 2_000

Quality = Literal["any", "usable", "good"]
QualityQuery = Annotated[Quality, Query(description="which readings count: any, usable (not bad), good")]


class Series(Answer):
    """One tag: `points` says what the columns are. All columns that are not null have the same length.

    raw: ts, value, quality. buckets: ts, first, last, min, max, mean, count, good, bad; buckets without a reading
    are left out. texts: ts, text, quality.
    """

    tag: str
    """name of the tag"""
    signal: str
    """the signal, see code table `signal`"""
    data_type: str
    """see code table `data_type`"""
    unit: str
    """UCUM unit of the values"""
    points: Literal["raw", "buckets", "texts"]
    """readings as they came, rolled up, or texts"""
    bucket_s: float | None
    """width of the buckets, s"""
    names: dict[str, str] | None
    """of enums: value → name"""
    ts: list[int]
    """µs since 1970, UTC: of the readings by the source's clock, of buckets their start"""
    value: list[float | None] | None = None
    """of the readings"""
    text: list[str] | None = None
    """of the readings"""
    quality: list[int] | None = None
    """OPC UA StatusCode of the readings; 0 is good"""
    first: list[float | None] | None = None
    """value of each bucket's first reading"""
    last: list[float | None] | None = None
    """value of each bucket's last reading"""
    min: list[float | None] | None = None
    """least value in each bucket"""
    max: list[float | None] | None = None
    """greatest value in each bucket"""
    mean: list[float | None] | None = None
    """arithmetic mean of the readings in each bucket"""
    count: list[int] | None = None
    """readings in each bucket"""
    good: list[int] | None = None
    """readings of good quality in each bucket"""
    bad: list[int] | None = None
    """readings of bad quality in each bucket"""
    next: datetime | None
    """of texts: go on with `from` = this; null: these are all"""


class SeriesPage(Answer):
    """One entry a tag, in the order asked for."""

    start: datetime
    """from this moment on"""
    end: datetime
    """until before this moment"""
    series: list[Series]
    """the readings"""


def router(gate: Gate) -> APIRouter:
    """The route, on this process's gate."""
    routes = APIRouter()
    turns = Turns(_ROLLUPS_AT_ONCE, _STATEMENT_S)

    @routes.get(
        "/api/v1/series",
        summary="时间序列 | Readings over time",
        response_model=SeriesPage,
        dependencies=[gate.allow("telemetry:read")],
    )
    async def readings(
        request: Request,
        tags: Annotated[
            str,
            Query(
                max_length=4000,
                description="1 to 20 names, separated by commas",
                examples=["CNC-0012.produced,CNC-0012.state"],
            ),
        ],
        from_: From = None,
        to: To = None,
        points: Annotated[
            int, Query(ge=1, le=MOST_POINTS, description="最多点数 | points of each tag, at most")
        ] = MOST_POINTS,
        quality: QualityQuery = "any",
        unit: UnitCode = None,
    ) -> Response:
        """Readings of some tags in [from, to), by default the last 24 hours, at most `points` of each.

        What does not fit is rolled up into buckets of equal width, aligned to midnight of +08:00; every minimum and
        maximum of the readings is one of its bucket. Text tags: the first 2,000 texts; go on with `from` = `next`.
        """
        wanted = names("tags", tags, MOST_TAGS)
        if not wanted:
            raise bad_parameter("tags", "没有给出标签", "names no tag")
        end = to or datetime.now(UTC)
        start = from_ or end - timedelta(hours=24)
        if start >= end:
            raise bad_parameter("from", "须早于 to", "must lie before `to`")
        unit_id = (await whose(gate, request, unit)).unit_id
        known = {tag.name: tag for tag in await gate.query(scope.tags, unit_id, names=wanted)}
        for name in wanted:
            if name not in known:
                raise absent("tags", name)
        chosen = [known[name] for name in wanted]
        async with turns.turn((await gate.who(request)).payer):
            content = await gate.query(_series, chosen, start, end, points, quality)
        return Response(content, media_type="application/json")

    return routes


def _series(
    conn: Connection, tags: list[Tag], start: datetime, end: datetime, points: int, quality: Quality
) -> bytes:
    limit_statements(conn, _STATEMENT_S)
    found, left = [], MOST_READINGS
    for tag in tags:
        try:
            one, read = _one(conn, tag, start, end, points, quality, left)
        except (series.TooMany, psycopg.errors.QueryCanceled) as too_many:
            detail = (
                f"{tag.name}: too many readings in this span for one answer, which may read {MOST_READINGS:,} in"
                f" {_STATEMENT_S} s; ask for a shorter span or fewer tags at once, or fetch the readings from /api/v1/export/readings"
            )
            zh = (
                f"{tag.name}:这段时间的读数过多,一次回答最多在 {_STATEMENT_S} 秒内读取 {MOST_READINGS:,} 条;"
                "请缩短时间、减少标签,或从 /api/v1/export/readings 导出"
            )
            raise bad_parameter("from", zh, detail) from too_many
        left -= read
        found.append(one)
    return msgspec.json.encode({"start": start, "end": end, "series": found})


def _one(
    conn: Connection, tag: Tag, start: datetime, end: datetime, points: int, quality: Quality, left: int
) -> tuple[dict[str, Any], int]:
    """One tag's entry, and how many readings were read for it. Raises TooMany."""
    about: dict[str, Any] = {
        "tag": tag.name, "signal": tag.signal, "data_type": tag.data_type, "unit": tag.unit, "bucket_s": None,
        "names": None, "next": None,
    }  # fmt: skip
    if tag.data_type == "text":
        told = series.texts(conn, tag.tag_id, start, end, _TEXTS, quality)
        about["next"] = moment(told.ts[-1] + 1) if len(told.ts) == _TEXTS else None
        codes = status_codes(np.array(told.quality, np.int16))
        return {**about, "points": "texts", "ts": told.ts, "text": told.text, "quality": codes}, len(told.ts)
    if tag.data_type == "enum":
        about["names"] = {str(code): name for name, code in ENUMERATIONS.get(tag.signal, {}).items()}
    raw = series.raw(conn, tag.tag_id, start, end, points + 1, quality)
    if len(raw.ts) <= points:
        return {
            **about, "points": "raw", "ts": raw.ts.tolist(), "value": raw.value.tolist(),
            "quality": status_codes(raw.quality),
        }, len(raw.ts)  # fmt: skip
    rolled = series.rolled(conn, tag.tag_id, start, end, points, left, quality)
    return {
        **about, "points": "buckets", "bucket_s": rolled.width_us / 1e6, "ts": rolled.ts, "first": rolled.first,
        "last": rolled.last, "min": rolled.min, "max": rolled.max, "mean": rolled.mean, "count": rolled.count,
        "good": rolled.good, "bad": rolled.bad,
    }, sum(rolled.count)  # fmt: skip
