"""Parameters that reading routes share: moments, lists of names, whose data, and where a page begins."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Query
from pydantic import AfterValidator

from ingest.api.moments import Moment
from ingest.api.problems import Problem, bad_parameter
from ingest.breaches import broken

T = TypeVar("T")
_CLOCKS_APART = timedelta(minutes=1)

From = Annotated[Moment | None, Query(alias="from", description="RFC 3339 with a zone; inclusive")]
To = Annotated[Moment | None, Query(description="RFC 3339 with a zone; exclusive")]


def _past(moment: datetime | None) -> datetime | None:
    # What will be known then is not: the answer would not stay the same.
    if moment is not None and moment > datetime.now(UTC) + _CLOCKS_APART:
        raise broken("不能晚于现在", "must not lie in the future")
    return moment


AsOf = Annotated[
    Moment | None,
    AfterValidator(_past),
    Query(description="RFC 3339 with a zone: as it was known then; default: as it is known now"),
]
PilotCode = Annotated[str | None, Query(max_length=200, description="试点代码 | code of a pilot")]
EquipmentCode = Annotated[str | None, Query(max_length=200, description="设备编号 | code of an equipment")]
SourceKey = Annotated[
    str | None, Query(max_length=200, description="数据来源,见 GET /api/v1/sources | a source of data")
]
Cursor = Annotated[
    str | None, Query(max_length=2000, description="`next` of the answer before, as it was given")
]
Limit = Annotated[int, Query(ge=1, le=5000, description="每页条数 | entries a page, at most")]


def printed(**given: str | None) -> None:
    """Raises Problem for text that no name can hold."""
    for field, text in given.items():
        if text is not None and "\0" in text:
            raise bad_parameter(field, "含有字符 U+0000", "contains the character U+0000")


def names(field: str, given: str | None, most: int) -> list[str] | None:
    """Names separated by commas; None when nothing was given. Raises Problem: more than `most`."""
    if given is None:
        return None
    printed(**{field: given})
    found = list(dict.fromkeys(name for name in given.split(",") if name))
    if len(found) > most:
        raise bad_parameter(
            field, f"列出了 {len(found)} 个,一次最多 {most} 个", f"names {len(found)}, at most {most} at once"
        )
    return found


def one_of(field: str, given: Sequence[str] | None, known: Sequence[str]) -> None:
    """Raises Problem when one of the names given is not among the known ones."""
    for name in given or ():
        if name not in known:
            shown = ", ".join(known)
            raise bad_parameter(field, f"没有 {name!r},可用:{shown}", f"{name!r} is none of: {shown}")


def fingerprint(*filters: Any) -> str:
    """What a cursor is bound to: it goes on with the same question only."""
    return hashlib.sha256(repr(filters).encode()).hexdigest()[:12]


def cursor(of: str, place: Sequence[Any]) -> str:
    """A place in an answer's order as opaque text."""
    return base64.urlsafe_b64encode(msgspec.json.encode([of, *place])).decode().rstrip("=")


def no_cursor() -> Problem:
    """What is said to be a cursor is none, or is another question's."""
    return bad_parameter(
        "cursor",
        "不是同一查询的回答中的 next:请去掉它从头查询",
        "is not `next` of an answer to the same question: begin anew without it",
    )


def behind(given: str | None, of: str, kind: type[T]) -> T | None:
    """The place that a cursor of the same question tells; `kind` is a NamedTuple. Raises Problem."""
    if given is None:
        return None
    try:
        # As Latin-1 the cursor stays one byte a character, so that nothing else gets through.
        padded = given.encode("ascii") + b"=" * (-len(given) % 4)
        said, *place = msgspec.json.decode(
            base64.b64decode(padded, altchars=b"-_", validate=True), type=list[Any]
        )
        if said != of:
            raise ValueError("of another question")
        found: T = msgspec.convert(place, kind, strict=False)
    except (ValueError, TypeError, msgspec.MsgspecError) as wrong:
        raise no_cursor() from wrong
    for value in place:
        outside = isinstance(value, int) and not -(2**31) <= value < 2**31
        if outside or (isinstance(value, str) and "\0" in value):
            raise no_cursor()
    return found
