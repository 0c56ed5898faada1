"""The rows of a table, each judged by the dataset's model: good records, and every cell that is refused. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ingest.batch import Refusal
from ingest.breaches import field_of, told
from ingest.datasets import DATASETS, natural_key
from ingest.sheets.cells import CellFault, is_blank, shown, value_of
from ingest.sheets.columns import Column, columns_of
from ingest.sheets.reading import Table


class Mark(msgspec.Struct, frozen=True):
    """A refused cell: row from 1, column from 0 (null: the row as a whole), the field, a code of store.reasons."""

    row: int
    column: int | None
    field: str
    reason: str
    parameters: dict[str, str]


class Judged(msgspec.Struct, frozen=True):
    """A row: its record when it is good, else its marks and the refusal that is kept of it."""

    row: int
    record: dict[str, Any] | None
    marks: list[Mark] = []
    refusal: Refusal | None = None


def place_of(dataset: str, row: int, field: str) -> str:
    """Where a refusal was, as the interface names places; the index is the row's number in the file."""
    return f"{dataset} records[{row}]" + (f".{field}" if field else "")


def judge(dataset: str, table: Table) -> Iterator[Judged]:
    """Every row that is not an example of the template left as it was."""
    examples = [dict(one) for one in example_records(dataset)]
    seen: dict[str, tuple[int, dict[str, Any]]] = {}
    for number, cells in table.rows:
        given, marks, raw = _values(table, number, cells)
        if not marks and any(_same(given, example) for example in examples):
            continue
        yield _judged(dataset, table, number, given, marks, raw, seen)


def example_records(dataset: str) -> tuple[Mapping[str, Any], ...]:
    """The template's example rows, as JSON has them: those of the fields' examples that go together."""
    columns = columns_of(dataset)
    if any(column.required and not column.examples for column in columns):
        return ()
    most = max((len(column.examples) for column in columns if column.is_key), default=0)
    rows = []
    for i in range(min(most, 2)):
        row = {c.field: _plain(c.examples[min(i, len(c.examples) - 1)]) for c in columns if c.examples}
        rows.append({field: value for field, value in row.items() if value is not None})
    return tuple(rows)


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)


def _values(
    table: Table, number: int, cells: tuple[Any, ...]
) -> tuple[dict[str, Any], list[Mark], dict[str, Any]]:
    given: dict[str, Any] = {}
    raw: dict[str, Any] = {}
    marks: list[Mark] = []
    if number in table.merged:
        at = table.merged[number]
        column = table.heading.columns[at]
        marks.append(Mark(number, at, column.field, "merged_cell", {"field": column.called}))
    for i, column in table.heading.columns.items():
        cell = cells[i] if i < len(cells) else None
        if is_blank(cell):
            continue
        try:
            given[column.field] = raw[column.field] = value_of(column, cell, table.epoch)
        except CellFault as fault:
            raw[column.field] = shown(cell)
            marks.append(Mark(number, i, column.field, fault.reason, fault.parameters))
    return given, marks, raw


def _same(given: Mapping[str, Any], example: Mapping[str, Any]) -> bool:
    return given.keys() == example.keys() and all(_equal(given[k], example[k]) for k in given)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, str) and isinstance(b, str) and "T" in a and "T" in b:
        return bool(_instant(a) == _instant(b))
    return bool(a == b)


def _instant(text: str) -> Any:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return text


def _rule(model: type[BaseModel], column: Column | None, error: ErrorDetails) -> tuple[str, dict[str, str]]:
    """(reason, parameters) of what the model says of a column, or of the row as a whole."""
    called = "record" if column is None else column.called
    if error["type"] == "missing":
        return "missing_field", {"field": called}
    return "invalid_field", {"field": called} | told(error, model)


def _judged(
    dataset: str, table: Table, number: int, given: dict[str, Any], marks: list[Mark], raw: dict[str, Any],
    seen: dict[str, tuple[int, dict[str, Any]]],
) -> Judged:  # fmt: skip
    original = msgspec.json.encode(raw)
    at = {column.field: i for i, column in table.heading.columns.items()}
    named = {column.field: column for column in columns_of(dataset)}
    failed = {mark.field for mark in marks}
    record: dict[str, Any] = {}
    try:
        record = (
            DATASETS[dataset]
            .model_validate_json(msgspec.json.encode(given), strict=True)
            .model_dump(mode="json")
        )
    except ValidationError as error:
        for one in error.errors(include_url=False):
            field = field_of(one).partition(".")[0]
            if field in failed:  # it is missing because the cell could not be read
                continue
            failed.add(field)
            marks.append(Mark(number, at.get(field), field, *_rule(DATASETS[dataset], named.get(field), one)))
    if not marks:
        key = natural_key(dataset, record)
        before = seen.setdefault(key, (number, record))
        if before[1] != record:
            field = DATASETS[dataset].key[0]
            parameters = {"key": key[:200], "row": str(before[0])}
            marks.append(Mark(number, at.get(field), field, "repeated_key", parameters))
    if not marks:
        return Judged(number, record)
    first = marks[0]
    refusal = Refusal(place_of(dataset, number, first.field), first.reason, first.parameters, original)
    return Judged(number, None, marks, refusal.bounded())
