"""What happens to an HTTP pull connector: one function per event, log line and counter together."""

from __future__ import annotations

from connectors.journal import Journal


def page_taken(journal: Journal) -> None:
    """A page became durable and its cursor was stored."""
    journal.count("pages")
    journal.raised("page", False, "answer cannot be read")


def page_refused(journal: Journal, detail: str) -> None:
    """An answer could not be read as a page."""
    journal.count("pages_refused")
    journal.raised("page", True, "answer cannot be read", error=detail)
