"""The OpenAPI document as a contract: its operations, and whether something is as it says."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import jsonschema_rs

JSON = ("application/json", "application/problem+json")
METHODS = ("get", "post", "put", "patch", "delete")


_validators: dict[tuple[int, str], jsonschema_rs.Draft202012Validator] = {}


class Operation(NamedTuple):
    """One method of one path."""

    method: str
    path: str
    told: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def operations(document: dict[str, Any]) -> list[Operation]:
    """All of them."""
    return [
        Operation(method.upper(), path, told)
        for path, methods in document["paths"].items()
        for method, told in methods.items()
        if method in METHODS
    ]


def resolved(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """What a node refers to, or itself."""
    while "$ref" in node:
        found: Any = document
        for name in node["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        node = found
    return node


def closed(document: dict[str, Any]) -> dict[str, Any]:
    """The document, its objects with no member but those it names: so that none is forgotten there."""
    document = copy.deepcopy(document)
    for node in nodes(document):
        if "properties" in node and node.get("title") not in ("Problem", "InfluxProblem"):
            node.setdefault("additionalProperties", False)
    return document


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """All objects within."""
    if isinstance(value, dict):
        yield value
        for name, one in value.items():
            if name == "properties":
                yield from nodes(list(one.values()))
            elif name not in ("example", "examples"):
                yield from nodes(one)
    elif isinstance(value, list):
        for one in value:
            yield from nodes(one)


def faults(document: dict[str, Any], schema: dict[str, Any], value: Any) -> list[str]:
    """In what a value is not as a schema of the document says."""
    key = id(document), json.dumps(schema)
    if key not in _validators:
        whole = {**schema, "components": document["components"]}
        _validators[key] = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
    return [f"{error.instance_path}: {error.message[:300]}" for error in _validators[key].iter_errors(value)]


def judge(document: dict[str, Any], told: dict[str, Any], answer: httpx.Response) -> list[str]:
    """In what an answer is not as its operation says: status, type, body, headers."""
    response = told["responses"].get(str(answer.status_code))
    if response is None:
        return [f"{answer.status_code} is not documented"]
    response = resolved(document, response)
    contents, kind = response.get("content", {}), answer.headers.get("content-type", "").partition(";")[0]
    if not contents:
        return [f"content of type {kind!r} is not documented"] if answer.content else []
    if kind not in contents:
        return [f"type {kind!r} is not documented"]
    named = {name.lower() for name in response.get("headers", {})}
    silent = [
        f"header {name} is not documented"
        for name in ("Location", "Retry-After", "ETag", "Idempotent-Replayed", "Allow", "Qunce-Batch",
                     "Preference-Applied", "Content-Disposition", "WWW-Authenticate")
        if name in answer.headers and name.lower() not in named
    ]  # fmt: skip
    return silent + (faults(document, contents[kind]["schema"], answer.json()) if kind in JSON else [])
