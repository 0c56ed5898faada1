"""Whose readings a benchmark sends: lead units, their machines, and the tags of these, registered in the store."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ingest.log import PARTITIONS, partition_of
from store.columnar import read
from store.database import Connection

SIGNALS = 50
"""Tags of a machine; read together, they are one scan."""
USCC = "91440300MA5EXAMP0C"


@dataclass(frozen=True, slots=True)
class Fleet:
    """Units with `machines` machines each. tag_ids int32[units, machines * SIGNALS], by machine, then signal."""

    units: tuple[str, ...]
    machines: int
    tag_ids: npt.NDArray[np.int32]

    @property
    def tags(self) -> int:
        """Tags in all."""
        return int(self.tag_ids.size)


def tag_names(machines: npt.NDArray[np.int32]) -> list[str]:
    """Names of the tags of these machines of a unit."""
    return [f"M{machine}.p{signal}" for machine in machines.tolist() for signal in range(SIGNALS)]


def values_of(
    tag_id: npt.NDArray[np.int32] | npt.NDArray[np.int64], ts: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """The value of a tag at a time: the same whenever it is asked for, so that what is stored can be judged."""
    number: npt.NDArray[np.float64] = (tag_id.astype(np.int64) * 7919 + ts // 100_000) % 100_003 / 8
    return number


def unit_codes(count: int) -> tuple[str, ...]:
    """Codes of units that spread evenly over the log's partitions: the i-th goes to partition i modulo their number."""
    codes: list[str] = []
    for i in range(count):
        number = i
        while partition_of(f"GD-BEN-{number:04}") != i % PARTITIONS or f"GD-BEN-{number:04}" in codes:
            number += 1
        codes.append(f"GD-BEN-{number:04}")
    return tuple(codes)


def pilots(units: tuple[str, ...]) -> list[dict[str, object]]:
    """What `qunce.provision` needs to register them."""
    return [
        {
            "code": f"P-{code}", "name_zh": "性能", "name_en": "Benchmark", "cluster_code": "new-it",
            "region_code": "441900", "stage": "piloting", "started_on": "2026-01-01",
            "unit": {"code": code, "name_zh": "性能", "name_en": "Benchmark", "path": 1, "uscc": USCC},
        }
        for code in units
    ]  # fmt: skip


def register(conn: Connection, units: tuple[str, ...], tags: int) -> Fleet:
    """Register machines and tags of provisioned units, about `tags` in all: whole machines, the same for each."""
    machines = max(1, round(tags / len(units) / SIGNALS))
    with conn.transaction():
        conn.execute(
            "INSERT INTO enterprise (unit_id, uscc, name, region_code, registered_on)"
            " SELECT unit_id, %s, '厂', '441900', '2026-01-01' FROM lead_unit",
            (USCC,),
        )
        conn.execute(
            "INSERT INTO equipment (unit_id, enterprise_id, code, name, kind, digital, networked)"
            " SELECT unit_id, enterprise_id, 'M' || i, '机', 'CNC', true, true"
            " FROM enterprise, generate_series(0, %s) i ORDER BY unit_id, i",
            (machines - 1,),
        )
        conn.execute(
            "INSERT INTO tag (unit_id, equipment_id, name, signal, data_type, unit, range_min, range_max)"
            " SELECT unit_id, equipment_id, code || '.p' || i, 'p' || i, 'float', '1', -1e9, 1e9"
            " FROM equipment, generate_series(0, %s) i ORDER BY equipment_id, i",
            (SIGNALS - 1,),
        )
    conn.execute("ANALYZE")
    found = read(
        conn,
        "SELECT t.tag_id, array_position(%s::text[], u.code), substr(e.code, 2)::integer,"
        " substr(t.signal, 2)::integer FROM tag t JOIN lead_unit u ON u.unit_id = t.unit_id"
        " JOIN equipment e ON e.equipment_id = t.equipment_id",
        (list(units),),
        {"tag_id": "int4", "unit": "int4", "machine": "int4", "signal": "int4"},
    )
    tag_ids = np.empty((len(units), machines * SIGNALS), np.int32)
    tag_ids[found["unit"] - 1, found["machine"] * SIGNALS + found["signal"]] = found["tag_id"]
    return Fleet(units, machines, tag_ids)
