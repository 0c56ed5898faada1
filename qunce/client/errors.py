"""What can go wrong, by what the caller can do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qunce.client.answers import RowError, Text, row_error


class Problem(Exception):
    """The platform refused: its RFC 9457 problem document.

    `code` is the stable name of the rule, `message` and `hint` are in both languages, `errors` name the rows.
    `retry_after_s`: when the platform asks to come back. An answer that is no problem document (of a proxy
    in between) has the code `http_<status>`.
    """

    def __init__(
        self, status: int, document: Mapping[str, Any] | None, retry_after_s: float | None = None
    ) -> None:
        self.status = status
        self.document = dict(document or {})
        self.code = str(self.document.get("code") or f"http_{status}")
        self.message: Text = dict(self.document.get("message") or {"zh": self.code, "en": self.code})
        self.hint: Text = dict(self.document.get("hint") or {})
        self.errors: tuple[RowError, ...] = tuple(map(row_error, self.document.get("errors") or ()))
        self.retry_after_s = retry_after_s
        text = self.message.get("en", self.code)
        hint = self.hint.get("en", "")
        super().__init__(f"{status} {self.code}: {text}" + (f". {hint}" if hint else ""))

    @property
    def is_temporary(self) -> bool:
        """The same again later may be taken: 408, 429, 5xx."""
        return self.status in (408, 429) or self.status >= 500

    @property
    def is_about_the_content(self) -> bool:
        """The platform has looked at what was sent and will never take it as it is.

        Not so: what a proxy answers, and what is wrong with the key or the address rather than the content.
        """
        if self.is_temporary or "code" not in self.document:
            return False
        return self.status not in (401, 403, 404, 405) or self.code == "unknown_dataset"


class Unreachable(Exception):
    """No answer of the platform: not connected, cut off, too slow, or something else answered in its place."""


class SpoolFull(Exception):
    """The spool holds as much as it may: nothing of this call was kept; mend the way to the platform, or raise the limit."""


class SpoolInUse(Exception):
    """Another process has this spool open: order and exactly-once need that there is one."""
