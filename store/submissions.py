"""Verdicts on submissions: kept by the writer with what they are about, read by whoever sent it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb

from store.database import Connection
from store.quarantine import storable

MEASUREMENTS = "measurements"
ERRORS_KEPT = 100
KEPT = timedelta(days=1)
"""How long a verdict on readings is kept."""
KEPT_OF_KEY = timedelta(days=7)
"""The same where an Idempotency-Key came with it: for so long a key means what it first meant."""
_DROPPED_AT_ONCE = 50_000


def told(place: str, reason: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """A refusal as a submission keeps it."""
    given = {storable(name): storable(text) for name, text in parameters.items()}
    return {"place": storable(place), "reason": reason, "parameters": given}


class Judged(NamedTuple):
    """What one transaction made of a submission of readings, or of a part of it.

    `received`: records of the whole submission; `errors` as in `Submission`; `verdicts` a byte a record.
    """

    batch: str
    unit_id: int
    received: int
    accepted: int
    duplicates: int
    corrections: int
    quarantined: int
    errors: list[dict[str, Any]]
    body_digest: bytes | None
    verdicts: bytes | None


@dataclass(frozen=True, slots=True)
class Submission:
    """What is known of a submission. `errors`: place, reason, parameters of what was refused."""

    batch: str
    unit_id: int
    dataset: str
    received: int
    accepted: int
    duplicates: int
    corrections: int
    quarantined: int
    errors: list[dict[str, Any]]
    body_digest: bytes | None
    verdicts: bytes | None

    @property
    def is_applied(self) -> bool:
        """Whether all of it has been judged."""
        return self.accepted + self.duplicates + self.quarantined >= self.received


def keep(conn: Connection, judged: Sequence[Judged]) -> None:
    """Keep verdicts on readings, no two of one batch, in this transaction.

    A verdict record by record stands once it is there; counts add up over the parts of a submission.
    """
    if not judged:
        return
    columns = list(zip(*judged, strict=True))
    columns[7] = tuple(Jsonb(errors) for errors in columns[7])
    conn.execute(
        "INSERT INTO submission AS s (batch, unit_id, dataset, received, accepted, duplicates, corrections,"
        " quarantined, errors, body_digest, verdicts)"
        " SELECT batch, unit_id, 'measurements', received, accepted, duplicates, corrections, quarantined,"
        "  errors, body_digest, verdicts"
        " FROM unnest(%s::text[], %s::int[], %s::int[], %s::int[], %s::int[], %s::int[], %s::int[], %s::jsonb[],"
        "  %s::bytea[], %s::bytea[]) AS j (batch, unit_id, received, accepted, duplicates, corrections,"
        "  quarantined, errors, body_digest, verdicts)"
        " ON CONFLICT (batch) DO UPDATE SET accepted = s.accepted + excluded.accepted,"
        "  duplicates = s.duplicates + excluded.duplicates, corrections = s.corrections + excluded.corrections,"
        "  quarantined = s.quarantined + excluded.quarantined, applied_at = now(),"
        "  errors = CASE WHEN jsonb_array_length(s.errors) < %s THEN s.errors || excluded.errors ELSE s.errors END"
        " WHERE s.unit_id = excluded.unit_id AND s.dataset = 'measurements' AND s.verdicts IS NULL",
        (*map(list, columns), ERRORS_KEPT),
    )


def find(conn: Connection, batches: Sequence[str], unit_id: int) -> dict[str, Submission]:
    """Those of a unit's submissions of these names that are known."""
    rows = conn.execute(
        "SELECT batch, unit_id, dataset, received, accepted, duplicates, corrections, quarantined, errors,"
        " body_digest, verdicts FROM submission WHERE batch = ANY(%s) AND unit_id = %s",
        (list(batches), unit_id),
    )
    return {row[0]: Submission(*row) for row in rows}


def drop_expired(conn: Connection) -> None:
    """Forget verdicts on readings whose time is over, a bounded number of them."""
    now = datetime.now(UTC)
    conn.execute(
        "DELETE FROM submission WHERE batch IN (SELECT batch FROM submission WHERE dataset = 'measurements'"
        " AND applied_at < %s AND (body_digest IS NULL OR applied_at < %s) ORDER BY applied_at LIMIT %s)",
        (now - KEPT, now - KEPT_OF_KEY, _DROPPED_AT_ONCE),
    )
