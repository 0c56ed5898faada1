"""Examples of answers: told by a platform that ran, and kept in examples.json.

They are taken anew by `QUNCE_RECORD=1 .venv/bin/python -m pytest tests/contract/test_openapi.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from ingest.datasets import DATASETS

PATH = Path(__file__).with_name("examples.json")
_OF_DATASETS = "/api/v1/datasets/{name}"


def named(method: str, path: str) -> str:
    """An operation's name among the examples; reports of all datasets are answered alike."""
    head, _, last = path.rpartition("/")
    reported = method == "POST" and head == "/api/v1/datasets" and last in DATASETS
    return f"{method} {_OF_DATASETS if reported else path}"


def answer_example(method: str, path: str, status: str, kind: str) -> Any:
    """The answer of this status and content type; None: there is none."""
    return _kept().get(named(method, path), {}).get(f"{status} {kind}")


@cache
def _kept() -> Mapping[str, Mapping[str, Any]]:
    found: dict[str, dict[str, Any]] = msgspec.json.decode(PATH.read_bytes()) if PATH.exists() else {}
    return found
