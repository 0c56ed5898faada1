"""What a page sends back: whole, in time, in its shape."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message, Receive

from dashboard import callbacks

GOOD = (
    b'{"output":"a.b","outputs":{"id":"a","property":"b"},"inputs":[{"id":"tick","property":"data","value":1}],'
    b'"changedPropIds":["tick.data"],"state":[{"id":{"type":"x"},"property":"y"}]}'
)


def sending(*messages: bytes | Message, ends: bool = True) -> Receive:
    """An ASGI receive of these parts of a body; one that does not end goes silent."""
    left = list(messages)

    async def receive() -> Message:
        if not left:
            await asyncio.Event().wait()
        part = left.pop(0)
        more = bool(left) or not ends
        return {"type": "http.request", "body": part, "more_body": more} if isinstance(part, bytes) else part

    return receive


def test_a_callback_is_read_whole_and_once_more() -> None:
    async def test() -> None:
        receive = sending(GOOD[:20], GOOD[20:])
        body = await callbacks.whole(receive)
        assert body == GOOD
        told = await callbacks.again(body, receive)()
        assert (told["body"], told["more_body"]) == (GOOD, False)

    asyncio.run(test())


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b'{"a":', b"\xff\xfe", b"[" * 100_000, b"null", GOOD[:-1], GOOD.replace(b"[", b"{", 1),
     GOOD.replace(b'"tick"', b"7"), b"1" * (callbacks.MOST_BYTES + 1)],
)  # fmt: skip
def test_what_no_page_sends_is_told_apart(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        asyncio.run(callbacks.whole(sending(body)))


def test_who_is_slow_or_gone_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "WITHIN_S", 0.05)
    with pytest.raises(TimeoutError):
        asyncio.run(callbacks.whole(sending(b"{", ends=False)))
    with pytest.raises(callbacks.Left):
        asyncio.run(callbacks.whole(sending(b"{", {"type": "http.disconnect"})))
