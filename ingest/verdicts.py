"""What became of the records of submissions that want to know: from the rows of a group to a verdict each. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ingest.batch import Claim
from ingest.decoded import record_of
from store.measurements import CORRECTION, DUPLICATE, STORED, Verdicts
from store.quarantine import Refused
from store.rows import Rows
from store.submissions import ERRORS_KEPT, Judged, told

Verdict = Literal["accepted", "duplicate", "correction", "quarantined"]
QUARANTINED = 3
NAMES: Mapping[int, Verdict] = MappingProxyType(
    {STORED: "accepted", DUPLICATE: "duplicate", CORRECTION: "correction", QUARANTINED: "quarantined"}
)
MOST_RECORDS = 1000
"""Up to so many records a verdict each is kept; beyond, counts."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message with a claim: whose, which of the group's parts its readings are (-1: there are none), what it refuses."""

    claim: Claim
    unit_id: int
    part: int
    refused: Sequence[Refused]


def judge(claimed: Sequence[Claimed], rows: Rows, verdicts: Verdicts, parts: int) -> list[Judged]:
    """The verdicts on these submissions, each named once; `rows` of `parts` parts and what became of each."""
    counts = np.bincount(rows.part * 3 + verdicts, minlength=3 * parts).reshape(-1, 3)
    single = _by_part(rows, verdicts, parts)
    judged: dict[str, Judged] = {}
    for one in claimed:
        stored, duplicates, corrections = counts[one.part].tolist() if one.part >= 0 else (0, 0, 0)
        claim = one.claim
        found = Judged(
            claim.name, one.unit_id, claim.received, stored + corrections, duplicates, corrections, len(one.refused),
            [told(r.place, r.reason, r.parameters) for r in _shown(one)],
            claim.digest, None if claim.record is None else _bytes(one, single),
        )  # fmt: skip
        judged[claim.name] = _together(judged.get(claim.name), found)
    return list(judged.values())


def _shown(one: Claimed) -> Sequence[Refused]:
    return one.refused if one.claim.record is not None else one.refused[:ERRORS_KEPT]


def _by_part(
    rows: Rows, verdicts: Verdicts, parts: int
) -> dict[int, tuple[npt.NDArray[np.int32], npt.NDArray[np.int8]]]:
    """Of the parts whose rows say which record each is: the records, and what became of them."""
    if rows.record is None:
        return {}
    at = np.flatnonzero(rows.record >= 0)
    at = at[np.argsort(rows.part[at], kind="stable")]
    ends = np.searchsorted(rows.part[at], np.arange(parts + 1))
    records, found = rows.record[at], verdicts[at]
    return {
        part: (records[start:end], found[start:end])
        for part, (start, end) in enumerate(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))
        if end > start
    }


def _bytes(one: Claimed, single: Mapping[int, tuple[npt.NDArray[np.int32], npt.NDArray[np.int8]]]) -> bytes:
    given = np.full(one.claim.received, QUARANTINED, np.uint8)
    if one.part in single:
        records, found = single[one.part]
        given[records] = found
    refused = [at for r in one.refused if (at := record_of(r.place)) is not None and at < len(given)]
    given[refused] = QUARANTINED
    return given.tobytes()


def _together(before: Judged | None, more: Judged) -> Judged:
    """Two parts of one submission; of two verdicts record by record the first stands."""
    if before is None:
        return more
    if before.verdicts is not None:
        return before
    errors: list[dict[str, Any]] = [*before.errors, *more.errors][:ERRORS_KEPT]
    return before._replace(
        accepted=before.accepted + more.accepted,
        duplicates=before.duplicates + more.duplicates,
        corrections=before.corrections + more.corrections,
        quarantined=before.quarantined + more.quarantined,
        errors=errors,
    )
