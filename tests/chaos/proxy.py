"""A bad network: `python -m tests.chaos.proxy <control> <listen>:<target> …`.

Passes TCP connections of 127.0.0.1 on. The file `control` (read ten times a second) says how: {"delay_s": 0.05,
"bytes_per_second": 200000, "hole": false, "cuts": 3}. `hole`: nothing passes, but connections stay
open; each time `cuts` grows, all connections are reset.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import struct
import sys
from pathlib import Path
from typing import Any

_CHUNK = 16 * 2**10


class Network:
    """The state of all connections."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.bytes_per_second = 0
        self.open = asyncio.Event()
        self.open.set()
        self._cuts = 0
        self._writers: set[asyncio.StreamWriter] = set()

    def set(self, wanted: dict[str, Any]) -> None:
        """Behave like this from now on."""
        self.delay_s = wanted.get("delay_s", 0.0)
        self.bytes_per_second = wanted.get("bytes_per_second", 0)
        if wanted.get("hole"):
            self.open.clear()
        else:
            self.open.set()
        if wanted.get("cuts", 0) > self._cuts:
            self._cuts = wanted["cuts"]
            for writer in list(self._writers):
                _reset(writer)

    async def serve(self, listen: int, target: int) -> None:
        """Pass connections to `listen` on to `target`."""

        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self.open.wait()
            try:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
            except OSError:
                _reset(writer)
                return
            self._writers |= {writer, far_writer}
            ways = [
                asyncio.create_task(self._pass(reader, far_writer)),
                asyncio.create_task(self._pass(far_reader, writer)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            self._writers -= {writer, far_writer}
            for one in (writer, far_writer):
                one.close()

        await asyncio.start_server(connection, "127.0.0.1", listen, limit=_CHUNK)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s * random.uniform(0.5, 1.5))
                if self.bytes_per_second:
                    await asyncio.sleep(len(data) / self.bytes_per_second)
                await self.open.wait()
                writer.write(data)
                await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection by RST, as a router does that has forgotten it."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def main(control: Path, pairs: list[str]) -> None:
    """Serve until killed."""
    network = Network()
    for pair in pairs:
        listen, _, target = pair.partition(":")
        await network.serve(int(listen), int(target))
    while True:
        with contextlib.suppress(OSError, ValueError):
            network.set(json.loads(control.read_text("utf-8")))
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
