"""`python -m tests.fuzz URL KEY… [--bodies N]`: malformed bodies against a running interface, counted by answer.

Every operation of its OpenAPI document that takes a body gets its share, by turns with each key. Ends with code 1 when any answer is not a problem document with a 4xx, 503 (a full log), or 202 (durable, judged later).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from itertools import islice
from typing import Any

import httpx
import psutil

from tests.fuzz.bodies import Wrong, wrong

PLACES = {"name": "milestone", "key_id": "2147483647", "stoppage_id": "2147483647"}
"""What stands for the variables of paths: a key and a stoppage that there are not, as `{}` is no mistake in their bodies."""


def places(document: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """(method, path) of every operation that takes a body."""
    return tuple(
        (method.upper(), path.format(**PLACES))
        for path, methods in document["paths"].items()
        for method, told in methods.items()
        if "requestBody" in told
    )


def judge(answer: httpx.Response) -> str | None:
    """What is wrong with an answer to a request that must be refused; None = nothing."""
    if answer.status_code == 202:  # durable, and not judged in time
        return None
    if not (400 <= answer.status_code < 500 or answer.status_code == 503):
        return f"status {answer.status_code}"
    if answer.headers.get("content-type") != "application/problem+json":
        return f"type {answer.headers.get('content-type')}"
    body = answer.json()
    told = all(body.get(key) for key in ("code", "title", "status", "detail", "message", "hint"))
    return None if told and body["status"] == answer.status_code else "incomplete problem"


async def send(
    client: httpx.AsyncClient, bodies: list[Wrong], keys: list[str], at_once: int
) -> tuple[Counter[str], list[tuple[str, Wrong]]]:
    """Send all; (answers by status and code, those that were wrongly answered)."""
    counts: Counter[str] = Counter()
    bad: list[tuple[str, Wrong]] = []
    waiting = iter(bodies)

    async def work(key: str) -> None:
        for one in waiting:
            headers = {**one.headers, "Authorization": f"Bearer {key}"}
            try:
                answer = await client.request(one.method, one.path, content=one.body, headers=headers)
            except httpx.TransportError as error:
                bad.append((f"no answer: {error!r}", one))
                counts["no answer"] += 1
                continue
            fault = judge(answer)
            if fault is not None:
                bad.append((fault, one))
            code = answer.json().get("code", "?") if "json" in answer.headers.get("content-type", "") else "?"
            counts[f"{answer.status_code} {code}"] += 1

    await asyncio.gather(*(work(keys[i % len(keys)]) for i in range(at_once)))
    return counts, bad


def _mib(process: psutil.Process) -> str:
    return " + ".join(
        f"{one.memory_info().rss / 2**20:.0f}" for one in (process, *process.children(recursive=True))
    ) + " MiB"  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("keys", nargs="+")
    parser.add_argument("--bodies", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--pid", type=int, help="process whose memory is told, with that of its children")
    given = parser.parse_args()
    source = wrong(given.seed, places(httpx.get(f"{given.url}/api/openapi.json").json()))
    total: Counter[str] = Counter()
    begun, faults, sent = time.monotonic(), 0, 0
    watched = psutil.Process(given.pid) if given.pid else None

    async def run() -> None:
        nonlocal faults, sent
        kept = httpx.Limits(
            keepalive_expiry=2
        )  # less than the server keeps an idle connection: no race for it
        async with httpx.AsyncClient(base_url=given.url, timeout=60, limits=kept) as client:
            while sent < given.bodies:
                bodies = list(islice(source, min(2_000, given.bodies - sent)))
                counts, bad = await send(client, bodies, given.keys, given.at_once)
                total.update(counts)
                faults += len(bad)
                sent += len(bodies)
                memory = f" {_mib(watched)}" if watched else ""
                print(
                    f"{sent} bodies, {sent / (time.monotonic() - begun):.0f}/s, {faults} wrongly answered{memory}",
                    flush=True,
                )
                for fault, one in bad[:3]:
                    print("  ", fault, one.method, one.path, one.headers, one.body[:200], flush=True)

    asyncio.run(run())
    for answer, n in total.most_common():
        print(f"{n:8} {answer}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
