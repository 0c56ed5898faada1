"""`qunce.client` against the real interface, over a network that fails, from processes that are killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qunce.client import Client, Problem, Reading, Retries, Unreachable, Verdict
from qunce.process import free_port
from store.accounts import source_accounts
from store.database import connect
from store.registry import NewPilot, NewUnit, add_key, register_pilot, register_unit
from tests.served import served

pytestmark = pytest.mark.concurrent
KEY, UNIT = "qk_client", "GD-CLI-01"
USCC = "91440300MA5EXAMP0C"
QUICK = Retries(first_s=0.05, ceiling_s=0.3, patience_s=20)
NOT_LONG = Retries(first_s=0.05, ceiling_s=0.2, patience_s=0.5)


@dataclass(frozen=True)
class Platform:
    """A served platform, its database, its key's id."""

    url: str
    dsn: str
    key_id: int

    def stored(self, tag: str) -> int:
        """Readings of a tag."""
        with connect(self.dsn, application="test") as conn:
            query = "SELECT count(*) FROM measurement JOIN tag USING (tag_id) WHERE tag.name = %s"
            row = conn.execute(query, (tag,)).fetchone()
        return int(row[0]) if row else 0

    def repeated(self) -> int:
        """Readings of the unit that came twice."""
        with connect(self.dsn, application="test") as conn:
            return sum(account.duplicates + account.corrections for account in source_accounts(conn))

    def comes_to(self, tag: str, rows: int) -> None:
        """Wait until so many readings of a tag are stored, and no more."""
        until = time.monotonic() + 15
        while self.stored(tag) < rows and time.monotonic() < until:
            time.sleep(0.05)
        assert self.stored(tag) == rows


@pytest.fixture(scope="module")
def platform(module_dsn: str, nats_url: str) -> Iterator[Platform]:
    with connect(module_dsn, application="test") as conn:
        register_unit(conn, NewUnit(UNIT, "单位", "Unit", 1, USCC))
        today = datetime.now(UTC).date()
        register_pilot(conn, NewPilot("P", "试点", "Pilot", "new-it", "441900", UNIT, "piloting", today))
        add_key(conn, UNIT, KEY)
        row = conn.execute("SELECT key_id FROM api_key").fetchone()
    with served(module_dsn, nats_url) as url:
        yield Platform(url, module_dsn, int(row[0]) if row else 0)


@pytest.fixture
def tag(platform: Platform, request: pytest.FixtureRequest) -> str:
    """A counter of this test's own, registered through the client."""
    machine = f"M-{abs(hash(request.node.name)) % 10**9}"
    since = datetime.now(UTC) - timedelta(days=2)
    with Client(platform.url, KEY) as qunce:
        enterprise = {"uscc": USCC, "name": "某厂", "region_code": "441900", "registered_on": since.date()}
        assert qunce.report("enterprise", [enterprise]).state == "applied"
        equipment = {"code": machine, "enterprise_uscc": USCC, "name": "机", "kind": "CNC"}
        assert qunce.report("equipment", [{**equipment, "digital": True, "networked": True}]).accepted == 1
        described = {"name": f"{machine}.produced", "equipment_code": machine, "signal": "produced",
                     "data_type": "counter", "unit": "1", "interval_s": 10, "valid_from": since}  # fmt: skip
        assert qunce.report("tag", [described]).accepted == 1
    return f"{machine}.produced"


def readings(tag: str, n: int, first: int = 0) -> list[Reading]:
    began = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=5)
    return [Reading(tag, began + timedelta(seconds=i), i) for i in range(first, first + n)]


class Proxy:
    """A bad network, as tests.chaos has it."""

    def __init__(self, control: Path, url: str) -> None:
        self.control, self.port, self._cuts = control, free_port(), 0
        self.set()
        target = url.rpartition(":")[2]
        command = [sys.executable, "-m", "tests.chaos.proxy", control, f"{self.port}:{target}"]
        self.process = subprocess.Popen(list(map(str, command)))
        while True:
            with socket.socket() as trying:
                if trying.connect_ex(("127.0.0.1", self.port)) == 0:
                    break
            time.sleep(0.02)

    @property
    def url(self) -> str:
        """The platform's address through this network."""
        return f"http://127.0.0.1:{self.port}"

    def set(self, *, hole: bool = False, cut: bool = False, delay_s: float = 0.0) -> None:
        """Behave like this from now on."""
        self._cuts += cut
        text = json.dumps({"hole": hole, "cuts": self._cuts, "delay_s": delay_s})
        part = self.control.with_suffix(".part")
        part.write_text(text)
        part.replace(self.control)


@pytest.fixture
def proxy(platform: Platform, tmp_path: Path) -> Iterator[Proxy]:
    made = Proxy(tmp_path / "network.json", platform.url)
    yield made
    made.process.kill()
    made.process.wait()


def test_rows_columns_and_latest(platform: Platform, tag: str) -> None:
    with Client(platform.url, KEY) as qunce:
        assert qunce.me()["unit"] == UNIT
        rows = readings(tag, 10)
        told = qunce.send([*rows[:3], Reading("M-0.none", rows[0].ts, 1)])
        assert (told.received, told.accepted, told.quarantined) == (4, 3, 1)
        assert (told.state, told.records) == ("applied", ("accepted",) * 3 + ("quarantined",))
        [error] = told.errors
        assert (error.index, error.place, error.reason) == (3, "records[3].tag", "unknown_tag")
        assert error.message["zh"]
        assert error.hint["en"]
        columns = list(zip(*rows[3:], strict=True))
        assert qunce.send_columns(*columns[:3]).accepted == 7
        again = qunce.send([rows[0], rows[1]._replace(value=99), rows[1]])
        assert again.records == ("duplicate", "correction", "correction")
        assert qunce.submission(again.batches[0]) == again
        platform.comes_to(tag, 10)
        [latest] = qunce.latest([tag])
        assert (latest.tag, latest.ts, latest.value, latest.quality) == (tag, rows[-1].ts, 9, 0)
        assert latest in list(qunce.latest(equipment=tag.partition(".")[0]))


def test_problems_are_raised_at_once_and_whole(platform: Platform) -> None:
    began = time.monotonic()
    with Client(platform.url, KEY) as qunce:
        with pytest.raises(Problem) as refused:
            qunce.send([Reading("M-0.none", datetime.now(UTC), 1)])
        problem = refused.value
        assert (problem.status, problem.code, problem.errors[0].reason) == (422, "all_refused", "unknown_tag")
        assert problem.hint["zh"]
        with pytest.raises(Problem, match="unknown_dataset"):
            qunce.report("nothing", [{}])
    with Client(platform.url, "qk_wrong") as qunce, pytest.raises(Problem) as wrong:
        qunce.me()
    assert (wrong.value.status, wrong.value.code) == (401, "wrong_key")
    assert time.monotonic() - began < 5


def test_a_signed_request_carries_no_key(platform: Platform, tag: str) -> None:
    with Client(platform.url, KEY, key_id=platform.key_id) as qunce:
        assert qunce.me()["key_id"] == platform.key_id
        assert qunce.send(readings(tag, 2)).accepted == 2
        name = {"name": "东莞 某厂&co", "uscc": USCC, "region_code": "441900", "registered_on": "2026-01-01"}
        assert qunce.report("enterprise", [name]).received == 1
        assert len(list(qunce.latest([tag, "M-0.é&,x"]))) <= 1
    with Client(platform.url, "qk_other", key_id=platform.key_id) as qunce, pytest.raises(Problem) as wrong:
        qunce.me()
    assert wrong.value.code == "bad_signature"


def test_nobody_there_ends_with_patience() -> None:
    began = time.monotonic()
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url, KEY, retries=NOT_LONG) as qunce, pytest.raises(Unreachable, match="ConnectError"):
        qunce.me()
    assert 0.2 < time.monotonic() - began < 3


@contextmanager
def answering(answers: list[bytes]) -> Iterator[tuple[str, list[tuple[float, bytes]]]]:
    """Something that is not the platform and gives these answers, one a connection; what it was asked, and when."""
    asked: list[tuple[float, bytes]] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for answer in answers:
                taken, _ = listening.accept()
                with taken:
                    got = b""
                    while b"\r\n\r\n" not in got:
                        got += taken.recv(65536)
                    head, _, body = got.partition(b"\r\n\r\n")
                    length = next(
                        (
                            int(line[15:])
                            for line in head.split(b"\r\n")
                            if line.lower()[:15] == b"content-length:"
                        ),
                        0,
                    )
                    while len(body) < length:
                        body += taken.recv(65536)
                    asked.append((time.monotonic(), head + b"\r\n\r\n" + body))
                    taken.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
        thread.join(5)


def http(status: str, body: bytes, kind: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


BUSY = http("429 Too Many Requests", b'{"code": "busy"}', "application/problem+json", "Retry-After: 1")
PORTAL = http("200 OK", b"<html>Log in</html>", "text/html")
GATEWAY = http("502 Bad Gateway", b"<html>", "text/html")
TAKEN = http("200 OK", b'{"batch": "b", "received": 1, "accepted": 1, "quarantined": 0, "errors": []}',
             "application/json")  # fmt: skip


def test_the_same_is_sent_again_when_the_platform_asks_for_it() -> None:
    with answering([GATEWAY, BUSY, PORTAL, TAKEN]) as (url, asked), Client(url, KEY, retries=QUICK) as qunce:
        assert qunce.send(readings("M.x", 1)).accepted == 1
    requests = [request for _, request in asked]
    assert len(requests) == 4
    assert len(set(requests)) == 1  # the key and the body too
    assert b"idempotency-key: " in requests[0].lower()
    assert 1.0 <= asked[2][0] - asked[1][0] < 2.0  # Retry-After: 1
    assert asked[1][0] - asked[0][0] < 0.8


def test_a_spool_outlives_a_network_that_fails(
    platform: Platform, tag: str, proxy: Proxy, tmp_path: Path
) -> None:
    told: list[Verdict] = []
    rows, repeated = readings(tag, 400), platform.repeated()
    with Client(proxy.url, KEY, tmp_path / "spool", retries=QUICK, on_verdict=told.append) as qunce:
        for i in range(0, 400, 10):
            assert qunce.send(rows[i : i + 10]).state == "spooled"
            if i == 100:
                proxy.set(cut=True, delay_s=0.05)
            if i == 200:
                proxy.set(cut=True, hole=True)
                time.sleep(0.2)
            if i == 300:
                proxy.set(cut=True)
        flushed = qunce.flush(30)
        assert (flushed.dead, flushed.left) == (0, 0)
        status = qunce.spool_status()
        assert (status.queued, status.queued_bytes, status.trouble) == (0, 0, None)
    platform.comes_to(tag, 400)
    assert sum(verdict.accepted for verdict in told) == 400
    assert platform.repeated() == repeated  # what was sent again had its key


SENDER = """
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from qunce.client import Client, Reading, Retries

url, key, spool, tag, began = sys.argv[1:]
with Client(url, key, Path(spool), retries=Retries(0.02, 0.1)) as qunce:
    for i in range(100_000):
        at = datetime.fromisoformat(began) + timedelta(milliseconds=10 * i)
        qunce.send([Reading(tag, at, i)], idempotency_key=f"reading-{tag}-{i}")
        print(i, flush=True)
        time.sleep(0.004)
"""


def test_what_send_returned_for_survives_kill_9(
    platform: Platform, tag: str, proxy: Proxy, tmp_path: Path
) -> None:
    began = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    command = [sys.executable, "-c", SENDER, proxy.url, KEY, str(tmp_path / "spool"), tag, began]
    promised, repeated = -1, platform.repeated()
    for wait_s in (0.4, 0.2, 0.3):  # each begins again at 0, as a program without a memory does
        sender = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert sender.stdout is not None
        assert sender.stdout.readline() == "0\n"
        proxy.set(cut=True, delay_s=0.01)
        time.sleep(wait_s)
        os.kill(sender.pid, signal.SIGKILL)
        promised = max([promised, *map(int, sender.stdout.read().split("\n")[:-1])])
        sender.stdout.close()
        sender.wait()
    assert promised > 0
    with Client(platform.url, KEY, tmp_path / "spool", background=False, retries=QUICK) as qunce:
        flushed = qunce.flush(30)
        assert (flushed.dead, flushed.left) == (0, 0)
    until = time.monotonic() + 15
    while platform.stored(tag) <= promised and time.monotonic() < until:
        time.sleep(0.05)
    assert promised < platform.stored(tag) <= promised + 2  # killed between keeping and saying so
    assert platform.repeated() == repeated


def test_what_is_refused_for_good_is_put_aside_and_can_be_sent_again(
    platform: Platform, tag: str, tmp_path: Path
) -> None:
    unknown = tag.replace("produced", "good")
    with Client(platform.url, KEY, tmp_path / "spool", background=False) as qunce:
        qunce.send([Reading(unknown, datetime.now(UTC), 1)])
        qunce.send(readings(tag, 2))
        flushed = qunce.flush(10)
        assert (flushed.sent, flushed.dead, flushed.left) == (1, 1, 0)
        [letter] = qunce.refused()
        assert json.loads(letter.body.read_text())["records"][0]["tag"] == unknown
        assert (letter.problem.code, letter.problem.errors[0].reason) == ("all_refused", "unknown_tag")
        assert (qunce.spool_status().dead, qunce.spool_status().queued) == (1, 0)
        machine = tag.partition(".")[0]
        since = datetime.now(UTC) - timedelta(days=1)
        qunce.report("tag", [{"name": unknown, "equipment_code": machine, "signal": "good",
                              "data_type": "counter", "unit": "1", "interval_s": 10, "valid_from": since}])  # fmt: skip
        qunce.send_again(letter)
        flushed = qunce.flush(10)
        assert (flushed.sent, flushed.dead, flushed.left) == (1, 0, 0)
        assert list(qunce.refused()) == []
    platform.comes_to(unknown, 1)


def test_a_wrong_key_does_not_empty_the_spool(platform: Platform, tag: str, tmp_path: Path) -> None:
    with Client(platform.url, "qk_revoked", tmp_path / "spool", background=False) as qunce:
        qunce.send(readings(tag, 3))
        with pytest.raises(Problem, match="wrong_key"):
            qunce.flush(5)
        status = qunce.spool_status()
        assert (status.queued, status.dead) == (1, 0)
        assert "wrong_key" in (status.trouble or "")
    with Client(platform.url, KEY, tmp_path / "spool") as qunce:
        assert qunce.flush(10).left == 0
    platform.comes_to(tag, 3)


def test_the_thread_goes_on_after_flush_found_the_way_again(tmp_path: Path) -> None:
    port = free_port()
    slow = Retries(first_s=30, ceiling_s=60)
    told: list[Verdict] = []

    def wait(for_what: Callable[[], bool]) -> None:
        until = time.monotonic() + 10
        while not for_what() and time.monotonic() < until:
            time.sleep(0.01)
        assert for_what()

    with Client(f"http://127.0.0.1:{port}", KEY, tmp_path, retries=slow, on_verdict=told.append) as qunce:
        qunce.send(readings("M.x", 1))
        wait(lambda: qunce.spool_status().trouble is not None)
        with socket.create_server(("127.0.0.1", port)) as listening:

            def serve() -> None:
                for _ in range(2):
                    taken, _ = listening.accept()
                    with taken:
                        taken.recv(65536)
                        taken.sendall(TAKEN)

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            assert qunce.flush(10).sent == 1
            qunce.send(readings("M.x", 1))
            wait(lambda: len(told) == 2)
            thread.join(5)
