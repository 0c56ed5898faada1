"""The spool on disk and its folder of refused submissions, without a network."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from qunce.client import Problem, Retries, SpoolFull, SpoolInUse
from qunce.client.dead import DeadLetters
from qunce.client.retries import asked_s
from qunce.client.spool import Spool
from qunce.client.wire import Sending


def sending(key: str, body: bytes = b"{}") -> Sending:
    return Sending("POST", "/api/v1/measurements", body, "application/json", "", key)


def test_order_and_content_survive_a_restart(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 2**20)
    spool.put([(sending("a"), 1, 0), (sending("b"), 2, 1)])
    spool.put([(sending("c"), 3, 0)])
    spool.close()
    spool = Spool(tmp_path, 2**20)
    keys = []
    while (head := spool.oldest()) is not None:
        keys.append((head.sending.idempotency_key, head.rows, head.first_row))
        spool.done(head)
    assert keys == [("a", 1, 0), ("b", 2, 1), ("c", 3, 0)]
    assert (spool.queued, spool.queued_bytes) == (0, 0)
    spool.close()


def test_the_same_submission_is_kept_once(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 2**20)
    for _ in range(2):
        spool.put([(sending("a"), 1, 0)])
    spool.put([(sending("a", b"[]"), 1, 0)])  # another content is another submission
    assert spool.queued == 2
    spool.close()


def test_a_full_spool_says_so_and_takes_all_or_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 4000)
    spool.put([(sending("a", b"x" * 1000), 1, 0)])
    with pytest.raises(SpoolFull, match="1512 of 4000 bytes"):
        spool.put([(sending("b", b"x" * 1000), 1, 0), (sending("c", b"x" * 1000), 1, 0)])
    assert spool.queued == 1
    spool.put([(sending("b", b"x" * 1000), 1, 0)])
    spool.close()
    spool = Spool(tmp_path, 4000)
    assert (spool.queued, spool.queued_bytes) == (2, 3024)
    spool.close()


def test_refused_bytes_count_against_the_limit(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 4000)
    spool.aside_bytes = 3900
    with pytest.raises(SpoolFull, match="put aside"):
        spool.put([(sending("a"), 1, 0)])
    spool.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    holding = (
        "import sys, time; from pathlib import Path; from qunce.client.spool import Spool\n"
        "spool = Spool(Path(sys.argv[1]), 1000); print('open', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", holding, tmp_path], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(SpoolInUse, match="another process"):
            Spool(tmp_path, 1000)
        os.kill(other.pid, signal.SIGKILL)
    Spool(tmp_path, 1000).close()


def test_what_was_refused_lies_readable_beside_its_reason(tmp_path: Path) -> None:
    spool, dead = Spool(tmp_path, 2**20), DeadLetters(tmp_path / "refused")
    spool.put([(sending("a", b'{"records": []}'), 7, 0)])
    head = spool.oldest()
    assert head is not None
    problem = Problem(400, {"code": "wrong_shape", "message": {"zh": "形状", "en": "shape"}})
    for _ in range(2):  # killed in between, it is put aside twice
        path = dead.put(head, problem)
    assert path.read_bytes() == b'{"records": []}'
    [letter] = dead.all()
    assert (letter.rows, letter.problem.code, letter.problem.message["zh"]) == (7, "wrong_shape", "形状")
    assert letter.sending.idempotency_key == "a"
    assert dead.size() == (1, 15)
    letter.delete()
    assert dead.size() == (0, 0)
    spool.close()


def test_waits_double_with_jitter_and_never_undercut_what_was_asked() -> None:
    retries = Retries(first_s=1, ceiling_s=8)
    waits = [[retries.wait_s(n, None) for _ in range(50)] for n in range(1, 8)]
    for n, some in enumerate(waits):
        assert all(min(8, 2**n) / 2 <= wait <= min(8, 2**n) for wait in some)
        assert len(set(some)) > 1
    assert all(30 <= retries.wait_s(1, 30.0) <= 33 for _ in range(50))
    assert retries.wait_s(5, 0.0) >= 4


def test_retry_after_is_seconds_or_a_date() -> None:
    assert asked_s("7") == 7
    assert 8 < asked_s(format_datetime(datetime.now(UTC) + timedelta(seconds=10), usegmt=True)) <= 10
    assert asked_s(format_datetime(datetime.now(UTC) - timedelta(hours=1))) == 0
    assert asked_s("soon") is None
    assert asked_s(None) is None
    assert asked_s("999999999") == 3600


@pytest.mark.parametrize(
    ("status", "document", "temporary", "content"),
    [
        (400, {"code": "malformed_json"}, False, True),
        (422, {"code": "all_refused"}, False, True),
        (404, {"code": "unknown_dataset"}, False, True),
        (404, {"code": "not_found"}, False, False),
        (404, None, False, False),
        (413, None, False, False),
        (401, {"code": "wrong_key"}, False, False),
        (408, {"code": "body_incomplete"}, True, False),
        (429, {"code": "busy"}, True, False),
        (502, None, True, False),
    ],
)
def test_only_the_platforms_own_word_on_the_content_puts_it_aside(
    status: int, document: dict[str, object] | None, temporary: bool, content: bool
) -> None:
    problem = Problem(status, document)
    assert (problem.is_temporary, problem.is_about_the_content) == (temporary, content)
