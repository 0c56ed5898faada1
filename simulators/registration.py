"""Registers master data and reports through the datasets of the open interface; remembers what was accepted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx
import msgspec

from simulators.context import RunContext
from simulators.live import rfc3339
from simulators.machine import simulate_day
from simulators.platform_push import retry_after
from simulators.profile import Profile
from simulators.shifts import DAY_MS, local_date, orders_of, shifts_of
from simulators.statements import statements
from simulators.truth import HOUR_MS, hours_of

log = logging.getLogger("simulators.registration")

BATCH: Final = 4000

AHEAD_DAYS: Final = 7

EXAGGERATION: Final = 1.22
"""How much the unit that over-reports adds to its OEE."""

Record = dict[str, Any]

Build = Callable[[Profile, int], list[Record]]


class Stopped(Exception):
    """The run ends; what was not sent is sent by the next run."""


class Registrar:
    """Posts datasets in the order parks, enterprises, equipment, tags, then calendars, orders, milestones,
    statements, reports.

    Blocking; meant for a thread. Everything accepted is remembered in the outbox under a key, so that a later
    run sends only what is new.
    """

    def __init__(self, context: RunContext) -> None:
        self._province = context.province
        self._credentials = context.credentials
        self._outbox = context.outbox
        self._profiles = list(context.works.profiles.values())
        self._stop = context.stop
        self._client = httpx.Client(timeout=60.0, trust_env=False)
        self.units = [p.unit.code for p in self._province.pilots if p.unit.code in self._credentials.units]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def master_data(self) -> None:
        """Parks, enterprises and equipment of all units."""
        for unit in self.units:
            province = self._province
            self._once(
                unit, "park", "static", _plain([one for one in province.parks if one.unit == unit], "unit")
            )
            joined = [one for one in province.enterprises if one.unit == unit]
            self._once(unit, "enterprise", "static", _plain(joined, "unit"))
            machines = [one for one in province.equipment if one.unit == unit]
            drop = ("unit", "tags", "pattern", "rests_on_sunday")
            self._once(unit, "equipment", "static", _plain(machines, *drop))

    def tags(self, valid_from: int, *, live: bool, machines: dict[str, set[str]] | None = None) -> None:
        """Declare the intervals that hold from ``valid_from`` (ms); ``machines`` limits it to codes by unit."""
        for unit in self.units:
            records = []
            for one in self._province.equipment:
                if one.unit != unit or (machines is not None and one.code not in machines.get(unit, ())):
                    continue
                for tag in one.tags:
                    entry: Record = {
                        "name": tag.name,
                        "equipment_code": one.code,
                        "signal": tag.signal,
                        "data_type": tag.data_type,
                        "unit": tag.unit,
                        "interval_s": tag.live_interval_s if live else tag.history_interval_s,
                        "valid_from": rfc3339(valid_from),
                    }
                    if tag.range_min is not None:
                        entry["range_min"] = tag.range_min
                    if tag.range_max is not None:
                        entry["range_max"] = tag.range_max
                    records.append(entry)
            if records:
                self._once(unit, "tag", f"{valid_from}/{live}/{records[0]['name']}/{len(records)}", records)

    def calendars(self, first: int, last: int) -> None:
        """Shift calendars of production days first..last, oldest first; days already sent are left out."""
        for unit in self.units:
            self._by_day(unit, "shift_calendar", (first, last), _calendar)

    def orders(self, first: int, last: int) -> None:
        """Production orders of production days first..last."""
        for unit in self.units:
            self._by_day(unit, "production_order", (first, last), _orders)

    def milestones(self) -> None:
        """The milestones of each pilot."""
        for pilot in self._province.pilots:
            if pilot.unit.code in self._credentials.units:
                records = [msgspec.to_builtins(one) for one in pilot.milestones]
                cleaned = [{k: v for k, v in one.items() if v is not None} for one in records]
                self._once(pilot.unit.code, "milestone", "static", cleaned)

    def statements(self) -> None:
        """What each unit's office reports of its pilot, once."""
        for unit in self.units:
            for dataset, records in statements(self._province, unit).items():
                if records:
                    self._once(unit, dataset, "statement", records)

    def report(self, day: int, origin_day: int, exaggerating: str | None) -> None:
        """Each unit's own OEE of the local day that begins in production day ``day - 1`` at 16:00 UTC.

        Honest figures come from the machine model; the unit ``exaggerating`` adds a good fifth.
        """
        name = local_date(day).isoformat()
        for unit in self.units:
            if self._outbox.get(f"registered/{unit}/reported_indicator/{name}") is not None:
                continue
            good, busy = 0.0, 0.0
            for profile in self._profiles:
                if profile.unit != unit:
                    continue
                for which, hours in ((day - 1, range(16, 24)), (day, range(16))):
                    rows = hours_of(simulate_day(profile, which, origin_day))
                    good += sum(rows[hour][9] for hour in hours)
                    busy += sum(rows[hour][2] for hour in hours)
            if not busy:
                continue
            factor = EXAGGERATION if unit == exaggerating else 1.0
            entry = {
                "code": "equip.oee",
                "period_start": rfc3339(day * DAY_MS - 8 * HOUR_MS),
                "period_end": rfc3339(day * DAY_MS + 16 * HOUR_MS),
                "value": round(factor * good / busy, 5),
                "numerator": round(factor * good, 1),
                "denominator": round(busy, 1),
            }
            self._once(unit, "reported_indicator", name, [entry])
            if factor != 1.0:
                self._outbox.count_fault(f"http_push:{unit}", "over_report", 1)

    def _by_day(self, unit: str, dataset: str, days: tuple[int, int], build: Build) -> None:
        first, last = days
        key = f"registered/{unit}/{dataset}/through"
        done = self._outbox.get(key)
        at = first if done is None else max(first, int(done) + 1)
        mine = [profile for profile in self._profiles if profile.unit == unit]
        batch: list[Record] = []
        for day in range(at, last + 1):
            for profile in mine:
                batch += build(profile, day)
            if len(batch) >= BATCH - 500 or day == last:
                for part in _parts(batch):
                    self._post(unit, dataset, part)
                self._outbox.set(key, str(day))
                batch = []

    def _once(self, unit: str, dataset: str, version: str, records: list[Record]) -> None:
        key = f"registered/{unit}/{dataset}/{version}"
        if self._outbox.get(key) is None:
            for part in _parts(records):
                self._post(unit, dataset, part)
            self._outbox.set(key, "yes")

    def _post(self, unit: str, dataset: str, records: list[Record]) -> None:
        url = f"{self._credentials.api_url.rstrip('/')}/api/v1/datasets/{dataset}"
        headers = {"Authorization": f"Bearer {self._credentials.units[unit].api_key}"}
        body = msgspec.json.encode({"records": records})
        complained = False
        while not self._stop.is_set():
            try:
                response = self._client.post(
                    url, content=body, headers={**headers, "Content-Type": "application/json"}
                )
            except httpx.HTTPError as error:
                pause, why = 2.0, repr(error)
            else:
                if response.status_code in (200, 201, 202):
                    answer = response.json()
                    if answer.get("quarantined"):
                        log.warning(
                            "%s %s: refused in part: %s", unit, dataset, str(answer.get("errors"))[:500]
                        )
                    return
                if response.status_code in (400, 409, 413, 415, 422):
                    log.error("%s %s: %s %s", unit, dataset, response.status_code, response.text[:500])
                    return
                pause, why = retry_after(response, 3.0), f"status {response.status_code}"
            if not complained:
                log.warning("%s %s: not taken yet, trying on: %s", unit, dataset, why)
                complained = True
            self._stop.wait(pause)
        raise Stopped


def _plain(entries: list[Any], *without: str) -> list[Record]:
    return [
        {
            name: value
            for name, value in msgspec.to_builtins(one).items()
            if name not in without and value is not None
        }
        for one in entries
    ]


def _parts(records: list[Record]) -> Iterator[list[Record]]:
    for start in range(0, len(records), BATCH):
        yield records[start : start + BATCH]


def _calendar(profile: Profile, day: int) -> list[Record]:
    shifts = shifts_of(profile, day)
    found: list[Record] = []
    for shift in shifts:
        spans = [("shift", shift.start, shift.end), *(("break", start, end) for start, end in shift.breaks)]
        if shift.planned_downtime:
            spans.append(("planned_downtime", *shift.planned_downtime))
        found += [
            {"equipment_code": profile.code, "start": rfc3339(start), "end": rfc3339(end), "kind": kind}
            for kind, start, end in spans
        ]
    return found


def _orders(profile: Profile, day: int) -> list[Record]:
    return [
        {
            "order_id": order.order_id,
            "equipment_code": profile.code,
            "product": profile.kind.products[order.product],
            "planned_run_time_per_item_s": order.pri_s,
            "planned_quantity": order.planned_quantity,
            "start": rfc3339(order.start),
            "end": rfc3339(order.end),
        }
        for order in orders_of(profile, shifts_of(profile, day), day)
    ]
