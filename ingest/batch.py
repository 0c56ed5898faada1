"""The Batch: the unit of work on the hot path, columnar from the wire to the store."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from store.quarantine import ORIGINAL_MOST_BYTES, kept

Mode = Literal["live", "backfill"]

# OPC UA StatusCode, upper 16 bits as a signed number: severity and sub-code survive in an int16.
GOOD = 0x0000
UNCERTAIN = 0x4000
BAD = -0x8000  # 0x8000


def is_good(quality: npt.NDArray[np.int16]) -> npt.NDArray[np.bool_]:
    """True where the severity is Good (0x0000..0x3FFF)."""
    return (quality >= GOOD) & (quality < UNCERTAIN)


def quality_of_status(status: int) -> int:
    """int16 quality of an OPC UA StatusCode (unsigned 32 bit)."""
    high = (status >> 16) & 0xFFFF
    return high - 0x10000 if high >= 0x8000 else high


class Breach(msgspec.Struct, frozen=True):
    """A further rule that a refused row breaks; members as of a Refusal."""

    place: str
    reason: str
    parameters: dict[str, str]


class Refusal(msgspec.Struct, frozen=True):
    """One row (or one whole body) that could not be taken.

    `place` says where in the input; `reason` is a code of store.reasons; `parameters` fill the
    reason's text; `original` are the bytes as received; `ts` µs UTC where it could be read; `also`: what
    else is wrong with it, so that all of it can be mended at once.
    """

    place: str
    reason: str
    parameters: dict[str, str]
    original: bytes
    tag: str | None = None
    ts: int | None = None
    also: tuple[Breach, ...] = ()

    def bounded(self, most: int = ORIGINAL_MOST_BYTES) -> Refusal:
        """With at most so many bytes of the original; a cut is stated, with size and SHA-256 of the whole."""
        if len(self.original) <= most:
            return self
        original, parameters = kept(self.original, self.parameters, most)
        return msgspec.structs.replace(self, original=original, parameters=parameters)


class Claim(msgspec.Struct, frozen=True):
    """What the store shall keep about the submission that a Batch belongs to.

    `name` of the submission, how many records it has in all, SHA-256 of its body and how it was read (None: no
    Idempotency-Key came with it), and `record` int16[n], which of them each reading is (None: counts will do).
    """

    name: str
    received: int
    digest: bytes | None = None
    record: bytes | None = None

    def records(self) -> npt.NDArray[np.int16]:
        """Which record each reading is."""
        return np.frombuffer(self.record or b"", np.dtype("<i2")).astype(np.int16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Readings of one unit that arrived together by one source.

    n readings as columns: `tag_index` int32[n] into `tags`; `ts` int64[n], µs since the Unix epoch,
    UTC, by the *source's* clock; `value` float64[n]; `quality` int16[n] (see `quality_of_status`).
    `text` holds, for readings that arrived as text (enum names, free text), the text, and None for
    numbers; None when the whole batch is numeric. Whether text fits is for validation to say, which
    knows the tag's declared type: nothing is guessed before.
    `received_at` µs since the Unix epoch, UTC, by the platform's clock.
    `refused` travels with the readings, so that what was refused is as durable as what was taken.
    `claim`: the submission wants a verdict, or has a key.
    """

    unit: str
    source: str
    tags: tuple[str, ...]
    tag_index: npt.NDArray[np.int32]
    ts: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    quality: npt.NDArray[np.int16]
    received_at: int
    text: npt.NDArray[np.object_] | None = None
    mode: Mode = "live"
    refused: tuple[Refusal, ...] = field(default=())
    claim: Claim | None = None

    def __post_init__(self) -> None:
        n = len(self.tag_index)
        if not (len(self.ts) == len(self.value) == len(self.quality) == n):
            raise ValueError("columns of a Batch must have one length")
        if self.text is not None and len(self.text) != n:
            raise ValueError("the text column of a Batch must have the length of the others")

    def __len__(self) -> int:
        return len(self.tag_index)

    @property
    def rows(self) -> int:
        """Readings and refusals together: what the sender handed over."""
        return len(self.tag_index) + len(self.refused)

    def take(self, keep: npt.NDArray[np.bool_], refused: tuple[Refusal, ...] = ()) -> Self:
        """The readings where `keep` is true; `refused` is added to the refusals."""
        return replace(
            self,
            tag_index=self.tag_index[keep],
            ts=self.ts[keep],
            value=self.value[keep],
            quality=self.quality[keep],
            text=None if self.text is None else self.text[keep],
            refused=self.refused + refused,
        )


_ENCODER = msgspec.json.Encoder()
_CLAIM = msgspec.json.Decoder(Claim)
_REFUSALS = msgspec.json.Decoder(tuple[Refusal, ...])


def encode(batch: Batch) -> bytes:
    """Arrow IPC stream: one record batch, everything else in the schema's metadata."""
    columns: dict[str, Any] = {
        "tag": pa.DictionaryArray.from_arrays(pa.array(batch.tag_index), pa.array(batch.tags, pa.string())),
        "ts": pa.array(batch.ts),
        "value": pa.array(batch.value),
        "quality": pa.array(batch.quality),
    }
    if batch.text is not None:
        columns["text"] = pa.array(batch.text, pa.string())
    metadata: dict[str, str | bytes] = {
        "unit": batch.unit,
        "source": batch.source,
        "mode": batch.mode,
        "received_at": str(batch.received_at),
        "refused": _ENCODER.encode(batch.refused),
    }
    if batch.claim is not None:
        metadata["claim"] = _ENCODER.encode(batch.claim)
    record = pa.record_batch(columns).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, record.schema) as writer:
        writer.write_batch(record)
    return bytes(sink.getvalue())


def decode(data: bytes) -> Batch:
    """Inverse of `encode`. Raises pyarrow.ArrowInvalid on bytes that are no Arrow stream."""
    with pa.ipc.open_stream(data) as reader:
        record = reader.read_next_batch()
    metadata = {key.decode(): value for key, value in (record.schema.metadata or {}).items()}
    tag = record.column("tag")
    text = record.column("text").to_numpy(zero_copy_only=False) if "text" in record.schema.names else None
    return Batch(
        unit=metadata["unit"].decode(),
        source=metadata["source"].decode(),
        mode="backfill" if metadata["mode"] == b"backfill" else "live",
        received_at=int(metadata["received_at"]),
        refused=_REFUSALS.decode(metadata["refused"]),
        claim=_CLAIM.decode(metadata["claim"]) if "claim" in metadata else None,
        tags=tuple(tag.dictionary.to_pylist()),
        tag_index=tag.indices.to_numpy(),
        ts=record.column("ts").to_numpy(),
        value=record.column("value").to_numpy(),
        quality=record.column("quality").to_numpy(),
        text=text,
    )
