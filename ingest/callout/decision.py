"""Whether a login is allowed, and what it may do then. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, NamedTuple

from ingest.callout.nkeys import Issuer, claims_of
from store.identity import Principal

ACCOUNT = "QUNCE"
"""The NATS account in which units, connectors and the log are."""
_OWNED_CLIENT_ID = re.compile(r"([A-Z0-9][A-Z0-9-]{2,30}):")
_RESERVED_CLIENT_ID = "qunce"


class Login(NamedTuple):
    """A login that the broker asks about. `user_key`: what it calls the connection until then."""

    server: str
    user_key: str
    address: str
    protocol: str
    client_id: str
    user: str
    password: str


class Holder(NamedTuple):
    """Whose key was given, and when that expires (aware, UTC; None = not by itself)."""

    who: Principal
    expires_at: datetime | None


def read(token: bytes) -> Login:
    """What the broker asks. Raises ValueError on what is no such question.

    The signature is not checked: it is made with a key that each server makes up when it starts, and
    nobody but the servers may publish on the subject of these questions.
    """
    asked = claims_of(token).get("nats")
    if not isinstance(asked, dict) or asked.get("type") != "authorization_request":
        raise ValueError("not an authorization request")
    server, client, given = (asked.get(name) or {} for name in ("server_id", "client_info", "connect_opts"))
    return Login(
        str(server.get("id", "")),
        str(asked.get("user_nkey", "")),
        str(client.get("host", "")),
        str(client.get("type", "")),
        str(client.get("mqtt_id", "")),
        str(given.get("user", "")),
        str(given.get("pass", "")),
    )


def unasked(login: Login) -> str | None:
    """Why a login is refused without a look at its key; None when it is not."""
    if login.protocol != "mqtt":
        return f"only MQTT is for units, not {login.protocol or 'this protocol'}"
    if not login.user or not login.password:
        return "user name (unit code) and password (API key) are needed"
    if login.client_id.lower().startswith(_RESERVED_CLIENT_ID):
        # Whoever takes a client id has its session: the platform's holds what was acknowledged to units.
        return f"client ids that begin with {_RESERVED_CLIENT_ID} are the platform's"
    owner = _OWNED_CLIENT_ID.match(login.client_id)
    if owner is not None and owner[1] != login.user:
        return f"client ids that begin with {owner[0]} are for the unit of that code"
    return None


def refusal(login: Login, holder: Holder | None) -> str | None:
    """Why a login with this key is refused; None when it is not."""
    if holder is None:
        return "the API key is not valid"
    if holder.who.unit != login.user:
        return "the API key is another unit's; the user name must be the code of its own"
    if "measurements:write" not in holder.who.permissions:
        # The broker would acknowledge what such a key publishes, and drop it.
        return "the API key may not measurements:write"
    return None


def name_of(who: Principal) -> str:
    """What the broker calls the connection: unit code and key, so that each can be found and ended."""
    return f"{who.unit}#{who.key_id}"


def key_of(name: str) -> int | None:
    """The id of the key with which a connection of this name logged in; None for others."""
    number = name.rpartition("#")[2] if "#" in name else ""
    return int(number) if number.isascii() and number.isdecimal() else None


def allowed(issuer: Issuer, login: Login, holder: Holder) -> str:
    """The answer that lets a login in, confined to its unit's own branch of topics; ends with its key."""
    branch = f"qunce.v1.{holder.who.unit}"
    user = {
        "sub": login.user_key,
        "aud": ACCOUNT,
        "name": name_of(holder.who),
        "nats": {
            "type": "user",
            "version": 2,
            "allowed_connection_types": ["MQTT"],
            "pub": {"allow": [f"{branch}.>"]},
            # `a/#` is two subscriptions: a and all below it.
            "sub": {"allow": [branch, f"{branch}.>"]} if _reads(holder.who) else {"deny": [">"]},
            "subs": -1,
            "data": -1,
            "payload": -1,
        },
        **({} if holder.expires_at is None else {"exp": int(holder.expires_at.timestamp())}),
    }
    return _answer(issuer, login, {"jwt": issuer.sign(user)})


def refused(issuer: Issuer, login: Login, why: str) -> str:
    """The answer that keeps a login outside; the broker logs the reason, and tells its client only that."""
    return _answer(issuer, login, {"error": why})


def _reads(who: Principal) -> bool:
    return "telemetry:read" in who.permissions


def _answer(issuer: Issuer, login: Login, content: dict[str, Any]) -> str:
    return issuer.sign(
        {
            "sub": login.user_key,
            "aud": login.server,
            "nats": {"type": "authorization_response", "version": 2, **content},
        }
    )
