"""The histogram in which delays are kept, and the quantile read from it. Pure, no I/O."""

from __future__ import annotations

from collections.abc import Mapping

BUCKET_BASE_S = 0.01
BUCKET_GROWTH = 1.1
"""Bucket b of latency_bucket covers [BASE · GROWTH^b, BASE · GROWTH^(b+1)) s; 0 holds all below, too."""


def quantile_s(counts: Mapping[int, int], quantile: float = 0.95) -> float | None:
    """Seconds that this share (0..1) of the readings does not exceed; None without readings.

    `counts`: bucket → readings. Interpolated geometrically within its bucket, bucket 0 linearly from 0 s.
    """
    wanted = quantile * sum(counts.values())
    passed = 0
    for bucket, n in sorted(counts.items()):
        if n > 0 and passed + n >= wanted:
            share = (wanted - passed) / n
            if bucket == 0:
                return float(BUCKET_BASE_S * BUCKET_GROWTH * share)
            return float(BUCKET_BASE_S * BUCKET_GROWTH ** (bucket + share))
        passed += n
    return None
