"""`GET /metrics`: the platform's figures as Prometheus text.

However often it is asked, log and database are read at most every `EVERY_S`, by one reader at a time, and
an answer waits at most `PATIENCE_S` for it; after that it gives what was read last. What cannot be known
while a back end is away is left out, and `qunce_up` says which one it is.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

import structlog
from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import SecretStr

from ingest.accounting import Account, Booked, draw_up, pending, read_booked
from ingest.api.doors import OPEN
from ingest.api.gate import Gate
from ingest.api.problems import Problem
from ingest.log import LogUnavailable, Waiting
from store import operations
from store.canary import Arrived, arrived
from store.database import Connection
from store.operations import Skew
from store.status import Component, components, told_pending

EVERY_S = 5.0
PATIENCE_S = 2.0
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
UNKNOWN = "(unknown)"
"""All units that are not registered, as one: their names are whatever somebody sends."""

_SCAN_S = 2.0
_SCAN_AGAIN_S = 60.0
_QUERY_S = 3.0
_WORD_S = 10.0
_UP_S = 15.0
_MOST_UNASSIGNED = 100_000
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")

log_ = structlog.get_logger("ingest.metrics")


@dataclass(frozen=True, slots=True)
class Figures:
    """What was read at `at` (monotonic seconds). None or empty: it could not be read."""

    at: float = 0.0
    log: tuple[int, int] | None = None
    database: bool = False
    accounts: Sequence[Account] = ()
    components: Sequence[Component] = ()
    canaries: Sequence[Arrived] = ()
    skews: Sequence[Skew] = ()
    rows_taken: int = 0


@dataclass
class Watch:
    """Reads the figures for one process; for one event loop."""

    gate: Gate
    _figures: Figures = field(default_factory=Figures)
    _reading: asyncio.Task[None] | None = None
    _scan_after: float = 0.0

    async def figures(self) -> Figures:
        """The newest figures there are; returns within `PATIENCE_S`. Never raises."""
        if self._reading is None and time.monotonic() - self._figures.at >= EVERY_S:
            self._reading = asyncio.create_task(self._renew())
        if self._reading is not None:
            await asyncio.wait([self._reading], timeout=PATIENCE_S)
        return self._figures

    async def _renew(self) -> None:
        try:
            self._figures = await self._read()
        except Exception:  # the figures stay what they were; their age shows it
            log_.exception("metrics cannot be read")
        finally:
            self._reading = None

    async def _read(self) -> Figures:
        fill, identity, waiting = None, "", None
        try:
            log = await self.gate.log()
            fill, identity = await log.fill(), log.identity
            if time.monotonic() >= self._scan_after:
                async with asyncio.timeout(_SCAN_S):
                    waiting = await log.waiting()  # before the snapshot, as accounting demands
        except TimeoutError:
            # Too much waits to be listed this often: until later the writers' own word has to do.
            self._scan_after = time.monotonic() + _SCAN_AGAIN_S
        except LogUnavailable:
            pass
        rows_taken = self.gate.rows_taken
        try:
            booked, words, canaries, skews = await self.gate.monitoring(_read_store, identity)
        except Problem:
            return Figures(at=time.monotonic(), log=fill, rows_taken=rows_taken)
        return Figures(
            at=time.monotonic(),
            log=fill,
            database=True,
            accounts=_accounts(booked, words, waiting),
            components=words,
            canaries=canaries,
            skews=skews,
            rows_taken=rows_taken,
        )


def _read_store(conn: Connection, identity: str) -> tuple[Booked, list[Component], list[Arrived], list[Skew]]:
    booked = read_booked(conn, identity, most_unassigned=_MOST_UNASSIGNED, timeout_s=_QUERY_S)
    return booked, components(conn), arrived(conn), operations.skews(conn)


def _accounts(booked: Booked, words: list[Component], waiting: list[Waiting] | None) -> list[Account]:
    if waiting is None:
        told = told_pending(words, _WORD_S)
        return draw_up(booked, None if told is None else told.by_source)
    return draw_up(booked, pending(waiting, booked.positions, booked.floors))


class Families(Collector):
    """Figures as metric families."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """All families; those of which nothing is known are left out."""
        figures = self._figures
        up = GaugeMetricFamily("qunce_up", "1 when the back end answered", labels=["backend"])
        up.add_metric(["database"], figures.database)
        up.add_metric(["log"], figures.log is not None)
        yield up
        age = time.monotonic() - figures.at if figures.at else float("nan")
        yield GaugeMetricFamily("qunce_figures_age_seconds", "age of the figures in this answer", age)
        yield CounterMetricFamily(
            "qunce_api_taken_rows",
            "rows this process appended to the log since it started",
            figures.rows_taken,
        )
        if figures.log is not None:
            yield GaugeMetricFamily("qunce_log_bytes", "bytes the ingest log holds", figures.log[0])
            yield GaugeMetricFamily("qunce_log_limit_bytes", "bytes it may hold", figures.log[1])
        if figures.database:
            yield from _of_accounts(figures.accounts)
            yield from _of_canaries(figures.canaries)
            yield from _of_components(figures.components)
            skew = GaugeMetricFamily(
                "qunce_clock_skew_seconds",
                "how far the source's clock is ahead of the platform's",
                labels=["unit", "source"],
            )
            for s in figures.skews:
                skew.add_metric([s.unit, s.source], s.ahead_s)
            yield skew


def _of_accounts(accounts: Sequence[Account]) -> Iterator[Metric]:
    labels = ["unit", "source"]
    received = CounterMetricFamily(
        "qunce_ingest_received_rows",
        "rows appended to the log, as their senders' way in counted them",
        labels=labels,
    )
    rows = CounterMetricFamily(
        "qunce_ingest_rows",
        "rows by what became of them; their sum and the pending rows are the received rows",
        labels=[*labels, "outcome"],
    )
    waits = GaugeMetricFamily("qunce_ingest_pending_rows", "rows that wait in the log", labels=labels)
    for unit, source, account in _labelled(accounts):
        received.add_metric([unit, source], account.received)
        for outcome, n in (
            ("stored", account.stored),
            ("duplicate", account.duplicates),
            ("correction", account.corrections),
            ("quarantined", account.quarantined),
        ):
            rows.add_metric([unit, source, outcome], n)
        if account.pending is not None:
            waits.add_metric([unit, source], account.pending)
    yield received
    yield rows
    yield waits
    yield GaugeMetricFamily(
        "qunce_ingest_unbalanced_accounts",
        "accounts whose received rows are not the sum of the others; must be 0",
        sum(not account.balanced for account in accounts),
    )


def _labelled(accounts: Sequence[Account]) -> Iterator[tuple[str, str, Account]]:
    nobody = [account for account in accounts if not account.source]
    for account in accounts:
        if account.source:
            yield account.unit, account.source, account
    if nobody:
        yield UNKNOWN, "", Account(
            "", "", sum(a.received for a in nobody), 0, 0, 0, sum(a.quarantined for a in nobody),
            None if nobody[0].pending is None else sum(a.pending or 0 for a in nobody),
        )  # fmt: skip


def _of_canaries(canaries: Sequence[Arrived]) -> Iterator[Metric]:
    age = GaugeMetricFamily(
        "qunce_canary_age_seconds", "since the connector's newest canary was stored", labels=["connector"]
    )
    delay = GaugeMetricFamily(
        "qunce_canary_delay_seconds", "from sending to storing of the newest canary", labels=["connector"]
    )
    times = CounterMetricFamily("qunce_canaries", "canaries stored", labels=["connector"])
    for canary in canaries:
        age.add_metric([canary.connector], canary.age_s)
        delay.add_metric([canary.connector], (canary.stored_at - canary.sent_at).total_seconds())
        times.add_metric([canary.connector], canary.times)
    yield age
    yield delay
    yield times


def _of_components(words: Sequence[Component]) -> Iterator[Metric]:
    labels = ["component", "instance"]
    up = GaugeMetricFamily(
        "qunce_component_up", "1 when it says it is well, and said so lately", labels=labels
    )
    age = GaugeMetricFamily("qunce_component_age_seconds", "since the part last said anything", labels=labels)
    rss = GaugeMetricFamily(
        "qunce_process_resident_bytes", "resident memory of the part's process", labels=labels
    )
    written = CounterMetricFamily(
        "qunce_writer_rows", "rows this writer judged since it started", labels=labels[1:]
    )
    for word in words:
        names = [word.component, word.instance]
        up.add_metric(names, word.status == "ok" and word.age_s <= _UP_S)
        age.add_metric(names, word.age_s)
        if isinstance(held := word.detail.get("rss_bytes"), int):
            rss.add_metric(names, held)
        if word.component == "writer" and isinstance(rows := word.detail.get("rows"), int):
            written.add_metric(names[1:], rows)
    yield up
    yield age
    yield rss
    yield written


def router(gate: Gate, token: SecretStr | None) -> APIRouter:
    """The route, on this process's gate. `token`: what everybody shows who does not ask from this machine."""
    routes = APIRouter()
    watch = Watch(gate)

    @routes.get("/metrics", include_in_schema=False, dependencies=[OPEN])
    async def metrics(request: Request) -> Response:
        _admit(request, token)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Families(await watch.figures()))
        ProcessCollector(registry=registry)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE)

    return routes


def _admit(request: Request, token: SecretStr | None) -> None:
    """From this machine itself, or with the token. Raises Problem."""
    if _is_local(request):
        return
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if token is None or scheme.lower() != "bearer" or not given.strip():
        raise Problem("no_key")
    if not hmac.compare_digest(given.strip().encode(), token.get_secret_value().encode()):
        raise Problem("wrong_key")


def _is_local(request: Request) -> bool:
    # What a proxy on this machine passes on comes from elsewhere.
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ip_address(request.client.host).is_loopback
    except ValueError:
        return False
