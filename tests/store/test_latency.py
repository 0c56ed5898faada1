"""One histogram, one quantile."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from metrics.formulas.dq import latency_p95_v1
from store import accounts
from store.latency import BUCKET_BASE_S, BUCKET_GROWTH, quantile_s


def test_the_quantile_is_that_of_the_readings_within_a_bucket() -> None:
    latency = np.exp(np.random.default_rng(3).normal(-1, 1, 20_000))
    bucket, n = np.unique(accounts.latency_bucket(latency), return_counts=True)
    counts = dict(zip(bucket.tolist(), n.tolist(), strict=True))
    for share in (0.5, 0.95, 0.99):
        assert quantile_s(counts, share) == pytest.approx(np.quantile(latency, share), rel=0.02)


def test_what_the_writer_counts_lies_in_the_bucket_that_is_read() -> None:
    for bucket in (1, 40, 120):
        inside = BUCKET_BASE_S * BUCKET_GROWTH ** (bucket + 0.5)
        assert accounts.latency_bucket(np.array([inside])).tolist() == [bucket]


def test_all_fast_none_at_all_and_the_same_as_the_indicator() -> None:
    assert quantile_s({}) is None
    assert quantile_s({0: 10}) == pytest.approx(0.95 * 0.011)
    counts = {3: 50, 17: 40, 30: 10}
    frame = pd.DataFrame({"group": 0, "bucket": list(counts), "n": list(counts.values())})
    assert latency_p95_v1(frame)["value"].tolist() == [quantile_s(counts)]
