"""Sending what is in the spool, one submission at a time and in order, until the platform has it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from qunce.client.answers import Flushed, Verdict, verdict
from qunce.client.dead import DeadLetters
from qunce.client.errors import Problem, Unreachable
from qunce.client.retries import Retries
from qunce.client.spool import Spool, Spooled
from qunce.client.wire import Wire

_log = logging.getLogger("qunce.client")

BLOCKED_S = 60.0
"""Between attempts when not the content is refused but the key or the address: a person must mend that."""

OnVerdict = Callable[[Verdict], None]


class Drain:
    """Moves submissions from the spool to the platform. `flush` and the thread (`start`) never do so both at once."""

    def __init__(
        self, spool: Spool, dead: DeadLetters, wire: Wire, retries: Retries, on_verdict: OnVerdict | None
    ) -> None:
        self._spool, self._dead, self._wire, self._retries = spool, dead, wire, retries
        self._on_verdict = on_verdict
        self._turn = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._failures = 0
        self._not_before = 0.0
        self._sent = self._put_aside = 0
        self.trouble: Exception | None = None
        spool.aside_bytes = dead.size()[1]

    def start(self) -> None:
        """Send in a thread of its own from now on."""
        self._thread = threading.Thread(target=self._run, name="qunce-client", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop after the attempt that is going on; what is not sent stays in the spool."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def wake(self) -> None:
        """There is something to send."""
        self._wake.set()

    def flush(self, timeout_s: float) -> Flushed:
        """Send until nothing is left, or time is up. Raises Problem when the platform refuses the key or the address."""
        until = time.monotonic() + timeout_s
        sent, aside = self._sent, self._put_aside
        self._not_before = 0.0
        while self._spool.queued and (left := until - time.monotonic()) > 0:
            wait = self._not_before - time.monotonic()
            if wait > 0:
                time.sleep(min(wait, left))
            elif self._turn.acquire(timeout=left):
                try:
                    self._step()
                finally:
                    self._turn.release()
                if isinstance(self.trouble, Problem) and not self.trouble.is_temporary:
                    raise self.trouble
        return Flushed(self._sent - sent, self._put_aside - aside, self._spool.queued)

    def _run(self) -> None:
        while True:
            self._wake.clear()
            if self._stopping:
                return
            wait: float | None = self._not_before - time.monotonic()
            if wait is not None and wait <= 0:
                if self._stepped():
                    continue
                wait = None
            self._wake.wait(wait)

    def _stepped(self) -> bool:
        try:
            with self._turn:
                return self._step()
        except Exception as error:  # the disk fails, say: whatever it is, the thread must outlive it
            _log.exception("the spool cannot be worked off")
            self.trouble = error
            self._not_before = time.monotonic() + BLOCKED_S
            return True

    def _step(self) -> bool:
        """One attempt at the oldest submission; False: there is none."""
        head = self._spool.oldest()
        if head is None:
            return False
        try:
            answer = self._wire.once(head.sending)
        except (Problem, Unreachable) as failed:
            self._failed(head, failed)
        else:
            self._recovered()
            self._tell(verdict(answer, head.first_row))
            self._spool.done(head)
            self._sent += 1
        return True

    def _failed(self, head: Spooled, failed: Problem | Unreachable) -> None:
        if isinstance(failed, Problem) and failed.is_about_the_content:
            self._recovered()
            path = self._dead.put(head, failed)
            self._spool.done(head)
            self._spool.aside_bytes = self._dead.size()[1]
            self._put_aside += 1
            _log.error("submission refused for good and put aside: path=%s error=%s", path, failed)
            return
        if self.trouble is None or str(self.trouble) != str(failed):
            _log.warning("cannot send, the spool keeps it: queued=%d error=%s", self._spool.queued, failed)
        self.trouble = failed
        self._failures += 1
        wait = self._retries.wait_s(self._failures, getattr(failed, "retry_after_s", None))
        if isinstance(failed, Problem) and not failed.is_temporary:
            wait = max(wait, BLOCKED_S)
        self._not_before = time.monotonic() + wait

    def _recovered(self) -> None:
        if self.trouble is not None:
            _log.info("sending again: queued=%d", self._spool.queued)
            self._wake.set()  # the thread may be waiting for a later attempt than the one that succeeded
        self.trouble, self._failures, self._not_before = None, 0, 0.0

    def _tell(self, given: Verdict) -> None:
        """Told before the spool forgets: at least once, whatever happens in between."""
        if given.quarantined:
            first = given.errors[0] if given.errors else None
            _log.warning("rows refused: quarantined=%d first=%s", given.quarantined, first)
        if self._on_verdict is not None:
            try:
                self._on_verdict(given)
            except Exception:
                _log.exception("on_verdict failed")
