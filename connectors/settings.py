"""What the connectors' settings have in common, and how secrets are read."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from connectors.contract import PermanentError


class Strict(BaseModel):
    """Frozen; an unknown key is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ConnectorConfig(Strict):
    """Settings every connector has."""

    name: str = Field(
        description="Name of this connector, unique in the file; part of the source key and of file names.",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$",
    )


def secret_of(value: SecretStr | None, file: Path | None) -> str | None:
    """The secret, read from its file at each use so that it can be changed without a restart.

    Raises PermanentError `secret_unreadable`.
    """
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise PermanentError("secret_unreadable", f"{file}: {error}") from error
    return None if value is None else value.get_secret_value()
