"""Records of datasets over HTTP: as they hold, as they held, every revision, and whose they are."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from psycopg.types.json import Jsonb

from ingest.datasets import DATASETS, check_records, example, natural_key
from store import records, shapes
from store.database import connect
from store.identity import acting
from store.records import Wanted
from store.roles import role_dsn
from tests.integration.reading import as_, ask
from tests.isolation.world import FIRMS, World, seed

pytestmark = pytest.mark.concurrent
A, B = "GD-AAA-01", "GD-BBB-01"
FIRST, THEN, LATER = (datetime(2026, 11, day, 12, tzinfo=UTC) for day in (21, 22, 23))


@pytest.fixture(scope="module")
def world(module_dsn: str) -> tuple[str, World]:
    with connect(module_dsn, application="test") as conn:
        made = seed(conn)
        conn.execute("DELETE FROM dataset_revision")
        for n in range(12):
            park = {"code": f"P-{n:02}", "name": f"园区 {n}", "region_code": "441900", "virtual": n % 2 == 0}
            conn.execute(
                "INSERT INTO park (unit_id, code, name, region_code, virtual) VALUES (%s, %s, %s, %s, %s)",
                (made.units[A], *park.values()),
            )
            for revision, at, record in (
                (1, FIRST, {**park, "name": "旧名"}),
                (2, LATER, park),
                *(
                    ((3, LATER + timedelta(hours=1), {"code": park["code"], "withdrawn": True}),)
                    if n == 11
                    else ()
                ),
            ):
                conn.execute(
                    "INSERT INTO dataset_revision (unit_id, dataset, natural_key, revision, record, batch, received_at, recorded_at)"
                    " VALUES (%s, 'park', %s, %s, %s, %s, %s, %s)",
                    (made.units[A], park["code"], revision, Jsonb(record), f"batch {revision}", at, at),
                )
        conn.execute("DELETE FROM park WHERE code = 'P-11'")
    return module_dsn, made


async def pages(
    client: httpx.AsyncClient, url: str, headers: dict[str, str], **params: str
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        given = {**params, **({"cursor": cursor} if cursor else {})}
        answer = await client.get(url, params=given, headers=headers)
        assert answer.status_code == 200, answer.text
        found += answer.json()["records"]
        cursor = answer.json()["next"]
    return found


def test_records_as_they_hold_and_as_they_held(world: tuple[str, World]) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        url, mine = "/api/v1/datasets/park/records", as_(world[1], "key of A")
        rows = await pages(client, url, mine, limit="5")
        assert [row["key"] for row in rows] == ["P-00", "P-01", *[f"P-{n:02}" for n in range(2, 11)], "P1"]
        assert rows[1] == {
            "unit": A, "key": "P-01", "revision": 2, "received_at": "2026-11-23T12:00:00Z",
            "record": {**rows[1]["record"], "code": "P-01", "name": "园区 1", "region_code": "441900", "virtual": False},
        }  # fmt: skip
        assert len(await pages(client, url, mine, since=LATER.isoformat())) == 11
        assert await pages(client, url, mine, since=(LATER + timedelta(seconds=1)).isoformat()) == []
        assert [row["key"] for row in await pages(client, url, mine, key="P-03")] == ["P-03"]
        for moment, n, name in ((FIRST - timedelta(seconds=1), 0, ""), (THEN, 12, "旧名"), (LATER, 12, "园区 0"),
                                (LATER + timedelta(days=1), 11, "园区 0")):  # fmt: skip
            then = await pages(client, url, mine, as_of=moment.isoformat(), limit="5")
            assert len(then) == n, moment
            assert {row["record"]["name"] for row in then[:1]} == ({name} if name else set())
        past = "/api/v1/datasets/park/revisions"
        found = (await client.get(past, params={"key": "P-11"}, headers=mine)).json()
        assert [(r["revision"], r["batch"]) for r in found["revisions"]] == [
            (1, "batch 1"),
            (2, "batch 2"),
            (3, "batch 3"),
        ]
        assert found["revisions"][2]["record"] == {"code": "P-11", "withdrawn": True}
        some = (await client.get(past, params={"key": "P-11", "limit": "2"}, headers=mine)).json()
        rest = (
            await client.get(past, params={"key": "P-11", "cursor": str(some["next"])}, headers=mine)
        ).json()
        assert [r["revision"] for r in rest["revisions"]] == [3]

    ask(world[0], test)


def test_whose_records_may_be_read(world: tuple[str, World]) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        for who, dataset, units in (
            ("key of A", "enterprise", {A}), ("province", "enterprise", {A, B}), ("enterprise of A", "enterprise", {A}),
            ("bank", "enterprise", {B}), ("county 440305", "enterprise", {B}), ("think tank of B", "enterprise", {B}),
            ("bank", "equipment", set()), ("bank", "park", set()), ("enterprise of A", "equipment", {A}),
            ("enterprise of A", "tag", {A}), ("enterprise of A", "production_order", {A}), ("enterprise of A", "milestone", set()),
            ("county 440305", "shift_calendar", {B}), ("city 441900", "milestone", {A}),
        ):  # fmt: skip
            rows = await pages(client, f"/api/v1/datasets/{dataset}/records", as_(world[1], who))
            assert {row["unit"] for row in rows} == units, (who, dataset)
        for who, path, status in (
            ("key of A", f"park/records?unit={B}", 404), ("key of B", "park/revisions?key=P-01", 404),
            ("key of B", f"park/revisions?key=P-01&unit={A}", 404), ("province", f"park/revisions?key=P-01&unit={A}", 200),
            ("enterprise of A", "enterprise/records?as_of=2026-11-23T12:00:00Z", 422), ("bank", "enterprise/records?since=2026-11-23T12:00:00Z", 422),
            ("enterprise of A", f"enterprise/revisions?key={FIRMS[A]}&unit={A}", 404), ("key of A", "nothing/records", 404),
            ("key of A", "park/records?cursor=W10", 422), ("key of A", "park/records?key=%00", 422),
            ("key of A", "park/revisions", 422),
        ):  # fmt: skip
            answer = await client.get(f"/api/v1/datasets/{path}", headers=as_(world[1], who))
            assert answer.status_code == status, (who, path, answer.text)
        [seen] = await pages(client, "/api/v1/datasets/tag/records", as_(world[1], "enterprise of A"))
        assert seen["record"] == {
            "name": "M1.heat", "equipment_code": "M1", "signal": "heat", "data_type": "float", "unit": "Cel",
            "range_min": None, "range_max": None, "frozen_after_s": None, "rate_max_per_s": None,
            "valid_from": "2026-11-20T08:00:00Z", "interval_s": 60.0,
        }  # fmt: skip
        assert (seen["key"], seen["revision"]) == ("M1.heat|2026-11-20T08:00:00Z", None)

    ask(world[0], test)


@pytest.mark.parametrize("dataset", [name for name in DATASETS if name != "tag"])
def test_what_was_reported_is_read_back_with_its_natural_key(world: tuple[str, World], dataset: str) -> None:
    dsn, made = world
    original = json.dumps(example(dataset)).encode()
    [(_, record)], _ = check_records(dataset, [original])
    with connect(dsn, application="test") as owner:
        # What it refers to is there: in the owner's transaction only, which is not kept.
        for before in DATASETS:
            if before == "tag":
                continue
            [(_, other)], _ = check_records(before, [json.dumps(example(before)).encode()])
            statement = shapes.upsert(shapes.shape_of(owner, before))
            owner.execute(statement, {"unit": made.units[A], "records": Jsonb([{"_row": 0, **other}])})
            if before == dataset:
                break
        key = natural_key(dataset, record)
        names = [column.field for column in records.fields(owner, dataset)]
        [held] = records.present(owner, Wanted(dataset, DATASETS[dataset].key, made.units[A], key), None, 10)
        assert held.key == key
        model = DATASETS[dataset]
        shown = model(
            **{name: value for name, value in zip(names, held.values, strict=True) if value is not None}
        )
        stated = model(**{name: value for name, value in record.items() if value is not None})
        assert set(names) <= set(model.model_fields)
        assert shown.model_dump(include=set(names)) == stated.model_dump(include=set(names))
        owner.rollback()


def test_places_of_another_table_are_refused(world: tuple[str, World]) -> None:
    dsn, made = world
    with connect(role_dsn(dsn, "api"), application="test") as conn, acting(conn, made.principals["key of A"]):
        [one] = records.present(conn, Wanted("milestone", ("code",)), None, 5)
        assert records.present(conn, Wanted("milestone", ("code",)), one.place, 5) == []
