"""What happens to an MQTT connector: one function per event, log line and counter together."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.journal import Journal
from connectors.mqtt.codec import Message


def acknowledged(journal: Journal, messages: int) -> None:
    """Messages became durable and were acknowledged."""
    journal.count("messages", messages)


def unplaced(journal: Journal, messages: Sequence[Message]) -> None:
    """Messages of no unit: there is no quarantine to put them in; dropped, and counted (reason: no unit)."""
    if messages:
        journal.count("messages_without_unit", len(messages))
        journal.raised("unplaced", True, "message belongs to no unit, dropped", topic=messages[0].topic)


def undecodable(journal: Journal, message: Message, error: Exception) -> None:
    """A message our own code failed on; refused with its original bytes."""
    journal.count("messages_undecodable")
    journal.raised("undecodable", True, "message cannot be decoded", topic=message.topic, error=str(error))


def reading_paused(journal: Journal, paused: bool, waiting: int) -> None:
    """Too much waits to become durable: nothing more is read from the broker until it has."""
    if paused:
        journal.count("pauses")
    journal.raised("paused", paused, "reading paused", waiting=waiting)
