"""Equipment and production, energy, online time: formulas on equipment-hours.

Input of every function here: one row an equipment and hour [hour, hour + 1 h), the float64 columns of
`store.rollups.COMPONENTS` (seconds, pieces, kWh; NaN = not known), its integer COUNTS, and the booleans
`has_state`, `has_mode`, `has_counter`, `has_energy` (the equipment has such a tag). Bad-quality readings
are unknown time in it, a stopped machine is 0.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from metrics.catalogue import catalogue
from metrics.formulas.terms import Terms, column, flag, reasons

KNOWN_SHARE = 0.95
"""Effectiveness compares counts with time: hours with less known time are left out."""


def availability_v1(hours: pd.DataFrame) -> Terms:
    """APT / PBT (ISO 22400-2 availability). Of PBT only the part with known state and mode (s)."""
    apt, pbt_known = column(hours, "apt_s"), column(hours, "pbt_known_s")
    pbt, observed = column(hours, "pbt_s"), column(hours, "observed_s")
    has = flag(hours, "has_state") & flag(hours, "has_mode")
    return Terms(
        apt,
        pbt_known,
        np.nan_to_num(pbt_known),
        np.where(has, np.where(np.isnan(pbt), observed, pbt), 0.0),
        reasons(len(hours), (~has, "no_signal"), (np.isnan(apt), "no_data"), (np.isnan(pbt), "no_calendar")),
        "no_planned_time",
    )


def effectiveness_v1(hours: pd.DataFrame) -> Terms:
    """PRI · PQ / APT (ISO 22400-2 effectiveness), s / s, over hours with PRI and KNOWN_SHARE known time."""
    made, apt = column(hours, "pri_pq_s"), column(hours, "pri_apt_s")
    enough = column(hours, "known_s") >= KNOWN_SHARE * column(hours, "observed_s")
    has = flag(hours, "has_state") & flag(hours, "has_mode") & flag(hours, "has_counter")
    usable = enough & ~np.isnan(made) & ~np.isnan(apt)
    all_apt = column(hours, "apt_s")
    return Terms(
        np.where(usable, made, np.nan),
        np.where(usable, apt, np.nan),
        np.where(usable, np.nan_to_num(all_apt), 0.0),
        np.where(has, np.where(np.isnan(all_apt), column(hours, "observed_s"), all_apt), 0.0),
        reasons(
            len(hours),
            (~has, "no_signal"),
            (np.isnan(all_apt), "no_data"),
            (np.isnan(column(hours, "pq")), "gap"),
            (np.isnan(made) | np.isnan(apt), "no_order"),
            (~enough, "mostly_unknown"),
        ),
        "no_production_time",
    )


def quality_ratio_v1(hours: pd.DataFrame) -> Terms:
    """GQ / PQ (ISO 22400-2 quality ratio), pieces / pieces."""
    good, produced = column(hours, "gq"), column(hours, "pq")
    known = ~np.isnan(good) & ~np.isnan(produced)
    return _counted(hours, good, produced, known, "nothing_produced")


def oee_v1(hours: pd.DataFrame) -> Terms:
    """PRI · GQ / PBT (ISO 22400-2 OEE index), s / s. Equal to availability × effectiveness × quality ratio."""
    good, pbt = column(hours, "pri_gq_s"), column(hours, "pbt_s")
    has = flag(hours, "has_counter")
    known = ~np.isnan(good) & ~np.isnan(pbt)
    return Terms(
        good,
        pbt,
        np.where(known, pbt, 0.0),
        np.where(has, np.where(np.isnan(pbt), column(hours, "observed_s"), pbt), 0.0),
        reasons(
            len(hours),
            (~has, "no_signal"),
            (np.isnan(column(hours, "gq")), "gap"),
            (np.isnan(pbt), "no_calendar"),
            (np.isnan(good), "no_order"),
        ),
        "no_planned_time",
    )


def run_rate_v1(hours: pd.DataFrame) -> Terms:
    """Time Executing / calendar time with a known state (project-defined), s / s."""
    executing = column(hours, "executing_s")
    known = column(hours, "state_known_s")
    has = flag(hours, "has_state")
    return Terms(
        executing,
        np.where(np.isnan(executing), np.nan, known),
        known,
        np.where(has, column(hours, "observed_s"), 0.0),
        reasons(len(hours), (~has, "no_signal"), (np.isnan(executing), "no_data")),
        "no_data",
    )


def energy_total_v1(hours: pd.DataFrame) -> Terms:
    """Electricity as standard coal (tce): kWh × kgce/kWh / 1000; the coefficient is the catalogue's."""
    kgce_per_kwh = catalogue()["energy.total"].coefficients["electricity_kgce_per_kwh"]
    kwh, observed = column(hours, "energy_kwh"), column(hours, "observed_s")
    has = flag(hours, "has_energy")
    return Terms(
        kwh * kgce_per_kwh / 1000,
        np.full(len(hours), np.nan),
        np.where(np.isnan(kwh), 0.0, observed),
        np.where(has, observed, 0.0),
        reasons(len(hours), (~has, "no_signal"), (np.isnan(kwh), "gap")),
        "no_data",
    )


def online_time_v1(hours: pd.DataFrame) -> Terms:
    """Time online / calendar time (s / s): some tag younger than 3 reporting intervals."""
    observed = column(hours, "observed_s")
    return Terms(column(hours, "online_s"), observed, observed, observed, reasons(len(hours)), "no_data")


def _counted(
    hours: pd.DataFrame, top: np.ndarray, bottom: np.ndarray, known: np.ndarray, if_zero: str
) -> Terms:
    has, observed = flag(hours, "has_counter"), column(hours, "observed_s")
    return Terms(
        top,
        bottom,
        np.where(known, observed, 0.0),
        np.where(has, observed, 0.0),
        reasons(len(hours), (~has, "no_signal"), (~known, "gap")),
        if_zero,
    )
