"""A canary as a message of the log: kind `canary`, no rows, of a unit that no unit can be.

The data are JSON: `{"connector": name, "source_ts": µs, "sent_at": µs}`.
"""

from __future__ import annotations

import msgspec

from store.canary import Canary
from store.times import moment

__all__ = ["EVERY_S", "UNIT", "Canary", "decode_canary", "encode_canary"]

UNIT = "qunce-canary"
"""The unit canaries are filed under; codes of units are never written like this."""
EVERY_S = 10.0
"""A connector sends one this often."""


def encode_canary(canary: Canary) -> bytes:
    """The data of the log's message."""
    return msgspec.json.encode(canary._asdict())


def decode_canary(data: bytes) -> Canary:
    """Read it back. Raises ValueError when it is none, or names a time that cannot be stored."""
    found = msgspec.json.decode(data, type=dict[str, str | int])
    try:
        canary = Canary(str(found["connector"]), int(found["source_ts"]), int(found["sent_at"]))
        moment(canary.source_ts), moment(canary.sent_at)
    except (KeyError, OverflowError) as error:
        raise ValueError(f"no canary: {error!r}") from error
    return canary
