"""Signals with a fixed meaning, and the codes under which enumerations are stored.

Names are those of OPC 40001-1 (MachineryItemState, MachineryOperationMode); the codes are ours,
never renumbered, because they are in the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

STATE: Mapping[str, int] = MappingProxyType(
    {"NotAvailable": 0, "OutOfService": 1, "NotExecuting": 2, "Executing": 3}
)
MODE: Mapping[str, int] = MappingProxyType({"None": 0, "Maintenance": 1, "Setup": 2, "Processing": 3})

ENUMERATIONS: Mapping[str, Mapping[str, int]] = MappingProxyType({"state": STATE, "mode": MODE})
"""Signal → (name → code) for every tag with data_type `enum`."""

_PIECES, _ENERGY = ("1", "{piece}"), ("kW.h", "kWh")
COUNTERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"produced": _PIECES, "good": _PIECES, "scrap": _PIECES, "rework": _PIECES, "energy": _ENERGY}
)
"""Signal that only ever grows, between resets → the unit in which indicators count it, as it may be written (UCUM first)."""
