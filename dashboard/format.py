"""Numbers, times and units as people read them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from dashboard.texts import Language, text, text_or

NOTHING = "—"


@dataclass(frozen=True, slots=True)
class Reading:
    """A number ready to be shown: digits and the unit beside them."""

    digits: str
    unit: str


def reading(
    language: Language, value: float | None, unit: str, *, percent: bool = False, precision: int = 0
) -> Reading:
    """Show a value in `unit` (UCUM as in the catalogue); `percent`: a fraction of 1 shown as per cent.

    No value has no unit. `precision`: digits after the point. Large numbers are given in 万 / 亿 (million in English).
    """
    label = "%" if percent else text_or(language, f"unit.{unit}", unit)
    if value is None or not math.isfinite(value):
        return Reading(NOTHING, "")
    if percent:
        return Reading(f"{value * 100:.{precision}f}", label)
    scaled, scale = _scaled(language, value)
    if scale:
        return Reading(f"{scaled:,.2f}" if abs(scaled) < 100 else f"{scaled:,.1f}", f"{scale}{label}")
    # More digits than a reader can use are noise: four significant ones are enough before the point grows.
    digits = min(precision, max(0, 3 - int(math.log10(abs(value))))) if abs(value) >= 1 else precision
    return Reading(f"{value:,.{digits}f}", label)


def _scaled(language: Language, value: float) -> tuple[float, str]:
    size = abs(value)
    # (from this size on, divisor, text); 万 only from 100,000 on: 43,408 is read more easily than 4.34 万
    chinese = ((1e8, 1e8, "scale.1e8"), (1e5, 1e4, "scale.1e4"))
    english = ((1e9, 1e9, "scale.1e9"), (1e6, 1e6, "scale.1e6"))
    for least, divisor, key in chinese if language == "zh" else english:
        if size >= least:
            return value / divisor, text(language, key)
    return value, ""


def count(value: float) -> str:
    """A whole number with thousands separators."""
    return f"{value:,.0f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction of 1 as per cent."""
    return NOTHING if value is None else f"{value * 100:.{digits}f}%"


def duration(language: Language, seconds: float) -> str:
    """A length of time in its two largest fitting units at most: 45 秒, 12 分钟, 3 小时, 2 天."""
    size = max(0.0, seconds)
    if size < 10:
        return text(language, "duration.s", n=f"{size:.1f}" if size % 1 else f"{size:.0f}")
    for key, least, step in (("s", 0, 1), ("min", 120, 60), ("h", 7200, 3600), ("d", 172800, 86400)):
        if size >= least:
            chosen, unit = key, step
    return text(language, f"duration.{chosen}", n=f"{size / unit:.0f}")


def size(n_bytes: float) -> str:
    """Bytes in the largest binary unit that fits: 512 B, 3.4 MiB, 12 GiB."""
    value, unit = float(n_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"


def moment(at: datetime | None, zone: str, pattern: str = "%m-%d %H:%M") -> str:
    """A time on the clock of `zone`."""
    return NOTHING if at is None else at.astimezone(ZoneInfo(zone)).strftime(pattern)


def day(on: date | None) -> str:
    """A day, ISO 8601."""
    return NOTHING if on is None else on.isoformat()
