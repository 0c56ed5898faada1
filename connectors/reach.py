"""Does anything listen there? A bare TCP connection, the cheapest question a network answers."""

from __future__ import annotations

import asyncio
import contextlib

from connectors.contract import TransientError


async def port_answers(host: str, port: int, timeout_seconds: float = 1.0) -> bool:
    """True when a TCP connection can be opened. Never raises."""
    try:
        async with asyncio.timeout(timeout_seconds):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(timeout_seconds):
            await writer.wait_closed()
    return True


async def require_port(host: str, port: int, timeout_seconds: float = 3.0) -> None:
    """Raises TransientError `unreachable` when nothing answers."""
    if not await port_answers(host, port, timeout_seconds):
        raise TransientError("unreachable", f"nothing answers at {host}:{port}", unreachable=True)
