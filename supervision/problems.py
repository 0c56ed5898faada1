"""From facts about the supply of data to the list of open data problems: a pure function.

Nothing here reads a clock or a database; the same facts always give the same problems. A problem
that is open closes only when it has clearly gone (the `*_off` thresholds), so that a figure that
trembles round its limit does not flap. No data is a problem of its own kind, never a low figure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from types import MappingProxyType
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal[
    "silent_source",
    "late_data",
    "quarantine_surge",
    "clock_ahead",
    "low_transmission",
    "master_data",
    "milestone_overdue",
    "component_down",
    "canary_silent",
    "canaries_silent",
    "log_filling",
    "disk_filling",
]
Severity = Literal["bad", "warn"]

CANARY_SILENT_S = 60.0
"""A connector's canary that has not been stored for this long (s) raises an alarm; one is sent every 10 s."""
DISK_LEAST_BYTES = 2 * 2**30
"""A data directory with less room than this is in need, however large its disk is."""


class Thresholds(BaseModel):
    """When a fact becomes a problem. Durations in seconds, shares as fractions of 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    silent_intervals: float = Field(
        3, gt=0, description="a source is silent after this many reporting intervals"
    )
    silent_least_s: float = Field(90, gt=0, description="but never before this many seconds")
    silent_bad_s: float = Field(900, gt=0, description="silence of this length is severe")
    late_p95_on_s: float = Field(
        60, gt=0, description="data are late when the P95 of the delay is above this"
    )
    late_p95_off_s: float = Field(45, gt=0, description="and punctual again below this")
    quarantine_on: float = Field(
        0.05, gt=0, lt=1, description="surge: share of refused rows in the last hour"
    )
    quarantine_off: float = Field(0.02, gt=0, lt=1, description="the surge has ended below this share")
    quarantine_rows: int = Field(20, ge=1, description="fewer refused rows in the hour are no surge")
    clock_ahead_s: float = Field(
        30, gt=0, description="a source's clock may be this far ahead of the platform's"
    )
    transmission_on: float = Field(0.90, gt=0, lt=1, description="transmission rate is low below this share")
    transmission_off: float = Field(0.93, gt=0, lt=1, description="and good again above this share")
    transmission_bad: float = Field(0.60, gt=0, lt=1, description="below this share it is severe")
    effectiveness_on: float = Field(
        1.02,
        ge=1,
        description="master data are doubted when a machine's effectiveness of a day is above this",
    )
    effectiveness_off: float = Field(1.01, ge=1, description="and trusted again below this")
    availability_on: float = Field(
        1.0005,
        ge=1,
        description="or when its availability is (100.0 % as shown): it produced outside its planned time",
    )
    milestone_bad_days: int = Field(30, ge=1, description="a milestone this many days overdue is severe")
    replaced_s: float = Field(
        600, gt=0, description="a silent process is forgotten after this, if another took over"
    )
    log_on: float = Field(0.80, gt=0, lt=1, description="the ingest log is filling: share of its byte limit")
    log_off: float = Field(0.75, gt=0, lt=1, description="and has room again below this share")
    disk_on: float = Field(0.10, gt=0, lt=1, description="the disk is filling: share that is still free")
    disk_off: float = Field(0.12, gt=0, lt=1, description="and has room again above this share")
    beat_s: float = Field(
        30, gt=0, description="a part of the platform is down when it has not said anything so long"
    )


@dataclass(frozen=True, slots=True)
class SourceFact:
    """One source: ages are to be taken against `now` of the call. `p95_s` seconds, None if unknown.

    `sends_live`: it has sent live rows; a source that only brings back-fill or reports is never silent.
    """

    unit_code: str
    key: str
    interval_s: float | None
    last_received_at: datetime | None
    last_source_ts: datetime | None
    p95_s: float | None
    p95_since: datetime | None
    recent_accepted: int
    recent_quarantined: int
    sends_live: bool = True


@dataclass(frozen=True, slots=True)
class TransmissionFact:
    """The transmission rate of a unit's pilot over a period; None = not known, which is no problem of this kind."""

    unit_code: str
    pilot_code: str
    rate: float | None
    since: datetime


@dataclass(frozen=True, slots=True)
class DayFact:
    """A machine's worst recent day by an indicator (fraction of 1), and since when and on how many days it is high."""

    unit_code: str
    equipment_code: str
    indicator: str
    value: float
    since: datetime
    days: int


@dataclass(frozen=True, slots=True)
class MilestoneFact:
    """A milestone that is not accepted yet; day of +08:00."""

    unit_code: str
    code: str
    name: str
    planned_on: date


@dataclass(frozen=True, slots=True)
class ComponentFact:
    """The last word of one part of the platform."""

    component: str
    instance: str
    status: str
    beat_at: datetime


@dataclass(frozen=True, slots=True)
class CanaryFact:
    """The canary of a configured connector; `since`: when one was last stored, or when the first was promised."""

    connector: str
    since: datetime


@dataclass(frozen=True, slots=True)
class LogFact:
    """How full the ingest log is, in bytes."""

    n_bytes: int
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class DiskFact:
    """The disk of a process's data directory, in bytes."""

    instance: str
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Problem:
    """An open problem. `key` identifies it over time; texts are `problem.<kind>.title` and `.evidence`
    with `evidence` as parameters (seconds, shares, rows, days: raw numbers, to be formatted for people).
    """

    key: str
    kind: Kind
    severity: Severity
    since: datetime | None
    unit_code: str | None
    evidence: Mapping[str, str | float]


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known at one moment."""

    sources: tuple[SourceFact, ...] = ()
    transmissions: tuple[TransmissionFact, ...] = ()
    days: tuple[DayFact, ...] = ()
    milestones: tuple[MilestoneFact, ...] = ()
    components: tuple[ComponentFact, ...] = ()
    canaries: tuple[CanaryFact, ...] = ()
    log: LogFact | None = None
    disks: tuple[DiskFact, ...] = ()


def open_problems(
    facts: Facts,
    now: datetime,
    *,
    thresholds: Thresholds | None = None,
    open_before: Collection[str] = (),
    zone: str = "Asia/Shanghai",
) -> tuple[Problem, ...]:
    """The problems open at `now` (aware), severe first, then the longest standing.

    `open_before`: keys of the problems that were open at the last call, for the off-thresholds.
    """
    limits = thresholds or Thresholds()
    found: list[Problem] = []
    for source in facts.sources:
        found += _of_source(source, now, limits, open_before)
    for transmission in facts.transmissions:
        found += _of_transmission(transmission, limits, open_before)
    for day in facts.days:
        found += _of_day(day, limits, open_before)
    for milestone in facts.milestones:
        found += _of_milestone(milestone, now, limits, zone)
    for component in facts.components:
        if not _replaced(component, facts.components, now, limits):
            found += _of_component(component, now, limits)
    found += _of_canaries(facts.canaries, now)
    found += _of_log(facts.log, limits, open_before)
    for disk in facts.disks:
        found += _of_disk(disk, limits, open_before)
    return tuple(sorted(found, key=lambda p: (p.severity != "bad", p.since or now, p.key)))


def worst(problems: Iterable[Problem], unit_code: str) -> Severity | None:
    """The gravest severity among a unit's open problems; None if it has none."""
    severities = {p.severity for p in problems if p.unit_code == unit_code}
    return "bad" if "bad" in severities else "warn" if severities else None


def _problem(
    kind: Kind,
    subject: str,
    severity: Severity,
    since: datetime | None,
    unit_code: str | None,
    evidence: Mapping[str, str | float],
) -> Problem:
    return Problem(f"{kind}:{subject}", kind, severity, since, unit_code, MappingProxyType(dict(evidence)))


def _of_source(
    source: SourceFact, now: datetime, limits: Thresholds, open_before: Collection[str]
) -> Iterable[Problem]:
    subject = f"{source.unit_code}/{source.key}"
    base: dict[str, str | float] = {"source": source.key}
    if source.last_received_at is not None and source.sends_live:
        silence = (now - source.last_received_at).total_seconds()
        allowed = max(limits.silent_least_s, limits.silent_intervals * (source.interval_s or 0))
        if silence > allowed:
            severity: Severity = "bad" if silence > limits.silent_bad_s else "warn"
            yield _problem(
                "silent_source", subject, severity, source.last_received_at, source.unit_code,
                {**base, "silence_s": silence, "allowed_s": allowed},
            )  # fmt: skip
            return  # what it sent before it fell silent says nothing about now
        if source.last_source_ts is not None:
            ahead = (source.last_source_ts - source.last_received_at).total_seconds()
            if ahead > limits.clock_ahead_s:
                yield _problem(
                    "clock_ahead", subject, "warn", source.last_received_at, source.unit_code,
                    {**base, "ahead_s": ahead, "allowed_s": limits.clock_ahead_s},
                )  # fmt: skip
    limit = limits.late_p95_off_s if f"late_data:{subject}" in open_before else limits.late_p95_on_s
    if source.p95_s is not None and source.p95_s > limit:
        yield _problem(
            "late_data", subject, "warn", source.p95_since, source.unit_code,
            {**base, "p95_s": source.p95_s, "allowed_s": limits.late_p95_on_s},
        )  # fmt: skip
    total = source.recent_accepted + source.recent_quarantined
    share = source.recent_quarantined / total if total else 0.0
    limit = limits.quarantine_off if f"quarantine_surge:{subject}" in open_before else limits.quarantine_on
    if source.recent_quarantined >= limits.quarantine_rows and share > limit:
        yield _problem(
            "quarantine_surge", subject, "bad" if share > 0.5 else "warn", None, source.unit_code,
            {**base, "rows": source.recent_quarantined, "share": share},
        )  # fmt: skip


def _of_transmission(
    fact: TransmissionFact, limits: Thresholds, open_before: Collection[str]
) -> Iterable[Problem]:
    limit = (
        limits.transmission_off
        if f"low_transmission:{fact.pilot_code}" in open_before
        else limits.transmission_on
    )
    if fact.rate is not None and fact.rate < limit:
        severity: Severity = "bad" if fact.rate < limits.transmission_bad else "warn"
        yield _problem(
            "low_transmission", fact.pilot_code, severity, fact.since, fact.unit_code,
            {"rate": fact.rate, "target": limits.transmission_on},
        )  # fmt: skip


def _of_day(fact: DayFact, limits: Thresholds, open_before: Collection[str]) -> Iterable[Problem]:
    """More than all of the time: the planned run time per item, or the calendar, cannot be right."""
    subject = f"{fact.unit_code}/{fact.equipment_code}/{fact.indicator}"
    on, off = {
        "equip.effectiveness": (limits.effectiveness_on, limits.effectiveness_off),
        "equip.availability": (limits.availability_on, limits.availability_on),
    }[fact.indicator]
    if fact.value > (off if f"master_data:{subject}" in open_before else on):
        yield _problem(
            "master_data", subject, "warn", fact.since, fact.unit_code,
            {
                "equipment": fact.equipment_code, "indicator": fact.indicator, "share": fact.value,
                "days": fact.days,
            },
        )  # fmt: skip


def _of_milestone(fact: MilestoneFact, now: datetime, limits: Thresholds, zone: str) -> Iterable[Problem]:
    local = now.astimezone(ZoneInfo(zone))
    days = (local.date() - fact.planned_on).days
    if days > 0:
        due = datetime(
            fact.planned_on.year, fact.planned_on.month, fact.planned_on.day, tzinfo=ZoneInfo(zone)
        )
        yield _problem(
            "milestone_overdue", f"{fact.unit_code}/{fact.code}",
            "bad" if days >= limits.milestone_bad_days else "warn", due + timedelta(days=1), fact.unit_code,
            {"milestone": fact.name, "days": days, "planned_on": fact.planned_on.isoformat()},
        )  # fmt: skip


def _replaced(
    fact: ComponentFact, others: Iterable[ComponentFact], now: datetime, limits: Thresholds
) -> bool:
    # A process that moved to another host leaves its last word behind; its successor is what counts.
    long_gone = (now - fact.beat_at).total_seconds() > limits.replaced_s
    return long_gone and any(
        o.component == fact.component and (now - o.beat_at).total_seconds() <= limits.beat_s for o in others
    )


def _of_component(fact: ComponentFact, now: datetime, limits: Thresholds) -> Iterable[Problem]:
    if fact.status == "stopped":
        return  # it said goodbye
    age = (now - fact.beat_at).total_seconds()
    if age > limits.beat_s or fact.status == "permanent":
        yield _problem(
            "component_down", f"{fact.component}/{fact.instance}", "bad", fact.beat_at, None,
            {"component": fact.component, "instance": fact.instance, "age_s": age, "status": fact.status},
        )  # fmt: skip


def _of_canaries(facts: Collection[CanaryFact], now: datetime) -> Iterable[Problem]:
    silent = [f for f in facts if (now - f.since).total_seconds() > CANARY_SILENT_S]
    if len(silent) == len(facts) > 1:  # what they have in common is the cause: the log, the writer, the store
        since = max(f.since for f in silent)
        yield _problem(
            "canaries_silent", "all", "bad", since, None,
            {"n": len(silent), "silence_s": (now - since).total_seconds(), "allowed_s": CANARY_SILENT_S},
        )  # fmt: skip
        return
    for fact in silent:
        yield _problem(
            "canary_silent", fact.connector, "bad", fact.since, None,
            {
                "connector": fact.connector, "silence_s": (now - fact.since).total_seconds(),
                "allowed_s": CANARY_SILENT_S,
            },
        )  # fmt: skip


def _of_log(fact: LogFact | None, limits: Thresholds, open_before: Collection[str]) -> Iterable[Problem]:
    if fact is None or fact.limit_bytes <= 0:
        return
    limit = limits.log_off if "log_filling:log" in open_before else limits.log_on
    share = fact.n_bytes / fact.limit_bytes
    if share >= limit:
        yield _problem(
            "log_filling", "log", "bad", None, None,
            {"share": share, "target": limits.log_on, "used_bytes": fact.n_bytes, "limit_bytes": fact.limit_bytes},
        )  # fmt: skip


def _of_disk(fact: DiskFact, limits: Thresholds, open_before: Collection[str]) -> Iterable[Problem]:
    limit = limits.disk_off if f"disk_filling:{fact.instance}" in open_before else limits.disk_on
    share = fact.free_bytes / max(fact.total_bytes, 1)
    if share < limit or fact.free_bytes < DISK_LEAST_BYTES:
        yield _problem(
            "disk_filling", fact.instance, "bad" if fact.free_bytes < DISK_LEAST_BYTES else "warn", None, None,
            {"instance": fact.instance, "share": share, "free_bytes": fact.free_bytes, "target": limits.disk_on},
        )  # fmt: skip
