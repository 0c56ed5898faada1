"""Records as they came in → records as they are stored, or a refusal each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import msgspec
from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic_core import ErrorDetails

from ingest.batch import Breach, Refusal
from ingest.breaches import field_of, told
from ingest.datasets.record import Record
from ingest.datasets.registry import DATASETS
from store.times import LOCAL

MAX_RECORDS = 5_000
_FIELD_SHOWN = 100
_BREACHES_TOLD = 20
"""Of one record, at most."""
_INSTANT = timedelta(microseconds=1)


def check_records(
    dataset: str, originals: Sequence[bytes]
) -> tuple[list[tuple[int, dict[str, Any]]], list[Refusal]]:
    """Records as the JSON bytes they came in → ([(index, record with defaults)], refusals), each by itself.

    A record with `"withdrawn": true` is one of its key fields and that word; what else it says is not read.
    """
    good: list[tuple[int, dict[str, Any]]] = []
    refused: list[Refusal] = []
    for index, original in enumerate(originals):
        model: type[BaseModel] = DATASETS[dataset]
        said: dict[str, Any] = {}
        try:
            if _withdraws(original):
                model, said = _key_model(dataset), {"withdrawn": True}
            record = model.model_validate_json(original, strict=True).model_dump(mode="json")
            good.append((index, record | said))
        except ValidationError as error:
            refused.append(_refusal(dataset, index, error, original, model))
    return good, refused


def natural_key(dataset: str, record: Mapping[str, Any]) -> str:
    """The key fields joined by |; within a field of several it has a backslash before it."""
    values = [str(record[field]) for field in DATASETS[dataset].key]
    if len(values) > 1:
        values = [value.replace("\\", "\\\\").replace("|", "\\|") for value in values]
    return "|".join(values)


def settled_at(dataset: str, record: Mapping[str, Any]) -> datetime | None:
    """When what a record speaks of is over: closed periods that reach so far refuse it.

    None: not dated, not over yet, or a withdrawal, which says no more than the key does.
    """
    dated = DATASETS[dataset].dated
    value = record.get(dated[-1]) if dated else None
    if value is None:
        return None
    if len(value) > len("2026-11-23"):
        moment = datetime.fromisoformat(value)
        return moment if len(dated) > 1 else moment + _INSTANT
    return _end_of(value)


def _end_of(span: str) -> datetime:
    """The end, exclusive, of a year, quarter, month or day of +08:00."""
    year, _, rest = span.partition("-")
    if not rest:
        return datetime(int(year) + 1, 1, 1, tzinfo=LOCAL)
    if len(rest) > 2:
        return datetime.fromisoformat(span).replace(tzinfo=LOCAL) + timedelta(days=1)
    last = 3 * int(rest[1]) if rest.startswith("Q") else int(rest)
    return datetime(int(year) + last // 12, last % 12 + 1, 1, tzinfo=LOCAL)


class _Withdraws(msgspec.Struct):
    withdrawn: bool = False


_WITHDRAWN = msgspec.json.Decoder(_Withdraws)


def _withdraws(original: bytes) -> bool:
    if b'"withdrawn"' not in original:
        return False
    try:
        return _WITHDRAWN.decode(original).withdrawn
    except msgspec.MsgspecError:
        return False  # the model says what is wrong with it


class _Named(Record):
    model_config = ConfigDict(extra="ignore")


@cache
def _key_model(dataset: str) -> type[BaseModel]:
    model = DATASETS[dataset]
    fields: dict[str, Any] = {
        name: (model.model_fields[name].annotation, model.model_fields[name]) for name in model.key
    }
    return create_model(f"{model.__name__}Key", __base__=_Named, **fields)


def _refusal(
    dataset: str, index: int, error: ValidationError, original: bytes, model: type[BaseModel]
) -> Refusal:
    told_of = {one.place: one for one in (_breach(dataset, index, each, model) for each in error.errors())}
    first, *others = told_of.values()
    return Refusal(
        first.place, first.reason, first.parameters, original, also=tuple(others[: _BREACHES_TOLD - 1])
    )


def _breach(dataset: str, index: int, error: ErrorDetails, model: type[BaseModel]) -> Breach:
    # The sender's own field names come back in it: shortened, and without what cannot be stored.
    field = field_of(error)[:_FIELD_SHOWN].replace("\0", "\N{SYMBOL FOR NULL}")
    place = f"{dataset} records[{index}]" + (f".{field}" if field else "")
    kind = error["type"]
    if kind == "missing":
        return Breach(place, "missing_field", {"field": field})
    if kind == "extra_forbidden":
        known = ", ".join(model.model_fields)
        return Breach(place, "unknown_field", {"field": field, "known": known})
    return Breach(place, "invalid_field", {"field": field or "record"} | told(error, model))
