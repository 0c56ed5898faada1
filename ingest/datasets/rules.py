"""How records of each dataset may change, as the store wants to know it."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from ingest.datasets.checking import settled_at
from ingest.datasets.registry import DATASETS
from store.datasets import Rules

CORRECTION_WINDOW = timedelta(days=10)
"""How long after its first report a record can be corrected, where a correction needs a reason at all."""


def rules_of(dataset: str, window: timedelta = CORRECTION_WINDOW) -> Rules:
    """The rules of a dataset; `window` is the operator's to set."""
    model = DATASETS[dataset]
    return Rules(
        key=model.key[0],
        dated=model.dated[-1] if model.dated else None,
        settled_at=partial(settled_at, dataset),
        window=window if model.reasoned else None,
        withdrawable=model.withdrawable,
    )
