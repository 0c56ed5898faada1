"""From the rows of a group to a verdict for each record of the submissions that want one."""

from __future__ import annotations

import numpy as np

from ingest.batch import Claim
from ingest.verdicts import Claimed, judge
from store.quarantine import Refused
from store.rows import Rows


def refused(place: str) -> Refused:
    return Refused(1, 1, None, "b", place, "unknown_tag", {}, None, None, b"", 0)


def rows(part: list[int], record: list[int] | None) -> Rows:
    n = len(part)
    zeros = np.zeros(n, np.int32)
    return Rows(
        zeros, zeros, np.array(part, np.int32), np.arange(n), np.zeros(n), np.zeros(n, np.int16), None,
        None if record is None else np.array(record, np.int32),
    )  # fmt: skip


def test_every_record_has_its_byte_whatever_the_order_of_the_rows() -> None:
    records = np.array([0, 2], "<i2").tobytes()
    small = Claimed(
        Claim("small", 4, None, records), 7, 1, [refused("records[1].tag"), refused("line 9 records[3]")]
    )
    bulk = [
        Claimed(Claim("bulk", 5, b"d"), 7, 0, []),
        Claimed(Claim("bulk", 5, b"d"), 7, 2, [refused("records[4].value")]),
    ]
    verdicts = np.array([0, 1, 2, 0, 1], np.int8)
    found = judge([small, *bulk], rows([0, 1, 1, 2, 2], [-1, 2, 0, -1, -1]), verdicts, 3)
    by_name = {one.batch: one for one in found}
    assert by_name["small"].verdicts == bytes([2, 3, 1, 3])
    assert by_name["small"][3:7] == (1, 1, 1, 2)
    assert by_name["bulk"][2:7] == (5, 2, 1, 0, 1)
    assert (by_name["bulk"].body_digest, by_name["bulk"].verdicts) == (b"d", None)


def test_a_submission_of_which_nothing_is_stored_is_quarantined_whole() -> None:
    whole = Claimed(Claim("w", 2, None, np.array([0, 1], "<i2").tobytes()), 7, -1, [refused("$")])
    [found] = judge([whole], Rows.none(), np.empty(0, np.int8), 0)
    assert found.verdicts == bytes([3, 3])


def test_of_the_same_submission_twice_the_first_verdict_stands() -> None:
    claim = Claim("twice", 1, None, np.array([0], "<i2").tobytes())
    found = judge([Claimed(claim, 7, 0, []), Claimed(claim, 7, 1, [])], rows([0, 1], [0, 0]), np.array([0, 1], np.int8), 2)  # fmt: skip
    assert [one.verdicts for one in found] == [b"\0"]
