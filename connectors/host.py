"""Runs the connectors of one file side by side, each as its own task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from connectors.backoff import Backoff
from connectors.canaries import send_canaries
from connectors.config import AnyConfig, load_config
from connectors.contract import Connector, Probe, Report, Stateful
from connectors.http_pull.config import HttpPullConfig
from connectors.http_pull.connector import HttpPullConnector
from connectors.journal import Journal
from connectors.mqtt.config import MqttConfig
from connectors.mqtt.connector import MqttConnector
from connectors.opcua.connector import OpcUaConnector
from connectors.sink import APPENDS_AT_ONCE, LogSink
from connectors.supervise import supervise
from ingest.log import Log, LogUnavailable

REPORT_SECONDS = 1.0
"""Besides at every change of status, each connector is reported this often."""

STOP_SECONDS = 4.5
"""Connectors flush what they hold and close within this time."""

_LOG_PATIENCE_SECONDS = 2.0

Reporter = Callable[[str, str, dict[str, Any]], None]
"""(connector name, status, details): see `connectors.journal.Journal.snapshot`."""


def build(config: AnyConfig, journal: Journal, state_dir: Path) -> Connector:
    """The connector of a configuration, with a directory of its own where it needs one."""
    connector: Connector
    if isinstance(config, MqttConfig):
        connector = MqttConnector(config, journal)
    elif isinstance(config, HttpPullConfig):
        connector = HttpPullConnector(config, journal)
    else:
        connector = OpcUaConnector(config, journal)
    if isinstance(connector, Stateful):
        directory = state_dir / config.type / config.name
        directory.mkdir(parents=True, exist_ok=True)
        connector.keep_state_in(directory)
    return connector


async def run(
    config_file: Path,
    log_url: str,
    state_dir: Path,
    stop: asyncio.Event,
    report: Reporter,
) -> None:
    """Run every connector of the file until `stop` is set, then drain and return within 5 s.

    Raises ConfigError before anything is started. Otherwise never raises: a connector that fails is
    run again after a pause, the others do not notice. When the log cannot be reached at the
    start it is waited for, and reported as connector status `recoverable`, reason `log_unavailable`.
    """
    configs = load_config(config_file).connectors
    journals = [Journal(c.name, c.type, lambda j: report(j.name, j.state, j.snapshot())) for c in configs]
    log = await _connect(log_url, journals, stop)
    if log is None:
        return
    room = asyncio.Semaphore(APPENDS_AT_ONCE)
    connectors = [
        build(config, journal, state_dir) for config, journal in zip(configs, journals, strict=True)
    ]
    tasks = [
        asyncio.create_task(supervise(connector, LogSink(log, journal, room), journal), name=journal.name)
        for connector, journal in zip(connectors, journals, strict=True)
    ]
    reporting = asyncio.create_task(_report(journals, report))
    canaries = [
        asyncio.create_task(send_canaries(connector, journal, log))
        for connector, journal in zip(connectors, journals, strict=True)
        if isinstance(connector, Probe)
    ]
    try:
        await stop.wait()
    finally:
        for journal in journals:
            journal.status("stopping")
        for task in (*tasks, *canaries):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_SECONDS)
        reporting.cancel()
        await asyncio.gather(reporting, *canaries, return_exceptions=True)
        for journal in journals:
            report(journal.name, journal.state, journal.snapshot())
        await log.close()


async def check(config_file: Path, state_dir: Path) -> list[tuple[str, Report]]:
    """`check()` of every connector of the file: (name, report). Raises ConfigError."""
    configs = load_config(config_file).connectors
    connectors = [build(config, Journal(config.name, config.type), state_dir) for config in configs]
    reports = await asyncio.gather(*(connector.check() for connector in connectors))
    return [(config.name, report) for config, report in zip(configs, reports, strict=True)]


async def _connect(url: str, journals: list[Journal], stop: asyncio.Event) -> Log | None:
    """The log, waited for as long as it takes; None when told to stop before."""
    pause = Backoff(0.2, 5.0)
    stopping = asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            opening = asyncio.create_task(Log.connect(url, name="connectors"))
            try:
                first = asyncio.FIRST_COMPLETED
                done, _ = await asyncio.wait(
                    [opening, stopping], timeout=_LOG_PATIENCE_SECONDS, return_when=first
                )
                if not done:
                    _waiting_for_log(journals, "no answer yet")
                    await asyncio.wait([opening, stopping], return_when=first)
                if opening.done():
                    return opening.result()
            except LogUnavailable as error:
                _waiting_for_log(journals, str(error))
            finally:
                opening.cancel()
            await asyncio.wait([stopping], timeout=pause.next())
    finally:
        stopping.cancel()
    return None


def _waiting_for_log(journals: list[Journal], detail: str) -> None:
    for journal in journals:
        journal.status("recoverable", "log_unavailable", detail)


async def _report(journals: list[Journal], report: Reporter) -> None:
    while True:
        for journal in journals:
            report(journal.name, journal.state, journal.snapshot())
        await asyncio.sleep(REPORT_SECONDS)
