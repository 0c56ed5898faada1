"""Settings of an OPC UA source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from connectors.settings import ConnectorConfig, Strict


class ItemConfig(Strict):
    """One variable by node id."""

    node: Annotated[str, Field(pattern=r"^(nsu=[^;]+;)?[isgb]=.+$")] = Field(
        description="Node id with its namespace URI, `nsu=urn:factory:line1;s=Press.Count`. "
        "Without `nsu=` it is in namespace 0. A namespace index (`ns=`) is not accepted: indices change."
    )
    tag: Annotated[str, Field(pattern=r"^[^.\s]+\.\S+$")] = Field(
        description="Tag name, `<equipment code>.<signal>`."
    )


class OpcUaConfig(ConnectorConfig):
    """An OPC UA server that is subscribed to."""

    type: Literal["opcua"] = Field(description="The protocol.")
    unit: str = Field(description="Code of the lead unit whose equipment this is.", pattern=r"^[\w-]+$")
    url: str = Field(description="Endpoint, `opc.tcp://host:4840/path`.", pattern=r"^opc\.tcp://[^/]+:\d+")
    machines: Literal["found", "none"] = Field(
        default="found",
        description="`found`: everything below Objects/Machines (OPC 40001-1) is read: machine state, operation "
        "mode, and what lies below `Monitoring`. `none`: only `items`.",
    )
    items: tuple[ItemConfig, ...] = Field(default=(), description="Variables read by node id.")
    equipment_codes: dict[str, str] = Field(
        default_factory=dict, description="Browse name of a machine → its equipment code, where they differ."
    )
    signal_names: dict[str, str] = Field(
        default_factory=dict,
        description="Browse name (lower case; path below `Monitoring` joined by `_`) → signal, where they differ.",
    )
    value_names: dict[str, str] = Field(
        default_factory=dict,
        description='Text as the server sends it → text as declared, e.g. `"执行" = "Executing"`.',
    )
    publish_interval_milliseconds: int = Field(
        default=500, ge=50, le=60_000, description="How often the server sends what has changed."
    )
    sampling_interval_milliseconds: int = Field(
        default=250,
        ge=0,
        le=600_000,
        description="How often the server looks at each variable; 0 = at each change.",
    )
    queue_size: int = Field(
        default=50,
        ge=2,
        le=10_000,
        description="Values a variable may wait in the server. When full the server discards the oldest and says so; "
        "counted as `queue_overflows`.",
    )
    items_per_request: int = Field(
        default=500, ge=1, le=10_000, description="Variables per request to the server."
    )
    notifications_per_publish: int = Field(
        default=10_000, ge=1, le=100_000, description="Most values in one answer: bounds the memory used."
    )
    silence_seconds: float = Field(
        default=10.0,
        ge=2,
        le=600,
        description="Without any sign of life for this long the connection is made anew.",
    )
    browse_interval_minutes: float = Field(
        default=10.0, gt=0, le=1440, description="How often it is looked for machines that came or went."
    )
    request_timeout_seconds: float = Field(
        default=5.0, ge=0.5, le=60, description="Longest wait for one answer."
    )
    username: str | None = Field(default=None, description="User name; anonymous when absent.")
    password: SecretStr | None = Field(default=None, description="Password. Better: `password_file`.")
    password_file: Path | None = Field(default=None, description="File that holds the password.")
    security_policy: Literal["None", "Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss"] = Field(
        default="None",
        description="Security policy of the channel. There is no falling back to a weaker one.",
    )
    security_mode: Literal["Sign", "SignAndEncrypt"] = Field(
        default="SignAndEncrypt", description="What the policy is used for; ignored with policy `None`."
    )
    application_uri: str = Field(
        default="urn:qunce:connectors", description="Our application URI; must be the one in `certificate`."
    )
    certificate: Path | None = Field(default=None, description="Our certificate (.der or .pem).")
    private_key: Path | None = Field(default=None, description="Key of our certificate (.der or .pem).")
    server_certificate: Path | None = Field(
        default=None, description="The only certificate accepted from the server (.der or .pem)."
    )

    @property
    def source(self) -> str:
        """Source key of the readings."""
        return f"opcua:{self.name}"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.machines == "none" and not self.items:
            raise ValueError('items: nothing to read: give `items`, or set machines = "found"')
        if self.password is not None and self.password_file is not None:
            raise ValueError("password_file: give either `password` or `password_file`")
        if (self.password or self.password_file) and self.username is None:
            raise ValueError("username: needed with a password")
        if self.security_policy != "None" and not (
            self.certificate and self.private_key and self.server_certificate
        ):
            raise ValueError(
                f"security_policy: {self.security_policy} needs certificate, private_key and server_certificate"
            )
        return self
