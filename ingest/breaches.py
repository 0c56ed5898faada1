"""What a record or a parameter breaks, in both languages: rules of ours, and pydantic's own in Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails, PydanticCustomError

_RULE = "rule"


def broken(zh: str, en: str, *, field: str = "") -> PydanticCustomError:
    """To be raised by a validator; `field`: which to mend, where the validator is the whole record's."""
    return PydanticCustomError(_RULE, "{en}", {"zh": zh, "en": en, "field": field})


def ordered(record: BaseModel, low: str, high: str, *, strictly: bool = False) -> None:
    """Raises unless field `low` <= field `high` (< if strictly); nothing is said of what is None.

    Of two times the later one is to be mended, of two amounts the part, which is more than the whole.
    """
    least, most = getattr(record, low), getattr(record, high)
    if least is None or most is None or (least < most if strictly else least <= most):
        return
    if isinstance(least, date):  # a datetime is one, too
        word_zh, word = ("须晚于", "must be after") if strictly else ("不得早于", "must not be before")
        raise broken(
            f"{called(record, high)}{word_zh}{called(record, low)}", f"{high} {word} {low}", field=high
        )
    raise broken(
        f"{called(record, low)}不得大于{called(record, high)}", f"{low} is more than {high}", field=low
    )


def called(record: BaseModel, field: str) -> str:
    """A field's Chinese name with its name."""
    return f"{type(record).model_fields[field].title}({field})"


def field_of(error: ErrorDetails) -> str:
    """The field an error is about, by its path; empty: the record as a whole."""
    path = ".".join(str(part) for part in error["loc"])
    return path or (str(error["ctx"]["field"]) if error["type"] == _RULE else "")


def told(error: ErrorDetails, model: type[BaseModel] | None = None) -> dict[str, str]:
    """The rule that is broken, as a refusal's parameters: `detail` in English, `detail_zh` in Chinese.

    Of a pattern, which few can read, an example of the field is told with it.
    """
    context, detail = error.get("ctx", {}), error["msg"]
    zh = (
        context["zh"]
        if error["type"] == _RULE
        else _ZH.get(error["type"], detail).format_map(_Given(context))
    )
    if error["type"] == "string_pattern_mismatch":
        named = model.model_fields.get(field_of(error).partition(".")[0]) if model else None
        for example in (named.examples or [])[:1] if named else []:
            detail, zh = f"{detail}, e.g. {example}", f"{zh},例如 {example}"
    return {"detail": detail, "detail_zh": zh}


class _Given(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


_ZH: Mapping[str, str] = MappingProxyType(
    {
        "string_type": "应为文本",
        "string_too_short": "至少 {min_length} 个字符",
        "string_too_long": "最多 {max_length} 个字符",
        "string_pattern_mismatch": "格式不符,应匹配 {pattern}",
        "string_unicode": "应为合法的 UTF-8 文本",
        "int_type": "应为整数",
        "int_parsing": "应为整数",
        "int_parsing_size": "整数过大",
        "int_from_float": "应为整数,不带小数",
        "float_type": "应为数字",
        "float_parsing": "应为数字",
        "bool_type": "应为 true 或 false",
        "bool_parsing": "应为 true 或 false",
        "date_type": "应为日期 YYYY-MM-DD",
        "date_parsing": "应为日期 YYYY-MM-DD",
        "date_from_datetime_parsing": "应为日期 YYYY-MM-DD",
        "date_from_datetime_inexact": "应为日期 YYYY-MM-DD,不带时刻",
        "datetime_type": "应为带时区的时间(RFC 3339)",
        "datetime_parsing": "应为带时区的时间(RFC 3339)",
        "datetime_from_date_parsing": "应为带时区的时间(RFC 3339)",
        "datetime_object_invalid": "应为带时区的时间(RFC 3339)",
        "timezone_aware": "时间须带时区,如 +08:00",
        "literal_error": "应为其中之一:{expected}",
        "list_type": "应为列表",
        "too_long": "最多 {max_length} 项",
        "greater_than": "应大于 {gt}",
        "greater_than_equal": "应不小于 {ge}",
        "less_than": "应小于 {lt}",
        "less_than_equal": "应不大于 {le}",
        "finite_number": "应为有限的数",
        "model_type": "记录应为一个 JSON 对象",
        "missing": "缺少该项",
        "extra_forbidden": "没有这一项",
        "too_short": "至少 {min_length} 项",
        "enum": "应为其中之一:{expected}",
        "json_invalid": "不是合法的 JSON:{error}",
    }
)
"""Pydantic's kinds of error; what is not here is said in its own words."""
