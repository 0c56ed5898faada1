"""What indicators mean, as the composition root says it: this room knows no catalogue of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ingest.api.answers import Answer, Text


class Meaning(Answer):
    """What an indicator means, and where it is computed."""

    code: str
    """its name for programs"""
    group: str
    """what it belongs to"""
    name: Text
    """its name for people"""
    unit: str
    """UCUM unit; ratios are fractions of 1"""
    kind: str
    """how values of parts make up that of the whole"""
    direction: Literal["higher", "lower", "monitor"]
    """which way is better"""
    formula: Text
    """how it is computed"""
    numerator: Text | None
    """of a ratio, what is above the line"""
    denominator: Text | None
    """of a ratio, what is below the line"""
    periods: dict[str, list[str]]
    """level → periods for which it is computed"""
    version: int
    """version of the formula"""
    source: str
    """the standard or policy that defines it"""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Code → meaning of every indicator; code → text of every reason for which there is no value."""

    indicators: Mapping[str, Meaning] = field(default_factory=dict)
    reasons: Mapping[str, Text] = field(default_factory=dict)


NO_CATALOGUE = Catalogue()
"""Nothing is known of what values mean, and every code is taken."""
