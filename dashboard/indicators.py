"""Which indicators the pages show, in which order and over which period. What they mean is the catalogue's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dashboard.format import Reading, reading
from dashboard.texts import Language, either, text_or
from metrics.catalogue import catalogue
from metrics.reasons import REASONS

PERIODS: Final = ("now", "hour", "day")


@dataclass(frozen=True, slots=True)
class Shown:
    """An indicator on a page and the periods it is taken from, the first that has a value."""

    code: str
    periods: tuple[str, ...]


_STATE = ("now", "hour", "day")
_FLOW = ("day", "hour", "now")

HEADLINES: Final = (
    Shown("plat.enterprises_registered", _STATE),
    Shown("plat.devices_connected", _STATE),
    Shown("conn.equip_online_rate", _STATE),
    Shown("equip.oee", _FLOW),
    Shown("equip.run_rate", _FLOW),
    Shown("dq.effective_rate", _FLOW),
    Shown("energy.total", _FLOW),
)
"""Headline figures of the province; the number of pilots stands before them."""

RANKINGS: Final = (
    Shown("equip.oee", _FLOW),
    Shown("dq.effective_rate", _FLOW),
    Shown("proj.milestone_on_time", _FLOW),
    Shown("conn.equip_online_rate", _STATE),
)
"""By what pilots can be ranked."""

CLUSTER: Final = (
    Shown("plat.enterprises_registered", _STATE),
    Shown("plat.devices_connected", _STATE),
    Shown("conn.equip_online_rate", _STATE),
    Shown("equip.oee", _FLOW),
    Shown("dq.effective_rate", _FLOW),
    Shown("energy.total", _FLOW),
    Shown("proj.milestone_on_time", _FLOW),
)
"""Headline figures of a pilot."""

TRENDS: Final = (
    "equip.oee",
    "equip.availability",
    "equip.effectiveness",
    "equip.quality_ratio",
    "equip.run_rate",
    "dq.effective_rate",
    "conn.equip_online_rate",
    "energy.total",
)
"""Indicators with a curve on the cluster page."""

UNIT_RATES: Final = ("dq.transmission_rate", "dq.validity_rate", "dq.effective_rate", "dq.timeliness")
SOURCE_CODES: Final = ("dq.latency_p95", *UNIT_RATES)

CODES: Final = tuple(
    dict.fromkeys(
        [*(s.code for s in (*HEADLINES, *RANKINGS, *CLUSTER)), *TRENDS, *UNIT_RATES, "dq.latency_p95"]
    )
)
"""Every indicator that some page reads."""


def is_percent(code: str) -> bool:
    """Whether an indicator is a fraction of 1 that people read as per cent."""
    return catalogue()[code].format.percent


def unit_label(language: Language, code: str) -> str:
    """The unit of an indicator as people write it."""
    return (
        "%"
        if is_percent(code)
        else text_or(language, f"unit.{catalogue()[code].unit}", catalogue()[code].unit)
    )


def shown(language: Language, code: str, value: float | None) -> Reading:
    """A value of an indicator with its unit, as the catalogue wants it shown."""
    known = catalogue()[code]
    return reading(
        language, value, known.unit, percent=known.format.percent, precision=known.format.precision
    )


def name_of(language: Language, code: str) -> str:
    """The catalogue's name of an indicator."""
    known = catalogue()[code]
    return either(language, known.name.zh, known.name.en)


def short_name(language: Language, code: str) -> str:
    """The name where there is little room; the catalogue's where we have no shorter one."""
    return text_or(language, f"short.{code}", name_of(language, code))


def why(language: Language, reason: str | None) -> str:
    """Why an indicator has no value."""
    known = REASONS.get(reason or "")
    return either(language, known.zh, known.en) if known else reason or ""
