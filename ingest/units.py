"""What the writer knows of the units whose readings it stores: tags, sources, closed periods."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ingest.recent import MOST_KEYS, Recent
from store import periods, registry
from store.database import Connection
from store.tags import UnitTags, renew, unit_tags

_LOOK_AGAIN_S = 2.0
"""How often a name or a unit that is not known is looked for again: tags are registered through this writer."""
_PERIODS_S = 2.0
_CAUTIOUS_FOR = 50


@dataclass(slots=True)
class KnownUnit:
    """One unit. `closed_until` µs UTC: readings before it are refused; None when nothing is closed.

    `cautious`: for so many groups more, late rows are looked up before they are tried.
    """

    tags: UnitTags
    renewed_at: float
    closed_until: int | None
    closed_read_at: float
    changed: list[str] = field(default_factory=list)
    """Names registered anew since `tags` was read."""
    recent: Recent = field(default_factory=Recent)
    cautious: int = 0


class Known:
    """What the hands of one writer know together. Of each unit, one hand uses it at a time."""

    def __init__(self) -> None:
        self.units: dict[str, KnownUnit] = {}
        self.unknown: dict[str, float] = {}
        self.sources: dict[tuple[int, str], int] = {}

    def changed(self, code: str, names: Sequence[str]) -> None:
        """These tags of the unit were registered anew: they are read again when next needed."""
        if (known := self.units.get(code)) is not None:
            known.changed = [*known.changed, *names]

    def surprised(self, codes: Sequence[str], tag_id: npt.NDArray[np.int32]) -> None:
        """Of these tags of these units something came that was stored already, and it was not known."""
        for code in codes:
            known = self.units.get(code)
            if known is not None and np.isin(tag_id, known.tags.tag_id).any():
                known.cautious = _CAUTIOUS_FOR

    def forget(self, codes: Sequence[str]) -> None:
        """After a failed transaction: what is known of these units' newest readings is ahead of the store."""
        for code in codes:
            self.units.pop(code, None)


class Units:
    """What is known, and the connection (in autocommit) by which more is found out."""

    def __init__(self, conn: Connection, known: Known) -> None:
        self._conn = conn
        self._known = known

    @property
    def most_recent(self) -> int:
        """How many keys may be remembered of each unit."""
        return MOST_KEYS // max(1, len(self._known.units))

    def unit(self, code: str, names: Sequence[str] = (), oldest: int | None = None) -> KnownUnit | None:
        """A unit with its tags; None when not registered.

        Looked at again when one of `names` is not among its tags, or `oldest` (µs UTC) in a closed period.
        """
        now = time.monotonic()
        known = self._known.units.get(code)
        if known is None:
            return self._found(code, now)
        if known.changed or (
            now - known.renewed_at > _LOOK_AGAIN_S and (known.tags.rows.find(names) < 0).any()
        ):
            changed, known.changed = known.changed, []
            renewed = renew(self._conn, known.tags, changed)
            if renewed is not known.tags:
                known.tags, known.recent = renewed, Recent()  # the rows have moved
            known.renewed_at = now
        closed = known.closed_until is not None and oldest is not None and oldest < known.closed_until
        if closed or now - known.closed_read_at > _PERIODS_S:
            known.closed_until = periods.closed_until(self._conn, known.tags.unit_id)
            known.closed_read_at = now
        return known

    def source(self, unit_id: int, key: str) -> int:
        """The source_id of a unit's source, registered at first sight."""
        sources = self._known.sources
        if (unit_id, key) not in sources:
            with self._conn.transaction():  # a source and its account, or neither
                sources[unit_id, key] = registry.source_id(self._conn, unit_id, key)
        return sources[unit_id, key]

    def unit_id(self, code: str) -> int | None:
        """The id of a registered unit, without its tags."""
        if (known := self._known.units.get(code)) is not None:
            return known.tags.unit_id
        return registry.unit_ids(self._conn).get(code)

    def _found(self, code: str, now: float) -> KnownUnit | None:
        unknown = self._known.unknown
        if now - unknown.get(code, -_LOOK_AGAIN_S) < _LOOK_AGAIN_S:
            return None
        tags = unit_tags(self._conn, code)
        if tags is None:
            if len(unknown) > 10_000:
                unknown.clear()
            unknown[code] = now
            return None
        until = periods.closed_until(self._conn, tags.unit_id)
        known = self._known.units[code] = KnownUnit(tags, now, until, now)
        return known
