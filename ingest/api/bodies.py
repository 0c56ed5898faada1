"""The bodies with readings as the OpenAPI document tells them: each form with an example."""

from __future__ import annotations

from typing import Any

from ingest.arrow import CONTENT_TYPE as ARROW

_TIME = {"type": "string", "format": "date-time", "description": "RFC 3339 with a zone, the source's clock"}
_VALUE = {"type": ["number", "boolean", "string"]}
_QUALITY = {
    "type": ["integer", "string", "null"],
    "description": "StatusCode, good, uncertain, bad, or an HJ 212 flag",
}
_ROW = {
    "type": "object",
    "required": ["tag", "ts", "value"],
    "properties": {"tag": {"type": "string"}, "ts": _TIME, "value": _VALUE, "quality": _QUALITY},
}
_METRIC = {
    "type": "object",
    "required": ["name", "fields", "timestamp"],
    "properties": {
        "name": {"type": "string"},
        "tags": {"type": "object", "additionalProperties": {"type": "string"}},
        "fields": {"type": "object", "additionalProperties": _VALUE},
        "timestamp": {"type": ["integer", "string"]},
    },
}
_ENVELOPE = {
    "mode": {"enum": ["live", "backfill", "correction"], "default": "live"},
    "source_id": {"type": "string", "maxLength": 200},
    "msg_id": {"type": "string", "maxLength": 200, "description": "the idempotency key, where no header gives one"},
    "sent_at": _TIME,
    "schema_version": {"enum": ["1", 1]},
}  # fmt: skip


def _of(required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": {**_ENVELOPE, **properties}}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_COLUMNS = {
    "type": "object",
    "required": ["tag", "ts", "value"],
    "properties": {
        "tag": _list({"type": "integer", "minimum": 0}),
        "ts": _list({"type": "integer", "description": "µs since 1970, UTC"}),
        "value": _list({"type": ["number", "boolean", "string", "null"]}),
        "quality": _list(_QUALITY),
    },
}
_JSON = {
    "schema": {
        "oneOf": [
            _of(["records"], {"records": _list(_ROW)}),
            _of(["tags", "columns"], {"tags": _list({"type": "string"}), "columns": _COLUMNS}),
            _of(["metrics"], {"metrics": _list(_METRIC)}),
        ]
    },
    "examples": {
        "rows": {
            "value": {
                "records": [{"tag": "CNC-0012.produced", "ts": "2026-11-23T08:00:00+08:00", "value": 1200}]
            }
        },
        "columns": {
            "value": {
                "mode": "backfill",
                "tags": ["CNC-0012.produced"],
                "columns": {"tag": [0, 0], "ts": [1795392000000000, 1795392300000000], "value": [1200, 1204]},
            }
        },
        "telegraf": {
            "value": {
                "metrics": [
                    {"name": "opcua", "tags": {"equipment": "CNC-0012"}, "fields": {"produced": 1200},
                     "timestamp": 1795392000}
                ]
            }
        },
    },
}  # fmt: skip
_LINE = 'opcua,equipment=CNC-0012 produced=1200i,state="Executing" 1795392000000000000'
_NDJSON = '{"tag":"CNC-0012.produced","ts":"2026-11-23T08:00:00+08:00","value":1200}\n'

READINGS: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": _JSON,
            "application/x-ndjson": {"schema": {"type": "string"}, "example": _NDJSON},
            ARROW: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
"""As a route's `openapi_extra`: readings in the forms of `POST /api/v1/measurements`."""

LINES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"text/plain": {"schema": {"type": "string"}, "example": _LINE}},
    }
}
"""The same: line protocol."""
