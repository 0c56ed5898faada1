"""One copy of OPC UA's standard address space for all servers of a process.

Loading it takes asyncua one to two seconds and 40 MB a server. Here it is loaded once; each server sees it
through an overlay that copies a node when it is first touched.
"""

from __future__ import annotations

import asyncio
from copy import copy
from typing import Any

from asyncua.server.address_space import (
    AddressSpace,
    NodeData,
    NodeManagementService,
)
from asyncua.server.internal_server import InternalServer
from asyncua.server.standard_address_space import standard_address_space

__all__ = ["SharedServer", "load_standard_nodes"]

StandardNodes = dict[Any, NodeData]


async def load_standard_nodes() -> StandardNodes:
    """Load the standard address space; takes a second or two in a thread."""
    space = AddressSpace()
    await asyncio.to_thread(standard_address_space.fill_address_space, NodeManagementService(space))
    return space._nodes


class _Overlay(dict[Any, NodeData]):
    """A server's own nodes over the standard ones, copied on first access."""

    def __init__(self, standard: StandardNodes) -> None:
        super().__init__()
        self._standard = standard

    def __missing__(self, key: Any) -> NodeData:
        original = self._standard[key]
        copied = NodeData(original.nodeid)
        for attribute, value in original.attributes.items():
            copied.attributes[attribute] = copy(value)
            copied.attributes[attribute].datachange_callbacks = {}
        copied.references = list(original.references)
        copied.call = original.call
        self[key] = copied
        return copied

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self._standard

    def get(self, key: Any, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default


class SharedServer(InternalServer):
    """asyncua's internal server over nodes that are loaded already."""

    def __init__(self, standard: StandardNodes) -> None:
        super().__init__()
        self._standard = standard

    async def load_standard_address_space(self, shelf_file: Any = None) -> None:
        """Put the overlay in place of loading."""
        self.aspace._nodes = _Overlay(self._standard)
