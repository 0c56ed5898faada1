"""Signed requests: the document's example, and whatever is in doubt is refused."""

from __future__ import annotations

import hashlib
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from ingest.api.credentials import EMPTY_SHA256, signature
from store.database import connect
from tests.guide.blocks import blocks_of
from tests.integration.test_api import KEY, go, platform, registered

__all__ = ["registered"]
DOCUMENT = Path(__file__).parents[2] / "docs" / "interface.md"
SECRET = hashlib.sha256(KEY.encode()).digest()


def signed(
    key_id: int, nonce: str, content: bytes = b"", *, at: float = 0, target: str = "/api/v1/me"
) -> dict[str, str]:
    moment, digest = str(int(time.time() + at)), hashlib.sha256(content).hexdigest()
    method = "POST" if content else "GET"
    return {
        "Authorization": "", "X-Qunce-Key-Id": str(key_id), "X-Qunce-Timestamp": moment, "X-Qunce-Nonce": nonce,
        "X-Qunce-Content-Sha256": digest, "X-Qunce-Signature": signature(SECRET, method, target, moment, nonce, digest),
    }  # fmt: skip


def test_the_documents_example_is_right() -> None:
    [block] = [one for one in blocks_of(DOCUMENT) if one.kind == "bash" and "hexkey" in one.text]
    printed = subprocess.run(
        ["bash", "-c", block.text], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert f"`{printed}`" in DOCUMENT.read_text("utf-8")
    secret = hashlib.sha256(b"qk_example_of_this_document").digest()
    assert printed == signature(secret, "GET", "/api/v1/me", "1795651200", "0123456789abcdef", EMPTY_SHA256)


def test_what_is_in_doubt_is_refused(registered: tuple[str, str]) -> None:
    with connect(registered[0], application="test") as conn:
        [(key_id,)] = conn.execute(
            "SELECT key_id FROM api_key JOIN lead_unit USING (unit_id) WHERE code = 'GD-AAA-01'"
        ).fetchall()

    async def test() -> None:
        async with platform(*registered, with_writer=False) as client:
            del client.headers["Authorization"]

            async def asked(
                headers: dict[str, str], path: str = "/api/v1/me", content: bytes = b""
            ) -> httpx.Response:
                kept = {name: text for name, text in headers.items() if text}
                return await (
                    client.post(path, content=content, headers=kept)
                    if content
                    else client.get(path, headers=kept)
                )

            def refused(answer: httpx.Response, code: str, told: str = "") -> None:
                assert (answer.status_code, answer.json()["code"]) == (401, code), answer.text
                assert told in answer.json()["detail"]

            good = signed(key_id, "a" * 16)
            answer = await asked(good)
            assert (answer.status_code, answer.json()["unit"]) == (200, "GD-AAA-01")
            refused(await asked(good), "nonce_used")
            refused(await asked(signed(key_id, "b" * 16, at=-301)), "signature_expired")
            refused(await asked(signed(key_id, "b" * 16, at=302)), "signature_expired")
            refused(
                await asked(signed(key_id, "c" * 16), "/api/v1/me?x=1"), "bad_signature", "X-Qunce-Signature"
            )
            refused(await asked(signed(key_id + 99, "d" * 16)), "bad_signature", "X-Qunce-Signature")
            for name, text in (
                ("Key-Id", "x"),
                ("Timestamp", "now"),
                ("Nonce", "short"),
                ("Content-Sha256", "0"),
            ):
                wrong = signed(key_id, "e" * 16) | {f"X-Qunce-{name}": text}
                refused(await asked(wrong), "bad_signature", f"X-Qunce-{name}")
            # The body is part of what was signed; a request that was refused for it has used up its nonce.
            path, body = "/api/v1/measurements", b'{"records": []}'
            headers = signed(key_id, "f" * 16, body, target=path) | {"Content-Type": "application/json"}
            refused(await asked(headers, path, body + b" "), "bad_signature", "X-Qunce-Content-Sha256")
            refused(await asked(headers, path, body), "nonce_used")
            headers = signed(key_id, "g" * 16, body, target=path) | {"Content-Type": "application/json"}
            assert (await asked(headers, path, body)).status_code == 200

    go(test())


@pytest.mark.parametrize("end", ["revoked_at = now()", "expires_at = now()"])
def test_a_key_that_ended_signs_no_more(registered: tuple[str, str], end: str) -> None:
    with connect(registered[0], application="test") as conn:
        [(key_id,)] = conn.execute(
            "SELECT key_id FROM api_key JOIN lead_unit USING (unit_id) WHERE code = 'GD-AAA-01'"
        ).fetchall()
        conn.execute(f"UPDATE api_key SET {end} WHERE key_id = %s", (key_id,))

    async def test() -> None:
        async with platform(*registered, with_writer=False) as client:
            del client.headers["Authorization"]
            headers = {name: text for name, text in signed(key_id, "h" * 16).items() if text}
            assert (await client.get("/api/v1/me", headers=headers)).status_code == 401

    go(test())
