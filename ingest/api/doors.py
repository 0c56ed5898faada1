"""Deny by default: an interface with a route that does not say who may use it does not start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute


def _anybody() -> None:
    """Serves whoever asks, and shows what is nobody's."""


_anybody.permission = "open"  # type: ignore[attr-defined]
OPEN: Any = Depends(_anybody)
"""As a route's dependency: it needs no credentials, or has a way of its own to check them."""


def declared(route: APIRoute) -> str | None:
    """The permission that a route declares: of store.identity, `known` or `open`; None when it has none."""
    return next((found for found in _permissions(route.dependant)), None)


def require_declared(app: FastAPI) -> None:
    """Raises RuntimeError that names the routes without a declared permission."""
    silent = [
        f"{','.join(sorted(route.methods or ()))} {route.path}"
        for route in app.routes
        if isinstance(route, APIRoute) and declared(route) is None
    ]
    if silent:
        raise RuntimeError(f"routes that declare no permission (gate.allow): {'; '.join(silent)}")


def _permissions(dependant: Dependant) -> Iterator[str]:
    for inner in dependant.dependencies:
        permission = getattr(inner.call, "permission", None)
        if permission is not None:
            yield permission
        yield from _permissions(inner)
