"""Who may log in over MQTT, and what the broker is told: without a broker, without a database."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ingest.callout import keys as known
from ingest.callout.decision import Holder, Login, allowed, key_of, read, refusal, refused, unasked
from ingest.callout.keys import Keys, TooManyWrong, Unavailable
from ingest.callout.nkeys import Issuer, claims_of
from store.identity import key_principal

LOGIN = Login("SERVER", "UUSER", "10.1.2.3", "mqtt", "GD-ELE-01:press-7", "GD-ELE-01", "qk_one")


def holder(*scopes: str, unit: str = "GD-ELE-01", expires_at: datetime | None = None) -> Holder:
    return Holder(key_principal(17, 1, unit, scopes or None), expires_at)


def test_what_is_signed_is_a_token_of_nats() -> None:
    issuer = Issuer("a secret of no importance")
    token = issuer.sign({"sub": "U"})
    head, content, signature = token.split(".")
    decoded = base64.b32decode(issuer.public + "=" * (-len(issuer.public) % 8))
    assert issuer.public.startswith("A")
    assert len(decoded) == 35
    pad = lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))  # noqa: E731
    Ed25519PublicKey.from_public_bytes(decoded[1:33]).verify(pad(signature), f"{head}.{content}".encode())
    assert json.loads(pad(head)) == {"typ": "JWT", "alg": "ed25519-nkey"}
    assert claims_of(token.encode()) | {"iat": 0, "jti": ""} == {
        "sub": "U", "iss": issuer.public, "iat": 0, "jti": "",
    }  # fmt: skip
    assert Issuer("another").public != issuer.public


def test_a_key_opens_its_units_branch_and_nothing_else_until_it_expires() -> None:
    expires = datetime(2027, 1, 2, tzinfo=UTC)
    answer = claims_of(allowed(Issuer("s"), LOGIN, holder(expires_at=expires)).encode())
    assert (answer["sub"], answer["aud"]) == ("UUSER", "SERVER")
    user = claims_of(answer["nats"]["jwt"].encode())
    assert (user["sub"], user["aud"], user["name"]) == ("UUSER", "QUNCE", "GD-ELE-01#17")
    assert user["exp"] == expires.timestamp()
    assert user["nats"]["pub"] == {"allow": ["qunce.v1.GD-ELE-01.>"]}
    assert user["nats"]["sub"] == {"allow": ["qunce.v1.GD-ELE-01", "qunce.v1.GD-ELE-01.>"]}
    assert user["nats"]["allowed_connection_types"] == ["MQTT"]


def test_a_key_that_may_not_read_hears_nothing() -> None:
    answer = claims_of(allowed(Issuer("s"), LOGIN, holder("measurements:write")).encode())
    user = claims_of(answer["nats"]["jwt"].encode())
    assert user["nats"]["sub"] == {"deny": [">"]}
    assert "exp" not in user


@pytest.mark.parametrize(
    ("change", "found", "why"),
    [
        ({}, None, "not valid"),
        ({}, holder(unit="GD-ELE-02"), "another unit's"),
        ({}, holder("telemetry:read"), "may not measurements:write"),
        ({"protocol": "nats"}, holder(), "only MQTT"),
        ({"user": ""}, holder(), "are needed"),
        ({"password": ""}, holder(), "are needed"),
        ({"client_id": "Qunce-platform-broker"}, holder(), "the platform's"),
        ({"client_id": "GD-ELE-02:press-7"}, holder(), "for the unit of that code"),
    ],
)
def test_a_login_is_refused_with_its_reason(change: dict[str, str], found: Holder | None, why: str) -> None:
    login = LOGIN._replace(**change)
    said = unasked(login) or refusal(login, found)
    assert said is not None
    assert why in said
    answer = claims_of(refused(Issuer("s"), login, said).encode())
    assert "jwt" not in answer["nats"]
    assert why in answer["nats"]["error"]


@pytest.mark.parametrize(
    "client_id", ["", "mosq-Xy12", "GD-ELE-01", "GD-ELE-02", "00:1A:2b", "gw-GD-ELE-02-1"]
)
def test_other_client_ids_are_free(client_id: str) -> None:
    login = LOGIN._replace(client_id=client_id)
    assert unasked(login) is None
    assert refusal(login, holder()) is None


def test_connections_are_known_by_their_key() -> None:
    assert key_of("GD-ELE-01#17") == 17
    assert [key_of(name) for name in ("qunce-platform", "GD-ELE-01#", "", "X#y", "X#²")] == [None] * 5


@pytest.mark.parametrize("token", [b"", b"a.b.c", b"eyJ9.e30.x", b"a.WzFd.c", b"\xff.\xff.\xff"])
def test_what_is_no_question_is_no_login(token: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(token)


class Database:
    """Answers for keys by digest; can be away."""

    def __init__(self, *valid: str, expires_at: datetime | None = None) -> None:
        self.valid = {known.identity.digest(key): number for number, key in enumerate(valid, 1)}
        self.expires_at = expires_at
        self.asked = 0
        self.away = False

    async def __call__(self, digest: bytes) -> Holder | None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable
        if (number := self.valid.get(digest)) is None:
            return None
        return Holder(key_principal(number, 1, "GD-ELE-01", None), self.expires_at)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What monotonic clocks say here."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def ids(found: list[Holder | None]) -> list[int | None]:
    return [one and one.who.key_id for one in found]


def test_a_thousand_devices_at_once_are_one_question(clock: list[float]) -> None:
    async def go() -> None:
        database = Database("qk_one", "qk_two")
        keys = Keys(database)
        storm = await asyncio.gather(*(keys.holder("qk_one", "a") for _ in range(1000)))
        assert ids(storm) == [1] * 1000
        assert ids([await keys.holder("qk_two", "a")]) == [2]  # both keys of a rotation
        assert database.asked == 2
        assert keys.in_use() == {1, 2}
        clock[0] += known.FRESH_S + 1
        await keys.holder("qk_one", "a")
        assert database.asked == 3

    asyncio.run(go())


def test_a_key_that_ended_is_forgotten_at_once_and_one_that_expires_by_itself(clock: list[float]) -> None:
    async def go() -> None:
        database = Database("qk_one", "qk_two")
        keys = Keys(database)
        for key in ("qk_one", "qk_two"):
            await keys.holder(key, "a")
        database.valid.pop(known.identity.digest("qk_one"))
        keys.confirm({1, 2}, {2})
        assert ids([await keys.holder("qk_one", "a"), await keys.holder("qk_two", "a")]) == [None, 2]
        short = Keys(Database("qk_one", expires_at=datetime.now(UTC) - timedelta(seconds=1)))
        await short.holder("qk_one", "a")
        assert short.in_use() == {1}
        await short.holder("qk_one", "a")
        assert short._ask.asked == 2  # type: ignore[attr-defined]

    asyncio.run(go())


def test_while_the_database_is_away_known_keys_are_trusted_for_a_bounded_time(clock: list[float]) -> None:
    async def go() -> None:
        database = Database("qk_one")
        keys = Keys(database)
        await keys.holder("qk_one", "a")
        clock[0] += 3600
        keys.confirm({1}, {1})
        database.away = True
        clock[0] += known.TRUSTED_S - 1
        assert ids([await keys.holder("qk_one", "a")]) == [1]
        with pytest.raises(Unavailable):
            await keys.holder("qk_other", "a")
        clock[0] += 2
        with pytest.raises(Unavailable):
            await keys.holder("qk_one", "a")
        database.away = False
        assert ids([await keys.holder("qk_one", "a")]) == [1]

    asyncio.run(go())


def test_whoever_tries_keys_is_not_asked_for_and_known_keys_go_on(clock: list[float]) -> None:
    async def go() -> None:
        database = Database("qk_one", "qk_new")
        keys = Keys(database)
        await keys.holder("qk_one", "plant")
        for _ in range(100):  # one gateway with an old key, again and again
            assert await keys.holder("qk_old", "plant") is None
        assert database.asked == 2
        outcomes: list[Any] = await asyncio.gather(
            *(keys.holder(f"qk_{n}", "plant") for n in range(200)), return_exceptions=True
        )
        assert outcomes == [None] * 200  # all under way before the first was known to be wrong
        with pytest.raises(TooManyWrong):
            await keys.holder("qk_new", "plant")
        assert ids([await keys.holder("qk_one", "plant"), await keys.holder("qk_new", "elsewhere")]) == [1, 2]
        clock[0] += 120
        assert ids([await keys.holder("qk_new", "plant")]) == [2]

    asyncio.run(go())
