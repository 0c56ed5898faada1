"""What the interface tells of the datasets: `GET /api/v1/datasets`, their schemas, their part of the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from fastapi import APIRouter

from ingest.api.gate import Gate
from ingest.api.problems import Problem
from ingest.datasets import DATASETS, MAX_RECORDS, example, schema

TEXT_MOST = 500
_ONE = {
    "type": "object",
    "required": [
        "name", "title", "key", "dated", "reasoned", "withdrawable", "fields", "schema", "templates", "files",
    ],
    "properties": {
        "name": {"type": "string"},
        "title": {"$ref": "#/components/schemas/Text"},
        "key": {"type": "array", "items": {"type": "string"}, "description": "natural key"},
        "dated": {
            "type": "array",
            "items": {"type": "string"},
            "description": "of when a record speaks; refused in a closed period",
        },
        "reasoned": {
            "type": "boolean",
            "description": "corrections need a reason, and are taken for some days only",
        },
        "withdrawable": {"type": "boolean"},
        "fields": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "title", "required"],
                "properties": {
                    "name": {"type": "string"},
                    "title": {"$ref": "#/components/schemas/Text"},
                    "required": {"type": "boolean"},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            },
        },
        "schema": {"type": "string", "description": "address of the JSON Schema"},
        "templates": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "addresses of the files to be filled in, by form",
        },
        "files": {"type": "string", "description": "where they are sent to"},
    },
}  # fmt: skip
_LIST = {
    "type": "object",
    "required": ["datasets"],
    "properties": {"datasets": {"type": "array", "items": _ONE}},
}
_ANSWER = {
    "type": "object",
    "required": ["batch", "received", "state"],
    "properties": {
        "batch": {"type": "string", "description": "name of the submission: GET /api/v1/submissions/{batch}"},
        "state": {"enum": ["applied", "durable"]},
        "received": {"type": "integer"},
        "accepted": {"type": "integer", "description": "stored, corrections and withdrawals among them"},
        "duplicates": {"type": "integer"},
        "corrections": {"type": "integer"},
        "quarantined": {"type": "integer"},
        "records": {
            "type": "array",
            "description": "what became of each record; of submissions of up to 1000",
            "items": {
                "type": "object",
                "required": ["index", "verdict"],
                "properties": {
                    "index": {"type": "integer"},
                    "verdict": {"enum": ["accepted", "duplicate", "correction", "quarantined"]},
                    "reason": {"type": "string", "description": "a code of docs/reasons.md"},
                },
            },
        },
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/Error"}},
    },
}
_APPLIED = {
    "batch": "9f6c1f0e5b7a4c3d8e2a1b0c9d8e7f60", "state": "applied", "received": 1, "accepted": 1, "duplicates": 0,
    "corrections": 0, "quarantined": 0, "records": [{"index": 0, "verdict": "accepted"}], "errors": [],
}  # fmt: skip


def router(gate: Gate) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter(tags=["datasets"], dependencies=[gate.allow("codes:read")])

    @routes.get(
        "/api/v1/datasets",
        summary="数据集清单 | The datasets",
        responses={200: {"description": "all datasets", "content": {"application/json": {"schema": _LIST}}}},
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
                "content": {
                    "application/json": {"schema": {"type": "object"}, "example": schema("milestone")}
                },
            }
        },
    )
    async def schema_of(name: str) -> dict[str, Any]:
        """JSON Schema (2020-12) of one record, with labels in Chinese and examples."""
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
            "properties": {**named, "withdrawn": {"const": True}},
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
        "properties": {
            "records": {"type": "array", "maxItems": MAX_RECORDS, "items": items},
            "reason": text | {"description": "更正或撤回的原因 | why records are corrected or withdrawn"},
            "voucher": text | {"description": "凭证号 | number of the document that proves it"},
        },
    }
    answer = {"application/json": {"schema": _ANSWER, "example": _APPLIED}}
    return {
        "name": f"report_{name}",
        "operation_id": f"report_{name}",
        "summary": f"报送{model.zh} | {_english(name)}",
        "description": "200 with the verdict once applied, 202 when durable but not yet applied.",
        "responses": {
            200: {"description": "applied", "content": answer},
            202: {
                "description": "durable, and not applied yet: the verdict will be at `Location`",
                "content": {"application/json": {"schema": _ANSWER}},
            },
        },
        "openapi_extra": {
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": body, "examples": examples}},
            }
        },
    }


def _english(name: str) -> str:
    return (DATASETS[name].__doc__ or name).strip().splitlines()[0].rstrip(".")
