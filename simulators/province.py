"""The static description of the province (``province.json``) as typed records."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Unit(msgspec.Struct, kw_only=True):
    """A lead unit (牵头单位). ``path`` 1: lead enterprise, 2: industry platform."""

    code: str
    name_zh: str
    name_en: str
    path: int
    uscc: str


class Milestone(msgspec.Struct, kw_only=True):
    """A milestone of a pilot; dates are local ``YYYY-MM-DD``."""

    code: str
    name: str
    planned_on: str
    accepted_on: str | None = None


class Pilot(msgspec.Struct, kw_only=True):
    """A pilot. ``gain`` (share of losses removed in the long run) and ``loss`` (their size) drive its machines."""

    code: str
    name_zh: str
    name_en: str
    cluster_code: str
    region_code: str
    stage: str
    started_on: str
    unit: Unit
    milestones: list[Milestone]
    gain: float
    loss: float


class Park(msgspec.Struct, kw_only=True):
    """An industrial park, virtual or not."""

    code: str
    unit: str
    name: str
    region_code: str
    virtual: bool


class Enterprise(msgspec.Struct, kw_only=True):
    """An enterprise that joined a pilot."""

    uscc: str
    unit: str
    name: str
    region_code: str
    industry: str
    park_code: str | None
    registered_on: str
    scale: str


class Tag(msgspec.Struct, kw_only=True):
    """A signal of a machine. Intervals in s: on the back-filled grid and in live operation."""

    name: str
    signal: str
    data_type: str
    unit: str
    history_interval_s: int
    live_interval_s: int
    range_min: float | None = None
    range_max: float | None = None


class Equipment(msgspec.Struct, kw_only=True):
    """A machine; ``pattern`` is its shift pattern (``day``, ``two``, ``three``)."""

    code: str
    unit: str
    enterprise_uscc: str
    name: str
    kind: str
    rated_capacity_per_h: float
    digital: bool
    networked: bool
    commissioned_on: str
    pattern: str
    rests_on_sunday: bool
    tags: list[Tag]


class Gateway(msgspec.Struct, kw_only=True):
    """One factory's edge gateway: one MQTT client."""

    client_id: str
    enterprise_uscc: str
    equipment: list[str]


class Source(msgspec.Struct, kw_only=True):
    """Where the live data of some machines come from; the key in the ledger is ``protocol:name``."""

    name: str
    protocol: str
    unit: str
    equipment: list[str]
    port_offset: int | None = None
    gateways: list[Gateway] = msgspec.field(default_factory=list)

    @property
    def key(self) -> str:
        """The source's key in the ledgers on both sides."""
        return f"{self.protocol}:{self.name}"


def lane_names(source: Source) -> list[str]:
    """The names under which a source's clients keep their cursors: one for each MQTT gateway, else the key."""
    if source.protocol == "mqtt":
        return [gateway.client_id for gateway in source.gateways]
    return [source.key]


class Province(msgspec.Struct, kw_only=True):
    """The whole description; a pure function of the seed and of ``as_of``. ``bank``: whom enterprises authorise."""

    seed: int
    as_of: str
    bank: str = "91440000900000022D"
    pilots: list[Pilot]
    parks: list[Park]
    enterprises: list[Enterprise]
    equipment: list[Equipment]
    sources: list[Source]

    def pilot_of(self, unit: str) -> Pilot:
        """The pilot that a unit leads; KeyError if there is none."""
        for pilot in self.pilots:
            if pilot.unit.code == unit:
                return pilot
        raise KeyError(unit)


class UnitCredentials(msgspec.Struct, kw_only=True):
    """The secret the platform's operator gave to a unit."""

    api_key: str


class MqttBroker(msgspec.Struct, kw_only=True):
    """Where the platform's broker listens."""

    host: str = "127.0.0.1"
    port: int = 1883


class Credentials(msgspec.Struct, kw_only=True):
    """What the platform's operator hands out: addresses and secrets."""

    api_url: str = ""
    mqtt: MqttBroker | None = None
    units: dict[str, UnitCredentials] = msgspec.field(default_factory=dict)
    pull_token: str = ""


def load_province(path: Path) -> Province:
    """Read ``province.json``; msgspec.ValidationError names the field that is wrong."""
    return msgspec.json.decode(path.read_bytes(), type=Province)


def load_credentials(path: Path) -> Credentials:
    """Read ``credentials.json``; msgspec.ValidationError names the field that is wrong."""
    return msgspec.json.decode(path.read_bytes(), type=Credentials)
