"""What the platform has refused for good: kept in a folder with its reason, for a person to look at.

`<number>.body` is what was sent (unpacked), `<number>.json` the problem document and what the request was.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qunce.client.errors import Problem
from qunce.client.spool import Spooled
from qunce.client.wire import Sending


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A refused submission: the file of its body (beside the problem document), the request, what the platform said."""

    body: Path
    rows: int
    problem: Problem
    sending: Sending

    def delete(self) -> None:
        """It is dealt with, or given up."""
        # The description goes last: without one, a body would be nobody's.
        self.body.unlink(missing_ok=True)
        self.body.with_suffix(".json").unlink(missing_ok=True)


class DeadLetters:
    """The folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def put(self, spooled: Spooled, problem: Problem) -> Path:
        """Keep a refused submission; returns its body's file, once both are durable. Twice is as once."""
        sending = spooled.sending
        path = self._folder / f"{spooled.id:012}.body"
        content = gzip.decompress(sending.body) if sending.coding == "gzip" else sending.body
        described: dict[str, Any] = {
            "refused_at": datetime.now(UTC).isoformat(),
            "target": sending.target,
            "content_type": sending.content_type,
            "idempotency_key": sending.idempotency_key,
            "rows": spooled.rows,
            "status": problem.status,
            "problem": problem.document,
        }
        _write(path, content)
        _write(path.with_suffix(".json"), json.dumps(described, ensure_ascii=False, indent=1).encode())
        return path

    def all(self) -> Iterator[DeadLetter]:
        """What lies here, oldest first."""
        for described in sorted(self._folder.glob("*.json")):
            given = json.loads(described.read_text("utf-8"))
            body = described.with_suffix(".body")
            if not body.exists():  # killed while it was being deleted
                described.unlink()
                continue
            content = gzip.compress(body.read_bytes(), 6, mtime=0)
            sending = Sending(
                "POST", given["target"], content, given["content_type"], "gzip", given["idempotency_key"]
            )
            yield DeadLetter(body, given["rows"], Problem(given["status"], given["problem"]), sending)

    def size(self) -> tuple[int, int]:
        """How many, and their bytes."""
        found = [path.stat().st_size for path in self._folder.glob("*.body")]
        return len(found), sum(found)


def _write(path: Path, content: bytes) -> None:
    """Under its name there is all of it or nothing."""
    part = path.with_suffix(path.suffix + ".part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    if os.name == "posix":  # elsewhere a folder cannot be synced
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
