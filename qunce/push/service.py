"""The open interface as these commands need it: one key, patience when it is busy, its own words when it refuses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

_TRIES = 8
_LONGEST_PAUSE_S = 30.0
_AGAIN = frozenset({408, 429, 502, 503, 504})
_PIECE = 2**16


class Refused(Exception):
    """The interface refused, or could not be reached; the message is for the person at the keyboard."""

    def __init__(self, message: str, status: int = 0, body: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = dict(body or {})


class Service:
    """A connection to the interface at `url`; used by one thread. `on_wait` is told why it takes longer."""

    def __init__(self, url: str, key: str, on_wait: Callable[[str], None] = lambda _: None) -> None:
        self._on_wait = on_wait
        headers = {"Authorization": f"Bearer {key}", "User-Agent": "qunce-push"}
        self._client = httpx.Client(
            base_url=url.rstrip("/"), headers=headers, timeout=httpx.Timeout(60, connect=10)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str, **parameters: str) -> httpx.Response:
        """Raises Refused."""
        return self._patient(lambda: self._client.get(path, params=parameters))

    def post(
        self, path: str, content: bytes, headers: Mapping[str, str], parameters: Mapping[str, str],
        on_sent: Callable[[int], None] | None = None,
    ) -> httpx.Response:  # fmt: skip
        """Send a body; the same again while the interface is busy, so give it an Idempotency-Key. Raises Refused."""

        def attempt() -> httpx.Response:
            return self._client.post(
                path,
                params=dict(parameters),
                content=content if on_sent is None else _pieces(content, on_sent),
                headers={**headers, "Content-Length": str(len(content))},
            )

        return self._patient(attempt)

    def _patient(self, attempt: Callable[[], httpx.Response]) -> httpx.Response:
        pause = 1.0
        for left in range(_TRIES, 0, -1):
            try:
                answer = attempt()
            except httpx.TransportError as error:
                if left == 1:
                    message = f"接口无法连接 / the interface cannot be reached: {str(error) or type(error).__name__}"
                    raise Refused(message) from error
                self._on_wait(
                    f"接口无法连接,{pause:.0f} 秒后重试(还有 {left - 1} 次) / cannot be reached: again in {pause:.0f} s, {left - 1} more times"
                )
                time.sleep(pause)
            except (httpx.InvalidURL, UnicodeEncodeError) as error:
                raise Refused(f"地址或密钥无效 / no valid address or key: {error}") from error
            else:
                if answer.is_success:
                    return answer
                if answer.status_code not in _AGAIN or left == 1:
                    raise _refusal(answer)
                said = answer.headers.get("retry-after", "")
                wait = min(float(said) if said.isdecimal() else pause, _LONGEST_PAUSE_S)
                self._on_wait(
                    f"接口繁忙(HTTP {answer.status_code}),{wait:.0f} 秒后重试 / busy (HTTP {answer.status_code}): again in {wait:.0f} s"
                )
                time.sleep(wait)
            pause = min(pause * 2, _LONGEST_PAUSE_S)
        raise AssertionError("the last try returns or raises")


def _pieces(content: bytes, on_sent: Callable[[int], None]) -> Iterator[bytes]:
    on_sent(0)
    for start in range(0, len(content), _PIECE):
        yield content[start : start + _PIECE]
        on_sent(min(start + _PIECE, len(content)))


def _refusal(answer: httpx.Response) -> Refused:
    try:
        body: dict[str, Any] = answer.json()
        message, hint = body["message"], body["hint"]
        text = f"{message['zh']}。{hint['zh']} / {message['en']}. {hint['en']}"
    except (ValueError, KeyError, TypeError):
        body, text = {}, answer.reason_phrase
    return Refused(f"HTTP {answer.status_code}: {text}", answer.status_code, body)
