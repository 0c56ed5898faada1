"""What fields of datasets are made of: types with their bounds, and what a field tells of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field
from pydantic.config import JsonDict

from ingest.breaches import broken

_EARLIEST, _END = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_DECIMALS = {"yuan": 2, "10,000 yuan": 6}
_UNITS_ZH = {"yuan": "元", "10,000 yuan": "万元"}


@dataclass(frozen=True, slots=True)
class CodeOf:
    """Says of a text that it is a code of this table; what the table holds is not known here."""

    table: str


def about(zh: str, en: str, example: Any, labels: Mapping[str, str] | None = None, note: str = "") -> Any:
    """What a field tells of itself: its Chinese label, what it is in English with its unit, an example.

    `labels`: Chinese names of the values to choose from; they are in the JSON Schema as `labels`. `note`: in
    Chinese what `en` says; it is there as `description_zh`, and is the label where that says it all. The
    examples of all fields of a dataset together are a record that is accepted.
    """
    extra: JsonDict = {"description_zh": note or zh}
    if labels is not None:
        extra["labels"] = dict(labels)
    return Field(title=zh, description=en, examples=[example], json_schema_extra=extra)


def uscc_is_valid(code: str) -> bool:
    """统一社会信用代码 with a correct check character (GB 32100-2015)."""
    if len(code) != 18 or any(c not in _ALPHABET for c in code):
        return False
    total = sum(_ALPHABET.index(c) * pow(3, i, 31) for i, c in enumerate(code[:17]))
    return _ALPHABET[-total % 31] == code[17]


def _uscc(code: str) -> str:
    if uscc_is_valid(code):
        return code
    if len(code) != 18:
        zh, en = f"应为 18 位,收到 {len(code)} 位", f"it has 18 characters, not {len(code)}"
    elif uscc_is_valid(code.upper()):
        zh, en = "字母须大写", "its letters are capitals"
    elif wrong := next((c for c in code if c not in _ALPHABET), None):
        zh, en = f"不含字符 {wrong}", f"it has no {wrong}"
    else:
        zh, en = "校验码不符,请核对各位", "the check character does not match: look at every character"
    raise broken(
        f"不是有效的统一社会信用代码:{zh}(GB 32100-2015)", f"not a 统一社会信用代码: {en} (GB 32100-2015)"
    )


def _utc(moment: datetime) -> datetime:
    if not (_EARLIEST <= moment < _END):
        raise broken("应在 2000 至 2099 年之间(UTC)", "must lie in the years 2000 to 2099 (UTC)")
    # The same instant in another zone is the same report, not a correction.
    return moment.astimezone(UTC)


def _day(day: date) -> date:
    if not (1900 <= day.year < 2100):
        raise broken("应在 1900 至 2099 年之间", "must lie in the years 1900 to 2099")
    return day


def _exact(unit: str) -> AfterValidator:
    decimals = _DECIMALS[unit]

    def check(amount: float) -> float:
        if round(amount, decimals) != amount:
            raise broken(
                f"最多 {decimals} 位小数({_UNITS_ZH[unit]}),精确到分",
                f"at most {decimals} decimals ({unit}): a hundredth of a yuan is the least",
            )
        return amount

    return AfterValidator(check)


def _ticked(values: list[str]) -> list[str]:
    if not values:
        raise broken("至少选一项;都没有时选 none(无)", "tick something, or none")
    if len(set(values)) < len(values):
        raise broken("同一选项出现两次", "names a value twice")
    if len(values) > 1 and "none" in values:
        raise broken("none(无)不能与其他选项同时选", "none stands alone")
    return sorted(values)  # the order in which they were ticked says nothing


Moment = Annotated[AwareDatetime, AfterValidator(_utc)]
Day = Annotated[date, AfterValidator(_day)]
Uscc = Annotated[str, AfterValidator(_uscc)]
Region = Annotated[str, Field(pattern=r"^[0-9]{6}([0-9]{3})?$"), CodeOf("region")]
Code = Annotated[str, Field(pattern=r"^[^./+#,\s]{1,64}$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Number = Annotated[str, Field(pattern=r"^\S{1,100}$")]
"""Of a document: a contract, a voucher, a certificate."""
IndicatorCode = Annotated[str, Field(pattern=r"^[a-z]+\.[a-z0-9_]+$"), CodeOf("indicator")]
Period = Annotated[str, Field(pattern=r"^20[0-9]{2}(-Q[1-4]|-(0[1-9]|1[0-2]))?$")]
"""A year, a quarter or a month of +08:00: 2026, 2026-Q1, 2026-03."""
# JSON has one kind of number: 64.0 is as whole as 64, and libraries that keep doubles write it so.
Whole = Annotated[int, BeforeValidator(lambda n: int(n) if isinstance(n, float) and n.is_integer() else n)]
Count = Annotated[Whole, Field(ge=0, le=10**15)]
Amount = Annotated[float, Field(ge=0, le=1e15)]
Hours = Annotated[float, Field(ge=0, le=24)]
Share = Annotated[float, Field(ge=0, le=1)]
Wan = Annotated[float, Field(ge=0, le=1e10), _exact("10,000 yuan")]
SignedWan = Annotated[float, Field(ge=-1e10, le=1e10), _exact("10,000 yuan")]
Yuan = Annotated[float, Field(gt=0, le=1e13), _exact("yuan")]
Ticked = AfterValidator(_ticked)
"""For lists of values to tick, of which one is none."""
NONE = {"none": "无"}
