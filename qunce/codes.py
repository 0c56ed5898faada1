"""Code tables of rooms that the open interface does not know."""

from __future__ import annotations

from ingest.codes import Table
from metrics.catalogue import catalogue


def indicator_codes() -> Table:
    """The indicators of the catalogue: what `reported_indicator` may name, and what can be read."""
    entries = [
        {
            "code": one.code,
            "zh": one.name.zh,
            "en": one.name.en,
            "unit": one.unit,
            "kind": one.kind,
            "version": one.version,
            "formula_zh": one.formula.zh,
            "formula_en": one.formula.en,
        }
        for one in catalogue().values()
    ]
    return Table("indicator", "指标", "Indicators", "docs/indicators.md", entries)
