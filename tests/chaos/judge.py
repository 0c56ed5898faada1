"""Holds what was acknowledged against what is stored, row by row, and the books against the tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from store.database import Connection, connect
from store.times import moment
from tests.chaos.ground import Ground
from tests.chaos.readings import (
    UNITS,
    Ints,
    Sent,
    first_tag,
    is_text,
    keys_of,
    name_of,
    split_keys,
    text_of,
    unit_of,
    values_of,
)

_ROW = np.dtype([
    ("fields", ">i2"), ("n1", ">i4"), ("tag", ">i4"), ("n2", ">i4"), ("ts", ">i8"), ("n3", ">i4"), ("value", ">f8"),
])  # fmt: skip
_HEADER_BYTES, _TRAILER_BYTES = 19, 2


@dataclass
class Verdict:
    """One comparison. Rows; everything but the first three must be 0 or empty.

    acknowledged: distinct readings whose acknowledgement reached the sender. unknown_stored: stored although
    the acknowledgement got lost. lost: acknowledged and not stored. wrong_values: stored with another value.
    unsent: stored but never sent. doubled: booked as stored but not in the tables, stored under one key
    twice, or taken for corrections although nobody sent another value.
    """

    acknowledged: int
    stored: int
    unknown_stored: int
    lost: int
    wrong_values: int
    unsent: int
    doubled: int = 0
    stale_latest: int = 0
    disagreements: list[str] = field(default_factory=list)
    lost_examples: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Nothing is lost, doubled, wrong or unexplained."""
        return not (
            self.lost
            or self.wrong_values
            or self.unsent
            or self.doubled
            or self.stale_latest
            or self.disagreements
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def tag_numbers(conn: Connection) -> Ints:
    """Index: tag_id; value: our number of the tag, -1 where it is not ours."""
    rows = conn.execute(
        "SELECT t.tag_id, u.code, t.signal FROM tag t JOIN lead_unit u USING (unit_id)"
    ).fetchall()
    numbers = np.full(max(row[0] for row in rows) + 1, -1, np.int64)
    for tag_id, unit, signal in rows:
        if unit in UNITS:
            numbers[tag_id] = first_tag(unit) + int(signal[1:])
    return numbers


def read_stored(conn: Connection, numbers: Ints, windows: list[tuple[int, int]]) -> tuple[Ints, int, int]:
    """(keys found in the windows, sorted; how many have a wrong value; how many keys are there twice)."""
    parts: list[Ints] = []
    wrong = 0
    for begin, end in windows:
        bounds = (moment(begin), moment(end))
        with conn.cursor() as cursor:
            statement = (
                "COPY (SELECT tag_id, (extract(epoch FROM ts) * 1000000)::bigint, value FROM measurement"
                " WHERE ts >= %s AND ts < %s) TO STDOUT (FORMAT binary)"
            )
            with cursor.copy(statement, bounds) as copy:
                data = b"".join(bytes(block) for block in copy)
        rows = np.frombuffer(data[_HEADER_BYTES:-_TRAILER_BYTES], _ROW)
        tag, ts = numbers[rows["tag"].astype(np.int64)], rows["ts"].astype(np.int64)
        wrong += int((values_of(tag, ts) != rows["value"]).sum())
        texts = conn.execute(
            "SELECT tag_id, (extract(epoch FROM ts) * 1000000)::bigint, text FROM event"
            " WHERE ts >= %s AND ts < %s",
            bounds,
        ).fetchall()
        text_tag = numbers[np.array([row[0] for row in texts], np.int64)]
        text_ts = np.array([row[1] for row in texts], np.int64)
        wrong += sum(
            text_of(t, at) != row[2]
            for t, at, row in zip(text_tag.tolist(), text_ts.tolist(), texts, strict=True)
        )
        wrong += int(is_text(tag).sum()) + int((~is_text(text_tag)).sum())
        parts += [keys_of(tag, ts), keys_of(text_tag, text_ts)]
    keys = np.concatenate(parts)
    distinct = np.unique(keys)
    return distinct, wrong, len(keys) - len(distinct)


def compare(ground: Ground, sent_so_far: Callable[[], Sent], windows: list[tuple[int, int]]) -> Verdict:
    """Row by row, within the windows [begin, end) in µs. Raises psycopg.Error when the database is away.

    What was sent is looked up after what is stored: every row is recorded before it is handed over.
    """
    with connect(ground.postgres.dsn, application="judge") as conn:
        stored, wrong, twice = read_stored(conn, tag_numbers(conn), windows)
    sent = sent_so_far()
    missing = np.setdiff1d(sent.acknowledged, stored, assume_unique=True)
    tags, times = split_keys(missing[:5])
    return Verdict(
        acknowledged=len(sent.acknowledged),
        stored=len(stored),
        unknown_stored=len(np.setdiff1d(stored, sent.acknowledged, assume_unique=True)),
        lost=len(missing),
        wrong_values=wrong,
        unsent=len(np.setdiff1d(stored, sent.keys, assume_unique=True)),
        doubled=twice,
        lost_examples=[
            f"{unit_of(t)} {name_of(t)} {moment(at).isoformat()}"
            for t, at in zip(tags.tolist(), times.tolist(), strict=True)
        ],
    )


def audit(ground: Ground, verdict: Verdict, handed_over: dict[str, int]) -> dict[str, int]:
    """Hold the books against the tables, as a whole, and add what differs to the verdict; returns the books' sums.

    `handed_over`: the most rows that can have arrived, by protocol, where there is such a bound.
    """
    with connect(ground.postgres.dsn, application="judge") as conn:
        books = conn.execute(
            "SELECT u.code, s.key, l.received, l.stored, l.duplicates, l.corrections, l.quarantined"
            " FROM ingest_ledger l JOIN source s USING (source_id) JOIN lead_unit u USING (unit_id)"
        ).fetchall()
        tables = dict(
            conn.execute(
                "SELECT u.code, sum(n)::bigint FROM tag JOIN lead_unit u USING (unit_id) JOIN ("
                " SELECT tag_id, count(*) AS n FROM measurement GROUP BY tag_id"
                " UNION ALL SELECT tag_id, count(*) FROM event GROUP BY tag_id) m USING (tag_id) GROUP BY 1"
            ).fetchall()
        )
        revisions = conn.execute("SELECT count(*) FROM measurement_revision").fetchall()[0][0]
        held = conn.execute("SELECT count(*) FROM quarantine").fetchall()[0][0]
        verdict.stale_latest = conn.execute(
            "SELECT count(*) FROM (SELECT tag_id, max(ts) AS ts FROM measurement GROUP BY tag_id) m"
            " LEFT JOIN latest_value l USING (tag_id) WHERE l.ts IS DISTINCT FROM m.ts"
        ).fetchall()[0][0]
    names = ("received", "stored", "duplicates", "corrections", "quarantined")
    sums = {name: sum(book[2 + i] for book in books) for i, name in enumerate(names)}
    for unit in UNITS:
        booked = sum(book[3] for book in books if book[0] == unit)
        counted = tables.get(unit, 0)
        if booked != counted:
            verdict.disagreements.append(f"{unit}: {booked} booked as stored, {counted} in the tables")
            verdict.doubled += max(0, booked - counted)
    for unit, key, received, *parts in books:
        if received != sum(parts):
            verdict.disagreements.append(f"{unit} {key}: received {received}, accounted for {sum(parts)}")
    for protocol, most in handed_over.items():
        received = sum(book[2] for book in books if book[1].startswith(protocol))
        if received > most:
            verdict.disagreements.append(f"{protocol}: {received} rows received, only {most} handed over")
            verdict.doubled += received - most
    verdict.doubled += sums["corrections"] + revisions
    if sums["quarantined"] or held:
        verdict.disagreements.append(
            f"{sums['quarantined']} rows booked as quarantined, {held} in quarantine"
        )
    return sums


def ask_qunce(ground: Ground) -> list[str]:
    """What `qunce verify` and `qunce status` find wrong."""
    wrong = []
    verified = ground.command("verify", "--json")
    if verified.returncode != 0:
        wrong.append(
            f"qunce verify ended with {verified.returncode}: {_short(verified.stdout, verified.stderr)}"
        )
    status = ground.command("status", "--json")
    if status.returncode != 0:
        wrong.append(f"qunce status ended with {status.returncode}: {_short(status.stdout, status.stderr)}")
    return wrong


def _short(stdout: str, stderr: str) -> str:
    try:
        found = json.loads(stdout)
    except ValueError:
        return (stdout + stderr)[-600:]
    bad = [s for s in found.get("sources", []) if not s.get("balanced", True)]
    bad += [c for c in found.get("components", []) if c.get("status") != "ok" or c.get("stale")]
    return json.dumps([found.get("disagreements"), bad], default=str)[:1500]
