"""Validation against the registry, vectorised: what may be stored, and why the rest may not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from ingest.batch import Batch, Refusal
from store.registry import DATA_TYPES, UnitTags
from store.signals import ENUMERATIONS

CLOCK_AHEAD_US = 5 * 60 * 1_000_000
"""How far a source's clock may be ahead of ours."""
OLDEST_US = 3 * 366 * 86_400 * 1_000_000
"""How old a reading may be: beyond, a clock is wrong rather than a sender late."""

_ENUM, _COUNTER, _FLOAT, _INT, _BOOL, _TEXT = range(len(DATA_TYPES))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXPECTED = ("a name (text)", "a number", "a number", "a whole number", "a boolean", "text")


@dataclass(frozen=True, slots=True)
class Checked:
    """Readings that may be stored, as columns of n; what may not is in `refused`.

    tag_id, equipment_id int32[n]; ts int64[n] µs UTC; value float64[n] (enum names as codes);
    text object[n] for text tags, None elsewhere; quality int16[n]; keep bool[of the Batch].
    """

    tag_id: npt.NDArray[np.int32]
    equipment_id: npt.NDArray[np.int32]
    ts: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    quality: npt.NDArray[np.int16]
    text: npt.NDArray[np.object_] | None
    keep: npt.NDArray[np.bool_]
    refused: tuple[Refusal, ...]


def check(batch: Batch, tags: UnitTags, now_us: int, index: npt.NDArray[np.int64] | None = None) -> Checked:
    """Check every reading of a batch; `index` numbers its rows as the sender did.

    A reading is refused for the first rule it breaks: tag known, time possible, type as declared,
    value finite and within the physical range. Original bytes of a reading refused here are its
    content as JSON: the text it came in is gone, nothing of what it said is.
    """
    n = len(batch)
    row_of = np.array([tags.rows.get(name, -1) for name in batch.tags], np.int64)
    row = row_of[batch.tag_index] if n else np.empty(0, np.int64)
    reasons: dict[int, tuple[str, dict[str, str]]] = {}
    keep = np.ones(n, np.bool_)

    def refuse(mask: npt.NDArray[np.bool_], reason: str, parameters: Mapping[str, npt.ArrayLike]) -> None:
        for i in np.flatnonzero(mask & keep).tolist():
            given = {key: str(np.asarray(values)[i]) for key, values in parameters.items()}
            reasons[i] = (reason, {"tag": batch.tags[batch.tag_index[i]], **given})
        keep[mask] = False

    def always(value: object) -> npt.NDArray[np.object_]:
        return np.full(n, value, object)

    refuse(row < 0, "unknown_tag", {})
    if len(tags.tag_id) == 0:
        row = np.zeros(n, np.int64)
        kind, low, high = np.zeros(n, np.int8), np.full(n, np.nan), np.full(n, np.nan)
    else:
        kind, low, high = tags.data_type[row], tags.low[row], tags.high[row]

    ahead = batch.ts - now_us
    late = ahead > CLOCK_AHEAD_US
    old = ahead < -OLDEST_US
    if late.any():
        shown = np.array([_iso(t) if late[i] else "" for i, t in enumerate(batch.ts.tolist())], object)
        limit = always(CLOCK_AHEAD_US // 1_000_000)
        refuse(late, "clock_ahead", {"ts": shown, "ahead_s": ahead // 1_000_000, "limit_s": limit})
    if old.any():
        shown = np.array([_iso(t) if old[i] else "" for i, t in enumerate(batch.ts.tolist())], object)
        refuse(old, "timestamp_too_old", {"ts": shown, "limit": always(_iso(now_us - OLDEST_US))})

    value = batch.value
    textual = np.zeros(n, np.bool_) if batch.text is None else np.asarray(pd.notna(batch.text))
    expects_text = (kind == _ENUM) | (kind == _TEXT)
    mismatch = textual != expects_text
    if batch.text is not None and textual.any():
        value = value.copy()
        named = textual & (kind == _ENUM) & keep
        value[named], unknown, known = _codes(batch.text[named], tags.signal[row[named]])
        if unknown.any():
            wrong = np.zeros(n, np.bool_)
            wrong[named] = unknown
            names = always("")
            names[named] = known
            refuse(wrong, "unknown_name", {"got": batch.text, "known": names})
    whole = ((kind == _INT) & (value != np.floor(value))) | ((kind == _BOOL) & (value != 0) & (value != 1))
    mismatch |= whole & ~textual
    if mismatch.any():
        expected = np.array(_EXPECTED, object)[kind]
        got = np.where(textual, "text" if batch.text is None else batch.text, value.astype(object))
        refuse(mismatch, "wrong_type", {"field": always("value"), "expected": expected, "got": got})
    if batch.text is not None:
        nul = np.array([isinstance(t, str) and "\0" in t for t in batch.text], np.bool_)
        refuse(nul, "nul_character", {})
    number = ~expects_text
    refuse(number & ~np.isfinite(value), "not_finite", {})
    low = np.where((kind == _COUNTER) & np.isnan(low), 0.0, low)
    out = number & ((value < low) | (value > high))
    if out.any():
        unit = tags.unit[row]
        refuse(out, "out_of_range", {"got": value, "low": low, "high": high, "unit": unit})

    chosen = row[keep]
    text = None
    if batch.text is not None and (kind[keep] == _TEXT).any():
        text = batch.text[keep]
        text[kind[keep] != _TEXT] = None
    where = np.arange(n) if index is None else index
    refused = tuple(
        _refusal(batch, i, int(where[i]), reason, parameters)
        for i, (reason, parameters) in sorted(reasons.items())
    )
    return Checked(
        tag_id=tags.tag_id[chosen],
        equipment_id=tags.equipment_id[chosen],
        ts=batch.ts[keep],
        value=value[keep],
        quality=batch.quality[keep],
        text=text,
        keep=keep,
        refused=refused,
    )


def _codes(
    names: npt.NDArray[np.object_], signals: npt.NDArray[np.object_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.object_]]:
    """Names of enumerations → (codes, where unknown, the names there are)."""
    codes = np.zeros(len(names), np.float64)
    unknown = np.ones(len(names), np.bool_)
    known = np.full(len(names), "", object)
    for signal, enumeration in ENUMERATIONS.items():
        of_signal = signals == signal
        known[of_signal] = ", ".join(enumeration)
        for name, code in enumeration.items():
            hit = of_signal & (names == name)
            codes[hit] = code
            unknown[hit] = False
    return codes, unknown, known


def _refusal(batch: Batch, i: int, index: int, reason: str, parameters: dict[str, str]) -> Refusal:
    field = {"unknown_tag": "tag", "clock_ahead": "ts", "timestamp_too_old": "ts"}.get(reason, "value")
    text = None if batch.text is None else batch.text[i]
    tag, ts = batch.tags[batch.tag_index[i]], int(batch.ts[i])
    content = {
        "tag": tag,
        "ts": _iso(ts),
        "value": float(batch.value[i]) if text is None else text,
        "quality": (int(batch.quality[i]) & 0xFFFF) << 16,
    }
    return Refusal(f"records[{index}].{field}", reason, parameters, msgspec.json.encode(content), tag, ts)


def _iso(us: int) -> str:
    try:
        return (_EPOCH + timedelta(microseconds=us)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return f"{us} µs"
