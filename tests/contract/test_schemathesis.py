"""Whoever calls the interface, whatever it is sent: schemathesis, as a stranger runs it, finds it as its document says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.database import connect
from store.identity import NewPerson, add_person, open_session
from tests.contract.story import KEY, USCC, register, running, tell

pytestmark = pytest.mark.concurrent

CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "unsupported_method", "allow_header_conformance", "missing_required_header",
)  # fmt: skip
DATASETS = "^/api/v1/datasets/(?!(tag|milestone|loan)$)[a-z_]+$"
"""They are alike: some stand for all."""
ENDING = ("DELETE /api/v1/session", "POST /api/v1/me/password")
"""What would end the session it is asked with."""


@pytest.fixture(scope="module")
def platform(module_dsn: str, nats_url: str) -> Iterator[tuple[str, dict[str, str]]]:
    """(address, kind of caller → credentials) of a platform that has a bit of everything."""
    operator = register(module_dsn)
    with running(module_dsn, nats_url) as url:
        tell(url, module_dsn, operator)
        with connect(module_dsn, application="test") as conn:
            boss = add_person(conn, NewPerson("boss", "企业负责人", "enterprise", uscc=USCC))
            firm = open_session(conn, boss, 3600, "127.0.0.1")
        yield url, {"unit": KEY, "operator": operator, "enterprise": firm}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("caller", ["unit", "operator", "enterprise"])
def test_the_interface_is_as_its_document_says(
    platform: tuple[str, dict[str, str]], caller: str, tmp_path: Path
) -> None:
    url, credentials = platform
    program = Path(sys.executable).with_name("schemathesis")
    command = [
        str(program), "run", f"{url}/api/openapi.json", "--header", f"Authorization: Bearer {credentials[caller]}",
        "--checks", ",".join(CHECKS), "--phases", "examples,fuzzing", "--max-examples", "3", "--no-shrink", "--seed", "7",
        "--continue-on-failure", "--warnings", "off", "--no-color", "--request-timeout", "20",
        *(word for name in ENDING for word in ("--exclude-name", name)),
        "--exclude-path-regex", DATASETS,
    ]  # fmt: skip
    env = {**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path / "hypothesis")}
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Test cases:" in done.stdout
