"""A page of a pulled platform → Batch and the next cursor. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from connectors.columns import refusal
from ingest.batch import Batch
from ingest.decode import decode_measurements
from ingest.decoded import Malformed, empty


class _Envelope(msgspec.Struct):
    records: msgspec.Raw
    next: str | int | None = None
    more: bool = False


_ENVELOPE = msgspec.json.Decoder(_Envelope)


class BadPage(Exception):
    """The answer is no page: nothing of it can be taken and there is no cursor to go on from."""


@dataclass(frozen=True, slots=True)
class Page:
    """`batch`: readings and refusals. `cursor`: to ask with next; None = keep the one used. `more`: ask at once."""

    batch: Batch
    cursor: str | None
    more: bool


def decode_page(body: bytes, *, unit: str, source: str, received_at: int) -> Page:
    """Decode `{"records", "next", "more"}`. A bad row becomes a refusal; raises BadPage."""
    try:
        envelope = _ENVELOPE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadPage(str(error)) from error
    rows = b'{"records":' + bytes(envelope.records) + b"}"
    try:
        batch = decode_measurements(rows, unit=unit, source=source, received_at=received_at).batch
    except Malformed as error:
        raise BadPage(f"{error.reason} {error.parameters}") from error
    return Page(batch, None if envelope.next is None else str(envelope.next), envelope.more)


def refused_page(body: bytes, detail: str, *, unit: str, source: str, received_at: int) -> Batch:
    """A Batch with nothing but the answer that could not be read, so that it can be looked at."""
    return empty(
        unit, source, received_at, (refusal("$", "wrong_shape", body, {"place": "$", "detail": detail}),)
    )
