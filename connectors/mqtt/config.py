"""Settings of an MQTT source: the platform's own broker, or a broker of somebody else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, SecretStr, model_validator

from connectors.settings import ConnectorConfig, Strict

_LEVEL = re.compile(r"^(\+|#|\{(unit|equipment|signal)\}|[^+#{}]*)$")


def _topic_template(topic: str) -> str:
    levels = topic.split("/")
    for position, level in enumerate(levels):
        if not _LEVEL.match(level):
            raise ValueError(
                f"level {level!r} is neither a name, +, #, {{unit}}, {{equipment}} nor {{signal}}"
            )
        if level == "#" and position != len(levels) - 1:
            raise ValueError("# stands only at the end")
    named = [level for level in levels if level.startswith("{")]
    if len(named) != len(set(named)):
        raise ValueError("a named level occurs twice")
    return topic


def _zone(name: str | None) -> str | None:
    if name is not None:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"no such time zone: {name}") from error
    return name


class PayloadConfig(Strict):
    """How a payload of somebody else's broker is written (JSON)."""

    form: Literal["qunce", "values", "records", "single", "none"] = Field(
        description="`qunce`: as in docs/interface.md. `values`: an object signal → value, with one time. "
        "`records`: a list of objects, one reading each. `single`: one reading. `none`: not to be read; "
        "every message is refused (`unknown_topic`) and kept."
    )
    time_field: str = Field(default="ts", description="Field that holds the time.")
    time_form: Literal["rfc3339", "epoch_seconds", "epoch_milliseconds", "epoch_microseconds"] = Field(
        default="rfc3339", description="How the time is written."
    )
    time_zone: Annotated[str | None, AfterValidator(_zone)] = Field(
        default=None,
        description="Zone of RFC 3339 times that state none, e.g. `Asia/Shanghai`; refused when absent.",
    )
    time_missing: Literal["refused", "received"] = Field(
        default="refused", description="A payload without time: refuse it, or take the time of receipt."
    )
    values_field: str | None = Field(
        default="values",
        description="`values`: field of the object signal → value; null = the payload itself is that object.",
    )
    records_field: str | None = Field(
        default=None,
        description="`records`: field that holds the list; null = the payload itself is the list.",
    )
    value_field: str = Field(default="value", description="`records`, `single`: field of the value.")
    quality_field: str = Field(default="quality", description="Field of the quality; good when absent.")
    equipment_field: str | None = Field(
        default=None, description="Field of the equipment code, where the topic does not name it."
    )
    signal_field: str | None = Field(
        default=None,
        description="`records`, `single`: field of the signal, where the topic does not name it.",
    )
    tag_field: str | None = Field(
        default=None,
        description="`records`, `single`: field of the whole tag name, instead of equipment and signal.",
    )


class TopicConfig(Strict):
    """Messages of one kind of topic."""

    topic: Annotated[str, Field(min_length=1), AfterValidator(_topic_template)] = Field(
        description="Topic with named levels: `factory/{equipment}/telemetry`; `{unit}`, `{equipment}`, `{signal}`, "
        "`+`, and `#` at the end."
    )
    unit: str | None = Field(
        default=None,
        pattern=r"^[\w-]+$",
        description="Code of the lead unit, where the topic does not name it.",
    )
    equipment: str | None = Field(
        default=None, description="Equipment code, where neither topic nor payload names it."
    )
    signal: str | None = Field(default=None, description="Signal, where neither topic nor payload names it.")
    payload: PayloadConfig = Field(
        default=PayloadConfig(form="qunce"), description="How the payload is written."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.unit is None) == ("{unit}" not in self.topic):
            raise ValueError("unit: name the unit either here or as {unit} in the topic")
        payload = self.payload
        if payload.form in ("qunce", "none"):
            return self
        if payload.tag_field is None:
            if not (self.equipment or payload.equipment_field or "{equipment}" in self.topic):
                raise ValueError("equipment: neither topic, payload nor this table names the equipment")
            named = self.signal or payload.signal_field or "{signal}" in self.topic
            if payload.form != "values" and not named:
                raise ValueError("signal: neither topic, payload nor this table names the signal")
        return self


OWN_TOPICS = (
    TopicConfig(topic="qunce/v1/{unit}/measurements"),
    TopicConfig(topic="qunce/v1/{unit}/measurements/{equipment}"),
    # The broker acknowledges whatever a unit publishes in its branch, so that all of it must be read:
    # what was acknowledged and then gone would be lost without a word.
    TopicConfig(topic="qunce/v1/{unit}/#", payload=PayloadConfig(form="none")),
)


class MqttConfig(ConnectorConfig):
    """A broker that is subscribed to."""

    type: Literal["mqtt"] = Field(description="The protocol.")
    host: str = Field(description="Host name or address of the broker.", min_length=1)
    port: int = Field(
        default=1883, ge=1, le=65_535, description="Port of the broker; 8883 is usual with TLS."
    )
    version: Literal["3.1.1", "5"] = Field(default="3.1.1", description="MQTT version.")
    topics: tuple[TopicConfig, ...] = Field(
        default=OWN_TOPICS,
        min_length=1,
        description="What is read, first match first; by default the platform's own interface, "
        "`qunce/v1/{unit}/measurements…`, and everything else below `qunce/v1/{unit}/` as `none`.",
    )
    source_named_by: Literal["unit", "connector"] = Field(
        default="connector",
        description="Source key of the readings: `mqtt:<unit code>` (the platform's own broker, where each unit logs in "
        "as itself) or `mqtt:<name>`.",
    )
    client_id: str | None = Field(
        default=None,
        max_length=64,
        description="Identity of the persistent session, unique at the broker; `qunce-<name>` when absent.",
    )
    username: str | None = Field(default=None, description="User name; anonymous when absent.")
    password: SecretStr | None = Field(default=None, description="Password. Better: `password_file`.")
    password_file: Path | None = Field(default=None, description="File that holds the password.")
    tls: Literal["none", "verified"] = Field(
        default="none", description="`verified`: TLS, the broker's certificate and name are checked."
    )
    tls_authorities: Path | None = Field(
        default=None, description="Certificates of the authorities trusted (.pem); the system's when absent."
    )
    keepalive_seconds: int = Field(
        default=15, ge=2, le=3600, description="A connection without any answer for this long is made anew."
    )
    session_expiry_seconds: int = Field(
        default=7 * 86_400,
        ge=60,
        le=0xFFFF_FFFE,
        description="MQTT 5: how long the broker keeps what we missed.",
    )
    in_flight_most: int = Field(
        default=1000,
        ge=1,
        le=65_535,
        description="Messages taken but not yet acknowledged. MQTT 5: the broker is told (receive maximum); "
        "beyond it nothing more is read from the connection.",
    )
    in_flight_most_bytes: int = Field(
        default=32 * 2**20, ge=64 * 2**10, le=2**30, description="The same in bytes of payload."
    )
    gather_milliseconds: int = Field(
        default=200, ge=0, le=5000, description="Longest time messages are gathered into one batch."
    )
    quiet_milliseconds: int = Field(
        default=25, ge=1, le=5000, description="When nothing came for this long the batch is closed at once."
    )
    canary_topic: str | None = Field(
        default=None,
        pattern=r"^[^+#]+$",
        description="Topic we publish to and read back: a broker that no longer delivers is noticed. Must not match `topics`.",
    )
    canary_seconds: float = Field(
        default=15.0, ge=1, le=3600, description="How often, and how long the answer may take."
    )

    @property
    def session(self) -> str:
        """The client identifier."""
        return self.client_id or f"qunce-{self.name}"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.password is not None and self.password_file is not None:
            raise ValueError("password_file: give either `password` or `password_file`")
        if (self.password or self.password_file) and self.username is None:
            raise ValueError("username: needed with a password")
        if self.tls_authorities is not None and self.tls == "none":
            raise ValueError('tls_authorities: has no effect with tls = "none"')
        return self
