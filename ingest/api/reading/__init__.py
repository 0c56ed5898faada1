"""What callers read: who they are, indicators, series, latest values, records, and exports of all of it."""

from __future__ import annotations

from fastapi import APIRouter

from ingest.api.exporting import Exports
from ingest.api.gate import Gate
from ingest.api.reading import account, exports, indicators, latest, records, series
from ingest.api.reading.catalogue import NO_CATALOGUE, Catalogue

__all__ = ["NO_CATALOGUE", "Catalogue", "router"]


def router(gate: Gate, exporting: Exports, catalogue: Catalogue) -> APIRouter:
    """The routes, on this process's gate."""
    routes = APIRouter(tags=["reading"])
    routes.include_router(account.router(gate))
    routes.include_router(latest.router(gate))
    routes.include_router(series.router(gate))
    routes.include_router(indicators.router(gate, catalogue))
    routes.include_router(records.router(gate))
    routes.include_router(exports.router(gate, exporting, catalogue))
    return routes
