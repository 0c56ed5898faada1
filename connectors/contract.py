"""What a connector is, what it may rely on, and what it must keep.

A connector fetches readings from one source (a server, a broker, a lead unit's platform) and hands
them over in batches. It knows nothing of the log, the database or the other connectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from ingest.batch import Batch

State = Literal["starting", "ok", "recoverable", "permanent", "stopping", "stopped"]
"""`recoverable`: it will be tried again by itself; `permanent`: a person must act (it is tried all the same)."""


class TransientError(Exception):
    """The same may work later. `reason` is a short code, `detail` English text for operators.

    `retry_after_seconds`: the source asked for at least this pause. `unreachable`: nothing listens
    at the address, so that the pause may end as soon as something does (see `Reachable`).
    """

    def __init__(
        self,
        reason: str,
        detail: str,
        *,
        retry_after_seconds: float | None = None,
        unreachable: bool = False,
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds
        self.unreachable = unreachable


class PermanentError(Exception):
    """The same will fail again until a person changes something (a password, a certificate, a setting)."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class ConfigError(Exception):
    """The configuration cannot be used: `file`, the `key` in it, and the `rule` that is broken."""

    def __init__(self, file: Path | str, key: str, rule: str) -> None:
        super().__init__(f"{file}: {key}: {rule}" if key else f"{file}: {rule}")
        self.file = str(file)
        self.key = key
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one `check()`: `target` is the address, `reason` a code (empty when ok)."""

    ok: bool
    target: str
    reason: str
    detail: str
    milliseconds: float


class Sink(Protocol):
    """Where batches go."""

    async def put(self, batch: Batch) -> None:
        """Return when every row of `batch` is durable. Returning *is* the acknowledgement.

        Waits as long as it takes: when what lies behind is full or away, it slows the caller down
        and tries again; it never drops. Batches of one caller keep their order when the caller
        awaits each before the next; calls may also run in parallel, then order is not promised.
        When cancelled, it is unknown whether the batch became durable: do not acknowledge, the
        source sends it again, and a duplicate is recognised by the store.
        """
        ...


class Connector(Protocol):
    """One configured source.

    The constructor `(config, log)` takes a validated, frozen configuration and a
    `connectors.journal.Journal`, and does no I/O. `run` is never called twice in parallel, and
    `check` never while `run` is running; no locks are needed.
    """

    can_acknowledge: ClassVar[bool]
    """True when the source keeps what was not acknowledged, so that nothing is lost while we are away."""

    async def check(self) -> Report:
        """One round trip to the source with the credentials configured; changes nothing there. Never raises."""
        ...

    async def run(self, sink: Sink) -> None:
        """Fetch and hand over until cancelled.

        Raises TransientError or PermanentError when the connection cannot be made or is lost; whoever
        runs it waits and calls `run` again: there is no reconnecting inside. Acknowledges to the
        source only after `sink.put` returned. When cancelled, hands over what it holds (at most 3 s),
        closes the connection and lets the CancelledError through.
        """
        ...


@runtime_checkable
class Reachable(Protocol):
    """A connector that can say cheaply whether something listens at its address."""

    async def reachable(self) -> bool:
        """True when the port answers (a bare TCP connection, at most 1 s). Never raises."""
        ...


@runtime_checkable
class Probe(Protocol):
    """A connector that can ask its source something on the session that is running."""

    async def probe(self) -> int:
        """The source's own time (µs since the Unix epoch, UTC) after a real round trip; the platform's
        time of the answer where the protocol tells none.

        Called beside `run`, several seconds apart; whoever calls sets a time limit. Raises as `run`
        does when nothing is running or the source does not answer; changes nothing at the source.
        """
        ...


@runtime_checkable
class Stateful(Protocol):
    """A connector that keeps a position of its own across restarts."""

    def keep_state_in(self, directory: Path) -> None:
        """Called once, before `run`; the directory exists and is this connector's alone."""
        ...


@runtime_checkable
class Browse(Protocol):
    """A connector that can list what its source offers."""

    async def browse(self) -> list[dict[str, Any]]:
        """What could be read: one entry each, with at least `tag` and `address`. Raises as `run` does."""
        ...
