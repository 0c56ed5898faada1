"""Exports of what can be read: readings, indicator values, records, as files of any size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from fastapi import APIRouter, Depends, Query, Request, Response

from ingest.api.answers import BINARY, FILE_NAME
from ingest.api.definitions import DatasetName
from ingest.api.exporting import Exports, Table
from ingest.api.gate import Gate
from ingest.api.moments import Moment
from ingest.api.problems import bad_parameter
from ingest.api.reading.catalogue import Catalogue
from ingest.api.reading.indicators import Chosen
from ingest.api.reading.latest import status_codes
from ingest.api.reading.parameters import EquipmentCode, From, To, names, printed
from ingest.api.reading.records import choose
from ingest.api.reading.series import Quality, QualityQuery
from ingest.api.whose import UnitCode, absent, whose
from ingest.tables import MEDIA_TYPES, Format
from store import figures, records, scope, series
from store.database import Connection
from store.figures import Figure, Wanted
from store.scope import Tag
from store.times import moment

MOST_NAMES = 1_000
_PAGE = 20_000
_EARLIEST, _END = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_TIME = pa.timestamp("us", "UTC")
_READINGS = pa.schema(
    [
        ("tag", pa.string()), ("ts", _TIME), ("value", pa.float64()), ("text", pa.string()),
        ("quality", pa.uint32()),
    ]
)  # fmt: skip
_VALUES = pa.schema(
    [
        ("code", pa.string()), ("name_zh", pa.string()), ("name_en", pa.string()), ("value_unit", pa.string()),
        ("direction", pa.string()), ("level", pa.string()), ("unit", pa.string()), ("pilot", pa.string()),
        ("enterprise", pa.string()), ("equipment", pa.string()), ("source", pa.string()), ("period", pa.string()),
        ("period_start", _TIME), ("value", pa.float64()), ("numerator", pa.float64()),
        ("denominator", pa.float64()), ("n_inputs", pa.int64()), ("completeness", pa.float64()),
        ("formula_version", pa.int64()), ("provenance", pa.string()), ("provisional", pa.bool_()),
        ("reason", pa.string()), ("computed_at", _TIME), ("superseded_at", _TIME),
    ]
)  # fmt: skip

FormatQuery = Annotated[
    Format, Query(description="xlsx: at most 1,048,575 rows, and it comes when it is complete")
]
FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "文件,流式传输 | the file, streamed; one that ends without its last chunk is not complete",
        "content": {kind.partition(";")[0]: BINARY for kind in MEDIA_TYPES.values()},
        "headers": FILE_NAME,
    }
}
"""What an export answers, for the OpenAPI document."""


def router(gate: Gate, exports: Exports, catalogue: Catalogue) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter()

    @routes.get(
        "/api/v1/export/readings",
        summary="导出读数 | Export readings",
        dependencies=[gate.allow("telemetry:read")],
        response_class=Response,
        responses=FILE,
    )
    async def readings(
        request: Request,
        format: FormatQuery = "csv",
        tags: Annotated[str | None, Query(max_length=4000, description="names, separated by commas")] = None,
        equipment: EquipmentCode = None,
        from_: From = None,
        to: To = None,
        quality: QualityQuery = "any",
        unit: UnitCode = None,
    ) -> Response:
        """Readings in [from, to) as they came, tag by tag in the order of time: of some tags, of an equipment, or all of a unit."""
        chosen = names("tags", tags, MOST_NAMES)
        printed(equipment=equipment)
        start, end = from_ or _EARLIEST, to or _END
        if start >= end:
            raise bad_parameter("from", "须早于 to", "must lie before `to`")
        unit_id = (await whose(gate, request, unit)).unit_id
        found = await gate.query(scope.tags, unit_id, names=chosen, equipment=equipment)
        known = {tag.name for tag in found}
        for name in chosen or ():
            if name not in known:
                raise absent("tags", name)
        if equipment is not None and not found:
            raise absent("equipment", equipment)
        who = await gate.who(request)
        detail = {
            "unit": unit or who.unit, "tags": tags, "equipment": equipment, "from": start.isoformat(),
            "to": end.isoformat(),
        }  # fmt: skip

        def batches(conn: Connection) -> Iterator[pa.RecordBatch]:
            for tag in found:
                yield from _readings(conn, tag, start, end, quality)

        return await exports.answer(who, Table("readings", _READINGS, batches, detail), format)

    @routes.get(
        "/api/v1/export/indicators",
        summary="导出指标值 | Export indicator values",
        dependencies=[gate.allow("indicators:read")],
        response_class=Response,
        responses=FILE,
    )
    async def indicators(
        request: Request, chosen: Annotated[Chosen, Depends()], format: FormatQuery = "csv"
    ) -> Response:
        """All indicator values that the filters choose, as /api/v1/indicators gives them page by page."""
        wanted = await chosen.wanted(gate, request, catalogue)
        who = await gate.who(request)
        detail = {
            "codes": chosen.codes, "levels": chosen.levels, "period": chosen.period, "entity": chosen.entity,
            **{
                name: None if at is None else at.isoformat()
                for name, at in (("from", chosen.start), ("to", chosen.end), ("as_of", chosen.as_of))
            },
        }  # fmt: skip

        def batches(conn: Connection) -> Iterator[pa.RecordBatch]:
            return _values(conn, wanted, catalogue)

        return await exports.answer(who, Table("indicators", _VALUES, batches, detail), format)

    @routes.get(
        "/api/v1/export/datasets/{name}",
        summary="导出数据集 | Export records of a dataset",
        dependencies=[gate.allow("datasets:read")],
        response_class=Response,
        responses=FILE,
    )
    async def dataset(
        request: Request,
        name: DatasetName,
        format: FormatQuery = "csv",
        unit: UnitCode = None,
        key: Annotated[
            str | None, Query(max_length=1000, description="the natural key, its fields joined by |")
        ] = None,
        since: Annotated[Moment | None, Query(description="last reported then or later")] = None,
    ) -> Response:
        """All records of a dataset that hold, in your sight; values to choose several from are separated by semicolons."""
        wanted = await choose(gate, request, name, unit, key, since, None)
        columns = await gate.query(records.fields, name)
        who = await gate.who(request)
        detail = {"unit": unit, "key": key, "since": None if since is None else since.isoformat()}
        schema = pa.schema(
            [
                ("lead_unit", pa.string()), *((column.field, _type(column.as_sent)) for column in columns),
                ("revision", pa.int64()), ("received_at", _TIME),
            ]
        )  # fmt: skip

        def batches(conn: Connection) -> Iterator[pa.RecordBatch]:
            return _records(conn, wanted, schema)

        return await exports.answer(who, Table(name, schema, batches, detail), format)

    return routes


_TYPES: Mapping[str, pa.DataType] = {
    "boolean": pa.bool_(), "double precision": pa.float64(), "integer": pa.int64(), "bigint": pa.int64(),
    "smallint": pa.int64(), "date": pa.date32(), "timestamp with time zone": _TIME,
}  # fmt: skip


def _type(kind: str) -> pa.DataType:
    """The Arrow type of a column of this type in the database."""
    return pa.float64() if kind.startswith("numeric") else _TYPES.get(kind, pa.string())


def _records(conn: Connection, wanted: records.Wanted, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    after = None
    while True:
        page = records.present(conn, wanted, after, _PAGE)
        if page:
            rows = [(one.unit, *map(_plain, one.values), one.revision, one.received_at) for one in page]
            columns = zip(zip(*rows, strict=True), schema.types, strict=True)
            yield pa.RecordBatch.from_arrays(
                [pa.array(values, kind) for values, kind in columns], schema=schema
            )
        if len(page) < _PAGE:
            return
        after = page[-1].place


def _plain(value: Any) -> Any:
    return ";".join(map(str, value)) if isinstance(value, list) else value


def _readings(
    conn: Connection, tag: Tag, start: datetime, end: datetime, quality: Quality
) -> Iterator[pa.RecordBatch]:
    while True:
        if tag.data_type == "text":
            told = series.texts(conn, tag.tag_id, start, end, _PAGE, quality)
            ts, n = np.array(told.ts, np.int64), len(told.ts)
            text, value = pa.array(told.text, pa.string()), pa.nulls(n, pa.float64())
            kept = np.array(told.quality, np.int16)
        else:
            raw = series.raw(conn, tag.tag_id, start, end, _PAGE, quality)
            ts, n, kept = raw.ts, len(raw.ts), raw.quality
            text, value = pa.nulls(n, pa.string()), pa.array(raw.value)
        if n:
            columns = [
                pa.array([tag.name]).dictionary_encode().take(pa.array(np.zeros(n, np.int32))).cast(pa.string()),
                pa.array(ts, pa.int64()).cast(_TIME), value, text, pa.array(status_codes(kept), pa.uint32()),
            ]  # fmt: skip
            yield pa.RecordBatch.from_arrays(columns, schema=_READINGS)
        if n < _PAGE:
            return
        start = moment(int(ts[-1])) + timedelta(microseconds=1)


def _values(conn: Connection, wanted: Wanted, catalogue: Catalogue) -> Iterator[pa.RecordBatch]:
    after = None
    while True:
        page = figures.page(conn, wanted, after, _PAGE)
        if page:
            yield pa.RecordBatch.from_pylist([_row(one, catalogue) for one in page], schema=_VALUES)
        if len(page) < _PAGE:
            return
        after = figures.place(page[-1])


def _row(figure: Figure, catalogue: Catalogue) -> dict[str, Any]:
    meaning = catalogue.indicators.get(figure.code)
    about = (
        {}
        if meaning is None
        else {
            "name_zh": meaning.name.zh, "name_en": meaning.name.en, "value_unit": meaning.unit,
            "direction": meaning.direction,
        }
    )  # fmt: skip
    return {**figure._asdict(), **about}
