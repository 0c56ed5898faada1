"""The columns the writer stores, and their binary form for COPY."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from store.times import POSTGRES_EPOCH_US

_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER = b"\xff\xff"
_MEASUREMENT = np.dtype(
    [
        ("fields", ">i2"),
        ("tag_len", ">i4"),
        ("tag_id", ">i4"),
        ("ts_len", ">i4"),
        ("ts", ">i8"),
        ("value_len", ">i4"),
        ("value", ">f8"),
        ("quality_len", ">i4"),
        ("quality", ">i2"),
    ]
)
_STAGED = np.dtype([*_MEASUREMENT.descr, ("row_len", ">i4"), ("row", ">i4")])


@dataclass(frozen=True, slots=True)
class Rows:
    """n readings ready to be stored.

    tag_id, equipment_id, source_id, batch (index into the names of the batches) int32[n];
    ts (source's clock) and received_at int64[n], µs since the Unix epoch, UTC; value float64[n];
    quality int16[n]; live bool[n]; text object[n]: not None for readings of text tags.
    """

    tag_id: npt.NDArray[np.int32]
    equipment_id: npt.NDArray[np.int32]
    source_id: npt.NDArray[np.int32]
    batch: npt.NDArray[np.int32]
    ts: npt.NDArray[np.int64]
    received_at: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    quality: npt.NDArray[np.int16]
    live: npt.NDArray[np.bool_]
    text: npt.NDArray[np.object_] | None

    def __len__(self) -> int:
        return len(self.tag_id)

    def at(self, where: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Self:
        """The rows that a mask or an index array picks."""
        return type(self)(
            self.tag_id[where],
            self.equipment_id[where],
            self.source_id[where],
            self.batch[where],
            self.ts[where],
            self.received_at[where],
            self.value[where],
            self.quality[where],
            self.live[where],
            None if self.text is None else self.text[where],
        )

    def in_key_order(self) -> Self:
        """Sorted by (tag_id, ts); rows of one key keep their order of arrival."""
        return self.at(np.lexsort((self.ts, self.tag_id)))


def concatenate(parts: list[Rows]) -> Rows:
    """All rows of the parts, in their order. Raises ValueError when there is no part."""
    text = None
    if any(part.text is not None for part in parts):
        text = np.concatenate([np.full(len(p), None, object) if p.text is None else p.text for p in parts])
    return Rows(
        np.concatenate([p.tag_id for p in parts]),
        np.concatenate([p.equipment_id for p in parts]),
        np.concatenate([p.source_id for p in parts]),
        np.concatenate([p.batch for p in parts]),
        np.concatenate([p.ts for p in parts]),
        np.concatenate([p.received_at for p in parts]),
        np.concatenate([p.value for p in parts]),
        np.concatenate([p.quality for p in parts]),
        np.concatenate([p.live for p in parts]),
        text,
    )


def measurement_copy(rows: Rows) -> bytes:
    """`COPY measurement (tag_id, ts, value, quality) FROM STDIN (FORMAT binary)`."""
    return _HEADER + _records(rows, _MEASUREMENT).tobytes() + _TRAILER


def staged_copy(rows: Rows) -> bytes:
    """As `measurement_copy`, with a fifth column: the row's number."""
    records = _records(rows, _STAGED)
    records["row_len"], records["row"] = 4, np.arange(len(rows))
    return _HEADER + records.tobytes() + _TRAILER


def _records(rows: Rows, layout: np.dtype[np.void]) -> npt.NDArray[np.void]:
    records = np.empty(len(rows), layout)
    records["fields"] = 5 if layout is _STAGED else 4
    records["tag_len"], records["tag_id"] = 4, rows.tag_id
    records["ts_len"], records["ts"] = 8, rows.ts - POSTGRES_EPOCH_US
    records["value_len"], records["value"] = 8, rows.value
    records["quality_len"], records["quality"] = 2, rows.quality
    return records
