"""A submission of dataset records on its way through the log."""

from __future__ import annotations

from typing import Any

import msgspec

from ingest.batch import Refusal


class Records(msgspec.Struct, frozen=True):
    """Records of one dataset, validated by their model; `index` numbers them as the sender did.

    `received_at` µs since the Unix epoch, UTC. `refused` travels along, as in a Batch. `body_digest`: SHA-256 of the
    body, where an Idempotency-Key came with it. `reason`, `voucher`: why what is corrected is corrected, and what proves
    it; `by`: who sent it, as in the audit log. `each`: a
    verdict for each record is to be kept; `index` is then the place among those received.
    """

    unit: str
    source: str
    dataset: str
    batch: str
    received: int
    received_at: int
    index: list[int]
    records: list[dict[str, Any]]
    refused: list[Refusal]
    body_digest: bytes | None = None
    reason: str | None = None
    voucher: str | None = None
    by: str | None = None
    each: bool = False


_DECODER = msgspec.json.Decoder(Records)


def encode_records(records: Records) -> bytes:
    """JSON bytes for the log."""
    return msgspec.json.encode(records)


def decode_records(data: bytes) -> Records:
    """Inverse of `encode_records`. Raises msgspec.DecodeError."""
    return _DECODER.decode(data)
