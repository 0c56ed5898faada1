"""The OpenAPI document: what every route has in common is added here, so that none can forget it.

Credentials, and every error a route can answer with, each with its codes and a real example.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.routing import BaseRoute

from ingest.api.definitions import component_schemas
from ingest.api.doors import Route, routes_of
from ingest.api.problems import INFLUX, codes_of, example

DESCRIPTION = """\
牵头单位与企业经此接口报送和读取数据;说明与示例见 docs/interface.md 与接入指南。

Lead units and enterprises send and read data here. Every error is an RFC 9457 problem document
(`application/problem+json`) with a stable `code`, the message and the way to mend it in Chinese and English.
"""
_SECURITY = {
    "key": {"type": "http", "scheme": "bearer", "description": "API 密钥或会话 | an API key (`qk_…`) or a session (`qs_…`)"},
    "key_header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "API 密钥 | an API key"},
    "session": {"type": "apiKey", "in": "cookie", "name": "qunce_session", "description": "页面会话 | a session of the pages"},
}  # fmt: skip
_PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457",
    "required": ["type", "title", "status", "detail", "code", "message", "hint"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:qunce:problem:wrong_key"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "code": {"type": "string"},
        "message": {"$ref": "#/components/schemas/Text"},
        "hint": {"$ref": "#/components/schemas/Text"},
        "parameters": {"type": "object", "additionalProperties": {"type": "string"}},
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/Error"}},
    },
}
_TEXT = {
    "type": "object",
    "title": "Text",
    "required": ["zh", "en"],
    "properties": {"zh": {"type": "string"}, "en": {"type": "string"}},
}
_INFLUX_PROBLEM = {
    **_PROBLEM,
    "title": "InfluxProblem",
    "description": "RFC 9457, with `code` and `message` as clients of InfluxDB 2 read them; ours are `reason` and `text`",
    "required": ["type", "title", "status", "detail", "code", "message", "reason", "text", "hint"],
    "properties": {
        **_PROBLEM["properties"],  # type: ignore[dict-item]
        "message": {"type": "string"},
        "reason": {"type": "string"},
        "text": {"$ref": "#/components/schemas/Text"},
    },
}
_ERROR = {
    "type": "object",
    "title": "Error",
    "description": "One row that was refused: where, by which rule, and how to mend it",
    "required": ["index", "place", "reason", "message", "hint"],
    "properties": {
        "index": {"type": ["integer", "null"]},
        "line": {"type": "integer", "description": "of line protocol and NDJSON, from 1"},
        "place": {"type": "string"},
        "reason": {"type": "string"},
        "message": {"$ref": "#/components/schemas/Text"},
        "hint": {"$ref": "#/components/schemas/Text"},
    },
}
# Statuses of a route, by what it has: credentials, a body, or neither.
_ALWAYS = (404, 405, 422, 429, 500, 503)
_WITH_CREDENTIALS = (401, 403)
_WITH_BODY = (400, 408, 413, 415)


def install(app: FastAPI) -> None:
    """Let the application tell its document like this: of the routes it has by now, not of pages added later."""
    routes, doors = list(app.routes), routes_of(app)

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, routes, doors)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's own way to do it


def inlined(model: type[BaseModel]) -> dict[str, Any]:
    """A model's JSON Schema in one piece, for a body that a route reads itself (not of recursive models)."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def resolved(node: Any) -> Any:
        if isinstance(node, dict):
            if (name := str(node.get("$ref", "")).removeprefix("#/$defs/")) in definitions:
                return resolved({**definitions[name], **{k: v for k, v in node.items() if k != "$ref"}})
            return {key: resolved(one) for key, one in node.items()}
        return [resolved(one) for one in node] if isinstance(node, list) else node

    found: dict[str, Any] = resolved(schema)
    return found


def _document(app: FastAPI, routes: list[BaseRoute], doors: list[Route]) -> dict[str, Any]:
    found = get_openapi(
        title=app.title,
        version=app.version,
        description=DESCRIPTION,
        routes=routes,
        tags=app.openapi_tags,
    )
    codes = codes_of()
    components = found.setdefault("components", {})
    components["securitySchemes"] = _SECURITY
    components["responses"] = {f"Problem{status}": _answer(status, codes[status]) for status in codes}
    schemas = components.setdefault("schemas", {})
    components["responses"] |= {
        f"InfluxProblem{status}": _answer(status, codes[status], "InfluxProblem", f"{INFLUX}write")
        for status in codes
    }
    schemas |= component_schemas()
    schemas |= {"Problem": _PROBLEM, "InfluxProblem": _INFLUX_PROBLEM, "Text": _TEXT, "Error": _ERROR}
    for route in doors:
        if route.shown:
            for method in route.methods:
                operation = found["paths"][route.path].get(method.lower())
                if operation is not None:
                    shape = "InfluxProblem" if route.path.startswith(INFLUX) else "Problem"
                    _complete(operation, route.permission, method, shape)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return found


def _complete(operation: dict[str, Any], permission: str | None, method: str, shape: str) -> None:
    statuses = set(_ALWAYS)
    if permission != "open":
        statuses |= set(_WITH_CREDENTIALS)
        operation["security"] = [{name: []} for name in _SECURITY]
        if permission != "known":
            operation["x-qunce-permission"] = permission
    if method in ("POST", "PUT", "PATCH"):
        statuses |= set(_WITH_BODY)
    responses: dict[str, Any] = operation.setdefault("responses", {})
    responses.pop("422", None)  # FastAPI's own, which is none of ours
    for status in sorted(statuses):
        responses.setdefault(str(status), {"$ref": f"#/components/responses/{shape}{status}"})


def _answer(
    status: int, codes: Iterable[str], shape: str = "Problem", path: str = "/api/v1/…"
) -> dict[str, Any]:
    content = {
        "schema": {"$ref": f"#/components/schemas/{shape}"},
        "examples": {code: {"value": example(code, path)} for code in codes},
    }
    headers = (
        {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
        if status in (429, 503)
        else {}
    )
    return {
        "description": ", ".join(f"`{code}`" for code in codes),
        "content": {"application/problem+json": content},
        **({"headers": headers} if headers else {}),
    }
