"""What decoding ends in, whichever form the input had: a Batch, or why there is none. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from ingest.batch import Batch, Mode, Refusal

MAX_ROWS = 200_000
MAX_TEXT = 32_768
"""Characters of one text value: a reading is an alarm or a state, not a document."""
MAX_NAME = 400
"""Characters of a tag's name in columns, where one name may stand for every row."""


class Malformed(Exception):
    """The whole input cannot be read. `reason` is a code of store.reasons, `parameters` fill its text."""

    def __init__(self, reason: str, parameters: dict[str, str]) -> None:
        super().__init__(reason, parameters)
        self.reason = reason
        self.parameters = parameters


def worded(zh: str, en: str) -> dict[str, str]:
    """What is wrong, as a refusal's parameters."""
    return {"detail": en, "detail_zh": zh}


def wrong_shape(place: str, zh: str, en: str) -> Malformed:
    """An input of another form, and where it is that."""
    return Malformed("wrong_shape", {"place": place} | worded(zh, en))


class Envelope(msgspec.Struct, frozen=True):
    """What a body says of itself: who sent it, under which name, and when (µs UTC, the sender's clock)."""

    source_id: str | None = None
    msg_id: str | None = None
    sent_at: int | None = None


NO_ENVELOPE = Envelope()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the m records of an input stand in it, where that is not simply their number.

    `word` is `line` (numbered from 1) or `metrics` (from 0); `number` int64[m].
    """

    word: str
    number: npt.NDArray[np.int64]

    def place(self, record: int, field: str = "") -> str:
        """The place of a record, or of a field of it, for people and programs."""
        number = int(self.number[record])
        head = f"{self.word} {number}" if self.word == "line" else f"{self.word}[{number}]"
        return f"{head} {place_of(record, field)}"


_RECORD = re.compile(r"records\[([0-9]{1,9})\]")


def record_of(place: str) -> int | None:
    """The number of the record that a place names; None when it names none."""
    found = _RECORD.search(place)
    return None if found is None else int(found[1])


def place_of(record: int, field: str = "", origin: Origin | None = None) -> str:
    """`records[3].value`, after the record's line where there is one."""
    if origin is not None:
        return origin.place(record, field)
    return f"records[{record}].{field}" if field else f"records[{record}]"


@dataclass(frozen=True, slots=True)
class Decoded:
    """A Batch, and for each of its readings the number of the record in the input (int64[n]).

    `by_row`: the input had records one by one, not columns.
    """

    batch: Batch
    index: npt.NDArray[np.int64]
    origin: Origin | None = None
    envelope: Envelope = NO_ENVELOPE
    by_row: bool = True


def mode_of(text: str) -> Mode:
    """`live` or `backfill`; what corrects goes the way of what is late. Raises Malformed."""
    if text == "live":
        return "live"
    if text in ("backfill", "correction"):
        return "backfill"
    got = text[:40]
    raise wrong_shape(
        "mode",
        f"应为 live、backfill 或 correction,收到 {got}",
        f"must be live, backfill or correction, got {got}",
    )


def empty(unit: str, source: str, received_at: int, refused: tuple[Refusal, ...]) -> Batch:
    """A Batch without readings, to carry refusals."""
    return Batch(
        unit=unit,
        source=source,
        tags=(),
        tag_index=np.empty(0, np.int32),
        ts=np.empty(0, np.int64),
        value=np.empty(0, np.float64),
        quality=np.empty(0, np.int16),
        received_at=received_at,
        refused=refused,
    )


_NUMBERS: frozenset[type] = frozenset({int, float, bool})


def values_column(
    values: Sequence[Any],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.object_] | None, list[tuple[int, str, dict[str, str]]]]:
    """JSON values → (float64[n], text[n] or None, faults). Text never becomes a number."""
    kinds = set(map(type, values))
    if kinds <= _NUMBERS:
        try:
            return np.array(values, np.float64), None, []
        except OverflowError:
            pass
    number = np.zeros(len(values), np.float64)
    text = np.full(len(values), None, object)
    faults: list[tuple[int, str, dict[str, str]]] = []
    for i, value in enumerate(values):
        if isinstance(value, str):
            text[i] = value
            if len(value) > MAX_TEXT:
                faults.append((i, "text_too_long", {"limit": str(MAX_TEXT)}))
        elif value is None:
            faults.append((i, "missing_value", {}))
        elif isinstance(value, (int, float)):
            try:
                number[i] = value
            except OverflowError:
                faults.append((i, "not_finite", {}))
        else:
            faults.append((i, "unsupported_value", {"got": type(value).__name__}))
    return number, (text if str in kinds else None), faults


def refused_value(
    place: str, reason: str, parameters: dict[str, str], tag: str, ts: int, value: object
) -> Refusal:
    """A refusal of a reading that came as no JSON; its original is the reading as JSON, `ts` in µs UTC."""
    original = msgspec.json.encode({"tag": tag, "ts": ts, "value": value})
    return Refusal(place, reason, parameters, original, tag, ts)


def check_rows(n: int) -> None:
    """Raises Malformed when there are too many."""
    if n > MAX_ROWS:
        raise Malformed("too_many_rows", {"limit": str(MAX_ROWS), "got": str(n)})


def check_names(names: Sequence[str]) -> None:
    """Raises Malformed when there are too many, or one is too long to be a name."""
    check_rows(len(names))
    for i, name in enumerate(names):
        if len(name) > MAX_NAME:
            raise wrong_shape(
                f"tags[{i}]", f"名称超过 {MAX_NAME} 个字符", f"a name of more than {MAX_NAME} characters"
            )
