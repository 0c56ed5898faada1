"""Which column of a file of measurements is what: the mapping file (TOML). Pure but for reading it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

TimeUnit = Literal["iso", "s", "ms", "us", "ns"]
As = Literal["number", "text", "bool"]


class MappingError(Exception):
    """The mapping file cannot be used; the message names the key."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Time(_Model):
    """The column of time: `iso` text (or `format`, as strptime), or a number of `unit` since 1970, UTC.

    `zone` is that of times which name none themselves.
    """

    column: str
    unit: TimeUnit = "iso"
    format: str | None = None
    zone: str | None = None

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: str | None) -> str | None:
        if zone is not None:
            try:
                ZoneInfo(zone)
            except (KeyError, ValueError, OSError):
                raise ValueError(f"unknown zone {zone!r}; for example Asia/Shanghai") from None
        return zone


class Target(_Model):
    """What a column becomes: readings of `tag`."""

    tag: Annotated[str, Field(min_length=1)]
    kind: Annotated[As, Field(alias="as")] = "number"


class Long(_Model):
    """One reading a row: the columns of the tag's name and of the value; `names`: their name → our tag."""

    tag: str
    value: str
    kind: Annotated[As, Field(alias="as")] = "number"
    names: dict[str, str] = {}


class Quality(_Model):
    """The column of quality; `good`, `uncertain`, `bad`: how the file writes them. What is not listed is sent as it is."""

    column: str
    good: list[str] = []
    uncertain: list[str] = []
    bad: list[str] = []


class Csv(_Model):
    """How a CSV is written; what is left out is found by the file's beginning."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    encoding: str | None = None


class Mapping(_Model):
    """The whole file: `tags` (a column a tag) or `long` (a row a reading)."""

    time: Time
    tags: dict[str, Target] = {}
    long: Long | None = None
    quality: Quality | None = None
    csv: Csv = Csv()

    @field_validator("tags", mode="before")
    @classmethod
    def _short(cls, tags: Any) -> Any:
        """A bare name is short for {tag = name}."""
        if not isinstance(tags, dict):
            return tags
        return {column: {"tag": one} if isinstance(one, str) else one for column, one in tags.items()}

    @model_validator(mode="after")
    def _one_layout(self) -> Self:
        if bool(self.tags) == (self.long is not None):
            raise ValueError("needs either [tags] (a column a tag) or [long] (a row a reading)")
        return self

    @property
    def columns(self) -> list[str]:
        """The columns of the file that are needed."""
        named = [self.time.column, *self.tags]
        if self.long is not None:
            named += [self.long.tag, self.long.value]
        if self.quality is not None:
            named.append(self.quality.column)
        return list(dict.fromkeys(named))


def read_mapping(path: Path) -> Mapping:
    """The mapping in a TOML file. Raises MappingError, OSError."""
    try:
        with path.open("rb") as file:
            return Mapping.model_validate(tomllib.load(file))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MappingError(f"{path}: 不是有效的 TOML / not valid TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "(file)"
        raise MappingError(f"{path}: {key}: {first['msg'].removeprefix('Value error, ')}") from error
