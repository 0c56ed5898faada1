"""Readings of a plan straight into `measurement`: encoded as the writer encodes them, stored by nothing but COPY."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.fleet import Fleet
from benchmarks.plan import Chunk, columns
from store.database import Connection
from store.rows import Rows

COPY = "COPY measurement (tag_id, ts, value, quality) FROM STDIN (FORMAT binary)"


def rows_of(fleet: Fleet, group: Sequence[Chunk]) -> Rows:
    """The readings of these chunks, sorted by key, as the store's encoder takes them."""
    cuts = [columns(fleet, chunk) for chunk in group]
    tag_id = np.concatenate([cut.tag_id for cut in cuts])
    ts = np.concatenate([cut.ts for cut in cuts])
    none = np.zeros(len(ts), np.int32)
    rows = Rows(
        tag_id=tag_id,
        equipment_id=none,
        part=none,
        ts=ts,
        value=np.concatenate([cut.value for cut in cuts]),
        quality=np.zeros(len(ts), np.int16),
        text=None,
    )
    return rows.in_key_order()


def store(conn: Connection, data: bytes | bytearray) -> None:
    """One COPY, one transaction."""
    with conn.cursor() as cursor, cursor.copy(COPY) as copy:
        copy.write(data)
