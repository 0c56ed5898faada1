"""What a formula gives for each row of its input: terms that can be summed upwards, and why there are none."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from metrics.reasons import INDEX

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class Terms(NamedTuple):
    """Additive terms, one entry a row of the input.

    `numerator`, `denominator`: float64, NaN = not known: such a row adds to neither sum (for sums and
    counts `denominator` is not needed and adds where it is known). `covered` / `needed`: their sums'
    quotient is the completeness. `reason`: index into metrics.reasons.CODES, for rows without terms.
    `if_zero`: the reason of a group whose denominator sums to zero.
    """

    numerator: Floats
    denominator: Floats
    covered: Floats
    needed: Floats
    reason: npt.NDArray[np.int8]
    if_zero: str


def column(frame: pd.DataFrame, name: str) -> Floats:
    """A column as float64."""
    return frame[name].to_numpy(np.float64)


def flag(frame: pd.DataFrame, name: str) -> Bools:
    """A column as bool."""
    return frame[name].to_numpy(np.bool_)


def reasons(n: int, *cases: tuple[Any, str]) -> npt.NDArray[np.int8]:
    """For each of n rows the code of the first case that holds, 0 where none does."""
    if not cases:
        return np.zeros(n, np.int8)
    conditions = [np.broadcast_to(np.asarray(condition, np.bool_), n) for condition, _ in cases]
    return np.select(conditions, [np.int8(INDEX[code]) for _, code in cases], np.int8(0)).astype(np.int8)
