"""The OpenAPI document: what every route has in common is added here, so that none can forget it.

Credentials, and every error a route can answer with, each with its codes and a real example.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.routing import BaseRoute

from ingest.api.answers import BATCH, COMPONENTS, REPLAYED
from ingest.api.definitions import component_schemas
from ingest.api.doors import Route, routes_of
from ingest.api.examples import answer_example
from ingest.api.problems import INFLUX, INFLUX_1, codes_of, example

DESCRIPTION = """\
牵头单位与企业经此接口报送和读取数据;说明与示例见 docs/interface.md 与接入指南。

Lead units and enterprises send and read data here. Every error is an RFC 9457 problem document
(`application/problem+json`) with a stable `code`, the message and the way to mend it in Chinese and English.
What is no HTTP request is answered 400, and one with a head of more than 64 KiB 431, both as `text/plain`.
Times are RFC 3339 with a zone where they are text, and microseconds since 1970 (UTC) where they are numbers.
"""
_SECURITY = {
    "key": {"type": "http", "scheme": "bearer", "description": "API 密钥或会话 | an API key (`qk_…`) or a session (`qs_…`)"},
    "key_header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "API 密钥 | an API key"},
    "session": {"type": "apiKey", "in": "cookie", "name": "qunce_session", "description": "页面会话 | a session of the pages"},
}  # fmt: skip
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
    schemas |= COMPONENTS
    for route in doors:
        if route.shown:
            for method in route.methods:
                operation = found["paths"][route.path].get(method.lower())
                if operation is not None:
                    _complete(operation, route, method)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return found


def _complete(operation: dict[str, Any], route: Route, method: str) -> None:
    """Add what every operation has: who may, every error, and an answer of a real run as an example."""
    influx = route.path.startswith(INFLUX) or route.path == INFLUX_1
    statuses = set(_ALWAYS)
    if route.permission != "open":
        statuses |= set(_WITH_CREDENTIALS)
        operation["security"] = [{name: []} for name in _SECURITY]
        if route.permission != "known":
            operation["x-qunce-permission"] = route.permission
    else:
        operation["security"] = []
    if method in ("POST", "PUT", "PATCH"):
        statuses |= set(_WITH_BODY)
    if influx:
        # told as 503, which makes such clients send again
        statuses -= {408, 429} if route.path == INFLUX_1 else {408}
    responses: dict[str, Any] = operation.setdefault("responses", {})
    responses.pop("422", None)  # FastAPI's own, which is none of ours
    for answered, response in responses.items():
        for kind, content in response.get("content", {}).items():
            given = answer_example(method, route.path, answered, kind)
            if given is not None and not content.keys() & {"example", "examples"}:
                content["example"] = given
    shape = "InfluxProblem" if influx else "Problem"
    for status in sorted(statuses):
        responses.setdefault(str(status), {"$ref": f"#/components/responses/{shape}{status}"})


_SECONDS = {"schema": {"type": "integer", "minimum": 0}, "description": "seconds until it may be tried again"}
_HEADERS: Mapping[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "`Bearer`"}},
    405: {"Allow": {"schema": {"type": "string"}, "description": "the methods that the path takes"}},
    422: REPLAYED,
    429: {"Retry-After": _SECONDS},
    503: {"Retry-After": _SECONDS},
}


def _answer(
    status: int, codes: Iterable[str], shape: str = "Problem", path: str = "/api/v1/…"
) -> dict[str, Any]:
    content = {
        "schema": {"$ref": f"#/components/schemas/{shape}"},
        "examples": {code: {"value": example(code, path)} for code in codes},
    }
    headers = dict(_HEADERS.get(status, {}))
    if status == 422 and shape == "InfluxProblem":
        headers |= BATCH
    return {
        "description": ", ".join(f"`{code}`" for code in codes),
        "content": {"application/problem+json": content},
        **({"headers": headers} if headers else {}),
    }
