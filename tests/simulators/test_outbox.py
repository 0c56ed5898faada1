from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path

import msgspec

from simulators.history import encode_chunk, plan_chunks
from simulators.outbox import NewMessage, Outbox
from simulators.platform_pull import Feed
from simulators.shifts import DAY_MS
from tests.simulators.province import machines_of, small_province


def new(body: bytes, rows: int, not_before: float = 0.0) -> NewMessage:
    return NewMessage("mqtt:U", "gw-1", "t", body, rows, not_before)


def account(outbox: Outbox, source: str = "mqtt:U") -> tuple[int, int, int, int]:
    one = outbox.ledger()[source]
    return one.sent, one.in_flight, one.buffered, one.resent


def test_rows_move_from_buffered_to_in_flight_to_sent(tmp_path: Path):
    outbox = Outbox(tmp_path / "o.sqlite")
    outbox.journal([new(b"a", 3), new(b"b", 4)])
    assert account(outbox) == (0, 0, 7, 0)
    first, second = outbox.due("gw-1", 10)
    outbox.attempt([first])
    assert account(outbox) == (0, 3, 4, 0)
    outbox.acknowledge([first])
    outbox.acknowledge([first])
    assert account(outbox) == (3, 0, 4, 0)
    outbox.attempt([second])
    outbox.untried([second])
    assert account(outbox) == (3, 0, 4, 0)


def test_a_message_is_not_due_before_its_time(tmp_path: Path):
    outbox = Outbox(tmp_path / "o.sqlite")
    outbox.journal([new(b"late", 1, 4e9), new(b"now", 1)])
    assert [message.body for message in outbox.due("gw-1", 10)] == [b"now"]


def test_nothing_is_lost_or_counted_twice_by_kill_9(tmp_path: Path):
    path = tmp_path / "o.sqlite"
    program = """
        import sys, time
        from pathlib import Path
        from simulators.outbox import NewMessage, Outbox
        outbox = Outbox(Path(sys.argv[1]))
        outbox.journal([NewMessage("mqtt:U", "gw-1", "t", b"x", 1) for _ in range(100)])
        sent = outbox.due("gw-1", 60)
        outbox.attempt(sent)
        outbox.acknowledge(sent[:40])
        outbox.set_cursor("gw-1", 77)
        print("ready", flush=True)
        time.sleep(60)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(path)], stdout=subprocess.PIPE, cwd=Path.cwd()
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        os.kill(child.pid, signal.SIGKILL)
    outbox = Outbox(path)
    assert account(outbox) == (40, 20, 40, 0)
    assert outbox.cursor("gw-1") == 77
    again = outbox.due("gw-1", 100)
    assert len(again) == 60
    outbox.attempt(again)
    assert account(outbox) == (40, 60, 0, 20)
    outbox.acknowledge(again)
    assert account(outbox) == (100, 0, 0, 20)


def test_history_chunks_cover_the_window_and_can_be_generated_again():
    machines = machines_of(small_province())[:10]
    start = machines[0]._origin.day * DAY_MS
    chunks = plan_chunks("U", "", machines, (start, start + 5 * DAY_MS + 7_000))
    assert chunks[0][2] == start
    assert chunks[-1][3] == start + 5 * DAY_MS + 7_000
    assert all(one[3] == two[2] for one, two in pairwise(chunks))
    body, rows = encode_chunk(machines, chunks[1][2], chunks[1][3])
    again, _ = encode_chunk(machines_of(small_province())[:10], chunks[1][2], chunks[1][3])
    assert body == again
    columns = msgspec.json.decode(body)["columns"]
    assert len(columns["tag"]) == len(columns["ts"]) == len(columns["value"]) == rows
    assert abs(rows - chunks[1][4]) < rows * 0.15


def test_a_chunk_is_counted_once(tmp_path: Path):
    outbox = Outbox(tmp_path / "o.sqlite")
    outbox.add_chunks([("U", "", 0, 10, 100)])
    (chunk,) = outbox.chunks()
    outbox.attempt_chunk(chunk, "http_push:U", 110)
    outbox.attempt_chunk(chunk, "http_push:U", 110)
    outbox.finish_chunk(chunk, "http_push:U", 110)
    outbox.finish_chunk(chunk, "http_push:U", 110)
    assert account(outbox, "http_push:U") == (110, 0, 0, 110)
    assert outbox.chunks()[0].done


def test_feed_confirms_what_the_cursor_has_passed(tmp_path: Path):
    outbox = Outbox(tmp_path / "o.sqlite")
    feed = Feed(outbox, "http_pull:P")
    body = msgspec.json.encode([{"n": n} for n in range(5)])
    outbox.journal([NewMessage("http_pull:P", "http_pull:P", "", body, 5)])
    assert feed.take_over("http_pull:P") == 5
    assert account(outbox, "http_pull:P") == (0, 0, 5, 0)
    records, end, more = feed.page(0, 3)
    assert ([msgspec.json.decode(raw)["n"] for raw in records], end, more) == ([0, 1, 2], 3, True)
    assert account(outbox, "http_pull:P") == (0, 3, 2, 0)
    assert feed.page(0, 3)[1] == 3
    assert account(outbox, "http_pull:P") == (0, 3, 2, 3)
    assert feed.page(3, 3)[1:] == (5, False)
    assert account(outbox, "http_pull:P") == (3, 2, 0, 3)
    assert feed.page(5, 3) == ([], 5, False)
    assert account(outbox, "http_pull:P") == (5, 0, 0, 3)
