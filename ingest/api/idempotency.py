"""Idempotency-Key: one key, one submission, whatever is killed in between, and while the database is away.

The log decides: the first message of a submission with a key is named after unit and key alone, and the
log takes one message of a name. It keeps with it which body it is of, for as long as the message waits;
the writer stores that with the rows, and from then on the store knows.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence

from ingest.api.problems import Problem
from ingest.log import Taken
from store.registry import Unit
from store.submissions import Submission

REPLAYED = {"Idempotent-Replayed": "true"}


def submission_name(unit: Unit, key: str | None, scope: str = "") -> str:
    """Identity of a submission: the same key of a unit is the same one; without a key it is a new one.

    `scope` keeps the keys of one kind of submission, or of one sender, apart from those of others.
    """
    if not key:
        return uuid.uuid4().hex
    return hashlib.sha256(f"{unit.code}\n{scope}\n{key}".encode()).hexdigest()[:32]


def body_digest(content: bytes, how: Sequence[str | None]) -> bytes:
    """Identity of a body, from its SHA-256 and how it is to be read."""
    return hashlib.sha256("\n".join(one or "" for one in how).encode() + b"\0" + content).digest()


def check_same(submission: Submission, digest: bytes) -> None:
    """Raises Problem when the key of this submission came with another body."""
    if submission.body_digest is not None and submission.body_digest != digest:
        raise reused()


def reused() -> Problem:
    """A key that came with two bodies."""
    return Problem("idempotency_key_reused")


def content_of(digest: bytes, part: str) -> str:
    """What the log keeps beside the first message: of which body it is, and which part of it."""
    return f"{digest.hex()}/{part}"


def same_part(taken: Taken, digest: bytes, part: str) -> bool:
    """Whether the message that has the name says the same. Raises Problem when it is of another body."""
    body, _, there = (taken.content or "").partition("/")
    if body and body != digest.hex():
        raise reused()
    return there == part
