"""The Batch survives the log, whatever is in it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.batch import BAD, GOOD, UNCERTAIN, Batch, Refusal, decode, encode, is_good, quality_of_status

texts = st.text(max_size=20)
refusals = st.builds(
    Refusal,
    place=texts,
    reason=texts,
    parameters=st.dictionaries(texts, texts, max_size=2),
    original=st.binary(max_size=40),
    tag=st.none() | texts,
    ts=st.none() | st.integers(-(2**60), 2**60),
)
rows = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(-(2**62), 2**62),
        st.floats(allow_nan=False),
        st.integers(-(2**15), 2**15 - 1),
        st.none() | texts,
    ),
    max_size=8,
)


@given(rows, st.lists(refusals, max_size=3), st.booleans())
def test_encoding_loses_nothing(
    readings: list[tuple[int, int, float, int, str | None]], refused: list[Refusal], textual: bool
) -> None:
    batch = Batch(
        unit="GD-ELE-01",
        source="mqtt:GD-ELE-01",
        mode="backfill",
        tags=("a.x", "乙.温度", ""),
        tag_index=np.array([r[0] for r in readings], np.int32),
        ts=np.array([r[1] for r in readings], np.int64),
        value=np.array([r[2] for r in readings], np.float64),
        quality=np.array([r[3] for r in readings], np.int16),
        text=np.array([r[4] for r in readings], object) if textual else None,
        received_at=1,
        refused=tuple(refused),
    )
    again = decode(encode(batch))
    for field in ("tag_index", "ts", "value", "quality"):
        np.testing.assert_array_equal(getattr(again, field), getattr(batch, field))
    assert (again.text is None) == (batch.text is None)
    assert again.text is None or again.text.tolist() == [r[4] for r in readings]
    assert (again.unit, again.source, again.mode, again.tags) == (
        batch.unit,
        batch.source,
        batch.mode,
        batch.tags,
    )
    assert again.refused == batch.refused
    assert again.rows == len(readings) + len(refused)


@pytest.mark.parametrize(
    ("status", "severity"),
    [(0x00000000, "good"), (0x00960000, "good"), (0x408F0000, "uncertain"), (0x808C0000, "bad")],
)
def test_severity_of_a_status_code_survives_in_16_bits(status: int, severity: str) -> None:
    quality = quality_of_status(status)
    assert (quality & 0xFFFF) << 16 == status
    assert bool(is_good(np.array([quality], np.int16))[0]) == (severity == "good")
    assert (quality < 0) == (severity == "bad")


def test_severities_are_ordered_as_the_columns_say() -> None:
    assert is_good(np.array([GOOD, UNCERTAIN, BAD], np.int16)).tolist() == [True, False, False]


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        Batch(
            unit="u", source="s", tags=("a",), tag_index=np.zeros(2, np.int32), ts=np.zeros(1, np.int64),
            value=np.zeros(2), quality=np.zeros(2, np.int16), received_at=0,
        )  # fmt: skip
