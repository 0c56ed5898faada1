"""The bodies with readings as the OpenAPI document tells them: each form with an example."""

from __future__ import annotations

from typing import Any

from ingest.arrow import CONTENT_TYPE as ARROW

_TIME = {"type": "string", "format": "date-time", "description": "RFC 3339 with a zone, the source's clock"}
_VALUE = {
    "type": ["number", "boolean", "string"],
    "description": "as the tag's data type has it; of enums the name",
}
_TAG = {"type": "string", "description": "name of the tag: equipment code, dot, signal"}
_QUALITY = {
    "type": ["integer", "string", "null"],
    "description": "StatusCode, good, uncertain, bad, or an HJ 212 flag",
}
_ROW = {
    "type": "object",
    "required": ["tag", "ts", "value"],
    "properties": {"tag": _TAG, "ts": _TIME, "value": _VALUE, "quality": _QUALITY},
}
_METRIC = {
    "type": "object",
    "required": ["name", "fields", "timestamp"],
    "properties": {
        "name": {"type": "string", "description": "measurement; the equipment code where no tag names it"},
        "tags": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "`equipment_tag` names the one that is the equipment code",
        },
        "fields": {"type": "object", "additionalProperties": _VALUE, "description": "signal → value"},
        "timestamp": {
            "type": ["integer", "string"],
            "description": "since 1970, UTC, in units of `precision`; or RFC 3339 with a zone",
        },
    },
}
_ENVELOPE = {
    "mode": {
        "enum": ["live", "backfill", "correction"],
        "default": "live",
        "description": "what is not live does not count in latency and timeliness",
    },
    "source_id": {"type": "string", "maxLength": 200, "description": "which of the unit's senders it is"},
    "msg_id": {"type": "string", "maxLength": 200, "description": "the idempotency key, where no header gives one"},
    "sent_at": _TIME,
    "schema_version": {"enum": ["1", 1], "description": "of this form of bodies"},
}  # fmt: skip


def _of(required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": {**_ENVELOPE, **properties}}


def _list(items: dict[str, Any], description: str) -> dict[str, Any]:
    return {"type": "array", "items": items, "description": description}


_COLUMNS = {
    "type": "object",
    "description": "columns of the same length",
    "required": ["tag", "ts", "value"],
    "properties": {
        "tag": _list({"type": "integer", "minimum": 0}, "of each reading the index in `tags`"),
        "ts": _list({"type": "integer"}, "µs since 1970, UTC, the source's clock"),
        "value": _list({"type": ["number", "boolean", "string", "null"]}, "null: nothing was read"),
        "quality": _list(_QUALITY, "good where it is left out"),
    },
}
_JSON = {
    "schema": {
        "oneOf": [
            _of(["records"], {"records": _list(_ROW, "rows: one a reading")}),
            _of(["tags", "columns"], {"tags": _list(_TAG, "the tags"), "columns": _COLUMNS}),
            _of(["metrics"], {"metrics": _list(_METRIC, "as Telegraf's json serialiser has them")}),
        ]
    },
    "examples": {
        "rows": {
            "summary": "按行 | rows",
            "value": {
                "records": [{"tag": "CNC-0012.produced", "ts": "2026-11-23T08:00:00+08:00", "value": 1200}]
            }
        },
        "columns": {
            "summary": "按列,大批量 | columns, for bulk",
            "value": {
                "mode": "backfill",
                "tags": ["CNC-0012.produced"],
                "columns": {"tag": [0, 0], "ts": [1795392000000000, 1795392300000000], "value": [1200, 1204]},
            }
        },
        "telegraf": {
            "summary": "Telegraf outputs.http, data_format = \"json\"",
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
_NDJSON = """\
One reading a line, each as a row of `records`: `{"tag":"CNC-0012.produced","ts":"2026-11-23T08:00:00+08:00","value":1200}`
"""

PACKED = "可用 Content-Encoding: gzip 或 zstd 压缩 | may come with Content-Encoding: gzip or zstd"
"""As the description of a body: it may be compressed."""
_ARROW = """\
An Arrow IPC stream, not compressed within: `tag` string (or a dictionary), `ts` timestamp with a zone or int64 µs \
since 1970 (UTC), `value` number or bool or string; optional `text` string and `quality` integer (StatusCode) or string.
"""

READINGS: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": PACKED,
        "content": {
            "application/json": _JSON,
            "application/x-ndjson": {"schema": {"type": "string", "description": _NDJSON}},
            ARROW: {"schema": {"type": "string", "format": "binary", "description": _ARROW}},
        },
    }
}
"""As a route's `openapi_extra`: readings in the forms of `POST /api/v1/measurements`."""

LINES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": PACKED,
        "content": {
            "text/plain": {
                "schema": {"type": "string", "description": "InfluxDB line protocol"},
                "example": _LINE,
            }
        },
    }
}
"""The same: line protocol."""
