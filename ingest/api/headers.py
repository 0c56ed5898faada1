"""Headers that every answer of the interface carries, unless it has its own: nothing of it is kept on the way."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_KEPT_NOWHERE = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_HTTPS_ONLY = (b"strict-transport-security", b"max-age=31536000")


class Headers:
    """ASGI middleware. `secure`: reached by HTTPS only, and clients are told so."""

    def __init__(self, app: ASGIApp, *, secure: bool = False) -> None:
        self._app = app
        self._headers = (*_KEPT_NOWHERE, *((_HTTPS_ONLY,) if secure else ()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add them below /api."""
        if scope["type"] != "http" or not scope["path"].startswith("/api/"):
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", []))
                given = {name.lower() for name, _ in headers}
                headers += [(name, value) for name, value in self._headers if name not in given]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, sending)
