"""MQTT messages → one Batch per unit. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from connectors.columns import Columns, merge_by_unit, refusal
from connectors.mqtt.config import MqttConfig, TopicConfig
from connectors.mqtt.payload import BadPayload, read_payload, read_values
from ingest.batch import Batch
from ingest.decode import decode_json

_UNIT = re.compile(r"[\w-]{1,64}", re.ASCII)
_GROUPS = {
    "{unit}": r"(?P<unit>[^/]+)",
    "{equipment}": r"(?P<equipment>[^/]+)",
    "{signal}": r"(?P<signal>[^/]+)",
}


@dataclass(frozen=True, slots=True)
class Message:
    """One message as received; `received_at` µs UTC. `topic` None when it was no UTF-8."""

    mid: int
    qos: int
    topic: str | None
    payload: bytes
    received_at: int


@dataclass(slots=True)
class Decoded:
    """`batches`: one per unit and mode. `unplaced`: messages that belong to no unit and cannot be kept."""

    batches: list[Batch]
    unplaced: list[Message] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Route:
    """A topic template, compiled: what to subscribe to, and how to recognise a topic."""

    config: TopicConfig
    filter: str
    pattern: re.Pattern[str]

    @classmethod
    def of(cls, config: TopicConfig) -> Route:
        """Compile the template."""
        levels = config.topic.split("/")
        wanted = ["+" if level.startswith("{") else level for level in levels]
        parts = [_GROUPS.get(level) or ("[^/]*" if level == "+" else re.escape(level)) for level in levels]
        expression = "/".join(parts)
        if levels[-1] == "#":
            expression = "/".join(parts[:-1]) + r"(/.*)?" if len(levels) > 1 else r".*"
        return cls(config, "/".join(wanted), re.compile(expression))


def covers(wide: str, narrow: str) -> bool:
    """Whether every topic that the filter `narrow` matches is matched by `wide` too."""
    wider, narrower = wide.split("/"), narrow.split("/")
    for position, level in enumerate(wider):
        if level == "#":
            return True
        if position == len(narrower) or narrower[position] == "#":
            return False
        if level not in ("+", narrower[position]):
            return False
    return len(wider) == len(narrower)


class Codec:
    """The routes of one broker."""

    def __init__(self, config: MqttConfig) -> None:
        self._by_unit = config.source_named_by == "unit"
        self._name = config.name
        self.routes = tuple(Route.of(topic) for topic in config.topics)

    def filters(self) -> list[str]:
        """What to subscribe to. A filter within another is left out: brokers deliver once for each."""
        every = list(dict.fromkeys(route.filter for route in self.routes))
        return [one for one in every if not any(other != one and covers(other, one) for other in every)]

    def decode(self, messages: Sequence[Message]) -> Decoded:
        """Everything the messages hold, in their order; what cannot be read is refused with its original."""
        result = Decoded([])
        batches: list[Batch] = []
        values: dict[tuple[str, str], tuple[Columns, int]] = {}
        for message in messages:
            placed = self._place(message)
            if placed is None:
                result.unplaced.append(message)
                continue
            route, unit, named = placed
            source = self._source(unit)
            equipment = named.get("equipment") or route.equipment
            if route.payload.form == "qunce" and equipment is not None:
                # The common small message, gathered over all messages; anything odd in it goes the long way.
                columns, latest = values.get((unit, source)) or (Columns(), 0)
                if read_values(message.payload, equipment, columns):
                    values[unit, source] = (columns, max(latest, message.received_at))
                    continue
            batches.append(_one(message, route, unit, source, named))
        batches += [
            columns.batch(unit, source, received_at)
            for (unit, source), (columns, received_at) in values.items()
        ]
        result.batches = merge_by_unit(batches)
        return result

    def refused(self, message: Message, detail: str) -> Decoded:
        """The message as one refusal, unread."""
        placed = self._place(message)
        if placed is None:
            return Decoded([], [message])
        unit = placed[1]
        columns = Columns()
        columns.refuse(
            f"{message.topic}: $", "wrong_shape", message.payload, {"place": "$", "detail": detail}
        )
        return Decoded([columns.batch(unit, self._source(unit), message.received_at)])

    def _source(self, unit: str) -> str:
        return f"mqtt:{unit if self._by_unit else self._name}"

    def _place(self, message: Message) -> tuple[TopicConfig, str, Mapping[str, str]] | None:
        """(topic settings, unit, named levels) of a message; None when it belongs to no unit."""
        for route in self.routes:
            match = None if message.topic is None else route.pattern.fullmatch(message.topic)
            if match is not None:
                named = match.groupdict()
                unit = named.get("unit") or route.config.unit or ""
                # A unit's name becomes part of names in the log: only what the province gives out.
                return (route.config, unit, named) if _UNIT.fullmatch(unit) else None
        return None


def _one(message: Message, route: TopicConfig, unit: str, source: str, named: Mapping[str, str]) -> Batch:
    """One message by itself."""
    if route.payload.form == "none":
        columns = Columns()
        columns.refuse("$", "unknown_topic", message.payload, {"topic": message.topic or ""})
        batch = columns.batch(unit, source, message.received_at)
    elif route.payload.form == "qunce":
        equipment = named.get("equipment") or route.equipment
        batch = decode_json(
            message.payload, unit=unit, source=source, received_at=message.received_at, equipment=equipment
        )
    else:
        columns = Columns()
        try:
            read_payload(message.payload, route, named, message.received_at, columns)
        except BadPayload as error:
            columns.refuse("$", error.reason, message.payload, error.parameters)
        batch = columns.batch(unit, source, message.received_at)
    # Several messages share one batch, so that a place without its topic would say little.
    refused = tuple(
        refusal(
            f"{message.topic}: {entry.place}",
            entry.reason,
            entry.original,
            entry.parameters,
            tag=entry.tag,
            ts=entry.ts,
        )
        for entry in batch.refused
    )
    return replace(batch, refused=refused) if refused else batch
