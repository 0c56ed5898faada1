"""The keys that logged in lately, so that a thousand devices at once cost the database one question a key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import NamedTuple

from ingest.api.limits import Meter
from ingest.callout.decision import Holder
from store import identity

FRESH_S = 60.0
"""So long a key that is not known to have ended is taken without a question."""
TRUSTED_S = 900.0
"""So long a key is taken while the database is away, from when it was last seen valid."""
_WRONG_S = 2.0
_MOST = 10_000
# Wrong keys that the database was asked for, of each address.
_WRONG_PER_S, _WRONG_AT_ONCE, _WRONG_WAITS_S = 2, 50, 30


class Unavailable(Exception):
    """Whether the key is valid cannot be known now."""


class TooManyWrong(Exception):
    """The address has tried many wrong keys: none of its is looked up for now."""


class _Known(NamedTuple):
    holder: Holder
    asked_at: float
    seen_valid_at: float


class Keys:
    """Which key is whose. `ask` gets a key's digest and raises Unavailable. Used in one loop only."""

    def __init__(self, ask: Callable[[bytes], Awaitable[Holder | None]]) -> None:
        self._ask = ask
        self._known: dict[bytes, _Known] = {}
        self._wrong: dict[bytes, float] = {}
        self._asking: dict[bytes, asyncio.Future[Holder | None]] = {}
        self._pace = Meter(_WRONG_PER_S, _WRONG_AT_ONCE, _WRONG_WAITS_S)

    async def holder(self, key: str, address: str) -> Holder | None:
        """Whose valid key this is; None when it is none. Raises Unavailable, TooManyWrong."""
        digest, now = identity.digest(key), time.monotonic()
        known = self._known.get(digest)
        if known is not None and _over(known.holder):
            del self._known[digest]
            known = None
        if known is not None and now - known.asked_at < FRESH_S:
            return known.holder
        if known is None:
            if now - self._wrong.get(digest, -_WRONG_S) < _WRONG_S:
                return None
            if self._pace.wait_s(address) > 0:
                raise TooManyWrong
        try:
            return await self._looked_up(digest, address)
        except Unavailable:
            if known is None or now - known.seen_valid_at > TRUSTED_S:
                raise
            return known.holder

    def in_use(self) -> set[int]:
        """Ids of the keys that are remembered."""
        return {key_id for known in self._known.values() if (key_id := known.holder.who.key_id) is not None}

    def confirm(self, asked: set[int], valid: set[int]) -> None:
        """Of the keys `asked` for just these are valid now; the others are forgotten."""
        now = time.monotonic()
        for digest, known in list(self._known.items()):
            key_id = known.holder.who.key_id
            if key_id in valid:
                self._known[digest] = known._replace(seen_valid_at=now)
            elif key_id in asked:
                del self._known[digest]

    async def _looked_up(self, digest: bytes, address: str) -> Holder | None:
        if (asking := self._asking.get(digest)) is None:
            asking = self._asking[digest] = asyncio.ensure_future(self._ask(digest))
            asking.add_done_callback(lambda _: self._asking.pop(digest, None))
            holder = await asyncio.shield(asking)
            self._remember(digest, holder, address)
            return holder
        return await asyncio.shield(asking)

    def _remember(self, digest: bytes, holder: Holder | None, address: str) -> None:
        now = time.monotonic()
        if holder is None:
            self._known.pop(digest, None)
            if len(self._wrong) >= _MOST:
                self._wrong.clear()
            self._wrong[digest] = now
            self._pace.spend(address)
        else:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[digest] = _Known(holder, now, now)


def _over(holder: Holder) -> bool:
    return holder.expires_at is not None and holder.expires_at <= datetime.now(UTC)
