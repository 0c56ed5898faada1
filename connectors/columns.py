"""Readings gathered as columns, and batches put together and taken apart. Pure; no object per reading."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ingest.batch import Batch, Mode, Refusal, encode

_CODES_KEPT = 10_000


class Columns:
    """Collects readings and refusals of one unit; `batch()` makes the Batch."""

    __slots__ = ("_codes", "_counts", "_index", "_tag", "_text", "_ts", "quality", "refused", "value")

    def __init__(self) -> None:
        self._index: dict[str, int] = {}
        self._codes: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        self._tag: list[int] = []
        # Readings of one time stand for each other: a time, and how many of them.
        self._ts: list[int] = []
        self._counts: list[int] = []
        self.value: list[float] = []
        self.quality: list[int] = []
        self._text: dict[int, str] = {}
        self.refused: list[Refusal] = []

    def __len__(self) -> int:
        return len(self._tag)

    def add(self, tag: str, ts: int, value: float, text: str | None, quality: int) -> None:
        """One reading: `ts` µs UTC; `text` (then `value` is 0), or a number with `text` None."""
        if text is not None:
            self._text[len(self._tag)] = text
        self._tag.append(self._index.setdefault(tag, len(self._index)))
        self._ts.append(ts)
        self._counts.append(1)
        self.value.append(value)
        self.quality.append(quality)

    def add_values(self, equipment: str, ts: int, values: Mapping[str, float | str]) -> None:
        """Good readings of one equipment and one time, signal → value: finite numbers, booleans, texts."""
        signals = tuple(values)
        codes = self._codes.get((equipment, signals))
        if codes is None:
            index = self._index
            codes = [index.setdefault(f"{equipment}.{signal}", len(index)) for signal in signals]
            if len(self._codes) < _CODES_KEPT:
                self._codes[equipment, signals] = codes
        start = len(self._tag)
        self._tag += codes
        self._ts.append(ts)
        self._counts.append(len(codes))
        self.quality += [0] * len(codes)
        if str in set(map(type, values.values())):
            for i, value in enumerate(values.values(), start):
                if isinstance(value, str):
                    self._text[i] = value
                self.value.append(0.0 if isinstance(value, str) else value)
        else:
            self.value += values.values()  # type: ignore[arg-type]  # no text among them

    def refuse(
        self,
        place: str,
        reason: str,
        original: bytes,
        parameters: Mapping[str, str] | None = None,
        *,
        tag: str | None = None,
        ts: int | None = None,
    ) -> None:
        """One reading that cannot be taken, with what was received."""
        self.refused.append(refusal(place, reason, original, parameters, tag=tag, ts=ts))

    def batch(self, unit: str, source: str, received_at: int, mode: Mode = "live") -> Batch:
        """Everything gathered so far."""
        text = None
        if self._text:
            text = np.full(len(self._tag), None, object)
            text[list(self._text)] = list(self._text.values())
        return Batch(
            unit=unit,
            source=source,
            tags=tuple(self._index),
            tag_index=np.array(self._tag, np.int32),
            ts=np.repeat(np.array(self._ts, np.int64), self._counts),
            value=np.array(self.value, np.float64),
            quality=np.array(self.quality, np.int16),
            text=text,
            received_at=received_at,
            mode=mode,
            refused=tuple(self.refused),
        )


def refusal(
    place: str,
    reason: str,
    original: bytes,
    parameters: Mapping[str, str] | None = None,
    *,
    tag: str | None = None,
    ts: int | None = None,
) -> Refusal:
    """A Refusal of which no more of the original is kept than the quarantine keeps; a cut is stated."""
    whole = Refusal(
        place=place, reason=reason, parameters=dict(parameters or {}), original=original, tag=tag, ts=ts
    )
    return whole.bounded()


def scalar(value: object) -> tuple[float, str | None, str]:
    """(value, text, fault) of a JSON or OPC UA scalar; `fault` is a reason code, empty when it fits.

    Text never becomes a number; a boolean is 0 or 1; not a number and infinity are refused.
    """
    if isinstance(value, bool | int | float):
        try:
            number = float(value)
        except OverflowError:
            return 0.0, None, "not_finite"
        return (number, None, "") if math.isfinite(number) else (0.0, None, "not_finite")
    if isinstance(value, str):
        return 0.0, value, ""
    return 0.0, None, "missing_value" if value is None else "unsupported_value"


def merge(batches: Sequence[Batch]) -> Batch:
    """One batch of several of the same unit, source and mode, in their order.

    `received_at` becomes the latest of them: none of the readings was received after it.
    """
    first = batches[0]
    if len(batches) == 1:
        return first
    index: dict[str, int] = {}
    mapped = []
    for batch in batches:
        positions = np.array([index.setdefault(tag, len(index)) for tag in batch.tags], np.int32)
        mapped.append(positions[batch.tag_index] if len(batch) else batch.tag_index)
    text = None
    if any(batch.text is not None for batch in batches):
        text = np.concatenate(
            [np.full(len(batch), None, object) if batch.text is None else batch.text for batch in batches]
        )
    return replace(
        first,
        tags=tuple(index),
        tag_index=np.concatenate(mapped),
        ts=np.concatenate([batch.ts for batch in batches]),
        value=np.concatenate([batch.value for batch in batches]),
        quality=np.concatenate([batch.quality for batch in batches]),
        text=text,
        received_at=max(batch.received_at for batch in batches),
        refused=tuple(entry for batch in batches for entry in batch.refused),
    )


def merge_by_unit(batches: Iterable[Batch]) -> list[Batch]:
    """One batch per unit, source and mode; within each, the order is kept."""
    groups: dict[tuple[str, str, Mode], list[Batch]] = {}
    for batch in batches:
        if batch.rows:
            groups.setdefault((batch.unit, batch.source, batch.mode), []).append(batch)
    return [merge(group) for group in groups.values()]


def encoded_parts(batch: Batch, most_bytes: int) -> Iterator[tuple[Batch, bytes]]:
    """The batch in pieces whose encoding fits `most_bytes`, in order, nothing left out.

    A single row that is too large by itself becomes a refusal with the beginning of its original.
    """
    data = encode(batch)
    if len(data) <= most_bytes:
        yield batch, data
    elif batch.rows > 1:
        for half in _halves(batch):
            yield from encoded_parts(half, most_bytes)
    else:
        small = _cut(batch, most_bytes)
        yield small, encode(small)


def _halves(batch: Batch) -> tuple[Batch, Batch]:
    """Two parts with about half of the rows each; only the tags that a part uses go with it."""
    n, m = len(batch), len(batch.refused)
    if n == 0 or m == 0:
        at, refused_at = (n + 1) // 2, (m + 1) // 2
    else:
        at, refused_at = n, 0
    return _rows(batch, slice(0, at), slice(0, refused_at)), _rows(batch, slice(at, n), slice(refused_at, m))


def _rows(batch: Batch, readings: slice, refused: slice) -> Batch:
    used, tag_index = np.unique(batch.tag_index[readings], return_inverse=True)
    return replace(
        batch,
        tags=tuple(batch.tags[i] for i in used),
        tag_index=tag_index.astype(np.int32),
        ts=batch.ts[readings],
        value=batch.value[readings],
        quality=batch.quality[readings],
        text=None if batch.text is None else batch.text[readings],
        refused=batch.refused[refused],
    )


def _cut(batch: Batch, most_bytes: int) -> Batch:
    keep = most_bytes // 4
    if batch.refused:
        entry = batch.refused[0]
        large, ts, place, reason, tag = entry.original, entry.ts, entry.place, entry.reason, entry.tag
        parameters = {key: value[:1024] for key, value in entry.parameters.items()}
    else:
        text = None if batch.text is None else batch.text[0]
        large, ts = (text or "").encode(), int(batch.ts[0])
        place, reason, tag, parameters = (
            "row",
            "body_too_large",
            batch.tags[int(batch.tag_index[0])][:1024],
            {},
        )
    parameters |= {"got_bytes": str(len(large)), "limit_bytes": str(most_bytes)}
    empty = _rows(batch, slice(0, 0), slice(0, 0))
    cut = Refusal(place=place[:1024], reason=reason, parameters=parameters, original=large, tag=tag, ts=ts)
    return replace(empty, refused=(cut.bounded(keep),))
