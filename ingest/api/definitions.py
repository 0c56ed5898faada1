"""What the interface tells of the datasets: `GET /api/v1/datasets`, their schemas, their part of the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import Field as Named

from ingest.api.answers import JUDGED, Answer, Text
from ingest.api.bodies import PACKED
from ingest.api.gate import Gate
from ingest.api.problems import Problem
from ingest.datasets import DATASETS, MAX_RECORDS, example, schema

TEXT_MOST = 500
DatasetName = Annotated[
    str,
    Path(max_length=100, description="数据集,见 GET /api/v1/datasets | the dataset", examples=["milestone"]),
]
_SCHEMA = {
    "type": "object",
    "required": ["$schema", "title", "type", "properties"],
    "additionalProperties": True,
    "properties": {
        "$schema": {"const": "https://json-schema.org/draft/2020-12/schema", "description": "the dialect"},
        "title": {"type": "string", "description": "the dataset's name in Chinese"},
        "type": {"const": "object", "description": "of a record"},
        "properties": {
            "type": "object",
            "additionalProperties": {"type": "object"},
            "description": "schema of each field, with its label and description_zh in Chinese",
        },
        "required": {"type": "array", "items": {"type": "string"}, "description": "fields every record has"},
    },
}


class Field(Answer):
    """A field of a dataset."""

    name: str
    """as in records"""
    title: Text
    """what it is"""
    required: bool
    """every record has it"""
    labels: dict[str, str] | None = None
    """of fields with a closed list: value → label in Chinese; left out for others"""


class Dataset(Answer):
    """A dataset: what a lead unit reports of one kind of thing."""

    name: str
    """as in paths"""
    title: Text
    """what it is"""
    key: list[str]
    """natural key: fields that together name a record"""
    dated: list[str]
    """of when a record speaks; refused in a closed period"""
    reasoned: bool
    """corrections need a reason, and are taken for some days only"""
    withdrawable: bool
    """records can be withdrawn"""
    fields: list[Field]
    """all fields, in the order of the templates"""
    schema_: Annotated[str, Named(alias="schema")]
    """path of the JSON Schema of a record"""
    templates: dict[str, str]
    """form → path of the file to fill in"""
    files: str
    """path to which filled in files are sent"""


class Datasets(Answer):
    """All datasets, in the order in which they are reported first."""

    datasets: list[Dataset]
    """one entry a dataset"""


def router(gate: Gate) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter(tags=["datasets"], dependencies=[gate.allow("codes:read")])

    @routes.get(
        "/api/v1/datasets",
        summary="数据集清单 | The datasets",
        response_model=Datasets,
        response_model_exclude_unset=True,
    )
    async def listed() -> dict[str, Any]:
        """Every dataset with its names, natural key, rules and fields, in the order in which they are reported first."""
        return {"datasets": [_told(name) for name in DATASETS]}

    @routes.get(
        "/api/v1/datasets/{name}/schema",
        summary="数据集的 JSON Schema | JSON Schema of a dataset",
        responses={
            200: {
                "description": "JSON Schema 2020-12 of one record",
                "content": {"application/json": {"schema": _SCHEMA}},
            }
        },
        response_model=None,
    )
    async def schema_of(name: DatasetName) -> dict[str, Any]:
        """JSON Schema (2020-12) of one record, with labels and descriptions in Chinese, too, and examples."""
        if name not in DATASETS:
            raise Problem("unknown_dataset", {"dataset": name, "known": ", ".join(DATASETS)})
        return schema(name)

    return routes


@cache
def _told(name: str) -> Mapping[str, Any]:
    model = DATASETS[name]
    properties, path = schema(name)["properties"], f"/api/v1/datasets/{name}"
    return {
        "name": name,
        "title": {"zh": model.zh, "en": _english(name)},
        "key": list(model.key),
        "dated": list(model.dated),
        "reasoned": model.reasoned,
        "withdrawable": model.withdrawable,
        "fields": [
            {
                "name": field,
                "title": {"zh": info.title, "en": info.description},
                "required": info.is_required(),
                **({"labels": properties[field]["labels"]} if "labels" in properties[field] else {}),
            }
            for field, info in model.model_fields.items()
        ],
        "schema": f"{path}/schema",
        "templates": {form: f"{path}/template.{form}" for form in ("xlsx", "csv")},
        "files": f"{path}/files",
    }


def component_schemas() -> dict[str, Any]:
    """The models of all datasets, for the OpenAPI document's components."""
    found = {}
    for name, model in DATASETS.items():
        found[model.__name__] = {key: value for key, value in schema(name).items() if key != "$schema"}
    return found


def documented(name: str) -> dict[str, Any]:
    """What a dataset's route says of itself in the OpenAPI document: keyword arguments of the route."""
    model = DATASETS[name]
    named = {
        field: {"$ref": f"#/components/schemas/{model.__name__}/properties/{field}"} for field in model.key
    }
    items: dict[str, Any] = {"$ref": f"#/components/schemas/{model.__name__}"}
    examples = {"report": {"summary": "报送 | report", "value": {"records": [example(name)]}}}
    if model.withdrawable:
        withdrawal = {
            "type": "object",
            "title": "Withdrawal",
            "required": [*model.key, "withdrawn"],
            "properties": {**named, "withdrawn": {"const": True, "description": "撤回 | it no longer holds"}},
        }
        items = {"anyOf": [items, withdrawal]}
        gone = {field: example(name)[field] for field in model.key} | {"withdrawn": True}
        examples["withdraw"] = {
            "summary": "撤回 | withdraw",
            "value": {"records": [gone], "reason": "重复登记", "voucher": "GZ-2026-015"},
        }
    text = {"type": "string", "maxLength": TEXT_MOST}
    body = {
        "type": "object",
        "required": ["records"],
        "additionalProperties": False,
        "properties": {
            "records": {
                "type": "array",
                "maxItems": MAX_RECORDS,
                "items": items,
                "description": "记录 | the records",
            },
            "reason": text | {"description": "更正或撤回的原因 | why records are corrected or withdrawn"},
            "voucher": text | {"description": "凭证号 | number of the document that proves it"},
        },
    }
    return {
        "name": f"report_{name}",
        "operation_id": f"report_{name}",
        "summary": f"报送{model.zh} | Report: {_english(name)}",
        "description": "200 with the verdict once applied, 202 when durable but not yet applied.",
        "response_model": None,
        "responses": JUDGED,
        "openapi_extra": {
            "requestBody": {
                "required": True,
                "description": PACKED,
                "content": {"application/json": {"schema": body, "examples": examples}},
            }
        },
    }


def _english(name: str) -> str:
    return (DATASETS[name].__doc__ or name).strip().splitlines()[0].rstrip(".")
