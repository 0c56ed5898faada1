"""Which source answers for an equipment-hour: whose account its due slots go to, and who brought its readings.

1. The source that brought most live rows of the equipment in the hour.
2. In an hour without live rows, the source that last brought some, for WINDOW_US or until another takes
   over: an outage counts against the live source, also when the gap was back-filled by another.
3. Where no source is live (history before the first live hour), the one that brought most of the hour's
   rows, else the one that last did before it, else the next one after it.

All sums over sources equal the equipment's own: only the level `source` depends on this.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from metrics.readings import Bools, Ints, position
from store.times import DAY_US

WINDOW_US = 30 * DAY_US
"""How long a source answers after its last live row: as long as a device counts as connected."""
NOBODY = -1
_KEY = ["equipment_id", "source_id", "hour"]


@dataclass(frozen=True, slots=True)
class Owners:
    """By equipment-hour: `source` (-1 nobody); `shared`: whether another source may answer for a part of it.

    So it is in a source's first live hour of the equipment, and where no source is live.
    """

    source: Ints
    shared: Bools


def needed(hours: pd.DataFrame, supply: pd.DataFrame) -> tuple[pd.DataFrame, Ints]:
    """What must be known about the time before these hours, for `owners`.

    (pairs of equipment_id and source_id that brought live rows, ids of equipment with an hour before
    the first of these in `hours`, of which every source matters).
    """
    live = supply[(supply["live"] > 0) & (supply["equipment_id"] > 0)]
    first = hours.groupby("equipment_id")["hour"].min()
    first_live = live.groupby("equipment_id")["hour"].min().reindex(first.index)
    before = first.index[(first_live.isna() | (first_live > first)).to_numpy(np.bool_)]
    return live[_KEY[:2]].drop_duplicates(), before.to_numpy(np.int64)


def owners(hours: pd.DataFrame, supply: pd.DataFrame, earlier: pd.DataFrame) -> Owners:
    """Who answers for each row of `hours` (equipment_id, hour).

    `supply`: what `store.components.supply` gives for the same spans; `earlier`: rows of the same kind
    (equipment_id, source_id, hour, live, brought) from before them, the last of each equipment and
    source with live rows, and the last with any.
    """
    columns = [*_KEY, "live", "brought"]
    rows = pd.concat([supply[columns], earlier[columns]], ignore_index=True).drop_duplicates(_KEY)
    rows = rows[rows["equipment_id"] > 0]
    who, when = hours["equipment_id"].to_numpy(np.int64), hours["hour"].to_numpy(np.int64)

    live = _leaders(rows[rows["live"] > 0], "live")
    at, source = _last(live, who, when)
    led = live["hour"].to_numpy(np.int64)[at] if len(live) else np.zeros(len(at), np.int64)
    answers = (source != NOBODY) & (when - led <= WINDOW_US)
    first = np.zeros(len(when), np.bool_)
    if len(live):
        begin = rows[rows["live"] > 0].groupby(_KEY[:2])["hour"].min()
        begun = begin.reindex(pd.MultiIndex.from_frame(live[_KEY[:2]])).to_numpy(np.int64)
        first = answers & (led == when) & (begun[at] == when)

    some = _leaders(rows[rows["brought"] > 0], "brought")
    _, brought = _last(some, who, when)
    _, after = _last(some.assign(hour=-some["hour"])[::-1], who, -when)
    brought = np.where(brought != NOBODY, brought, after)
    return Owners(np.where(answers, source, brought), first | ~answers)


def _leaders(rows: pd.DataFrame, by: str) -> pd.DataFrame:
    """Of each equipment and hour the row with the most, in order of both."""
    ordered = rows.sort_values(["equipment_id", "hour", by, "source_id"], ascending=[True, True, False, True])
    leaders: pd.DataFrame = ordered.drop_duplicates(["equipment_id", "hour"])
    return leaders


def _last(leaders: pd.DataFrame, who: Ints, when: Ints) -> tuple[Ints, Ints]:
    """(index, source) of the leader of each equipment not later than a time; source -1 where there is none."""
    leaders = leaders.sort_values(["equipment_id", "hour"])
    owner = leaders["equipment_id"].to_numpy(np.int64)
    if not len(owner):
        return np.zeros(len(who), np.int64), np.full(len(who), NOBODY)
    found = position(owner, leaders["hour"].to_numpy(np.int64), who, when)
    at = np.maximum(found, 0)
    hit = (found >= 0) & (owner[at] == who)
    return at, np.where(hit, leaders["source_id"].to_numpy(np.int64)[at], NOBODY)


def slots(hours: pd.DataFrame, supply: pd.DataFrame, owner: Owners) -> pd.DataFrame:
    """Slots by source: equipment_id, source_id, hour, due, filled. Their sums by equipment are those of `hours`.

    A source fills at most as many slots as it brought rows. What others filled beyond that is to nobody's
    account (-1), or with its due slots to that of the other source, where the hour is shared. Every
    source that sent anything has a row in each of these hours, with nothing due if need be.
    """
    own = pd.DataFrame(
        {
            "equipment_id": hours["equipment_id"].to_numpy(np.int64),
            "source_id": owner.source,
            "hour": hours["hour"].to_numpy(np.int64),
        }
    )
    key = pd.MultiIndex.from_frame(own)
    brought = supply.set_index(_KEY)["brought"]
    mine = brought.reindex(key).fillna(0).to_numpy(np.float64)
    everyone = supply.groupby(["equipment_id", "hour"])["brought"].sum()
    total = everyone.reindex(key.droplevel("source_id")).fillna(0).to_numpy(np.float64)
    due, filled = (hours[name].to_numpy(np.float64) for name in ("due", "filled"))
    # No more than the others brought: a reading just before the hour may have filled its first slot.
    others = np.minimum(np.maximum(filled - mine, 0), total - mine)
    moved = np.where(owner.shared, others, 0)
    own["due"], own["filled"] = due - moved, filled - others

    some = others > 0
    rest = supply.merge(own.loc[some, _KEY], on=["equipment_id", "hour"], suffixes=("", "_own"))
    rest = _leaders(rest[rest["source_id"] != rest["source_id_own"]], "brought")
    other = rest.set_index(["equipment_id", "hour"])["source_id"]
    other_source = other.reindex(key[some].droplevel("source_id")).to_numpy(np.int64)
    extra = own[some].assign(
        source_id=np.where(owner.shared[some], other_source, NOBODY), due=moved[some], filled=others[some]
    )
    sent = supply[["source_id", "hour"]].drop_duplicates()
    idle = sent.assign(equipment_id=0, due=0.0, filled=0.0)
    parts: list[pd.DataFrame] = [own, extra, idle]
    return pd.concat(parts, ignore_index=True)


def received(hours: pd.DataFrame, supply: pd.DataFrame, owner: Owners) -> pd.DataFrame:
    """Readings by source: equipment_id, source_id, hour, readings, valid, quarantined, live, timely.

    Readings are counted by equipment-hour: where several sources brought some, they are divided like the
    rows stored from each. Where none is known to have, they are the owner's, who always has a row.
    """
    kept = hours[["equipment_id", "hour", "readings", "valid"]]
    shares = supply.merge(kept, on=["equipment_id", "hour"], how="left").fillna({"readings": 0, "valid": 0})
    stored = shares["accepted"].to_numpy(np.float64)
    total = shares.groupby(["equipment_id", "hour"])["accepted"].transform("sum").to_numpy(np.float64)
    share = np.divide(stored, total, out=np.zeros(len(shares)), where=total > 0)
    shares["readings"], shares["valid"] = shares["readings"] * share, shares["valid"] * share
    known = supply.groupby(["equipment_id", "hour"])["accepted"].sum()
    index = pd.MultiIndex.from_frame(kept[["equipment_id", "hour"]])
    unknown = known.reindex(index).fillna(0).to_numpy(np.float64) == 0
    left = kept.assign(source_id=owner.source, quarantined=0, live=0, timely=0)
    left["readings"], left["valid"] = left["readings"] * unknown, left["valid"] * unknown
    silent = ~pd.MultiIndex.from_frame(left[_KEY]).isin(pd.MultiIndex.from_frame(supply[_KEY]))
    columns = [*_KEY, "readings", "valid", "quarantined", "live", "timely"]
    parts: list[pd.DataFrame] = [shares[columns], left.loc[unknown | silent, columns]]
    return pd.concat(parts, ignore_index=True)
