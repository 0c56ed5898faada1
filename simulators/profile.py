"""What a machine is like: drawn once from the seed and its code, never changing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from zlib import crc32

from simulators.names import KINDS, Kind
from simulators.province import Equipment, Pilot, Province


@dataclass(frozen=True, slots=True)
class Profile:
    """A machine's constants.

    ``pri_s``: planned run time per item for each product, s. ``cycle_ratio``: true cycle time over PRI.
    ``mtbf_h``: characteristic life of the Weibull distribution, run hours, of shape ``weibull_shape``.
    ``repair_min``: median of the log-normal repair time. ``scrap``: share of pieces. Power in kW.
    """

    unit: str
    code: str
    kind: Kind
    number: int
    seed: int
    pattern: str
    rests_on_sunday: bool
    pri_s: tuple[float, ...]
    cycle_ratio: float
    mtbf_h: float
    weibull_shape: float
    repair_min: float
    micro_stop_min: float
    wait_h: float
    setup_min: float
    scrap: float
    idle_kw: float
    run_kw: float
    gain: float
    loss: float

    def losses(self, week: float) -> float:
        """The size of all losses ``week`` weeks after the run's origin, 1.0 for an ordinary machine.

        A pilot with a positive gain removes that share of its losses in the long run (time constant 4 weeks).
        """
        return self.loss * (1.0 - self.gain * (1.0 - math.exp(-max(0.0, week) / 4.0)))


def profile_of(province: Province, equipment: Equipment, pilot: Pilot) -> Profile:
    """Draw the constants of one machine."""
    kind = KINDS[equipment.kind]
    name = f"{equipment.unit}/{equipment.code}"
    random = Random(f"{province.seed}/{name}/profile")
    base = random.uniform(*kind.pri_s)
    pri = tuple(round(base * random.uniform(0.8, 1.25), 1) for _ in kind.products)
    return Profile(
        unit=equipment.unit,
        code=equipment.code,
        kind=kind,
        number=crc32(name.encode()),
        seed=province.seed,
        pattern=equipment.pattern,
        rests_on_sunday=equipment.rests_on_sunday,
        pri_s=pri,
        cycle_ratio=random.uniform(0.99, 1.15),
        mtbf_h=random.uniform(10, 28),
        weibull_shape=random.uniform(1.2, 1.9),
        repair_min=random.uniform(14, 34),
        micro_stop_min=random.uniform(8, 19),
        wait_h=random.uniform(0.7, 2.0),
        setup_min=random.uniform(14, 36),
        scrap=kind.scrap * random.uniform(0.6, 1.5),
        idle_kw=kind.idle_kw * random.uniform(0.85, 1.15),
        run_kw=kind.run_kw * random.uniform(0.85, 1.15),
        gain=pilot.gain,
        loss=pilot.loss * random.uniform(0.85, 1.15),
    )
