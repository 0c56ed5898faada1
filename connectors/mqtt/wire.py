"""paho's client on an asyncio loop: no thread, and a reading side that can be paused."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode

_TICK_SECONDS = 0.5


class Wire:
    """Moves bytes between a connected client and the loop, until the connection is lost.

    Everything runs in the loop's thread. While paused nothing is read: TCP's own window then slows
    the broker down, whatever it thinks of our receive maximum.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._socket: Any = None
        self._reading = False

    def open(self) -> None:
        """Attach to the client's socket, after `connect`."""
        self._socket = self._client.socket()
        if self._socket is None:
            raise ConnectionError("connection closed at once")
        self._client.on_socket_register_write = self._want_write
        self._client.on_socket_unregister_write = self._no_write
        self.resume()
        if self._client.want_write():
            self._loop.add_writer(self._socket, self._client.loop_write)

    def pause(self) -> None:
        """Stop reading."""
        if self._reading and self._attached():
            self._loop.remove_reader(self._socket)
        self._reading = False

    def resume(self) -> None:
        """Read again."""
        if not self._reading and self._attached():
            self._loop.add_reader(self._socket, self._read)
            self._reading = True
            self._loop.call_soon(self._read)  # TLS may hold bytes that no longer show on the socket

    async def tick(self) -> None:
        """Keep alive, for ever; raises ConnectionError when the connection is lost."""
        while True:
            if self._client.loop_misc() != MQTTErrorCode.MQTT_ERR_SUCCESS or not self._attached():
                raise ConnectionError("no answer within the keep-alive time")
            await asyncio.sleep(_TICK_SECONDS)

    def close(self) -> None:
        """Detach; what is still to be written is written if the socket takes it at once."""
        self.pause()
        if self._attached():
            with contextlib.suppress(OSError, ValueError):
                self._client.loop_write()
            self._no_write(self._client, None, self._socket)

    def _attached(self) -> bool:
        return bool(self._socket is not None and self._socket.fileno() >= 0)

    def _read(self) -> None:
        if not self._may_read():
            return
        descriptor = self._socket.fileno()
        self._client.loop_read()
        while self._may_read() and self._pending():
            self._client.loop_read()
        if not self._attached():  # closed by the client: the loop must forget the number
            self._loop.remove_reader(descriptor)
            self._loop.remove_writer(descriptor)
            self._reading = False

    def _may_read(self) -> bool:
        return self._reading and self._attached()

    def _pending(self) -> bool:
        pending = getattr(self._socket, "pending", None)
        return bool(pending and pending())

    def _want_write(self, _client: Client, _userdata: Any, sock: Any) -> None:
        self._loop.add_writer(sock, self._client.loop_write)

    def _no_write(self, _client: Client, _userdata: Any, sock: Any) -> None:
        if sock is not None and sock.fileno() >= 0:
            self._loop.remove_writer(sock)
