"""The boards: one a scope, for whoever looks; who sees the same shares one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from dashboard.board import Board
from dashboard.lines import Lines
from dashboard.snapshot import Snapshot
from store.identity import Principal
from supervision.problems import Thresholds

MOST = 64
IDLE_S = 60.0


class Boards:
    """Starts a board when somebody looks, and stops it when nobody has for a minute. For several threads.

    `on_renewed(scope, snapshot)` is called from the boards' threads after each renewal; `on_stopped(scope)` when
    one was stopped to make room for another.
    """

    def __init__(
        self,
        dsn: str,
        *,
        period_s: float = 2.0,
        thresholds: Thresholds | None = None,
        zone: str = "Asia/Shanghai",
        most: int = MOST,
        idle_s: float = IDLE_S,
        on_renewed: Callable[[str, Snapshot], None] = lambda *_: None,
        on_stopped: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._lines = Lines(dsn)
        self._period_s, self._thresholds, self._zone = period_s, thresholds, zone
        self._most, self._idle_s = most, idle_s
        self._on_renewed, self._on_stopped = on_renewed, on_stopped
        self._lock = threading.Lock()
        self._boards: dict[str, tuple[Board, float]] = {}
        self._leaving: list[Board] = []

    @property
    def scopes(self) -> list[str]:
        """The scopes that have a board now."""
        return list(self._boards)

    def of(self, who: Principal) -> Board:
        """The board of what `who` may see, who looks now; one that has just begun is empty at first."""
        if who.kind != "person" or not who.scope:
            raise LookupError("nobody's board")
        stopped: list[tuple[str, Board]] = []
        with self._lock:
            now = time.monotonic()
            board = self._boards.pop(who.scope, (None, 0.0))[0]
            stopped += [
                self._take(s) for s, (_, seen) in list(self._boards.items()) if now - seen > self._idle_s
            ]
            if board is None:
                while len(self._boards) >= self._most:
                    stopped.append(self._take(next(iter(self._boards))))
                board = self._board(who)
                board.start()
            board.seen_by(who)
            self._boards[who.scope] = (board, now)
        self._end(stopped)
        return board

    def sweep(self) -> None:
        """Stop those that nobody looks at."""
        now = time.monotonic()
        with self._lock:
            idle = [self._take(s) for s, (_, seen) in list(self._boards.items()) if now - seen > self._idle_s]
        self._end(idle)

    def stop(self) -> None:
        """Stop all, wait until they have ended, and close the connections."""
        with self._lock:
            boards = [self._take(scope) for scope in list(self._boards)]
        self._end(boards)
        for board in self._leaving:
            board.join()
        self._lines.end()

    def _take(self, scope: str) -> tuple[str, Board]:
        return scope, self._boards.pop(scope)[0]

    def _end(self, stopped: list[tuple[str, Board]]) -> None:
        for scope, board in stopped:
            board.stop()
            self._on_stopped(scope)
        with self._lock:
            self._leaving = [b for b in self._leaving if b.is_running] + [board for _, board in stopped]

    def _board(self, who: Principal) -> Board:
        scope = who.scope
        return Board(
            self._lines, who, period_s=self._period_s, thresholds=self._thresholds, zone=self._zone,
            on_renewed=lambda snapshot: self._on_renewed(scope, snapshot),
        )  # fmt: skip
