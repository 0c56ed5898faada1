"""Pure functions on frames: one for each code and version of the catalogue, and what each one reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from metrics.formulas import dq, equip, progress

Reads = Literal["hours", "slots", "arrivals", "devices", "enterprises", "milestones", "latency", "values"]


@dataclass(frozen=True, slots=True)
class Formula:
    """`compute` on the frame that `reads` names; `now` where the present moment is computed otherwise."""

    reads: Reads
    compute: Callable[..., Any]
    now: Callable[..., Any] | None = None
    provenance: Literal["observed", "reported"] = "observed"


FORMULAS: Mapping[tuple[str, int], Formula] = MappingProxyType(
    {
        ("equip.availability", 1): Formula("hours", equip.availability_v1),
        ("equip.effectiveness", 1): Formula("hours", equip.effectiveness_v1),
        ("equip.quality_ratio", 1): Formula("hours", equip.quality_ratio_v1),
        ("equip.oee", 1): Formula("hours", equip.oee_v1),
        ("equip.run_rate", 1): Formula("hours", equip.run_rate_v1),
        ("energy.total", 1): Formula("hours", equip.energy_total_v1),
        ("conn.equip_online_rate", 1): Formula("hours", equip.online_time_v1, now=progress.online_now_v1),
        ("plat.devices_connected", 1): Formula("devices", progress.devices_connected_v1),
        ("plat.enterprises_registered", 1): Formula(
            "enterprises", progress.enterprises_registered_v1, provenance="reported"
        ),
        ("dq.transmission_rate", 1): Formula("slots", dq.transmission_rate_v1),
        ("dq.validity_rate", 1): Formula("arrivals", dq.validity_rate_v1),
        ("dq.effective_rate", 1): Formula("values", dq.effective_rate_v1),
        ("dq.timeliness", 1): Formula("arrivals", dq.timeliness_v1),
        ("dq.latency_p95", 1): Formula("latency", dq.latency_p95_v1),
        ("proj.milestone_on_time", 1): Formula(
            "milestones", progress.milestone_on_time_v1, provenance="reported"
        ),
    }
)
"""(code, version) → formula."""
