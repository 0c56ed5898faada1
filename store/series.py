"""Readings of a tag over time: as they came when they fit, else rolled up so that no extreme is lost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from store.database import Connection, only
from store.times import DAY_US, HOUR_US, POSTGRES_EPOCH_US, moment

_SECOND_US = 1_000_000
_MINUTE_US = 60 * _SECOND_US
WIDTHS_US: tuple[int, ...] = (
    *(n * 1_000 for n in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
    *(n * _SECOND_US for n in (1, 2, 5, 10, 15, 30)),
    *(n * _MINUTE_US for n in (1, 2, 5, 10, 15, 30)),
    *(n * HOUR_US for n in (1, 2, 3, 6, 12)),
    *(n * DAY_US for n in (1, 7, 28, 364, 3_640, 36_400, 364_000)),
)
"""Widths of the buckets a roll-up may have, µs."""
ORIGIN_US = -3 * DAY_US - 8 * HOUR_US
"""Where buckets begin: Monday, 1969-12-29 at midnight of +08:00, so that days are those of the calendar there."""
_READING = np.dtype([("ts", ">i8"), ("value", ">f8"), ("quality", ">i2")])

# What quality a reading must have to be counted: as in measurement.quality, the upper half of a StatusCode.
_FLOORS: dict[str, tuple[int, int]] = {
    "any": (-0x8000, 0x7FFF),
    "usable": (0, 0x7FFF),
    "good": (0, 0x3FFF),
}


@dataclass(frozen=True, slots=True)
class Raw:
    """n readings in the order of time: ts int64[n] µs since the Unix epoch, UTC; value float64[n]; quality int16[n]."""

    ts: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    quality: npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Rolled:
    """n buckets that have readings, in the order of time: `ts` the start (µs), the others of the readings within."""

    width_us: int
    ts: list[int]
    first: list[float]
    last: list[float]
    min: list[float]
    max: list[float]
    mean: list[float]
    count: list[int]
    good: list[int]
    bad: list[int]


@dataclass(frozen=True, slots=True)
class Texts:
    """n texts in the order of time: `ts` µs since the Unix epoch, UTC; `quality` as of Raw."""

    ts: list[int]
    text: list[str]
    quality: list[int]


class TooMany(Exception):
    """The span holds more readings than may be read for one answer."""


def width_for(first_us: int, last_us: int, points: int) -> int:
    """The narrowest width of WIDTHS_US by which readings from first to last fall into at most `points` buckets."""
    for width in WIDTHS_US:
        if (last_us - ORIGIN_US) // width - (first_us - ORIGIN_US) // width < points:
            return width
    raise ValueError("a span of more than 900 years")


def raw(
    conn: Connection, tag_id: int, start: datetime, end: datetime, limit: int, quality: str = "any"
) -> Raw:
    """The first `limit` numeric readings in [start, end); none of a tag out of sight."""
    # One row comes back, not thousands: each would be a Python object.
    packed = only(
        conn.execute(
            "SELECT string_agg(timestamptz_send(ts) || float8send(value) || int2send(quality), '' ORDER BY ts)"
            " FROM tag_readings(%(tag)s::int, %(start)s, %(end)s, %(least)s::smallint, %(most)s::smallint, %(limit)s)",
            _parameters(tag_id, start, end, limit, quality),
            binary=True,
        )
    )[0]
    rows = np.frombuffer(packed or b"", _READING)
    return Raw(
        rows["ts"].astype(np.int64) + POSTGRES_EPOCH_US,
        rows["value"].astype(np.float64),
        rows["quality"].astype(np.int16),
    )


def rolled(
    conn: Connection,
    tag_id: int,
    start: datetime,
    end: datetime,
    points: int,
    most: int,
    quality: str = "any",
) -> Rolled:
    """The numeric readings in [start, end) in at most `points` buckets. Raises TooMany: more than `most` readings.

    Every minimum and maximum of the readings is one of its bucket. Empty buckets are left out.
    """
    parameters = _parameters(tag_id, start, end, most + 1, quality)
    first, last = only(
        conn.execute(
            "SELECT (extract(epoch FROM first_at) * 1000000)::bigint, (extract(epoch FROM last_at) * 1000000)::bigint"
            " FROM tag_span(%(tag)s::int, %(start)s, %(end)s, %(least)s::smallint, %(most)s::smallint)",
            parameters,
        )
    )
    if first is None:
        return Rolled(WIDTHS_US[0], *([] for _ in range(9)))
    width = width_for(first, last, points)
    rows = conn.execute(
        "SELECT (extract(epoch FROM bucket) * 1000000)::bigint, first, last, min, max, mean, n, good, bad"
        " FROM tag_buckets(%(tag)s::int, %(start)s, %(end)s, %(least)s::smallint, %(most)s::smallint, %(limit)s,"
        " %(width)s, %(origin)s)",
        {**parameters, "width": timedelta(microseconds=width), "origin": moment(ORIGIN_US)},
    ).fetchall()
    if sum(row[6] for row in rows) > most:
        raise TooMany
    return Rolled(width, *(list(column) for column in zip(*rows, strict=True)))


def texts(
    conn: Connection, tag_id: int, start: datetime, end: datetime, limit: int, quality: str = "any"
) -> Texts:
    """The first `limit` readings of a text tag in [start, end); none of a tag out of sight."""
    rows = conn.execute(
        "SELECT (extract(epoch FROM ts) * 1000000)::bigint, text, quality FROM tag_texts("
        "%(tag)s::int, %(start)s, %(end)s, %(least)s::smallint, %(most)s::smallint, %(limit)s)",
        _parameters(tag_id, start, end, limit, quality),
    ).fetchall()
    return Texts([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])


def _parameters(tag_id: int, start: datetime, end: datetime, limit: int, quality: str) -> dict[str, object]:
    least, most = _FLOORS[quality]
    return {"tag": tag_id, "start": start, "end": end, "limit": limit, "least": least, "most": most}
