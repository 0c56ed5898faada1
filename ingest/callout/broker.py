"""The broker's side: its questions, the connections it has, and how one is ended.

All of it is NATS's system account; of a cluster, every server asks and answers.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Self

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from ingest.callout.decision import ACCOUNT, key_of

_QUESTIONS = "$SYS.REQ.USER.AUTH"
_CONNECTIONS = f"$SYS.REQ.ACCOUNT.{ACCOUNT}.CONNZ"
_END = "$SYS.REQ.SERVER.{server}.KICK"
_QUEUE = "qunce"
_PAGE = 1_000
_CONNECT_WITHIN_S, _FIRST_WITHIN_S, _OTHERS_WITHIN_S = 8.0, 2.0, 0.3
_log = structlog.get_logger("ingest.callout")


class Unanswered(Exception):
    """The broker cannot be reached, or says nothing."""


class Connected(NamedTuple):
    """A connection that logged in with a unit's key."""

    server: str
    number: int
    key_id: int


class Broker:
    """A connection to be asked by, kept for ever. Used in one loop only."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.joined = 0
        """How often it was connected: what happened in between was not seen."""

    @classmethod
    async def join(cls, url: str, answer: Callable[[bytes], Awaitable[str | None]], *, most: int) -> Self:
        """Connect and answer questions, `most` at once; more wait. None = no answer. Raises Unanswered."""
        client = Client()
        self = cls(client)
        room, running = asyncio.Semaphore(most), set[asyncio.Task[None]]()

        async def one(message: Msg) -> None:
            try:
                text = await answer(message.data)
                if text is not None:
                    await message.respond(text.encode())
            except NatsError as error:  # the login then times out, and is tried again
                _log.warning("a login could not be answered", error=str(error))
            finally:
                room.release()

        async def asked(message: Msg) -> None:
            await room.acquire()
            task = asyncio.create_task(one(message))
            running.add(task)
            task.add_done_callback(running.discard)

        async def rejoined() -> None:
            self.joined += 1

        why: list[str] = []

        async def lost(error: Exception) -> None:
            # What the broker itself said tells more than that it then hung up.
            if not why or not isinstance(error, OSError):
                why[:] = [str(error) or type(error).__name__]

        try:
            # The client tries for ever, at first too; at first, the caller wants to know.
            connected = client.connect(
                url,
                name="qunce-callout",
                reconnected_cb=rejoined,
                error_cb=lost,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.25,  # type: ignore[arg-type]  # slept as it is
                connect_timeout=5,
            )
            await asyncio.wait_for(connected, _CONNECT_WITHIN_S)
            await client.subscribe(_QUESTIONS, queue=_QUEUE, cb=asked)
            await client.flush(5)
        except (OSError, NatsError, TimeoutError) as error:
            await client.close()
            raise Unanswered(why[0] if why else str(error) or type(error).__name__) from error
        self.joined = 1
        return self

    @property
    def connected(self) -> bool:
        """Whether it can be asked now."""
        return self._client.is_connected

    async def connections(self) -> list[Connected]:
        """Every connection of a unit, of all servers. Raises Unanswered."""
        found, offset, more = list[Connected](), 0, True
        while more:
            more = False
            question = {"auth": True, "limit": _PAGE, "offset": offset}
            for answer in await self._ask_all(_CONNECTIONS, question):
                data = answer.get("data") or {}
                found += _units(str(answer.get("server", {}).get("id", "")), data.get("connections") or [])
                more = more or data.get("total", 0) > offset + _PAGE
            offset += _PAGE
        return found

    async def end(self, connection: Connected) -> None:
        """End one connection; its client may try to log in again. Raises Unanswered."""
        subject = _END.format(server=connection.server)
        try:
            await self._client.request(subject, json.dumps({"cid": connection.number}).encode(), timeout=2)
        except (NatsError, OSError, TimeoutError) as error:
            raise Unanswered(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Leave: questions go to another instance."""
        await self._client.close()

    async def _ask_all(self, subject: str, question: dict[str, Any]) -> list[dict[str, Any]]:
        """The answers of all servers: nobody knows how many there are, so a silence ends it."""
        try:
            inbox = self._client.new_inbox()
            replies = await self._client.subscribe(inbox)
            try:
                await self._client.publish(subject, json.dumps(question).encode(), reply=inbox)
                answers = [json.loads((await replies.next_msg(_FIRST_WITHIN_S)).data)]
                until = time.monotonic() + _OTHERS_WITHIN_S
                while (left := until - time.monotonic()) > 0:
                    try:
                        answers.append(json.loads((await replies.next_msg(left)).data))
                    except TimeoutError:
                        break
                return answers
            finally:
                await replies.unsubscribe()
        except (NatsError, OSError, TimeoutError, ValueError) as error:
            raise Unanswered(str(error) or type(error).__name__) from error


def _units(server: str, connections: list[dict[str, Any]]) -> list[Connected]:
    return [
        Connected(server, int(one["cid"]), key_id)
        for one in connections
        if (key_id := key_of(str(one.get("authorized_user", "")))) is not None
    ]
