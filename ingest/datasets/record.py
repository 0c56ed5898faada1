"""The base of every dataset, and the rules by which its records may change."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from ingest.breaches import broken, called
from store.times import LOCAL

_AHEAD = timedelta(days=1)
"""So far a statement may be ahead of our clock: somebody's day may begin before ours."""


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

    @model_validator(mode="after")
    def _has_begun(self) -> Self:
        # A slip of the year would be stored at once, and be a correction that needs a reason afterwards.
        if self.reasoned and self.dated:
            field = self.dated[0]
            if _begins(getattr(self, field)) > datetime.now(UTC) + _AHEAD:
                raise broken(f"{called(self, field)}在未来", f"{field} lies in the future", field=field)
        return self


def _begins(said: datetime | date | str) -> datetime:
    """When a moment, a day, or a year, quarter or month of +08:00 begins."""
    if isinstance(said, datetime):
        return said
    if isinstance(said, str):
        year, _, rest = said.partition("-")
        month = 1 if not rest else 3 * int(rest[1]) - 2 if rest.startswith("Q") else int(rest)
        return datetime(int(year), month, 1, tzinfo=LOCAL)
    return datetime(said.year, said.month, said.day, tzinfo=LOCAL)
