"""The columns of a dataset's file, read off its model."""

from __future__ import annotations

import re
import types
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AwareDatetime
from pydantic.fields import FieldInfo

from ingest.datasets import DATASETS
from ingest.datasets.fields import CodeOf

Kind = Literal["text", "integer", "number", "boolean", "date", "moment", "choice", "list"]

KINDS: Mapping[Kind, tuple[str, str]] = {
    "text": ("文本", "text"),
    "integer": ("整数", "a whole number"),
    "number": ("数字", "a number"),
    "boolean": ("是或否", "是 or 否 (yes or no)"),
    "date": ("日期,如 2026-11-23", "a date such as 2026-11-23"),
    "moment": ("时间,如 2026-11-23 08:00", "a time such as 2026-11-23 08:00"),
    "choice": ("下拉选项之一", "one of the listed values"),
    "list": ("文本,多个以分号隔开", "text, several separated by semicolons"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One field as a column: `choices` code → (zh, en); `item` the kind of a list's items; `note` what `en` says, in
    Chinese; `table` the code table that a text is a code of.
    """

    field: str
    zh: str
    en: str
    kind: Kind
    required: bool
    is_key: bool
    examples: tuple[Any, ...]
    choices: Mapping[str, tuple[str, str]]
    item: Kind = "text"
    note: str = ""
    table: str | None = None

    @property
    def called(self) -> str:
        """What messages call it: the heading and the field."""
        return self.field if self.zh == self.field else f"{self.zh} {self.field}"

    @property
    def names(self) -> frozenset[str]:
        """Headings by which the column is known, folded."""
        return frozenset(folded(name) for name in (self.field, self.zh, self.en))


_MARKS = re.compile(r"\(\s*(必填|必填项|选填|选填项|可选|必须|required|mandatory|optional)\s*\)")


def folded(heading: str) -> str:
    """A heading without what people change in it: width, case, blanks, underscores, the mark of mandatory ones."""
    text = _MARKS.sub("", unicodedata.normalize("NFKC", heading).casefold())
    return "".join(c for c in text if not c.isspace() and c not in "_*:'\"")


@cache
def columns_of(dataset: str) -> tuple[Column, ...]:
    """The columns of a dataset, in the order of its model."""
    model = DATASETS[dataset]
    return tuple(_column(name, field, name in model.key) for name, field in model.model_fields.items())


@cache
def title_of(dataset: str) -> tuple[str, str]:
    """What the dataset is called, (zh, en)."""
    model = DATASETS[dataset]
    en = (model.__doc__ or dataset).strip().splitlines()[0].rstrip(".")
    return getattr(model, "zh", dataset), en


def _column(name: str, field: FieldInfo, is_key: bool) -> Column:
    kind, item, values = _kind(field.annotation)
    return Column(
        field=name,
        zh=field.title or name,
        en=(field.description or name.replace("_", " ")).rstrip("."),
        kind=kind,
        required=field.is_required(),
        is_key=is_key,
        examples=tuple(field.examples or ()),
        choices=_choices(field, values),
        item=item,
        note=str(_extra(field).get("description_zh", "")),
        table=next((one.table for one in field.metadata if isinstance(one, CodeOf)), None),
    )


def _extra(field: FieldInfo) -> Mapping[str, Any]:
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def _choices(field: FieldInfo, values: tuple[Any, ...]) -> Mapping[str, tuple[str, str]]:
    labels: Any = _extra(field).get("labels", {})
    return {str(value): _label(labels.get(str(value)), str(value)) for value in values}


def _label(label: Any, code: str) -> tuple[str, str]:
    if isinstance(label, dict):
        return str(label.get("zh", code)), str(label.get("en", code))
    return (code if label is None else str(label)), code.replace("_", " ")


_SCALARS: Mapping[Any, Kind] = {
    bool: "boolean", int: "integer", float: "number", AwareDatetime: "moment", datetime: "moment",
    date: "date", str: "text",
}  # fmt: skip


def _kind(annotation: Any) -> tuple[Kind, Kind, tuple[Any, ...]]:
    """(kind, kind of the items, values to choose from)."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(inner[0])
    if origin in (Union, types.UnionType):
        given = [one for one in inner if one is not type(None)]
        return _kind(given[0])
    if origin is Literal:
        return "choice", "text", inner
    if origin in (list, tuple, set, frozenset):
        kind, _, values = _kind(inner[0])
        return "list", kind, values
    return _SCALARS.get(annotation, "text"), "text", ()
