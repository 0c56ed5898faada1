"""What a benchmark sends is what it later looks for."""

import numpy as np
import pytest

from benchmarks.fleet import SIGNALS, Fleet, unit_codes
from benchmarks.memory import summary
from benchmarks.plan import HOUR_US, Pass, chunks, columns, history, key, keys
from ingest.log import PARTITIONS, partition_of

DAY = 20_000


def fleet(units: int = 8, machines: int = 2) -> Fleet:
    ids = np.arange(1, units * machines * SIGNALS + 1, dtype=np.int32).reshape(units, -1)
    return Fleet(unit_codes(units), machines, ids)


def sent(of: Pass, rows: int = 1000) -> np.ndarray:
    whole = fleet()
    parts = [columns(whole, chunk) for chunk in [*history(whole, of), *chunks(whole, of, rows)]]
    return np.concatenate([key(part.tag_id, part.ts, of.day) for part in parts])


def test_units_spread_over_the_partitions() -> None:
    codes = unit_codes(20)
    assert len(set(codes)) == 20
    assert [partition_of(code) for code in codes] == [i % PARTITIONS for i in range(20)]


@pytest.mark.parametrize("late", [False, True])
def test_every_key_that_is_sent_is_expected_and_no_other(late: bool) -> None:
    of = Pass(DAY, 40, late)
    assert np.array_equal(np.unique(sent(of)), keys(fleet(), of))


def test_late_rows_lie_in_the_hour_before_and_meet_nothing_and_repeated_ones_are_counted() -> None:
    of = Pass(DAY, 100, late=True, history=0)
    assert of.kinds == (75, 20, 5)
    found = sent(of)
    ts = (found & (2**37 - 1)) + of.day * 86_400_000_000
    late = ts < of.begins
    assert late.mean() == 0.2
    assert ts.min() >= of.begins - HOUR_US
    assert len(found) - len(np.unique(found)) == 0.05 * len(found)


def test_a_chunk_has_whole_scans_and_names_only_its_own_tags() -> None:
    whole = fleet(units=1, machines=3)
    first, *_ = chunks(whole, Pass(DAY, 4), rows=2 * SIGNALS)
    cut = columns(whole, first)
    assert first.rows == 2 * SIGNALS == len(cut.ts)
    assert len(cut.names) == 2 * SIGNALS
    assert cut.names[0] == "M0.p0"
    assert cut.tag_id.tolist() == whole.tag_ids[0][: 2 * SIGNALS].tolist()


def test_memory_is_flat_or_is_not() -> None:
    samples = [{"seconds": float(s), "steady": 100.0 + s % 2, "growing": 100.0 + 2 * s} for s in range(60)]
    found = summary(samples)
    assert found["steady"]["flat"]
    assert not found["growing"]["flat"]
    assert found["growing"]["slope_bytes_per_minute"] == pytest.approx(120, abs=1)
