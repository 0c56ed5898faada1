"""What a unit reports: one model a dataset, validated record by record. Pure, no I/O.

A dataset is one model here and one table of its name in store/migrations; everything else follows from them.
"""

from ingest.datasets.checking import MAX_RECORDS, check_records, natural_key, settled_at
from ingest.datasets.fields import uscc_is_valid
from ingest.datasets.record import Record
from ingest.datasets.registry import DATASETS, example, schema

__all__ = [
    "DATASETS", "MAX_RECORDS", "Record", "check_records", "example", "natural_key", "schema", "settled_at",
    "uscc_is_valid",
]  # fmt: skip
