"""What the processes say: structlog through the standard library, without secrets."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from qunce.settings import Logging

_HIDDEN = "***"
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(\w+://[^:/@\s]*):[^@/\s]+@"), rf"\1:{_HIDDEN}@"),  # scheme://user:password@
    (re.compile(r"\b(q[ks]_)[A-Za-z0-9_\-]+"), rf"\1{_HIDDEN}"),  # API keys, sessions
    (
        re.compile(
            r"(?i)(authorization[\"']?\s*[=:]\s*[\"']?(?:(?:bearer|basic|token)\s+)?|\b(?:bearer|basic)\s+)\S+"
        ),
        rf"\1{_HIDDEN}",
    ),
    (re.compile(r"\$argon2id?\$\S+"), f"$argon2id${_HIDDEN}"),
    (re.compile(r"(?i)(x-qunce-signature[\"']?\s*[=:,]\s*)[\"']?[0-9a-f]+"), rf"\1{_HIDDEN}"),
    (
        re.compile(r"(?i)((?:password|passwd|secret|token|api_key)[\"']?\s*[=:]\s*)[\"']?[^\s\"',;]+"),
        rf"\1{_HIDDEN}",
    ),
)
_SECRET_KEYS = re.compile(r"(?i)password|passwd|secret|token|api_key|authorization|signature|cookie")


def redact(text: str) -> str:
    """The text without passwords and their hashes, API keys, sessions, bearer tokens and signatures."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: _HIDDEN if _is_secret(key) else _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, bool | int | float) or value is None:
        return value
    return redact(str(value))


def _is_secret(key: object) -> bool:
    return bool(_SECRET_KEYS.search(str(key)))


def redact_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: the event without secrets, also in exceptions and nested values."""
    for key, value in event.items():
        # structlog's own keys (_record, _from_structlog) are objects that the formatter needs
        if not key.startswith("_"):
            event[key] = _HIDDEN if _is_secret(key) else _clean(value)
    return event


def configure(settings: Logging) -> None:
    """Send everything (structlog and standard library) to stderr; call once at the start of a process."""
    text = settings.form == "text" or (settings.form == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if text
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact_event, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    # Per-request and per-publish chatter of libraries; their warnings stay.
    for noisy in ("asyncua", "httpx", "httpcore", "apscheduler", "nats", "uvicorn.access", "psycopg.pool"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
