"""What a unit reports: one model a dataset, validated record by record. Pure, no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from ingest.batch import Refusal
from store.signals import COUNTERS, ENUMERATIONS

MAX_RECORDS = 5_000
LEAST_INTERVAL_S = 0.1
"""Slots due grow with 1 / interval: one tag must not outweigh all others of a province."""
_EARLIEST, _END = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_FIELD_SHOWN = 100
_NUMERIC = frozenset({"float", "int", "counter"})

_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"


def uscc_is_valid(code: str) -> bool:
    """统一社会信用代码 with a correct check character (GB 32100-2015)."""
    if len(code) != 18 or any(c not in _ALPHABET for c in code):
        return False
    total = sum(_ALPHABET.index(c) * pow(3, i, 31) for i, c in enumerate(code[:17]))
    return _ALPHABET[-total % 31] == code[17]


def _uscc(code: str) -> str:
    if not uscc_is_valid(code):
        raise ValueError("not a 统一社会信用代码: the check character does not match (GB 32100-2015)")
    return code


def _utc(moment: datetime) -> datetime:
    if not (_EARLIEST <= moment < _END):
        raise ValueError("must lie in the years 2000 to 2099 (UTC)")
    # The same instant in another zone is the same report, not a correction.
    return moment.astimezone(UTC)


def _day(day: date) -> date:
    if not (1900 <= day.year < 2100):
        raise ValueError("must lie in the years 1900 to 2099")
    return day


Moment = Annotated[AwareDatetime, AfterValidator(_utc)]
Day = Annotated[date, AfterValidator(_day)]
Uscc = Annotated[str, AfterValidator(_uscc)]
Region = Annotated[str, Field(pattern=r"^[0-9]{6}([0-9]{3})?$")]
Code = Annotated[str, Field(pattern=r"^[^./+#\s]{1,64}$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Record(BaseModel):
    """Base of every dataset: `key` names the fields of the natural key."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    key: ClassVar[tuple[str, ...]]

    @field_validator("*", mode="after")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        # JSON can say what PostgreSQL's text cannot hold.
        if isinstance(value, str) and "\0" in value:
            raise ValueError("contains the character U+0000")
        return value


class Park(Record):
    """工业互联园区, physical or virtual."""

    key = ("code",)
    code: Code
    name: Name
    region_code: Region
    virtual: bool


class Enterprise(Record):
    """An enterprise the unit has brought onto its platform."""

    key = ("uscc",)
    uscc: Uscc
    name: Name
    region_code: Region
    industry: Name | None = None
    park_code: Code | None = None
    registered_on: Day
    scale: Literal["large", "medium", "small", "micro"] | None = None


class Equipment(Record):
    """Equipment register."""

    key = ("code",)
    code: Code
    enterprise_uscc: Uscc
    name: Name
    kind: Name
    rated_capacity_per_h: Annotated[float, Field(gt=0)] | None = None
    digital: bool
    networked: bool
    commissioned_on: Day | None = None


class Tag(Record):
    """A measured signal; reported again with another valid_from it changes its reporting interval."""

    key = ("name", "valid_from")
    name: Annotated[str, Field(pattern=r"^[^./+#\s]{1,64}\.[^/+#\s]{1,64}$")]
    equipment_code: Code
    signal: Annotated[str, Field(pattern=r"^[^/+#\s]{1,64}$")]
    data_type: Literal["enum", "counter", "float", "int", "bool", "text"]
    unit: Annotated[str, Field(min_length=1, max_length=32)]
    interval_s: Annotated[float, Field(ge=LEAST_INTERVAL_S, le=86_400)]
    valid_from: Moment
    range_min: float | None = None
    range_max: float | None = None
    frozen_after_s: Annotated[float | None, Field(gt=0)] = None
    rate_max_per_s: Annotated[float | None, Field(gt=0)] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.name != f"{self.equipment_code}.{self.signal}":
            raise ValueError("name must be equipment_code, a dot, signal")
        if (self.data_type == "enum") != (self.signal in ENUMERATIONS):
            raise ValueError("data_type enum belongs to the signals state and mode, and they to it")
        if self.signal in COUNTERS and self.data_type != "counter":
            raise ValueError(f"signal {self.signal} needs data_type counter")
        if self.range_min is not None and self.range_max is not None and self.range_min > self.range_max:
            raise ValueError("range_min is greater than range_max")
        watched = self.frozen_after_s is not None or self.rate_max_per_s is not None
        if watched and self.data_type not in _NUMERIC:
            raise ValueError(
                "frozen_after_s and rate_max_per_s need a numeric data_type: float, int, counter"
            )
        return self


class _Interval(Record):
    start: Moment

    def _ordered(self, end: datetime | None, field: str) -> None:
        if end is not None and end <= self.start:
            raise ValueError(f"{field} must be after start")


class ShiftCalendar(_Interval):
    """Planned time of a work unit."""

    key = ("equipment_code", "start", "kind")
    equipment_code: Code
    end: Moment
    kind: Literal["shift", "break", "planned_downtime"]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._ordered(self.end, "end")
        return self


class ProductionOrder(_Interval):
    """A production order with its planned run time per item (PRI, ISO 22400-2)."""

    key = ("order_id",)
    order_id: Annotated[str, Field(min_length=1, max_length=100)]
    equipment_code: Code
    product: Name
    planned_run_time_per_item_s: Annotated[float, Field(gt=0)]
    planned_quantity: Annotated[float, Field(ge=0)]
    end: Moment | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._ordered(self.end, "end")
        return self


class Milestone(Record):
    """A milestone of the task book (任务书)."""

    key = ("code",)
    code: Code
    name: Name
    planned_on: Day
    accepted_on: Day | None = None


class ReportedIndicator(Record):
    """An indicator value as the unit states it; ratios as fractions of 1."""

    key = ("code", "period_start", "period_end")
    code: Annotated[str, Field(pattern=r"^[a-z]+\.[a-z0-9_]+$")]
    period_start: Moment
    period_end: Moment
    value: float
    numerator: float | None = None
    denominator: float | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.period_end <= self.period_start:
            raise ValueError("period_end must be after period_start")
        return self


DATASETS: Mapping[str, type[Record]] = MappingProxyType(
    {
        "park": Park,
        "enterprise": Enterprise,
        "equipment": Equipment,
        "tag": Tag,
        "shift_calendar": ShiftCalendar,
        "production_order": ProductionOrder,
        "milestone": Milestone,
        "reported_indicator": ReportedIndicator,
    }
)
"""Name in the address → model, in the order in which they must be reported first."""


def check_records(
    dataset: str, originals: Sequence[bytes]
) -> tuple[list[tuple[int, dict[str, Any]]], list[Refusal]]:
    """Records as the JSON bytes they came in → ([(index, record with defaults)], refusals), each by itself."""
    model = DATASETS[dataset]
    good: list[tuple[int, dict[str, Any]]] = []
    refused: list[Refusal] = []
    for index, original in enumerate(originals):
        try:
            good.append((index, model.model_validate_json(original, strict=True).model_dump(mode="json")))
        except ValidationError as error:
            refused.append(_refusal(dataset, index, error.errors()[0], original, model))
    return good, refused


def natural_key(dataset: str, record: Mapping[str, Any]) -> str:
    """The key fields joined by |."""
    return "|".join(str(record[field]) for field in DATASETS[dataset].key)


def _refusal(dataset: str, index: int, error: ErrorDetails, original: bytes, model: type[Record]) -> Refusal:
    # The sender's own field names come back in it: shortened, and without what cannot be stored.
    field = ".".join(str(part) for part in error["loc"])[:_FIELD_SHOWN].replace("\0", "\N{SYMBOL FOR NULL}")
    place = f"{dataset} records[{index}]" + (f".{field}" if field else "")
    kind = error["type"]
    if kind == "missing":
        return Refusal(place, "missing_field", {"field": field}, original)
    if kind == "extra_forbidden":
        known = ", ".join(model.model_fields)
        return Refusal(place, "unknown_field", {"field": field, "known": known}, original)
    detail = error["msg"].removeprefix("Value error, ")
    return Refusal(place, "invalid_field", {"field": field or "record", "detail": detail}, original)
