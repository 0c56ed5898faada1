"""The base of every dataset, and the rules by which its records may change."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, field_validator


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
            raise ValueError("contains the character U+0000")
        return value


def ordered(low: Any, high: Any, message: str, *, strictly: bool = False) -> None:
    """Raises ValueError with this message unless low <= high (< if strictly); nothing is said of what is None."""
    if low is not None and high is not None and (low >= high if strictly else low > high):
        raise ValueError(message)
