"""Secrets never reach a log."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from qunce.logging import redact

SECRET = "s3cr3t-value"


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://qunce:{SECRET}@127.0.0.1:5432/qunce",
        f"cannot connect to nats://u:{SECRET}@host:1",
        f"user=x password={SECRET} host=y",
        f"Authorization: Bearer {SECRET}",
        f"key qk_{SECRET} refused",
        f"cookie qunce_session=qs_{SECRET}; path=/",
        f"Authorization: Token {SECRET}",
        f"authorization='Basic {SECRET}'",
        f"password_hash $argon2id$v=19$m=65536,t=3,p=4${SECRET}",
        "X-Qunce-Signature: 5ec3e7aa" + "5ec3e7aa" * 7,
        f'{{"token": "{SECRET}"}}',
    ],
)
def test_redact(text: str) -> None:
    assert SECRET not in redact(text)
    assert "5ec3e7aa" not in redact(text)


def test_what_is_no_secret_stays() -> None:
    text = "2026-11-23T08:00:00+08:00 http://127.0.0.1:8760/a@b unit GD-ELE-01"
    assert redact(text) == text


def test_a_process_logs_json_lines_without_secrets() -> None:
    program = f"""
import logging, structlog
from qunce.logging import configure
from qunce.settings import Logging
configure(Logging())
structlog.get_logger("a").info("started", dsn="postgresql://u:{SECRET}@h/d", password="{SECRET}", n=3)
logging.getLogger("b").warning("foreign %s", "Bearer {SECRET}")
try:
    raise ValueError("nats://u:{SECRET}@h")
except ValueError:
    logging.getLogger("c").exception("failed")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert SECRET not in done.stderr.replace(program, "")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["started", "foreign Bearer ***", "failed"]
    assert lines[0]["n"] == 3
    assert logging.getLogger().level != logging.CRITICAL
