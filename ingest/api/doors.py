"""What routes declare: who may use them, or the interface does not start, and which parameters they have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from fastapi import Depends, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import Match
from starlette.types import Scope

from ingest.api.problems import bad_parameter


def _anybody() -> None:
    """Serves whoever asks, and shows what is nobody's."""


_anybody.permission = "open"  # type: ignore[attr-defined]
OPEN: Any = Depends(_anybody)
"""As a route's dependency: it needs no credentials, or has a way of its own to check them."""


class Route(NamedTuple):
    """A route with what it declares: a permission of store.identity, `known` or `open`; None: nothing."""

    methods: tuple[str, ...]
    path: str
    permission: str | None
    shown: bool


def routes_of(app: FastAPI) -> list[Route]:
    """Every route of the interface, those of its routers too. Raises TypeError on a kind that cannot declare."""
    found = []
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, APIRoute):
            permission = next(_permissions(context.dependant), None)
            methods = tuple(sorted(context.methods or ()))
            found.append(Route(methods, str(context.path_format), permission, route.include_in_schema))
        elif context.path != app.openapi_url:
            raise TypeError(f"{route!r} cannot declare a permission")
    return found


def require_declared(app: FastAPI) -> None:
    """Raises RuntimeError that names the routes without a declared permission."""
    silent = [f"{','.join(r.methods)} {r.path}" for r in routes_of(app) if r.permission is None]
    if silent:
        raise RuntimeError(f"routes that declare no permission (gate.allow): {'; '.join(silent)}")


def methods_at(app: FastAPI, scope: Scope) -> list[str]:
    """The methods by which a path below /api can be asked for that this request's method cannot; sorted."""
    found: set[str] = set()
    for context in iter_route_contexts(app.routes):
        if not str(context.path).startswith("/api/"):
            continue  # of pages, which take every path that is left
        if context.original_route.matches(scope)[0] is Match.PARTIAL:
            found |= context.methods or set()
    return sorted(found)


def require_known(request: Request) -> None:
    """Raises Problem for a parameter that the route does not have, or that is given twice.

    A filter that is misspelt would otherwise be no filter, and the answer another one than was asked for.
    """
    given = request.query_params
    if not given:
        return
    known = sorted(_parameters(request.scope["route"].dependant))
    for name in given:
        if name not in known:
            words = ", ".join(known)
            raise bad_parameter(
                name,
                f"没有该参数,可用:{words}" if known else "没有该参数,此处不接受参数",
                f"is not known here; known are: {words}" if known else "is not known here; there are none",
            )
        if len(given.getlist(name)) > 1:
            raise bad_parameter(name, "给出了多次", "is given more than once")


def _parameters(dependant: Dependant) -> Iterator[str]:
    for one in dependant.query_params:
        yield one.alias
    for inner in dependant.dependencies:
        yield from _parameters(inner)


def _permissions(dependant: Dependant) -> Iterator[str]:
    for inner in dependant.dependencies:
        permission = getattr(inner.call, "permission", None)
        if permission is not None:
            yield permission
        yield from _permissions(inner)
