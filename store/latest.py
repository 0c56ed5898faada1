"""Latest values of a unit's tags, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from store.database import Connection, only
from store.signals import ENUMERATIONS
from store.times import POSTGRES_EPOCH_US

PAGE = 20_000
_ROW = np.dtype(
    [("tag_id", ">i4"), ("ts", ">i8"), ("value", ">f8"), ("quality", ">i2"), ("received_at", ">i8")]
)


@dataclass(frozen=True, slots=True)
class Latest:
    """n latest values, in the order of tag_id.

    tag_id int32[n]; names; ts and received_at int64[n], µs since the Unix epoch, UTC; value float64[n] (NaN
    for text tags; the code of an enum); text: row → text, of text tags, and of enums the name; quality int16[n].
    """

    tag_id: npt.NDArray[np.int32]
    names: list[str]
    ts: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    text: dict[int, str]
    quality: npt.NDArray[np.int16]
    received_at: npt.NDArray[np.int64]


def latest(
    conn: Connection,
    unit_id: int,
    *,
    names: Sequence[str] | None = None,
    equipment: str | None = None,
    after: int = 0,
    limit: int = PAGE,
) -> Latest:
    """The newest reading by source time of each of the unit's tags that has one, of those beyond tag_id `after`."""
    # One row comes back, not ten thousand: each would be a Python object.
    packed, names_found, textual = only(
        conn.execute(
            "SELECT string_agg(int4send(tag_id) || timestamptz_send(ts) || float8send(coalesce(value, 'NaN'))"
            "   || int2send(quality) || timestamptz_send(received_at), '' ORDER BY tag_id),"
            " string_agg(name, E'\n' ORDER BY tag_id),"
            " json_agg(json_build_array(tag_id, text, signal, value)) FILTER (WHERE data_type IN ('enum', 'text'))"
            " FROM (SELECT t.tag_id, t.name, t.signal, t.data_type, l.ts, l.value, l.text, l.quality, l.received_at"
            "   FROM tag t JOIN latest_value l USING (tag_id)"
            "   WHERE t.unit_id = %(unit)s AND t.tag_id > %(after)s"
            "     AND (%(names)s::text[] IS NULL OR t.name = ANY(%(names)s::text[]))"
            "     AND (%(equipment)s::text IS NULL OR t.equipment_id = ("
            "       SELECT equipment_id FROM equipment WHERE unit_id = %(unit)s AND code = %(equipment)s))"
            "   ORDER BY t.tag_id LIMIT %(limit)s) found",
            {
                "unit": unit_id,
                "after": after,
                "names": None if names is None else list(names),
                "equipment": equipment,
                "limit": limit,
            },
            binary=True,
        )
    )
    rows = np.frombuffer(packed or b"", _ROW)
    tag_id = rows["tag_id"].astype(np.int32)
    text = _texts(textual or [])
    return Latest(
        tag_id=tag_id,
        names=names_found.split("\n") if len(rows) else [],  # a name has no line break in it
        ts=rows["ts"].astype(np.int64) + POSTGRES_EPOCH_US,
        value=rows["value"].astype(np.float64),
        text={i: text[tag] for i, tag in enumerate(tag_id.tolist()) if tag in text} if text else {},
        quality=rows["quality"].astype(np.int16),
        received_at=rows["received_at"].astype(np.int64) + POSTGRES_EPOCH_US,
    )


_NAMES = {(signal, code): name for signal, names in ENUMERATIONS.items() for name, code in names.items()}


def _texts(rows: list[tuple[int, str | None, str, float | None]]) -> dict[int, str]:
    """(tag_id, text, signal, value) of tags that are sent as text → tag_id → the text, or the name of the code."""
    texts = {
        tag: _NAMES.get((signal, int(value or 0))) if text is None else text
        for tag, text, signal, value in rows
    }
    return {tag: text for tag, text in texts.items() if text is not None}
