"""Validation against the registry, vectorised: what may be stored, and why the rest may not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from ingest.batch import Batch, Refusal
from ingest.decoded import Origin, place_of
from store.signals import ENUMERATIONS
from store.tags import DATA_TYPES, UnitTags
from store.times import shown

CLOCK_AHEAD_US = 5 * 60 * 1_000_000
"""How far a source's clock may be ahead of ours."""
OLDEST_US = 3 * 366 * 86_400 * 1_000_000
"""How old a reading may be: beyond, a clock is wrong rather than a sender late."""

_ENUM, _COUNTER, _FLOAT, _INT, _BOOL, _TEXT = range(len(DATA_TYPES))
_FIELDS = {"unknown_tag": "tag", "clock_ahead": "ts", "timestamp_too_old": "ts", "period_closed": "ts"}
_EXPECTED = ("a name (text)", "a number", "a number", "a whole number", "a boolean", "text")
_EXPECTED_ZH = ("取值名称(文本)", "数字", "数字", "整数", "布尔值", "文本")


@dataclass(frozen=True, slots=True)
class Checked:
    """Readings that may be stored, as columns of n; what may not is in `refused`.

    row int64[n] (of the unit's tags); ts int64[n] µs UTC; value float64[n] (enum names as codes);
    text object[n] for text tags, None elsewhere; quality int16[n]; keep bool[of the Batch].
    """

    row: npt.NDArray[np.int64]
    ts: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    quality: npt.NDArray[np.int16]
    text: npt.NDArray[np.object_] | None
    keep: npt.NDArray[np.bool_]
    refused: tuple[Refusal, ...]


def check(
    batch: Batch,
    tags: UnitTags,
    now_us: int,
    index: npt.NDArray[np.int64] | None = None,
    closed_until: int | None = None,
    origin: Origin | None = None,
) -> Checked:
    """Check every reading of a batch; `index` numbers its rows as the sender did, and `origin` says where they stood.

    A reading is refused for the first rule it breaks: tag known, time possible and not in a closed
    period (before `closed_until`, µs UTC), type as declared, value finite and within the physical
    range. Original bytes of a reading refused here are its content as JSON: the text it came in is
    gone, nothing of what it said is.
    """
    n = len(batch)
    row = tags.rows.find(batch.tags)[batch.tag_index] if n else np.empty(0, np.int64)
    findings = _Findings(batch, np.arange(n) if index is None else index, origin)
    if (row < 0).any():
        names = np.array(batch.tags, object)[batch.tag_index]
        findings.refuse(row < 0, "unknown_tag", {"tag": names})
    _check_time(batch, now_us, closed_until, findings)
    if len(tags) == 0:  # then no row is kept
        return _kept(batch, row, batch.value, np.zeros(n, np.bool_), findings)
    kind = tags.data_type[row]
    value, textual = _check_type(batch, tags, row, kind, findings)
    _check_range(tags, row, kind, value, findings)
    return _kept(batch, row, value, textual & (kind == _TEXT), findings)


class _Findings:
    """What is refused so far, each reading for the first rule it breaks."""

    def __init__(self, batch: Batch, index: npt.NDArray[np.int64], origin: Origin | None) -> None:
        self._batch = batch
        self._index = index
        self._origin = origin
        self._refused: dict[int, Refusal] = {}
        self.keep = np.ones(len(batch), np.bool_)

    def refuse(self, mask: npt.NDArray[np.bool_], reason: str, parameters: Mapping[str, object]) -> None:
        """Refuse where `mask` is true; a parameter is one value, or an array of one a reading."""
        where = np.flatnonzero(mask & self.keep)
        if not len(where):
            return
        columns = [
            np.asarray(values)[where].tolist() if isinstance(values, np.ndarray) else [values] * len(where)
            for values in parameters.values()
        ]
        for i, *given in zip(where.tolist(), *columns, strict=True):
            texts = dict(zip(parameters, map(str, given), strict=True))
            place = place_of(int(self._index[i]), _FIELDS.get(reason, "value"), self._origin)
            self._refused[i] = _refusal(self._batch, i, place, reason, texts)
        self.keep[where] = False

    def refused(self) -> tuple[Refusal, ...]:
        """In the order of the readings."""
        return tuple(self._refused[i] for i in sorted(self._refused))


def _check_time(batch: Batch, now_us: int, closed_until: int | None, findings: _Findings) -> None:
    ts = batch.ts
    if not len(ts):
        return
    newest, oldest = int(ts.max()), int(ts.min())
    if newest - now_us > CLOCK_AHEAD_US:
        ahead = ts - now_us
        late = ahead > CLOCK_AHEAD_US
        limit = CLOCK_AHEAD_US // 1_000_000
        at = _shown(ts, late)
        findings.refuse(late, "clock_ahead", {"ts": at, "ahead_s": ahead // 1_000_000, "limit_s": limit})
    if now_us - oldest > OLDEST_US:
        old = ts < now_us - OLDEST_US
        limit_at = shown(now_us - OLDEST_US)
        findings.refuse(old, "timestamp_too_old", {"ts": _shown(ts, old), "limit": limit_at})
    if closed_until is not None and oldest < closed_until:
        closed = ts < closed_until
        parameters = {"ts": _shown(ts, closed), "closed_until": shown(closed_until)}
        findings.refuse(closed, "period_closed", parameters)


def _check_type(
    batch: Batch, tags: UnitTags, row: npt.NDArray[np.int64], kind: npt.NDArray[np.int8], findings: _Findings
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """The values, names of enumerations as their codes, and where text arrived."""
    n = len(batch)
    value = batch.value
    textual = np.zeros(n, np.bool_) if batch.text is None else np.asarray(pd.notna(batch.text))
    expects_text = (kind == _ENUM) | (kind == _TEXT)
    mismatch = textual != expects_text
    if batch.text is not None and textual.any():
        value = value.copy()
        named = textual & (kind == _ENUM) & findings.keep
        value[named], unknown, known = _codes(batch.text[named], tags.signal[row[named]])
        if unknown.any():
            wrong = np.zeros(n, np.bool_)
            wrong[named] = unknown
            names = np.full(n, "", object)
            names[named] = known
            tag = np.array(batch.tags, object)[batch.tag_index]
            findings.refuse(wrong, "unknown_name", {"tag": tag, "got": batch.text, "known": names})
    whole = (kind == _INT) | (kind == _BOOL)
    if whole.any():
        bad = ((kind == _INT) & (value != np.floor(value))) | ((kind == _BOOL) & (value != 0) & (value != 1))
        mismatch |= bad & ~textual
    if mismatch.any():
        expected = {
            "expected": np.array(_EXPECTED, object)[kind],
            "expected_zh": np.array(_EXPECTED_ZH, object)[kind],
        }
        got = value.astype(object)
        if batch.text is not None:  # "41.5" is no number: quotation marks tell what it is
            got[textual] = [f'"{text}"' for text in batch.text[textual]]
        findings.refuse(mismatch, "wrong_type", {"field": "value", **expected, "got": got})
    if batch.text is not None:
        nul = np.array([isinstance(t, str) and "\0" in t for t in batch.text], np.bool_)
        findings.refuse(nul, "nul_character", {})
    return value, textual


def _check_range(
    tags: UnitTags,
    row: npt.NDArray[np.int64],
    kind: npt.NDArray[np.int8],
    value: npt.NDArray[np.float64],
    findings: _Findings,
) -> None:
    number = (kind != _ENUM) & (kind != _TEXT)
    if not np.isfinite(value).all():
        findings.refuse(number & ~np.isfinite(value), "not_finite", {})
    low, high = tags.low[row], tags.high[row]
    low[(kind == _COUNTER) & np.isnan(low)] = 0.0
    out = number & ((value < low) | (value > high))
    if out.any():
        open_high = np.where(np.isnan(high), "∞", high.astype(object))
        open_low = np.where(np.isnan(low), "-∞", low.astype(object))
        bounds = {"got": value, "low": open_low, "high": open_high, "unit": tags.unit[row]}
        findings.refuse(out, "out_of_range", bounds)


def _kept(
    batch: Batch,
    row: npt.NDArray[np.int64],
    value: npt.NDArray[np.float64],
    is_text: npt.NDArray[np.bool_],
    findings: _Findings,
) -> Checked:
    keep = findings.keep
    text = None
    if batch.text is not None and (is_text & keep).any():
        text = batch.text[keep]
        text[~is_text[keep]] = None
    if keep.all():
        return Checked(row, batch.ts, value, batch.quality, text, keep, ())
    return Checked(
        row[keep], batch.ts[keep], value[keep], batch.quality[keep], text, keep, findings.refused()
    )


def _shown(ts: npt.NDArray[np.int64], where: npt.NDArray[np.bool_]) -> npt.NDArray[np.object_]:
    return np.array(
        [shown(t) if here else "" for t, here in zip(ts.tolist(), where.tolist(), strict=True)], object
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


def _refusal(batch: Batch, i: int, place: str, reason: str, parameters: dict[str, str]) -> Refusal:
    text = None if batch.text is None else batch.text[i]
    tag, ts = batch.tags[batch.tag_index[i]], int(batch.ts[i])
    content = {
        "tag": tag,
        "ts": shown(ts),
        "value": float(batch.value[i]) if text is None else text,
        "quality": (int(batch.quality[i]) & 0xFFFF) << 16,
    }
    if reason == "unknown_tag":
        parameters = {"tag": tag}
    return Refusal(place, reason, parameters, msgspec.json.encode(content), tag, ts)
