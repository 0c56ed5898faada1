"""`qunce check`: every back end, asked once."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import psycopg

from qunce.logging import redact
from qunce.settings import Settings
from store.database import connect
from store.migrate import pending


class Check(NamedTuple):
    """One answer. `ok` is None for what is not configured and need not be."""

    name: str
    target: str
    ok: bool | None
    detail: str
    milliseconds: float


def run_checks(settings: Settings) -> list[Check]:
    """Ask database, log, broker, interface and every connector; never raises."""
    results = [_database(settings), _log(settings), _broker(settings), _http(settings)]
    return [*results, *_connectors(settings)]


def _timed(name: str, target: str, ok: bool, detail: str, begun: float) -> Check:
    return Check(name, redact(target), ok, redact(detail), (time.perf_counter() - begun) * 1000)


def _unset(name: str, key: str, *, ok: bool | None = False) -> Check:
    return Check(name, "", ok, f"{key}: 未设置 / not set", 0.0)


def _database(settings: Settings) -> Check:
    if settings.database.dsn is None:
        return _unset("database", "database.dsn")
    dsn, begun = settings.database.dsn.get_secret_value(), time.perf_counter()
    try:
        with connect(dsn, application="check") as conn:
            row = conn.execute("SELECT current_setting('server_version')").fetchone()
            missing = pending(conn)
    except psycopg.Error as error:
        return _timed("database", dsn, False, str(error).strip(), begun)
    if missing:
        return _timed("database", dsn, False, f"`qunce db migrate`: {', '.join(missing)}", begun)
    return _timed("database", dsn, True, f"PostgreSQL {row[0] if row else '?'}", begun)


def _log(settings: Settings) -> Check:
    if settings.log.url is None:
        return _unset("log", "log.url")
    from ingest.log import Log, LogUnavailable

    url, begun = settings.log.url.get_secret_value(), time.perf_counter()

    async def ask() -> str:
        log = await Log.connect(url, name="check")
        try:
            held, limit = await log.fill()
            return f"{held / 2**20:,.1f} of {limit / 2**20:,.0f} MiB held"
        finally:
            await log.close()

    try:
        return _timed("log", url, True, asyncio.run(ask()), begun)
    except LogUnavailable as error:
        return _timed("log", url, False, str(error), begun)


def _broker(settings: Settings) -> Check:
    if settings.mqtt.url is None:
        return _unset("mqtt", "mqtt.url", ok=None)
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    url, begun = settings.mqtt.url.get_secret_value(), time.perf_counter()
    parts = urlsplit(url)
    answers: list[str] = []
    client = Client(CallbackAPIVersion.VERSION2, client_id="")
    if parts.username:
        client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
    if parts.scheme == "mqtts":
        client.tls_set()
    client.on_connect = lambda _c, _u, _f, reason, _p: answers.append(str(reason))
    try:
        client.connect(parts.hostname or "", parts.port or (8883 if parts.scheme == "mqtts" else 1883))
        while not answers and time.perf_counter() - begun < 5:
            client.loop(0.1)
    except (OSError, ValueError) as error:
        return _timed("mqtt", url, False, str(error), begun)
    finally:
        with contextlib.suppress(OSError):
            client.disconnect()
    if not answers:
        return _timed("mqtt", url, False, "没有应答 / no answer within 5 s", begun)
    return _timed("mqtt", url, answers[0] == "Success", answers[0], begun)


def _http(settings: Settings) -> Check:
    import httpx

    url, begun = f"{settings.api.local_url}/healthz", time.perf_counter()
    try:
        answer = httpx.get(url, timeout=5, trust_env=False)
    except httpx.HTTPError as error:
        return _timed("http", url, False, str(error), begun)
    return _timed("http", url, answer.status_code == 200, f"HTTP {answer.status_code}", begun)


def _connectors(settings: Settings) -> list[Check]:
    from connectors import host
    from connectors.contract import ConfigError
    from qunce import broker

    file, begun = settings.connectors_file, time.perf_counter()
    if not broker.configured(settings):
        return [Check("connectors", str(file), None, "未配置 / not configured: no such file", 0.0)]
    try:
        with tempfile.TemporaryDirectory(prefix="qunce-check-") as folder:
            in_force = broker.write_connectors(settings, Path(folder) / "connectors.toml")
            reports = asyncio.run(host.check(in_force, settings.data_dir / "connectors"))
    except (ConfigError, OSError) as error:
        return [_timed("connectors", str(file), False, str(error), begun)]
    return [
        Check(
            name,
            redact(report.target),
            report.ok,
            redact(f"{report.reason} {report.detail}".strip()),
            report.milliseconds,
        )
        for name, report in reports
    ]
