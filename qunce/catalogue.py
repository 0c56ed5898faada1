"""The indicator catalogue as the open interface tells it."""

from __future__ import annotations

from ingest.api.answers import Text
from ingest.api.reading.catalogue import Catalogue, Meaning
from metrics.catalogue import Name, catalogue
from metrics.reasons import REASONS


def read_catalogue() -> Catalogue:
    """Every indicator of `metrics`, and every reason for which one has no value."""
    return Catalogue(
        {
            code: Meaning(
                code=code,
                group=one.group,
                name=_text(one.name),
                unit=one.unit,
                kind=one.kind,
                direction=one.direction,
                formula=_text(one.formula),
                numerator=_text(one.numerator) if one.numerator else None,
                denominator=_text(one.denominator) if one.denominator else None,
                periods={level: list(periods) for level, periods in one.periods.items()},
                version=one.version,
                source=one.source,
            )
            for code, one in catalogue().items()
        },
        {code: Text(zh=text.zh, en=text.en) for code, text in REASONS.items()},
    )


def _text(name: Name) -> Text:
    return Text(zh=name.zh, en=name.en)
