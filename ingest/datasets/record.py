"""The base of every dataset, and the rules by which its records may change."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, field_validator

from ingest.breaches import broken


class Record(BaseModel):
    """A record of a dataset.

    `zh`: what the dataset is called in Chinese. `key`: fields of the natural key. `dated`: fields that say of
    when a record speaks: a start or a day, or start and end (exclusive); what lies in a closed period is refused.
    `reasoned`: a correction needs a reason and is taken for some days after the first report only; registers
    are corrected freely. `withdrawable`: whether a record that should never have been can be withdrawn.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    zh: ClassVar[str]
    key: ClassVar[tuple[str, ...]]
    dated: ClassVar[tuple[str, ...]] = ()
    reasoned: ClassVar[bool] = False
    withdrawable: ClassVar[bool] = True

    @field_validator("*", mode="after")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        # JSON can say what PostgreSQL's text cannot hold.
        if isinstance(value, str) and "\0" in value:
            raise broken("含有字符 U+0000", "contains the character U+0000")
        return value
