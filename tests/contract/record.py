"""Examples of answers, from those of a platform that runs: cut short, and without secrets. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from ingest.api.examples import named
from tests.contract.story import Told

_LIST_MOST, _NAMES_MOST = 3, 20
_SECRET = re.compile(r"\b(qk|qs)_[A-Za-z0-9_-]{20,}")


def kept(told: list[Told]) -> dict[str, dict[str, Any]]:
    """Operation → status and content type → the last answer of those, cut short."""
    found: dict[str, dict[str, Any]] = {}
    for method, path, answer in told:
        kind = answer.headers.get("content-type", "").partition(";")[0]
        if not answer.is_success or not answer.content:
            continue
        if kind == "application/json":
            value = _short(json.loads(_SECRET.sub(r"\1_…", answer.text)))
        elif kind in ("text/csv", "application/x-ndjson"):
            value = "".join(answer.text.removeprefix("\ufeff").splitlines(keepends=True)[:_LIST_MOST])
        else:
            continue
        found.setdefault(named(method, path), {})[f"{answer.status_code} {kind}"] = value
    written = found["POST /api/v2/write"]
    written["202 application/json"] = found["POST /api/v1/measurements"]["202 application/json"]
    return dict(sorted(found.items()))


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        names = list(value)[: _LIST_MOST if len(value) > _NAMES_MOST else None]
        return {name: "…" if name == "password" and value[name] else _short(value[name]) for name in names}
    return [_short(one) for one in value[:_LIST_MOST]] if isinstance(value, list) else value
