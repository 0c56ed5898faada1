from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from store import quarantine
from store.database import Connection
from store.quarantine import BRIEF_BYTES, ORIGINAL_MOST_BYTES, Filter, Held, Refused

NOW = 1_795_000_000_000_000


def refused(i: int = 0, **other: object) -> Refused:
    one = Refused(
        7,
        3,
        None,
        "b1.x",
        f"records[{i}].ts",
        "unknown_tag",
        {"tag": "A.x"},
        "A.x",
        NOW + i,
        b'{"tag":"A.x"}',
        NOW,
    )
    return replace(one, **other)


def kept(conn: Connection, *rows: Refused, **limits: int) -> list[Held]:
    quarantine.keep(conn, list(rows), **limits)
    return quarantine.page(conn, Filter(), limit=1000, newest_first=False).entries


def bytes_of(conn: Connection) -> int:
    row = conn.execute("SELECT original_bytes FROM quarantine_kept WHERE unit_id = 7").fetchone()
    return row[0] if row else 0


def test_what_is_kept_comes_back(conn: Connection) -> None:
    odd = refused(1, place="a\0b\ud800", tag=None, ts=2**62, parameters={"got": "x\0y\ud800", "群": "策"})
    first, second = kept(conn, refused(), odd)
    assert (first.unit_id, first.batch, first.place, first.reason) == (
        7,
        "b1.x",
        "records[0].ts",
        "unknown_tag",
    )
    assert (first.parameters, first.tag, first.original) == ({"tag": "A.x"}, "A.x", b'{"tag":"A.x"}')
    assert int(first.ts.timestamp() * 1e6) == int(first.received_at.timestamp() * 1e6) == NOW
    assert (second.place, second.tag, second.ts) == ("a\ufffdb?", None, None)
    assert second.parameters == {"got": "x\ufffdy?", "群": "策"}
    assert bytes_of(conn) == 26


def test_a_long_original_is_cut_and_says_so(conn: Connection) -> None:
    long = b"x" * (ORIGINAL_MOST_BYTES + 1)
    whole = quarantine.ARROW_STREAM + long
    cut, told, arrow = kept(
        conn, refused(original=long), refused(original=long, parameters={"original_bytes": "9999999"}),
        refused(original=whole),
    )  # fmt: skip
    assert cut.original == long[:ORIGINAL_MOST_BYTES]
    assert cut.parameters["original_bytes"] == str(len(long))
    assert cut.parameters["original_sha256"] == hashlib.sha256(long).hexdigest()
    assert told.parameters == {"original_bytes": "9999999"}
    assert told.is_cut
    assert arrow.original == whole
    assert not arrow.is_cut


def test_a_unit_that_has_used_up_its_bytes_keeps_beginnings(conn: Connection) -> None:
    big = [refused(i, original=bytes([i]) * 10_000) for i in range(5)]
    rows = kept(conn, *big, refused(5), unit_most_bytes=25_000)
    assert [len(row.original) for row in rows] == [10_000, 10_000, BRIEF_BYTES, BRIEF_BYTES, BRIEF_BYTES, 13]
    assert rows[2].parameters["original_sha256"] == hashlib.sha256(bytes([2]) * 10_000).hexdigest()
    assert bytes_of(conn) == sum(len(row.original) for row in rows)
    other = kept(conn, refused(original=b"y" * 5000, unit_id=8), unit_most_bytes=25_000)[-1]
    assert len(other.original) == 5000

    quarantine.mark_replayed(conn, {row.quarantine_id: "again" for row in rows})
    assert bytes_of(conn) == 0
    assert len(kept(conn, refused(original=b"y" * 5000), unit_most_bytes=25_000)[-1].original) == 5000


def test_pages_are_bounded_in_entries_and_in_bytes(conn: Connection) -> None:
    kept(conn, *(refused(i, original=b"x" * 1000) for i in range(10)))
    seen: list[str] = []
    after, more, pages = None, True, 0
    while more:
        entries, more = quarantine.page(conn, Filter(), limit=4, after=after, most_bytes=2500)
        assert 0 < len(entries) <= 2
        seen += [entry.place for entry in entries]
        after, pages = entries[-1].quarantine_id, pages + 1
    assert seen == [f"records[{i}].ts" for i in reversed(range(10))]
    assert pages == 5
    assert quarantine.page(conn, Filter(), limit=10).more is False
    assert quarantine.count(conn, Filter(), 7) == 7


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(unit_id=7), 3), (Filter(unit_id=9), 0), (Filter(reason="not_finite"), 1), (Filter(tag="A.x"), 3),
        (Filter(batch="b1"), 2), (Filter(batch="b1.x"), 2), (Filter(batch="b"), 0), (Filter(unit="GD-NEW"), 1),
        (Filter(is_open=True), 3), (Filter(is_open=False), 1), (Filter(), 4), (Filter(source="no"), 0),
    ],
)  # fmt: skip
def test_filters(conn: Connection, wanted: Filter, found: int) -> None:
    rows = kept(
        conn, refused(0), refused(1, reason="not_finite"), refused(2, batch="b10"),
        refused(3, unit_id=0, batch="c", tag=None, reason="unknown_unit", parameters={"unit": "GD-NEW"}),
    )  # fmt: skip
    quarantine.mark_replayed(conn, {rows[2].quarantine_id: "again"})
    assert len(quarantine.page(conn, wanted, limit=10).entries) == quarantine.count(conn, wanted, 10) == found


def test_open_entries_are_locked_once(conn: Connection) -> None:
    rows = kept(conn, refused(0), refused(1, original=b""), refused(2, batch="other", original=b""))
    ids = [row.quarantine_id for row in rows]
    assert quarantine.lock_open(conn, ids) == set(ids)
    assert quarantine.lock_rest(conn, rows[0], 2) == [ids[1]]
    quarantine.mark_replayed(conn, dict.fromkeys(ids[:2], "again"))
    assert quarantine.lock_open(conn, ids) == {ids[2]}
    assert quarantine.one(conn, ids[0]).replay_batch == "again"
    assert quarantine.one(conn, ids[0], unit_id=8) is None
