"""What the platform answers, typed. Fields that a later platform adds are ignored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

Text = Mapping[str, str]
"""The same in both languages: `zh`, `en`."""
_PROGRESS = ("spooled", "durable", "applied")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RowError:
    """One refused row: where it is, which rule it breaks, how to mend it.

    `index` counts from 0 over all rows of the call; `place` is the platform's own, within the request.
    """

    index: int | None
    place: str
    reason: str
    message: Text
    hint: Text


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a submission.

    `state`: `spooled` = durable in the own spool, not sent yet; `durable` = the platform has it and will
    apply it; `applied` = stored. Counts are of rows; those that are not known yet are 0. `quarantined` rows
    are kept by the platform with their reasons; of `errors` it answers at most 100 a request.
    `batches` names the submission for `Client.submission` (several, where it was cut into requests).
    `records`: `accepted`, `duplicate`, `correction` or `quarantined` of each row, where the platform tells.
    `accepted` rows may be duplicates or corrections, too.
    """

    state: Literal["spooled", "durable", "applied"]
    received: int
    accepted: int = 0
    duplicates: int = 0
    corrections: int = 0
    quarantined: int = 0
    errors: tuple[RowError, ...] = ()
    batches: tuple[str, ...] = ()
    records: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest reading of a tag by source time; of an `enum` tag `value` is the code and `text` the name."""

    tag: str
    ts: datetime
    value: float | None
    text: str | None
    quality: int
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The platform's clock, and how far the sender's is ahead of it, in seconds (measured over the wire)."""

    server_time: datetime
    skew_s: float


@dataclass(frozen=True, slots=True)
class Flushed:
    """What `Client.flush` did, in submissions: taken by the platform, put aside, still in the spool."""

    sent: int
    dead: int
    left: int


@dataclass(frozen=True, slots=True)
class SpoolStatus:
    """What the spool holds: submissions, their bytes, the age of the oldest; and what lies aside, refused."""

    queued: int
    queued_bytes: int
    oldest_s: float
    dead: int
    dead_bytes: int
    trouble: str | None
    """Why the oldest could not be sent at the last attempt; None: it could, or was not tried yet."""


def verdict(answer: Mapping[str, Any], offset: int = 0) -> Verdict:
    """The platform's answer to a submission; `offset` is the number of its first row."""
    state: Literal["durable", "applied"] = answer.get("state") or (
        "applied" if "duplicates" in answer else "durable"
    )
    counts = {
        name: int(answer.get(name) or 0)
        for name in ("received", "accepted", "duplicates", "corrections", "quarantined")
    }
    batch = answer.get("batch")
    return Verdict(
        "durable" if state != "applied" else "applied",
        **counts,
        errors=tuple(row_error(error, offset) for error in answer.get("errors", ())),
        batches=() if batch is None else (str(batch),),
        records=tuple(record["verdict"] for record in answer.get("records", ())),
    )


def row_error(error: Mapping[str, Any], offset: int = 0) -> RowError:
    """An entry of `errors`."""
    index = error.get("index")
    return RowError(
        None if index is None else int(index) + offset,
        str(error.get("place", "")),
        str(error.get("reason", "")),
        dict(error.get("message") or {}),
        dict(error.get("hint") or {}),
    )


def together(parts: Sequence[Verdict]) -> Verdict:
    """The verdict on a submission that was sent in parts (at least one)."""
    whole = parts[0]
    states = {part.state for part in parts}
    for part in parts[1:]:
        whole = replace(
            whole,
            received=whole.received + part.received,
            accepted=whole.accepted + part.accepted,
            duplicates=whole.duplicates + part.duplicates,
            corrections=whole.corrections + part.corrections,
            quarantined=whole.quarantined + part.quarantined,
            errors=whole.errors + part.errors,
            batches=whole.batches + part.batches,
            records=whole.records + part.records,
        )
    if len(whole.records) != whole.received:
        whole = replace(whole, records=())
    return replace(whole, state=min(states, key=_PROGRESS.index))


def latest(page: Mapping[str, Any]) -> list[Latest]:
    """A page of `GET /api/v1/latest`."""
    columns = (page[name] for name in ("tags", "ts", "value", "text", "quality", "received_at"))
    return [
        Latest(tag, moment(ts), value, text, quality, moment(received_at))
        for tag, ts, value, text, quality, received_at in zip(*columns, strict=True)
    ]


def moment(micros: int) -> datetime:
    """µs since 1970, exactly."""
    return _EPOCH + timedelta(microseconds=micros)
