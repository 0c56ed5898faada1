"""The cursor on disk: written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec


class _Stored(msgspec.Struct, forbid_unknown_fields=False):
    url: str
    cursor: str


class CursorFile:
    """Remembers the cursor of one platform. A cursor of another address is not used."""

    def __init__(self, directory: Path, url: str) -> None:
        self._path = directory / "cursor.json"
        self._url = url

    def load(self) -> str:
        """The cursor stored, or "" (from the oldest record). Raises OSError or msgspec.DecodeError."""
        try:
            stored = msgspec.json.decode(self._path.read_bytes(), type=_Stored)
        except FileNotFoundError:
            return ""
        return stored.cursor if stored.url == self._url else ""

    def store(self, cursor: str) -> None:
        """Returns when the cursor is on disk. Raises OSError."""
        beside = self._path.with_suffix(".new")
        with beside.open("wb") as file:
            file.write(msgspec.json.encode(_Stored(self._url, cursor)))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
