"""Whether the roles say that they are well, asked at most once a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg

from store.database import Connection, connect
from store.status import Component, components
from store.totals import ProtocolTotal, by_protocol

FRESH_S = 15.0


class Beats:
    """The last word of every component, and the ledger's totals; empty while the database is away."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._conn: Connection | None = None
        self._asked = 0.0
        self._words: list[Component] = []
        self._totals: list[ProtocolTotal] = []

    def words(self) -> list[Component]:
        """The last word of every component."""
        self._ask()
        return self._words

    def totals(self) -> list[ProtocolTotal]:
        """The ledger by protocol."""
        self._ask()
        return self._totals

    def well(self, names: set[str], since: datetime) -> Callable[[], bool]:
        """A question: have all these components said `ok`, recently, and after `since`?"""

        def answer() -> bool:
            return not self.unwell(names, since)

        return answer

    def unwell(self, names: set[str], since: datetime) -> dict[str, str]:
        """Component → why it does not count as well."""
        # Ages are the database's own, so that its clock need not agree with ours.
        passed = (now() - since).total_seconds()
        known = {word.component: word for word in self.words() if word.age_s <= passed}
        found: dict[str, str] = {}
        for name in sorted(names):
            word = known.get(name)
            if word is None:
                found[name] = "没有消息 / no word yet"
            elif word.status != "ok":
                text = (
                    word.detail.get("error") or word.detail.get("detail") or word.detail.get("reason") or ""
                )
                found[name] = f"{word.status} {text}".strip()
            elif word.age_s > FRESH_S:
                found[name] = f"沉默 / silent for {word.age_s:.0f} s"
        return found

    def close(self) -> None:
        """Close the connection."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _ask(self) -> None:
        if time.monotonic() - self._asked < 1:
            return
        try:
            if self._conn is None or self._conn.closed:
                self._conn = connect(self._dsn, application="demo", autocommit=True)
            self._words = components(self._conn)
            self._totals = by_protocol(self._conn)
        except psycopg.Error:
            self.close()
            self._words, self._totals = [], []
        self._asked = time.monotonic()


def now() -> datetime:
    """Aware UTC."""
    return datetime.now(UTC)
