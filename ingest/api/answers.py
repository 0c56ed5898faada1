"""What answers are made of, as the OpenAPI document tells it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """Base of what routes answer: the text below a field describes it in the document."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Text(Answer):
    """A text in both languages."""

    zh: str
    """中文 | in Chinese"""
    en: str
    """英文 | in English"""


class Explained(Answer):
    """A reason with what it means and how to mend it."""

    reason: str
    """a code of docs/reasons.md"""
    message: Text
    """what is wrong"""
    hint: Text
    """how to mend it"""


def _whole(description: str) -> dict[str, Any]:
    return {"type": "integer", "minimum": 0, "description": description}


_TEXT = {"$ref": "#/components/schemas/Text"}
_ERROR = {
    "type": "object",
    "title": "Error",
    "description": "One row that was refused: where, by which rule, and how to mend it",
    "required": ["index", "place", "reason", "message", "hint"],
    "properties": {
        "index": {"type": ["integer", "null"], "description": "number of the record, from 0; null: of none"},
        "line": {"type": "integer", "description": "of line protocol and NDJSON, from 1"},
        "place": {"type": "string", "description": "record and field, as `records[2].tag`"},
        "reason": {"type": "string", "description": "a code of docs/reasons.md"},
        "message": _TEXT | {"description": "what is wrong"},
        "hint": _TEXT | {"description": "how to mend it"},
    },
}
_PROBLEM: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457. An answer to a submission (422) tells its verdict beside, as `Verdict`",
    "required": ["type", "title", "status", "detail", "instance", "code", "message", "hint", "parameters", "errors"],
    "properties": {
        "type": {"type": "string", "description": "`urn:qunce:problem:` and the code"},
        "title": {"type": "string", "description": "of the code, in English"},
        "status": {"type": "integer", "description": "the HTTP status"},
        "detail": {"type": "string", "description": "`message` in English"},
        "instance": {"type": "string", "description": "the path that was asked for"},
        "code": {"type": "string", "description": "stable; what programs go by"},
        "message": _TEXT | {"description": "what is wrong"},
        "hint": _TEXT | {"description": "how to mend it"},
        "parameters": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "what the texts are filled with",
        },
        "errors": {
            "type": "array",
            "items": {"$ref": "#/components/schemas/Error"},
            "description": "the refused rows",
        },
        "batch": {"type": "string", "description": "of a submission: its name, also in the quarantine"},
    },
}  # fmt: skip
_INFLUX_PROBLEM = {
    **_PROBLEM,
    "title": "InfluxProblem",
    "description": "RFC 9457, with `code` and `message` as clients of InfluxDB 2 read them; ours are `reason` and `text`",
    "required": [*_PROBLEM["required"], "reason", "text"],
    "properties": {
        **_PROBLEM["properties"],
        "code": {"type": "string", "description": "a code of InfluxDB 2, as `unprocessable entity`"},
        "message": {"type": "string", "description": "what is wrong, in both languages"},
        "reason": {"type": "string", "description": "stable; what programs go by"},
        "text": _TEXT | {"description": "what is wrong"},
    },
}
_VERDICT = {
    "type": "object",
    "title": "Verdict",
    "description": "What became of a submission. received = accepted + quarantined; duplicates and corrections are among the accepted",
    "required": ["batch", "state", "received"],
    "properties": {
        "batch": {"type": "string", "description": "name of the submission: GET /api/v1/submissions/{batch}"},
        "state": {
            "enum": ["durable", "applied"],
            "description": "durable: it cannot be lost; applied: it is stored, and the verdict is final",
        },
        "received": _whole("records that came"),
        "accepted": _whole("stored, or on their way"),
        "duplicates": _whole("were there already, the same; once applied"),
        "corrections": _whole("replaced another value; once applied"),
        "quarantined": _whole("refused and kept, to be mended"),
        "records": {
            "type": "array",
            "description": "what became of each record, in their order; of submissions of up to 1,000, once applied",
            "items": {
                "type": "object",
                "required": ["index", "verdict"],
                "properties": {
                    "index": _whole("number of the record, from 0"),
                    "verdict": {
                        "enum": ["accepted", "duplicate", "correction", "quarantined"],
                        "description": "what became of it",
                    },
                    "reason": {"type": "string", "description": "a code of docs/reasons.md"},
                },
            },
        },
        "errors": {
            "type": "array",
            "items": {"$ref": "#/components/schemas/Error"},
            "description": "the refused records; of answers without `records` the first 100",
        },
    },
}

COMPONENTS = {
    "Text": Text.model_json_schema(),
    "Error": _ERROR,
    "Problem": _PROBLEM,
    "InfluxProblem": _INFLUX_PROBLEM,
    "Verdict": _VERDICT,
}
"""Schemas that routes refer to without a model: their answers are not made of models, on the way of every reading."""

VERDICT: dict[str, Any] = {"application/json": {"schema": {"$ref": "#/components/schemas/Verdict"}}}
"""As `content` of a response."""
REPLAYED = {
    "Idempotent-Replayed": {
        "schema": {"const": "true"},
        "description": "this Idempotency-Key came with the same body before: told again, stored once",
    }
}
BATCH = {
    "Qunce-Batch": {
        "schema": {"type": "string"},
        "description": "name of the submission: GET /api/v1/submissions/{batch}",
    }
}
LOCATION = {"Location": {"schema": {"type": "string"}, "description": "where the verdict will be"}}
PREFERENCE = {
    "Preference-Applied": {"schema": {"const": "respond-async"}, "description": "not waited for, as asked"}
}
JUDGED: dict[int | str, dict[str, Any]] = {
    200: {"description": "已判定 | judged, or durable where no verdict was wanted", "content": VERDICT, "headers": REPLAYED},
    202: {
        "description": "已持久保存,尚未判定;结论见 `Location` | durable, and not judged yet: the verdict will be at `Location`",
        "content": VERDICT,
        "headers": {**REPLAYED, **LOCATION, **PREFERENCE},
    },
}  # fmt: skip
"""As a route's `responses`: it takes a submission."""


def also(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """As a route's `responses`: it can also be refused so, beside the ways that all routes have."""
    return {status: {"$ref": f"#/components/responses/Problem{status}"} for status in statuses}


BINARY = {"schema": {"type": "string", "format": "binary"}}
"""A file, as one of the `content` of a response or of a body."""
FILE_NAME = {
    "Content-Disposition": {"schema": {"type": "string"}, "description": "`attachment` with the file's name"}
}
