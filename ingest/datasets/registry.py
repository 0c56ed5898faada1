"""All datasets there are."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ingest.datasets.production import (
    ProductionOrder,
    ShiftCalendar,
)
from ingest.datasets.project import (
    Milestone,
    ReportedIndicator,
)
from ingest.datasets.record import Record
from ingest.datasets.register import (
    Enterprise,
    Equipment,
    Park,
    Tag,
)

DATASETS: Mapping[str, type[Record]] = MappingProxyType(
    {
        "park": Park,
        "enterprise": Enterprise,
        "equipment": Equipment,
        "tag": Tag,
        "shift_calendar": ShiftCalendar,
        "production_order": ProductionOrder,
        "milestone": Milestone,
        "reported_indicator": ReportedIndicator,
    }
)
"""Name in the address → model; what others refer to comes before them."""


def example(dataset: str) -> dict[str, Any]:
    """A record that is accepted once what it refers to is registered: the examples of all fields."""
    fields = DATASETS[dataset].model_fields
    return {name: field.examples[0] for name, field in fields.items() if field.examples}


def schema(dataset: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of a record, with the natural key as `x-key` and the rules of corrections."""
    model = DATASETS[dataset]
    found = model.model_json_schema()
    found |= {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": model.zh,
        "x-key": list(model.key),
        "x-dated": list(model.dated),
        "x-reasoned": model.reasoned,
        "examples": [example(dataset)],
    }
    return found
