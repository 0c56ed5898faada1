"""Applying what units report: typed tables for the present, dataset_revision for every state there was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, LiteralString, NamedTuple

from psycopg.types.json import Jsonb

from store import periods, shapes
from store.database import Connection
from store.reopen import Change, reopen
from store.shapes import shape_of
from store.submissions import Submission
from store.times import local, moment

ACCEPTED, DUPLICATE, CORRECTION, QUARANTINED = range(4)
"""What became of a record, as in submission.verdicts."""

# Tags are spread over two tables; %(records)s is a JSON array of validated records, %(unit)s the owner.
_UPSERT_TAG: LiteralString = """
    WITH input AS (
        SELECT r.*, q.equipment_id
        FROM jsonb_to_recordset(%(records)s) AS r (name text, equipment_code text, signal text,
            data_type text, unit text, interval_s float8, valid_from timestamptz,
            range_min float8, range_max float8, frozen_after_s float8, rate_max_per_s float8)
        JOIN equipment q ON q.unit_id = %(unit)s AND q.code = r.equipment_code
    ), kept AS (
        INSERT INTO tag (unit_id, equipment_id, name, signal, data_type, unit, range_min, range_max,
            frozen_after_s, rate_max_per_s)
        SELECT DISTINCT ON (name) %(unit)s, equipment_id, name, signal, data_type, unit,
            range_min, range_max, frozen_after_s, rate_max_per_s
        FROM input ORDER BY name, valid_from DESC
        ON CONFLICT (unit_id, name) DO UPDATE SET equipment_id = excluded.equipment_id,
            unit = excluded.unit, range_min = excluded.range_min, range_max = excluded.range_max,
            frozen_after_s = excluded.frozen_after_s, rate_max_per_s = excluded.rate_max_per_s
        RETURNING tag_id, name
    )
    INSERT INTO reporting_schedule (tag_id, valid_from, interval_s)
    SELECT tag_id, valid_from, interval_s FROM input JOIN kept USING (name)
    ON CONFLICT (tag_id, valid_from) DO UPDATE SET interval_s = excluded.interval_s"""

_OF_THE_TAG: tuple[LiteralString, ...] = (
    "unit", "range_min", "range_max", "frozen_after_s", "rate_max_per_s",
)  # fmt: skip
"""What a record of a tag says of the tag itself, beside the interval that holds from `valid_from`."""
_LONG_AGO = datetime.min.replace(tzinfo=UTC)

_KNOWN: Mapping[str, LiteralString] = MappingProxyType(
    {
        "region_code": "SELECT code FROM region WHERE code = ANY(%(codes)s)",
        "park_code": "SELECT code FROM park WHERE unit_id = %(unit)s AND code = ANY(%(codes)s)",
        "enterprise_uscc": "SELECT uscc FROM enterprise WHERE unit_id = %(unit)s AND uscc = ANY(%(codes)s)",
        "equipment_code": "SELECT code FROM equipment WHERE unit_id = %(unit)s AND code = ANY(%(codes)s)",
        "app_code": "SELECT code FROM app WHERE unit_id = %(unit)s AND code = ANY(%(codes)s)",
        "indicator": "SELECT code FROM indicator_code WHERE code = ANY(%(codes)s)",
    }
)
"""Field → which of the codes it names there are."""
_KNOWN_IN: Mapping[str, tuple[str, LiteralString]] = MappingProxyType(
    {
        "reported_indicator": ("code", _KNOWN["indicator"]),
        "task_curve_point": (
            "indicator",
            "SELECT indicator FROM task_target WHERE unit_id = %(unit)s AND indicator = ANY(%(codes)s)",
        ),
        "loan_balance": (
            "loan_no", "SELECT loan_no FROM loan WHERE unit_id = %(unit)s AND loan_no = ANY(%(codes)s)",
        ),
    }
)  # fmt: skip
"""The same, where a field means something else in one dataset than in others."""
_UNAUTHORISED: LiteralString = """
    SELECT r._row FROM jsonb_to_recordset(%(records)s)
        AS r (_row int, enterprise_uscc text, bank_uscc text, disbursed_on date)
    WHERE NOT EXISTS (
        SELECT FROM credit_authorisation a JOIN enterprise e USING (unit_id, enterprise_id)
        WHERE a.unit_id = %(unit)s AND e.uscc = r.enterprise_uscc AND a.bank_uscc = r.bank_uscc
            AND a.valid_from <= r.disbursed_on AND r.disbursed_on < a.valid_to)"""


class Problem(NamedTuple):
    """A record that cannot be applied: its row, the field, a code of store.reasons, its parameters."""

    row: int
    field: str
    reason: str
    parameters: dict[str, str]


class Rules(NamedTuple):
    """How records of a dataset may change.

    `settled_at`: when what a record speaks of is over (aware), a closed period that reaches so far refuses it;
    None = it is not, or not of a time. `dated`: the field that says so. `window`: how long after the first report
    corrections are taken, with a reason; None = always, without. `key`: the first field of the natural key.
    """

    key: str
    dated: str | None
    settled_at: Callable[[Mapping[str, Any]], datetime | None]
    window: timedelta | None
    withdrawable: bool


class Report(NamedTuple):
    """What a submission says of all its records. `received_at` µs since the Unix epoch, UTC."""

    batch: str
    received_at: int
    reason: str | None = None
    voucher: str | None = None
    by: str | None = None


class Judged(NamedTuple):
    """What is to become of records: a verdict each, the problems of those refused, and their new revisions.

    A revision: natural key, number, the state before (None: never reported, or withdrawn), the record.
    """

    verdicts: list[int]
    problems: list[Problem]
    revisions: list[tuple[str, int, dict[str, Any] | None, dict[str, Any]]]


class _State(NamedTuple):
    revision: int
    record: dict[str, Any]
    first_at: datetime


def problems(
    conn: Connection, unit_id: int, dataset: str, records: Sequence[dict[str, Any]]
) -> list[Problem]:
    """Records that refer to what is not registered, to a bank that may not lend, or would change a tag's type."""
    found: dict[int, Problem] = {}
    stated = [(i, record) for i, record in enumerate(records) if not _is_withdrawal(record)]
    own = _KNOWN_IN.get(dataset)
    for field, query in [*_KNOWN.items(), *([own] if own else [])]:
        named = {record[field] for _, record in stated if record.get(field) is not None}
        if not named:
            continue
        known = {c for (c,) in conn.execute(query, {"unit": unit_id, "codes": list(named)})}
        for i, record in stated:
            code = record.get(field)
            if code is not None and code not in known:
                found.setdefault(i, Problem(i, field, "unknown_reference", {"field": field, "got": code}))
    if dataset == "tag":
        _changed_types(conn, unit_id, stated, found)
        _changed_by_schedule(conn, unit_id, [one for one in stated if one[0] not in found], found)
    elif dataset == "loan":
        rows = conn.execute(_UNAUTHORISED, {"unit": unit_id, "records": _numbered(stated)})
        for (i,) in rows.fetchall():
            parameters = {
                name: str(records[i][name]) for name in ("enterprise_uscc", "bank_uscc", "disbursed_on")
            }
            found.setdefault(i, Problem(i, "bank_uscc", "not_authorised", parameters))
    return sorted(found.values())


def _changed_types(
    conn: Connection, unit_id: int, stated: Sequence[tuple[int, dict[str, Any]]], found: dict[int, Problem]
) -> None:
    types: dict[str, str] = dict(
        conn.execute(
            "SELECT name, data_type FROM tag WHERE unit_id = %s AND name = ANY(%s)",
            (unit_id, [record["name"] for _, record in stated]),
        ).fetchall()
    )
    for i, record in stated:
        before = types.setdefault(record["name"], record["data_type"])
        if before != record["data_type"]:
            parameters = {"tag": record["name"], "before": before, "got": record["data_type"]}
            found.setdefault(i, Problem(i, "data_type", "type_change", parameters))


def _changed_by_schedule(
    conn: Connection, unit_id: int, stated: Sequence[tuple[int, dict[str, Any]]], found: dict[int, Problem]
) -> None:
    """Records of an interval that say something else of the tag than is registered.

    A tag has one unit and one range, whatever its intervals: they change by a report of the latest `valid_from`
    there is, and of a new tag the latest reported says them.
    """
    rows = conn.execute(
        f"SELECT t.name, max(s.valid_from), {', '.join(f't.{field}' for field in _OF_THE_TAG)}"  # noqa: S608
        " FROM tag t JOIN reporting_schedule s USING (tag_id)"
        " WHERE t.unit_id = %s AND t.name = ANY(%s) GROUP BY t.tag_id",
        (unit_id, [record["name"] for _, record in stated]),
    ).fetchall()
    latest: dict[str, datetime] = {name: at for name, at, *_ in rows}
    holds: dict[str, tuple[Any, ...]] = {name: tuple(values) for name, _, *values in rows}
    registered = frozenset(latest)
    moments = {i: datetime.fromisoformat(record["valid_from"]) for i, record in stated}
    for i, record in stated:
        name, at = record["name"], moments[i]
        if at == latest.get(name) or (name not in registered and at > latest.get(name, _LONG_AGO)):
            latest[name], holds[name] = at, _of_the_tag(record)
    for i, record in stated:
        name, said = record["name"], _of_the_tag(record)
        if moments[i] == latest[name] or said == holds[name]:
            continue
        field, before, got = next(
            one for one in zip(_OF_THE_TAG, holds[name], said, strict=True) if one[1] != one[2]
        )
        parameters = {
            "field": field, "before": _plain(before), "got": _plain(got),
            "valid_from": local(moments[i]), "latest": local(latest[name]),
        }  # fmt: skip
        found[i] = Problem(i, field, "differs_from_tag", parameters)


def _plain(value: Any) -> str:
    return "null" if value is None else str(value)


def _of_the_tag(record: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(record.get(field) for field in _OF_THE_TAG)


def judge(
    conn: Connection,
    unit_id: int,
    dataset: str,
    records: Sequence[dict[str, Any]],
    keys: Sequence[str],
    rules: Rules,
    report: Report,
) -> Judged:
    """What is to become of these records; stores nothing.

    The same key with the same content is a duplicate; with other content it is a correction. Within one
    call a later record is judged by the state that the earlier ones will leave.
    """
    wrong = {problem.row: problem for problem in problems(conn, unit_id, dataset, records)}
    wrong |= _referred_to(conn, unit_id, dataset, records)
    states = _states(conn, unit_id, dataset, keys)
    closed_us = periods.closed_until(conn, unit_id) if rules.dated else None
    closed_until = None if closed_us is None else moment(closed_us)
    at = moment(report.received_at)
    judged = Judged([], [], [])
    for row, (key, record) in enumerate(zip(keys, records, strict=True)):
        state = states.get(key)
        if state is not None and _stated(state.record) == _stated(record):
            judged.verdicts.append(DUPLICATE)
            continue
        problem = (
            (_withdrawing(row, state, rules, key) if _is_withdrawal(record) else None)
            or wrong.get(row)
            or _in_closed_period(row, (state.record if state else None, record), rules, closed_until)
            or (_correcting(row, state, rules, report, at, key) if state else None)
        )
        if problem is not None:
            judged.verdicts.append(QUARANTINED)
            judged.problems.append(problem)
            continue
        before = None if state is None or _is_withdrawal(state.record) else state.record
        revision = state.revision + 1 if state else 1
        states[key] = _State(revision, record, state.first_at if state else at)
        judged.verdicts.append(CORRECTION if state else ACCEPTED)
        judged.revisions.append((key, revision, before, record))
    return judged


def apply(
    conn: Connection,
    unit_id: int,
    dataset: str,
    records: Sequence[dict[str, Any]],
    keys: Sequence[str],
    rules: Rules,
    report: Report,
) -> Judged:
    """Judge records and store those that can be, each state as a revision; the last of a key is the present."""
    judged = judge(conn, unit_id, dataset, records, keys, rules, report)
    if not judged.revisions:
        return judged
    with (
        conn.cursor() as cursor,
        cursor.copy(
            "COPY dataset_revision (unit_id, dataset, natural_key, revision, record, batch, received_at, reason,"
            " voucher, reported_by) FROM STDIN"
        ) as copy,
    ):
        for key, revision, _, record in judged.revisions:
            copy.write_row(
                (
                    unit_id, dataset, key, revision, Jsonb(record), report.batch, moment(report.received_at),
                    report.reason, report.voucher, report.by,
                )
            )  # fmt: skip
    present = {key: record for key, _, _, record in judged.revisions}
    gone = [record for record in present.values() if _is_withdrawal(record)]
    here = [record for record in present.values() if not _is_withdrawal(record)]
    if gone:
        conn.execute(
            shapes.delete(shape_of(conn, dataset)), {"unit": unit_id, "records": _numbered(enumerate(gone))}
        )
    if here:
        statement = _UPSERT_TAG if dataset == "tag" else shapes.upsert(shape_of(conn, dataset))
        conn.execute(statement, {"unit": unit_id, "records": Jsonb(here)})
    changes: list[Change] = [
        (before, None if _is_withdrawal(record) else record) for _, _, before, record in judged.revisions
    ]
    reopen(conn, unit_id, dataset, changes)
    return judged


def _states(conn: Connection, unit_id: int, dataset: str, keys: Sequence[str]) -> dict[str, _State]:
    rows = conn.execute(
        "SELECT DISTINCT ON (natural_key) natural_key, revision, record,"
        " min(received_at) OVER (PARTITION BY natural_key) FROM dataset_revision"
        " WHERE unit_id = %s AND dataset = %s AND natural_key = ANY(%s) ORDER BY natural_key, revision DESC",
        (unit_id, dataset, list(keys)),
    )
    return {key: _State(revision, record, first_at) for key, revision, record, first_at in rows}


def _is_withdrawal(record: Mapping[str, Any]) -> bool:
    return record.get("withdrawn") is True


def _withdrawing(row: int, state: _State | None, rules: Rules, key: str) -> Problem | None:
    if state is None:
        return Problem(row, rules.key, "nothing_to_withdraw", {"key": key})
    if not rules.withdrawable:
        return Problem(row, rules.key, "not_withdrawable", {"key": key})
    return None


def _referred_to(
    conn: Connection, unit_id: int, dataset: str, records: Sequence[dict[str, Any]]
) -> dict[int, Problem]:
    """Withdrawals of what other records still refer to."""
    leaving = [(i, record) for i, record in enumerate(records) if _is_withdrawal(record)]
    if not leaving or dataset == "tag" or not shape_of(conn, dataset).referrers:
        return {}
    rows = conn.execute(
        shapes.in_use(shape_of(conn, dataset)), {"unit": unit_id, "records": _numbered(leaving)}
    ).fetchall()
    return {i: Problem(i, "withdrawn", "still_referred_to", {"by": table}) for i, table in sorted(rows)}


def _in_closed_period(
    row: int, states: Iterable[Mapping[str, Any] | None], rules: Rules, closed_until: datetime | None
) -> Problem | None:
    """Neither what was reported nor what is to be may lie in a closed period."""
    if closed_until is None or rules.dated is None:
        return None
    for state in states:
        over = rules.settled_at(state) if state is not None else None
        if state is not None and over is not None and over <= closed_until:
            parameters = {"ts": str(state[rules.dated]), "closed_until": local(closed_until)}
            return Problem(row, rules.dated, "period_closed", parameters)
    return None


def _correcting(
    row: int, state: _State, rules: Rules, report: Report, at: datetime, key: str
) -> Problem | None:
    if rules.window is None:
        return None
    if at - state.first_at > rules.window:
        parameters = {"key": key, "first": local(state.first_at), "days": str(rules.window.days)}
        return Problem(row, rules.key, "correction_window_closed", parameters)
    if report.reason is None:
        return Problem(row, rules.key, "correction_needs_reason", {"key": key})
    return None


def _numbered(records: Iterable[tuple[int, Mapping[str, Any]]]) -> Jsonb:
    return Jsonb([{**record, "_row": i} for i, record in records])


def _stated(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says: a field that was not among the dataset's yet is as one left out."""
    return {field: value for field, value in record.items() if value is not None}


def last_reported(conn: Connection, unit_id: int, dataset: str, keys: Sequence[str]) -> dict[str, datetime]:
    """When records of these natural keys were last reported; those never reported are left out."""
    rows = conn.execute(
        "SELECT natural_key, max(received_at) FROM dataset_revision"
        " WHERE unit_id = %s AND dataset = %s AND natural_key = ANY(%s) GROUP BY natural_key",
        (unit_id, dataset, list(keys)),
    )
    return dict(rows.fetchall())


def keep_submission(conn: Connection, verdict: Submission) -> None:
    """Keep the verdict on a submission of records, so that the sender can be told (`store.submissions.find`)."""
    conn.execute(
        "INSERT INTO submission"
        " (batch, unit_id, dataset, received, accepted, duplicates, corrections, quarantined, errors,"
        " body_digest, verdicts) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (batch) DO NOTHING",
        (
            verdict.batch, verdict.unit_id, verdict.dataset, verdict.received, verdict.accepted, verdict.duplicates,
            verdict.corrections, verdict.quarantined, Jsonb(verdict.errors), verdict.body_digest, verdict.verdicts,
        ),
    )  # fmt: skip
