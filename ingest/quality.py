"""Quality as senders write it → OPC UA quality (int16, see ingest.batch)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from ingest.batch import BAD, GOOD, UNCERTAIN, quality_of_status

NAMES: Mapping[str, int] = MappingProxyType(
    {
        "good": GOOD,
        "uncertain": UNCERTAIN,
        "bad": BAD,
        # HJ 212-2017 table 8. N and S count as valid, all others as invalid.
        "N": GOOD,
        "S": quality_of_status(0x00960000),  # GoodLocalOverride: entered by hand
        "F": quality_of_status(0x808D0000),  # BadOutOfService: stopped
        "M": quality_of_status(0x808D0000),  # BadOutOfService: maintenance
        "D": quality_of_status(0x808B0000),  # BadDeviceFailure
        "C": quality_of_status(0x40930000),  # UncertainSensorNotAccurate: calibration
        "T": quality_of_status(0x803C0000),  # BadOutOfRange
        "B": quality_of_status(0x80050000),  # BadCommunicationError
    }
)


def quality_column(
    given: Sequence[int | str | None] | None, n: int
) -> tuple[npt.NDArray[np.int16], list[int]]:
    """→ (int16[n], indices that could not be read). None, or nothing given, means good."""
    quality = np.zeros(n, np.int16)
    if given is None or set(given) <= {None, 0, "good"}:
        return quality, []
    unknown = []
    for i, item in enumerate(given):
        if item is None:
            continue
        if isinstance(item, str):
            if item in NAMES:
                quality[i] = NAMES[item]
            else:
                unknown.append(i)
        elif 0 <= item <= 0xFFFFFFFF:
            quality[i] = quality_of_status(item)
        else:
            unknown.append(i)
    return quality, unknown
