"""What happens to an OPC UA connector: one function per event, log line and counter together."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.journal import Journal
from connectors.opcua.codec import Tally
from connectors.opcua.config import OpcUaConfig


def subscribed(journal: Journal, items: int, machines: int) -> None:
    """All variables are being watched."""
    journal.counts["items"] = items
    journal.counts["machines"] = machines
    journal.count("subscriptions")


def items_refused(journal: Journal, refused: Sequence[tuple[str, str]]) -> None:
    """The server does not let these variables be watched: (tag, status name)."""
    journal.counts["items_refused"] = len(refused)
    examples = [f"{tag}: {status}" for tag, status in refused[:10]]
    journal.raised(
        "items", bool(refused), "variables cannot be watched", refused=len(refused), examples=examples
    )


def filter_refused(journal: Journal, items: int) -> None:
    """The server does not report equal values with a new time; only changes arrive for these."""
    journal.count("filters_refused", items)
    journal.raised(
        "filter", True, "server reports changes only, keep-alives with equal values are lost", items=items
    )


def noticed(journal: Journal, tally: Tally) -> None:
    """Gaps and substituted times of one answer."""
    if tally.overflows:
        journal.count("queue_overflows", len(tally.overflows))
    journal.raised(
        "overflow",
        bool(tally.overflows),
        "server queue overflowed, values are missing",
        tags=tally.overflows[:10],
    )
    if tally.server_times:
        journal.count("server_times", tally.server_times)


def held_back(journal: Journal, seconds: float, config: OpcUaConfig) -> None:
    """Values waited in the server while a batch became durable; counted when its queues may have been too short."""
    enough = config.queue_size * max(config.sampling_interval_milliseconds, 1) / 1000
    if seconds > enough:
        journal.count("held_back")
    journal.raised("held back", seconds > enough, "server may have discarded values", waited_seconds=seconds)


def sequence_gap(journal: Journal, expected: int, got: int) -> None:
    """Notification messages are missing."""
    journal.count("sequence_gaps")
    journal.log.warning("notification messages are missing", expected=expected, got=got)
