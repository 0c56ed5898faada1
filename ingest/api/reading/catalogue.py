"""What indicators mean, as the composition root says it: this room knows no catalogue of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel


class Text(BaseModel):
    """A text in both languages."""

    zh: str
    en: str


class Meaning(BaseModel):
    """One indicator: `unit` is UCUM, ratios are fractions of 1; `periods` says what is computed at which level."""

    code: str
    group: str
    name: Text
    unit: str
    kind: str
    direction: Literal["higher", "lower", "monitor"]
    formula: Text
    numerator: Text | None
    denominator: Text | None
    periods: dict[str, list[str]]
    version: int
    source: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Code → meaning of every indicator; code → text of every reason for which there is no value."""

    indicators: Mapping[str, Meaning] = field(default_factory=dict)
    reasons: Mapping[str, Text] = field(default_factory=dict)


NO_CATALOGUE = Catalogue()
"""Nothing is known of what values mean, and every code is taken."""
