"""Settings of a lead unit's platform that is pulled."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from connectors.settings import ConnectorConfig


class HttpPullConfig(ConnectorConfig):
    """A platform that offers `GET <base>/measurements` (docs/interface.md)."""

    type: Literal["http_pull"] = Field(description="The protocol.")
    unit: str = Field(description="Code of the lead unit whose platform this is.", pattern=r"^[\w-]+$")
    url: str = Field(
        description="Base address; `/measurements` is added.", pattern=r"^https?://[^/?#]+[^?#]*$"
    )
    token: SecretStr | None = Field(default=None, description="Bearer token agreed. Better: `token_file`.")
    token_file: Path | None = Field(default=None, description="File that holds the bearer token.")
    interval_seconds: float = Field(
        default=5.0, ge=0.2, le=86_400, description="Pause between questions when there was nothing more."
    )
    page_rows: int = Field(
        default=5_000, ge=1, le=100_000, description="Most rows asked for at once (`limit`)."
    )
    page_most_bytes: int = Field(
        default=32 * 2**20, ge=1024, le=2**30, description="A larger answer is not read to its end."
    )
    timeout_seconds: float = Field(
        default=30.0, ge=1, le=600, description="Longest wait for an answer to begin or go on."
    )

    @property
    def source(self) -> str:
        """Source key of the readings."""
        return f"http_pull:{self.name}"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.token is not None and self.token_file is not None:
            raise ValueError("token_file: give either `token` or `token_file`")
        return self
