"""Indicator values over HTTP: filters, meanings, as of an earlier moment, pages, and whose they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from store.database import connect
from tests.integration.reading import as_, ask
from tests.isolation.world import FIRMS, WHEN, World, seed

pytestmark = pytest.mark.concurrent
A, B = "GD-AAA-01", "GD-BBB-01"
FIRST, THEN, LATER = (datetime(2026, 11, day, 12, tzinfo=UTC) for day in (21, 22, 23))


@pytest.fixture(scope="module")
def world(module_dsn: str) -> tuple[str, World]:
    with connect(module_dsn, application="test") as conn:
        made = seed(conn)
        for hour in range(40):
            _put(conn, made.pilots[A], WHEN + timedelta(hours=hour + 1), 0.5, FIRST, LATER)
            _put(conn, made.pilots[A], WHEN + timedelta(hours=hour + 1), 0.6, LATER, None)
    return module_dsn, made


def _put(
    conn: Any, pilot: int, start: datetime, value: float, computed: datetime, over: datetime | None
) -> None:
    conn.execute(
        "INSERT INTO indicator_value (code, formula_version, level, entity_id, period, period_start, value, numerator,"
        " denominator, n_inputs, completeness, provenance, provisional, computed_at, superseded_at)"
        " VALUES ('equip.oee', 1, 'cluster', %s, 'hour', %s, %s, 1, 2, 3, 0.75, 'observed', false, %s, %s)",
        (pilot, start, value, computed, over),
    )


def test_values_come_with_what_they_mean_and_what_they_speak_of(world: tuple[str, World]) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        params = {"code": "equip.oee", "period": "hour", "pilot": f"P-{A}", "limit": "1"}
        answer = await client.get("/api/v1/indicators", params=params, headers=as_(world[1], "key of A"))
        assert answer.status_code == 200, answer.text
        [value] = answer.json()["indicators"]
        assert value.pop("age_s") > 0
        assert value == {
            "code": "equip.oee", "name": {"zh": "设备综合效率 OEE", "en": value["name"]["en"]}, "unit": "1",
            "direction": "higher", "level": "cluster", "entity": {"unit": A, "pilot": f"P-{A}"}, "period": "hour",
            "period_start": "2026-11-22T00:00:00Z", "value": 0.6, "numerator": 1.0, "denominator": 2.0, "n_inputs": 3,
            "completeness": 0.75, "formula_version": 1, "provenance": "observed", "provisional": False, "reason": None,
            "computed_at": "2026-11-23T12:00:00Z", "superseded_at": None,
        }  # fmt: skip
        meanings = (await client.get("/api/v1/indicators/catalogue", headers=as_(world[1], "bank"))).json()
        [oee] = [one for one in meanings["indicators"] if one["code"] == "equip.oee"]
        assert "cluster" in oee["periods"]
        assert "no_calendar" in meanings["reasons"]

    ask(world[0], test)


def test_pages_are_complete_and_stay_so_while_values_are_added(world: tuple[str, World]) -> None:
    dsn, made = world

    async def test(client: httpx.AsyncClient) -> None:
        params = {"period": "hour", "level": "cluster", "limit": "7"}
        found, cursor, pages = [], None, 0
        while cursor is not None or pages == 0:
            given = params if cursor is None else {**params, "cursor": cursor}
            page = (
                await client.get("/api/v1/indicators", params=given, headers=as_(made, "province"))
            ).json()
            found += [(one["period_start"], one["entity"]["pilot"]) for one in page["indicators"]]
            cursor, pages = page["next"], pages + 1
            with connect(dsn, application="test") as conn:  # newer ones, which no page behind them repeats
                _put(conn, made.pilots[B], WHEN + timedelta(days=9, hours=pages), 1, LATER, None)
        assert pages == 7
        assert len(found) == len(set(found)) == 42
        assert [start for start, _ in found] == sorted((start for start, _ in found), reverse=True)
        with connect(dsn, application="test") as conn:
            conn.execute("DELETE FROM indicator_value WHERE period_start > %s", (WHEN + timedelta(days=8),))

    ask(dsn, test)


def test_as_of_tells_what_was_known_then(world: tuple[str, World]) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        params = {"period": "hour", "pilot": f"P-{A}", "from": "2026-11-20T09:00:00Z"}
        for as_of, expected in (
            (FIRST - timedelta(microseconds=1), set()), (FIRST, {0.5}), (THEN, {0.5}),
            (LATER - timedelta(microseconds=1), {0.5}), (LATER, {0.6}),
        ):  # fmt: skip
            given = {**params, "as_of": as_of.isoformat()}
            answer = await client.get("/api/v1/indicators", params=given, headers=as_(world[1], "key of A"))
            values = [one["value"] for one in answer.json()["indicators"]]
            assert (set(values), len(values)) == (expected, 40 if expected else 0), as_of
        now = await client.get("/api/v1/indicators", params=params, headers=as_(world[1], "key of A"))
        assert {one["value"] for one in now.json()["indicators"]} == {0.6}

    ask(world[0], test)


def test_whose_values_may_be_read(world: tuple[str, World]) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        at = {"period": "hour", "to": "2026-11-20T08:00:01Z"}
        for who, expected in (
            ("key of A", {(A, level) for level in ("cluster", "enterprise", "equipment", "source")}),
            ("enterprise of A", {(A, "enterprise"), (A, "equipment")}),
            ("bank", {(B, "enterprise")}),
            ("county 440305", {(B, "enterprise"), (B, "equipment")}),
            ("province", {(u, level) for u in (A, B) for level in ("cluster", "enterprise", "equipment", "source")}
             | {(None, "province")}),
        ):  # fmt: skip
            answer = await client.get("/api/v1/indicators", params=at, headers=as_(world[1], who))
            found = {(one["entity"].get("unit"), one["level"]) for one in answer.json()["indicators"]}
            assert found == expected, who
        for named, status, levels in (
            ({"unit": B}, 404, None), ({"pilot": f"P-{B}"}, 404, None), ({"enterprise": FIRMS[B]}, 404, None),
            ({"unit": B, "equipment": "M1"}, 404, None), ({"equipment": "M9"}, 404, None),
            ({"equipment": "M1"}, 200, {"equipment"}), ({"enterprise": FIRMS[A]}, 200, {"enterprise", "equipment"}),
            ({"unit": A, "level": "source"}, 200, {"source"}),
        ):  # fmt: skip
            answer = await client.get(
                "/api/v1/indicators", params={**at, **named}, headers=as_(world[1], "key of A")
            )
            assert answer.status_code == status, (named, answer.text)
            if levels is not None:
                assert {one["level"] for one in answer.json()["indicators"]} == levels, named

    ask(world[0], test)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"code": "equip.none"}, "equip.none"),
        ({"level": "planet"}, "planet"),
        ({"period": "year"}, "month"),
        ({"as_of": "2026-11-21"}, "as_of"),
        ({"cursor": "rubbish"}, "begin anew"),
        ({"cursor": "W10"}, "begin anew"),
        ({"limit": "0"}, "limit"),
        ({"unit": "\0"}, "U+0000"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    world: tuple[str, World], parameters: dict[str, str], said: str
) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        answer = await client.get("/api/v1/indicators", params=parameters, headers=as_(world[1], "key of A"))
        assert answer.status_code == 422, answer.text
        assert said in answer.json()["detail"]

    ask(world[0], test)


def test_a_cursor_goes_on_with_its_own_question_only(world: tuple[str, World]) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        params = {"period": "hour", "limit": "2"}
        first = (
            await client.get("/api/v1/indicators", params=params, headers=as_(world[1], "key of A"))
        ).json()
        other = {**params, "level": "source", "cursor": first["next"]}
        answer = await client.get("/api/v1/indicators", params=other, headers=as_(world[1], "key of A"))
        assert answer.status_code == 422
        assert answer.json()["parameters"]["field"] == "cursor"

    ask(world[0], test)
