"""The client: what a lead unit's program calls."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

from qunce.client import answers, bodies
from qunce.client.answers import Flushed, Heartbeat, Latest, SpoolStatus, Verdict
from qunce.client.bodies import Body, Mode, Reading, Value
from qunce.client.dead import DeadLetter, DeadLetters
from qunce.client.drain import Drain, OnVerdict
from qunce.client.errors import Problem
from qunce.client.retries import Retries
from qunce.client.spool import Spool
from qunce.client.wire import Sending, Wire

_MEASUREMENTS = "/api/v1/measurements"
_TAGS_A_REQUEST = 100
_VERSION = "qunce-client/1"


class Client:
    """A connection to the platform. May be used from several threads; close it, or use it in `with`.

    `key` is the unit's API key; with `key_id` (answered by `me`) requests are signed and the key never
    travels. With `spool`, a folder of this process's own, `send` keeps readings there and returns, and a
    thread sends them in order, however long the platform is away; `background=False` leaves that to
    `flush`. `on_verdict` is told every verdict on what was spooled, at least once.
    """

    def __init__(
        self,
        url: str,
        key: str,
        spool: Path | None = None,
        *,
        key_id: int | None = None,
        max_spool_bytes: int = 2**30,
        background: bool = True,
        on_verdict: OnVerdict | None = None,
        retries: Retries | None = None,
    ) -> None:
        if not key:
            raise ValueError("key is empty: it is the unit's API key, qk_…")
        self._retries = retries or Retries()
        self._wire = Wire(url, key, key_id)
        self._round_trip_s = 0.0
        self._spool: Spool | None = None
        if spool is not None:
            self._spool = Spool(spool, max_spool_bytes)
            self._dead = DeadLetters(spool / "refused")
            self._drain = Drain(self._spool, self._dead, self._wire, self._retries, on_verdict)
            if background:
                self._drain.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop sending. What is in the spool stays there, and is sent by whoever opens it next."""
        if self._spool is not None:
            self._drain.stop()
        self._wire.close()
        if self._spool is not None:
            self._spool.close()

    def send(
        self,
        readings: Iterable[Reading | Mapping[str, Any]],
        *,
        mode: Mode = "live",
        idempotency_key: str | None = None,
    ) -> Verdict:
        """Send readings; returns when they are durable: with a spool in it, else on the platform.

        `idempotency_key`: the same key with the same readings has one effect, over restarts of the
        program, too. Raises ValueError (nothing was sent); SpoolFull; without a
        spool Problem (also when nothing at all could be accepted) and Unreachable, after retries.
        """
        return self._submit(_MEASUREMENTS, bodies.of_readings(readings, mode), idempotency_key)

    def send_columns(
        self,
        tag: Sequence[str],
        ts: Sequence[datetime] | Sequence[int],
        value: Sequence[Value],
        quality: Sequence[int | str | None] | None = None,
        *,
        mode: Mode = "backfill",
        idempotency_key: str | None = None,
    ) -> Verdict:
        """As `send`, for much at once: columns of equal length; `ts` with a zone, or µs since 1970 UTC.

        NumPy's arrays and pandas' columns will do. Travels as Arrow where pyarrow is installed.
        """
        parts = bodies.of_columns(tag, ts, value, quality, mode)
        return self._submit(_MEASUREMENTS, parts, idempotency_key)

    def send_arrow(
        self, table: Any, *, mode: Mode = "backfill", idempotency_key: str | None = None
    ) -> Verdict:
        """As `send`, for a pyarrow Table with the columns that docs/interface.md names."""
        return self._submit(_MEASUREMENTS, bodies.of_table(table, mode), idempotency_key)

    def report(
        self,
        dataset: str,
        records: Iterable[Mapping[str, Any]],
        reason: str | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> Verdict:
        """Report records of a dataset, by upsert; `reason` says why earlier ones are corrected.

        Goes to the platform at once, never through the spool: somebody waits for the verdict. Raises as
        `send` does without a spool. State `durable`: ask `submission` later.
        """
        target = f"/api/v1/datasets/{quote(dataset, safe='')}"
        return self._answered(_submissions(target, bodies.of_records(records, reason), idempotency_key))

    def submission(self, batch: str) -> Verdict:
        """The verdict on an earlier submission. Raises Problem (`not_found`) and Unreachable."""
        return answers.verdict(self._get(f"/api/v1/submissions/{quote(batch, safe='')}"))

    def me(self) -> dict[str, Any]:
        """Whose key this is, what it may do, and its `key_id`. Raises Problem and Unreachable."""
        return self._get("/api/v1/me")

    def latest(self, tags: Sequence[str] | None = None, *, equipment: str | None = None) -> Iterator[Latest]:
        """The latest reading of each of the unit's tags, or of these. Raises Problem and Unreachable."""
        if tags is None:
            yield from self._latest(equipment, None)
            return
        for start in range(0, len(tags), _TAGS_A_REQUEST):
            yield from self._latest(equipment, tags[start : start + _TAGS_A_REQUEST])

    def heartbeat(self, source: str, *, queue_depth: int | None = None) -> Heartbeat:
        """Say that this source lives, and learn how far its clock is off. `queue_depth` defaults to the spool's.

        Tried once: a heartbeat that comes late measures nothing. Raises Problem and Unreachable.
        """
        if queue_depth is None:
            queue_depth = 0 if self._spool is None else self._spool.queued
        told: dict[str, Any] = {"source": source, "queue_depth": queue_depth, "version": _VERSION}
        told["round_trip_s"] = round(self._round_trip_s, 6)
        began = time.monotonic()
        clock = datetime.now(UTC)
        body = bodies.plain({**told, "clock": clock})
        answer = self._wire.once(_sending("/api/v1/heartbeat", body, uuid.uuid4().hex))
        there = datetime.fromisoformat(answer["server_time"])
        # The platform's clock was read about halfway: the way there is not part of the skew.
        self._round_trip_s = time.monotonic() - began
        return Heartbeat(there, (clock - there).total_seconds() + self._round_trip_s / 2)

    def flush(self, timeout_s: float = 60.0) -> Flushed:
        """Send what is in the spool until nothing is left, or time is up (then `left` is not 0).

        Raises Problem when it is not the content but the key or the address that is refused.
        """
        return Flushed(0, 0, 0) if self._spool is None else self._drain.flush(timeout_s)

    def spool_status(self) -> SpoolStatus:
        """What the spool holds; all zero without one."""
        if self._spool is None:
            return SpoolStatus(0, 0, 0.0, 0, 0, None)
        trouble = self._drain.trouble
        return SpoolStatus(
            self._spool.queued,
            self._spool.queued_bytes,
            self._spool.oldest_s(),
            *self._dead.size(),
            None if trouble is None else str(trouble),
        )

    def refused(self) -> Iterator[DeadLetter]:
        """What was spooled and then refused for good, oldest first: look, mend, and `send_again` or `delete` it."""
        return iter(()) if self._spool is None else self._dead.all()

    def send_again(self, letter: DeadLetter) -> None:
        """Put a refused submission back into the spool, at its end. Raises SpoolFull."""
        if self._spool is None:
            raise ValueError("this client has no spool")
        # To its old key the platform would give its old answer.
        key = hashlib.sha256(f"again {letter.sending.idempotency_key}".encode()).hexdigest()[:32]
        self._spool.put([(replace(letter.sending, idempotency_key=key), letter.rows, 0)])
        letter.delete()
        self._spool.aside_bytes = self._dead.size()[1]
        self._drain.wake()

    def _submit(self, target: str, parts: Iterator[Body], key: str | None) -> Verdict:
        submissions = _submissions(target, parts, key)
        if self._spool is None:
            return self._answered(submissions)
        self._spool.put(submissions)
        self._drain.wake()
        return Verdict("spooled", sum(rows for _, rows, _ in submissions))

    def _answered(self, submissions: list[tuple[Sending, int, int]]) -> Verdict:
        verdicts: list[Verdict] = []
        refusals: list[Problem] = []
        for sending, rows, first_row in submissions:
            try:
                given = answers.verdict(self._wire.insist(sending, self._retries), first_row)
            except Problem as problem:
                if problem.code != "all_refused":
                    raise
                # The other parts are still wanted: as if all had come in one request.
                refusals.append(problem)
                given = answers.verdict(problem.document, first_row)
                given = replace(given, received=rows, quarantined=rows)
            verdicts.append(given)
        if refusals and len(refusals) == len(submissions):
            raise refusals[0]
        return answers.together(verdicts) if verdicts else Verdict("applied", 0)

    def _latest(self, equipment: str | None, tags: Sequence[str] | None) -> Iterator[Latest]:
        chosen = {} if tags is None else {"tags": ",".join(tags)}
        if equipment is not None:
            chosen["equipment"] = equipment
        cursor: int | None = 0
        while cursor is not None:
            page = self._get(f"/api/v1/latest?{urlencode({**chosen, 'cursor': cursor})}")
            yield from answers.latest(page)
            cursor = page["next"]

    def _get(self, target: str) -> dict[str, Any]:
        return self._wire.insist(Sending("GET", target), self._retries)


def _submissions(target: str, parts: Iterator[Body], key: str | None) -> list[tuple[Sending, int, int]]:
    """(Request, rows, first row) of each part. The whole is encoded before any of it is sent."""
    name = key or uuid.uuid4().hex
    submissions, first_row = [], 0
    for i, body in enumerate(parts):
        submissions.append((_sending(target, body, name if i == 0 else f"{name}/{i}"), body.rows, first_row))
        first_row += body.rows
    return submissions


def _sending(target: str, body: Body, key: str) -> Sending:
    return Sending("POST", target, body.content, body.content_type, body.coding, key)
