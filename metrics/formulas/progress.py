"""Connection, registration and milestones: counts on the registers, as of a moment or a day."""

from __future__ import annotations

import numpy as np
import pandas as pd

from metrics.formulas.terms import Terms, flag, reasons


def online_now_v1(devices: pd.DataFrame) -> Terms:
    """Devices online / devices connected. One row a device: bool `online` (newest datum of some tag not
    older than 3 reporting intervals), bool `connected` (valid reading in the last 30 days).
    """
    connected = flag(devices, "connected").astype(np.float64)
    ones = np.ones(len(devices))
    return Terms(
        flag(devices, "online") * connected, connected, ones, ones, reasons(len(devices)), "none_connected"
    )


def devices_connected_v1(devices: pd.DataFrame) -> Terms:
    """Count of devices with a valid reading in the 30 days that end with the period; denominator = registered.

    One row a registered device (and day): bool `connected`.
    """
    ones = np.ones(len(devices))
    return Terms(
        flag(devices, "connected").astype(np.float64), ones, ones, ones, reasons(len(devices)), "no_data"
    )


def enterprises_registered_v1(enterprises: pd.DataFrame) -> pd.DataFrame:
    """Distinct 统一社会信用代码 by group. Rows: `group` (int), `uscc`. Returns `group`, `value` (count)."""
    distinct = enterprises.drop_duplicates(["group", "uscc"])
    counted = distinct.groupby("group", as_index=False).size()
    return pd.DataFrame({"group": counted["group"], "value": counted["size"].astype(np.float64)})


def milestone_on_time_v1(milestones: pd.DataFrame) -> Terms:
    """Accepted on or before the planned day / due to date. One row a milestone and day: `planned_on`,
    `accepted_on`, `as_of` (datetime64 days, +08:00; accepted_on NaT = open). Not yet due: in neither.
    """
    due = (milestones["planned_on"] <= milestones["as_of"]).to_numpy(np.bool_)
    on_time = (milestones["accepted_on"] <= milestones["planned_on"]).to_numpy(np.bool_)
    one = due.astype(np.float64)
    return Terms((due & on_time).astype(np.float64), one, one, one, reasons(len(milestones)), "nothing_due")
