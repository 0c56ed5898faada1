"""What was refused, kept with reason, place and bytes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from psycopg.types.json import Jsonb

from store.database import Connection
from store.times import HOUR_US, moment


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal on its way to the quarantine. Times are µs since the Unix epoch, UTC."""

    unit_id: int
    source_id: int
    equipment_id: int | None
    batch: str
    place: str
    reason: str
    parameters: dict[str, str]
    tag: str | None
    ts: int | None
    original: bytes
    received_at: int

    @property
    def hour_us(self) -> int:
        """The time it counts for: its own when that is sane, else its arrival."""
        sane = self.ts is not None and abs(self.ts - self.received_at) < 366 * 24 * HOUR_US
        return self.ts if sane and self.ts is not None else self.received_at


class Held(NamedTuple):
    """One entry of the quarantine."""

    quarantine_id: int
    unit: str
    source: str
    batch: str
    place: str
    reason: str
    parameters: dict[str, str]
    tag: str | None
    ts: datetime | None
    original: bytes
    received_at: datetime


def keep(conn: Connection, refused: list[Refused]) -> None:
    """Put refusals into the quarantine."""
    if not refused:
        return
    with (
        conn.cursor() as cursor,
        cursor.copy(
            "COPY quarantine (unit_id, source_id, batch, place, reason, parameters, tag, ts, original, received_at)"
            " FROM STDIN"
        ) as copy,
    ):
        for r in refused:
            copy.write_row(
                (
                    r.unit_id, r.source_id, r.batch, _clean(r.place), r.reason, Jsonb(_storable(r.parameters)),
                    None if r.tag is None else _clean(r.tag), _moment(r.ts), r.original,
                    moment(r.received_at),
                )
            )  # fmt: skip


def _storable(parameters: dict[str, str]) -> dict[str, str]:
    # PostgreSQL's text holds no NUL; the original bytes keep it.
    return {_clean(key): _clean(value) for key, value in parameters.items()}


def _clean(text: str) -> str:
    return text.replace("\0", "�")[:1000]


def _moment(us: int | None) -> datetime | None:
    try:
        return None if us is None else moment(us)
    except OverflowError:
        return None


def held(
    conn: Connection, *, unit_id: int | None = None, limit: int = 100, before: int | None = None
) -> list[Held]:
    """Newest first, at most `limit`; `before` = a quarantine_id to go on from."""
    rows = conn.execute(
        "SELECT q.quarantine_id, coalesce(u.code, ''), coalesce(s.key, ''), q.batch, q.place, q.reason, q.parameters, q.tag, q.ts,"
        " q.original, q.received_at"
        " FROM quarantine q LEFT JOIN lead_unit u ON u.unit_id = q.unit_id LEFT JOIN source s USING (source_id)"
        " WHERE (%(unit)s::integer IS NULL OR q.unit_id = %(unit)s)"
        " AND (%(before)s::bigint IS NULL OR q.quarantine_id < %(before)s)"
        " ORDER BY q.quarantine_id DESC LIMIT %(limit)s",
        {"unit": unit_id, "before": before, "limit": limit},
    )
    return [Held(*row) for row in rows]
