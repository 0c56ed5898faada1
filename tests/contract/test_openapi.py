"""The OpenAPI document is complete, its examples are true, and a running platform answers as it says."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import httpx
import pytest
import schemathesis

from ingest.api import create_api
from ingest.api.doors import OPEN
from ingest.api.examples import PATH
from ingest.api.problems import codes_of
from store.roles import logins
from tests.contract.document import JSON, Operation, closed, faults, judge, nodes, operations, resolved
from tests.contract.record import kept
from tests.contract.story import Told, register, running, tell

pytestmark = pytest.mark.concurrent
OPEN_BY_INTENT = {"POST /api/v1/session"}
UNSHOWN = {"application/vnd.apache.arrow.stream", "application/x-ndjson", "application/vnd.apache.parquet",
           "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}  # fmt: skip
"""Types that no example in JSON can be of; NDJSON is told in words, for tools do not know it."""


@pytest.fixture(scope="module")
def platform(module_dsn: str, nats_url: str) -> tuple[dict[str, Any], list[Told]]:
    session = register(module_dsn)
    with running(module_dsn, nats_url) as url:
        found = tell(url, module_dsn, session)
        document = httpx.get(f"{url}/api/openapi.json").json()
    if os.environ.get("QUNCE_RECORD"):
        PATH.write_text(json.dumps(kept(found), ensure_ascii=False, indent=1) + "\n", "utf-8")
    return document, found


@pytest.fixture(scope="module")
def document(platform: tuple[dict[str, Any], list[Told]]) -> dict[str, Any]:
    return platform[0]


@pytest.fixture(scope="module")
def told(platform: tuple[dict[str, Any], list[Told]]) -> list[Told]:
    return platform[1]


def examples(content: dict[str, Any]) -> list[Any]:
    return [content["example"]] if "example" in content else [
        one["value"] for one in content.get("examples", {}).values()
    ]  # fmt: skip


def succeeding(operation: Operation) -> list[tuple[str, dict[str, Any]]]:
    return [(s, r) for s, r in operation.told["responses"].items() if s.startswith("2")]


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    schemathesis.openapi.from_dict(document).validate()


def test_every_operation_is_told(document: dict[str, Any]) -> None:
    missing = []
    for operation in operations(document):
        told = operation.told
        if " | " not in told.get("summary", "") or len(told.get("description", "")) < 20:
            missing.append((str(operation), "summary in both languages, description"))
        if not succeeding(operation):
            missing.append((str(operation), "success"))
        for status, response in succeeding(operation):
            if status != "204" and not response.get("content"):
                missing.append((str(operation), status))
            for kind, content in response.get("content", {}).items():
                schema = resolved(document, content.get("schema", {}))
                if not (schema.get("properties") or schema.get("format") == "binary"):
                    missing.append((str(operation), status, kind, "schema"))
                if kind not in UNSHOWN and not examples(content):
                    missing.append((str(operation), status, kind, "example"))
        parameters = told.get("parameters", [])
        missing += [(str(operation), one["name"]) for one in parameters if not one.get("description")]
        body = told.get("requestBody")
        if operation.method in ("POST", "PATCH") and body is None:
            missing.append((str(operation), "body"))
        for kind, content in (body or {}).get("content", {}).items():
            if not content.get("schema"):
                missing.append((str(operation), kind, "schema"))
            if kind not in UNSHOWN and not examples(content):
                missing.append((str(operation), kind, "example"))
    assert missing == []


def test_every_field_is_described(document: dict[str, Any]) -> None:
    silent = set()
    for node in nodes({"paths": document["paths"], "schemas": document["components"]["schemas"]}):
        for name, field in node.get("properties", {}).items():
            if not (field.get("description") or field.get("$ref", "").count("/") > 3):  # a field of a dataset
                silent.add((node.get("title"), name))
    assert silent == set()


def test_every_example_is_as_its_schema_says(document: dict[str, Any]) -> None:
    wrong = []
    strict = closed(document)
    responses = document["components"]["responses"].items()
    for name, response in responses:
        content = response["content"]["application/problem+json"]
        wrong += [
            (name, found) for one in examples(content) for found in faults(document, content["schema"], one)
        ]
    for operation in operations(strict):
        contents = [
            (kind, content)
            for holder in (operation.told.get("requestBody", {}), *(r for _, r in succeeding(operation)))
            for kind, content in holder.get("content", {}).items()
        ]
        for kind, content in contents:
            if kind in JSON:
                for one in examples(content):
                    wrong += [(str(operation), found) for found in faults(strict, content["schema"], one)]
        for parameter in operation.told.get("parameters", []):
            schema = parameter["schema"]
            for one in schema.get("examples", []):
                wrong += [(str(operation), parameter["name"], found) for found in faults(strict, schema, one)]
    assert wrong == []


def test_every_problem_is_documented(document: dict[str, Any]) -> None:
    found = document["components"]["responses"]
    for status, codes in codes_of().items():
        shown = found[f"Problem{status}"]["content"]["application/problem+json"]["examples"]
        assert list(shown) == codes
        assert {one["value"]["code"] for one in shown.values()} == set(codes)
        assert {one["value"]["status"] for one in shown.values()} == {status}


def test_every_operation_says_who_may(document: dict[str, Any]) -> None:
    for operation in operations(document):
        is_open = operation.told["security"] == []
        assert is_open == (str(operation) in OPEN_BY_INTENT), operation
        assert is_open or {"401", "403"} <= operation.told["responses"].keys(), operation


def test_a_running_platform_answers_as_documented(document: dict[str, Any], told: list[Told]) -> None:
    strict = closed(document)
    by_name = {(o.method, o.path): o.told for o in operations(strict)}
    # What is asked for by a path with a dataset in it is that dataset's own operation.
    wrong = [
        (one.method, one.path, found)
        for one in told
        for found in judge(strict, by_name[one.method, one.path], one.answer)
    ]
    assert wrong == []
    asked = {(one.method, one.path) for one in told if one.answer.is_success}
    assert by_name.keys() - asked == set()


def test_the_methods_that_a_path_takes_are_its_own(module_dsn: str, nats_url: str) -> None:
    app = create_api(logins(module_dsn), nats_url)

    @app.get("/{rest:path}", include_in_schema=False, dependencies=[OPEN])
    async def pages(rest: str) -> str:
        return rest

    async def test() -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://qunce") as client,
        ):
            for path, allow in (
                ("/api/v1/measurements", "POST"), ("/api/v1/datasets/park", "POST"),
                ("/api/v1/keys/1", "DELETE"), ("/api/v1/keys", "GET, POST"),
            ):  # fmt: skip
                answer = await client.put(path)
                assert (answer.status_code, answer.headers["Allow"]) == (405, allow)

    asyncio.run(test())
