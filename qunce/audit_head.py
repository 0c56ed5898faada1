"""The newest event of the audit log, noted in a file outside of the database: a log that was cut is known by it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from qunce.process import write_private
from store.audit import Head

FILE = "audit-head.json"
"""In the data directory."""


def read(data_dir: Path) -> Head | None:
    """What was noted last; None: nothing. Raises ValueError: it is damaged."""
    file = data_dir / FILE
    try:
        content = json.loads(file.read_text("utf-8"))
        return Head(int(content["seq"]), bytes.fromhex(content["hash"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: 已损坏 | is damaged: {error}") from error


def keep(data_dir: Path, found: Head) -> None:
    """Note it, if the log has grown: a shorter one never takes the place of what is known of the longer."""
    known = read(data_dir)
    if found.seq > (known.seq if known else 0):
        data_dir.mkdir(parents=True, exist_ok=True)
        told = {"seq": found.seq, "hash": found.hash.hex(), "noted_at": datetime.now(UTC).isoformat()}
        write_private(data_dir / FILE, json.dumps(told) + "\n")
