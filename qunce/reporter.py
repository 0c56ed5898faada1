"""What the parts of this process say of themselves, on its way to `component_status`."""

from __future__ import annotations

import threading
import time
from typing import Any, cast

import psutil
import psycopg
import structlog

from store.database import Connection, connect
from store.status import Status, beat

WRITE_EVERY_S = 1.0
_RETRY_S = 2.0
_log = structlog.get_logger("qunce.reporter")


class Reporter:
    """`reporter(component, status, detail)` records a status and never blocks its caller.

    A thread writes at most one row a second and component, a change of status at once. It repeats
    nothing: a part that falls silent grows old in the table, as it should. While the database is
    away only the latest word of each component is kept. The process's resident memory is added to
    every detail as `rss_bytes`.
    """

    def __init__(self, dsn: str, instance: str) -> None:
        self._dsn = dsn
        self._instance = instance
        self._latest: dict[str, tuple[str, dict[str, Any]]] = {}
        self._written: dict[str, tuple[str, float]] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._conn: Connection | None = None
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
        self._thread.start()

    def __call__(self, component: str, status: str, detail: dict[str, Any]) -> None:
        """Record the status of a component (one of `store.status.Status`)."""
        with self._changed:
            self._latest[component] = (status, detail)
            before = self._written.get(component)
            if before is None or before[0] != status:
                self._changed.notify()

    def close(self) -> None:
        """Write what is still to be written (at most 2 s) and end."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        broken = False
        while True:
            with self._changed:
                if not self._closing and not self._due():
                    self._changed.wait(0.25)
                due, closing = self._due(), self._closing
                for component in due:
                    self._latest.pop(component)
            try:
                self._write(due)
                if broken:
                    _log.info("status is written again")
                    broken = False
            except psycopg.Error as error:
                if not broken:
                    _log.warning("status cannot be written, trying again", error=str(error).strip())
                    broken = True
                self._disconnect()
                with self._changed:
                    self._latest = {**due, **self._latest}
                    if not closing:
                        self._changed.wait(_RETRY_S)
            if closing:
                self._disconnect()
                return

    def _due(self) -> dict[str, tuple[str, dict[str, Any]]]:
        now = time.monotonic()
        return {
            component: latest
            for component, latest in self._latest.items()
            if self._closing
            or (before := self._written.get(component)) is None
            or before[0] != latest[0]
            or now - before[1] >= WRITE_EVERY_S
        }

    def _write(self, due: dict[str, tuple[str, dict[str, Any]]]) -> None:
        if not due:
            return
        if self._conn is None or self._conn.closed:
            self._conn = connect(self._dsn, application="status", autocommit=True)
        rss = psutil.Process().memory_info().rss
        for component, (status, detail) in due.items():
            beat(self._conn, component, self._instance, cast(Status, status), {**detail, "rss_bytes": rss})
            self._written[component] = (status, time.monotonic())

    def _disconnect(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None
