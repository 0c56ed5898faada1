"""From terms to values: sums by entity at every level, then one division. Ratios are never averaged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from metrics.catalogue import Indicator, Level
from metrics.formulas.dq import Rate
from metrics.formulas.terms import Floats, Terms
from metrics.readings import Ints
from metrics.reasons import CODES, INDEX
from store.components import PROVINCE, Registry

VALUE_COLUMNS = (
    "code", "formula_version", "level", "entity_id", "period", "period_start", "value", "numerator",
    "denominator", "n_inputs", "completeness", "provenance", "reason", "provisional",
)  # fmt: skip
_REASON = np.array([None, *CODES[1:]], dtype=object)


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows grouped by (equipment, source, period): `of_row` gives each row's group.

    `n` groups; `levels` says which of them make up each entity of a level.
    """

    of_row: Ints
    n: int
    levels: dict[Level, Members]


@dataclass(frozen=True, slots=True)
class Members:
    """Entities of one level, by period: `entity`, `start` (µs) of each.

    `some`: indices of the groups that belong to one; `of`: which one, for each of these. `pair`: number
    of the distinct (entity, period, equipment) each belongs to; `pair_of`: the entity of that pair.
    """

    entity: Ints
    start: Ints
    some: Ints
    of: Ints
    pair: Ints
    pair_of: Ints


def group(equipment: Ints, source: Ints, start: Ints, registry: Registry) -> Groups:
    """Group rows; `start` is each row's period start in µs, `source` -1 where there is none."""
    starts, start_index = np.unique(start, return_inverse=True)
    sources = int(source.max(initial=0)) + 2
    packed = (equipment.astype(np.int64) * sources + (source + 1)) * max(len(starts), 1) + start_index
    keys, of_row = np.unique(packed, return_inverse=True)
    start_of = keys % max(len(starts), 1)
    source_of = keys // max(len(starts), 1) % sources - 1
    equipment_of = keys // max(len(starts), 1) // sources
    known = registry.equipment
    unit = _look_up(known["equipment_id"], known["unit_id"], equipment_of)
    by_source = _look_up(registry.sources["source_id"], registry.sources["unit_id"], source_of)
    unit = np.where(unit >= 0, unit, by_source)
    entity: dict[Level, Ints] = {
        "equipment": _look_up(known["equipment_id"], known["equipment_id"], equipment_of),
        "source": np.where(by_source >= 0, source_of, -1),
        "enterprise": _look_up(known["equipment_id"], known["enterprise_id"], equipment_of),
        "cluster": _look_up(registry.pilots["unit_id"], registry.pilots["pilot_id"], unit),
        "province": np.full(len(keys), PROVINCE, np.int64),
    }
    levels = {level: _members(of, start_of, starts, equipment_of) for level, of in entity.items()}
    return Groups(of_row, len(keys), levels)


def _members(entity: Ints, start: Ints, starts: Ints, equipment: Ints) -> Members:
    some = np.flatnonzero(entity >= 0)
    n = max(len(starts), 1)
    keys, of = np.unique(entity[some] * n + start[some], return_inverse=True)
    width = int(equipment.max(initial=0)) + 1
    pairs, pair = np.unique(of * width + equipment[some], return_inverse=True)
    return Members(keys // n, starts[keys % n] if len(keys) else keys, some, of, pair, pairs // width)


def _look_up(keys: pd.Series[int], values: pd.Series[int], wanted: npt.NDArray[np.int64]) -> Ints:
    """Values by key (keys ascending), -1 where the key is not there."""
    if keys.empty:
        return np.full(len(wanted), -1, np.int64)
    key, value = keys.to_numpy(np.int64), values.to_numpy(np.int64)
    index = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
    return np.where(key[index] == wanted, value[index], -1)


def values_of(
    indicator: Indicator, terms: Terms, groups: Groups, period: str, provenance: str
) -> pd.DataFrame:
    """Values at every level that the catalogue has for this period: VALUE_COLUMNS without `provisional`.

    A group's sums take the rows whose terms are known; its completeness is Σ covered / Σ needed over all.
    """
    n = groups.n
    known = np.isfinite(terms.numerator)
    if indicator.kind == "ratio":
        known &= np.isfinite(terms.denominator)

    def per_group(array: Floats) -> Floats:
        return np.asarray(np.bincount(groups.of_row, weights=array, minlength=n), np.float64)

    with_denominator = known & np.isfinite(terms.denominator)
    sums = np.stack(
        [
            per_group(np.where(known, terms.numerator, 0.0)),
            per_group(np.where(with_denominator, terms.denominator, 0.0)),
            per_group(terms.covered),
            per_group(terms.needed),
            per_group(known.astype(np.float64)),
            per_group(with_denominator.astype(np.float64)),
        ]
    )
    reason = np.zeros(n, np.int8)
    np.maximum.at(reason, groups.of_row, np.where(known, np.int8(0), terms.reason))
    frames = [
        _level(indicator, level, period, provenance, groups.levels[level], sums, reason, terms.if_zero)
        for level in indicator.periods
        if indicator.has(level, period)
    ]
    return pd.concat(frames, ignore_index=True)


def _level(
    indicator: Indicator,
    level: Level,
    period: str,
    provenance: str,
    members: Members,
    sums: Floats,
    reason: npt.NDArray[np.int8],
    if_zero: str,
) -> pd.DataFrame:
    some, member, n = members.some, members.of, len(members.entity)
    top, bottom, covered, needed, known, with_bottom = (
        np.asarray(np.bincount(member, weights=row[some], minlength=n), np.float64) for row in sums
    )
    why = np.zeros(n, np.int8)
    np.maximum.at(why, member, reason[some])
    contributed = np.zeros(len(members.pair_of), np.bool_)
    contributed[members.pair[sums[4][some] > 0]] = True
    top, bottom = same_sum(top), same_sum(bottom)
    if indicator.kind == "ratio":
        fine = (known > 0) & (bottom > 0)
        value = np.divide(top, bottom, out=np.full(n, np.nan), where=fine)
        # An hour without the denominator's kind of time explains nothing about the others.
        why = np.where(known > 0, np.int8(INDEX[if_zero]), np.where(why > 0, why, np.int8(INDEX["no_data"])))
    else:
        fine = known > 0
        value = np.where(fine, top, np.nan)
        why = np.where(why > 0, why, np.int8(INDEX["no_data"]))
    return pd.DataFrame(
        {
            "code": indicator.code,
            "formula_version": indicator.version,
            "level": level,
            "entity_id": members.entity,
            "period": period,
            "period_start": members.start,
            "value": value,
            "numerator": np.where(known > 0, top, np.nan),
            "denominator": np.where(with_bottom > 0, bottom, np.nan),
            "n_inputs": np.bincount(members.pair_of[contributed], minlength=n),
            "completeness": completeness(covered, needed),
            "provenance": provenance,
            "reason": _REASON[np.where(fine, 0, why)],
        }
    )


def same_sum(total: Floats) -> Floats:
    """To 12 significant digits: the same summands in another order are the same sum, not a new value."""
    size = np.floor(np.log10(np.abs(total), out=np.zeros(len(total)), where=total != 0))
    scale = 10.0 ** (11 - size)
    return np.asarray(np.round(total * scale) / scale)


def completeness(covered: Floats, needed: Floats) -> Floats:
    """Covered / needed within 0..1, to 1e-6 (the column is single precision); NaN where nothing is needed."""
    share = np.divide(covered, needed, out=np.full(len(needed), np.nan), where=needed > 0)
    return np.asarray(np.round(np.clip(share, 0, 1), 6))


def product(indicator: Indicator, first: pd.DataFrame, second: pd.DataFrame, compute: object) -> pd.DataFrame:
    """Values of an indicator that is a product of two rates, for the entities and periods of the first."""
    keys = ["level", "entity_id", "period", "period_start"]
    both = first.merge(
        second[[*keys, "value", "numerator", "denominator", "reason", "completeness"]],
        on=keys,
        how="left",
        suffixes=("", "_2"),
    )
    both = both[[indicator.has(level, p) for level, p in zip(both["level"], both["period"], strict=True)]]
    if not callable(compute):
        raise TypeError("a formula is a function")
    rate: Rate = compute(
        Rate(*(both[c].to_numpy(np.float64) for c in ("numerator", "denominator", "value"))),
        Rate(*(both[c + "_2"].to_numpy(np.float64) for c in ("numerator", "denominator", "value"))),
    )
    reason = both["reason"].where(both["reason"].notna(), both["reason_2"])
    null = np.isnan(rate.value)
    return both[list(first.columns)].assign(
        code=indicator.code,
        formula_version=indicator.version,
        value=rate.value,
        numerator=rate.numerator,
        denominator=rate.denominator,
        completeness=both[["completeness", "completeness_2"]].min(axis=1),
        reason=reason.where(reason.notna(), "no_data").where(null, None),
    )
