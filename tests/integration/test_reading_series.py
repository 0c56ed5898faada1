"""Series: raw when they fit, else rolled up without losing an extreme; nobody reads another's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.api.reading import series as route
from store import series
from store.database import Connection, connect
from store.identity import acting
from store.roles import role_dsn
from tests.integration.reading import as_, ask
from tests.isolation.world import World, seed

pytestmark = pytest.mark.concurrent
A, B = "GD-AAA-01", "GD-BBB-01"
DAY = datetime(2026, 11, 21, tzinfo=UTC)
US = int(DAY.timestamp()) * 1_000_000


@pytest.fixture(scope="module")
def world(module_dsn: str) -> tuple[str, World]:
    with connect(module_dsn, application="test") as conn:
        made = seed(conn)
        conn.execute("SELECT make_day_partition(d::date) FROM generate_series('2026-11-21'::date, '2026-11-24', '1 day') d"
                     " WHERE EXISTS (SELECT FROM layout WHERE name = 'native')")  # fmt: skip
        conn.execute(
            "INSERT INTO measurement SELECT %s, ts, sin(extract(epoch FROM ts) / 1000), CASE n %% 10 WHEN 0 THEN -32768 ELSE 0 END"
            " FROM generate_series(%s::timestamptz, %s::timestamptz, '10 seconds') WITH ORDINALITY g (ts, n)",
            (made.tags[A], DAY, DAY + timedelta(days=1)),
        )
        conn.execute(
            "INSERT INTO tag (unit_id, equipment_id, name, signal, data_type, unit) VALUES"
            " (%(u)s, %(q)s, 'M1.alarm', 'alarm', 'text', '1'), (%(u)s, %(q)s, 'M1.state', 'state', 'enum', '1')",
            {"u": made.units[A], "q": made.equipment[A]},
        )
        conn.execute(
            "INSERT INTO event SELECT tag_id, %s::timestamptz + n * interval '1 second', '报警 ' || n, 0"
            " FROM tag, generate_series(0, 2100) n WHERE name = 'M1.alarm'",
            (DAY,),
        )
    return module_dsn, made


@pytest.fixture(scope="module")
def mine(world: tuple[str, World]) -> Iterator[Connection]:
    dsn, made = world
    with connect(role_dsn(dsn, "api"), application="test") as conn, acting(conn, made.principals["key of A"]):
        yield conn


def test_what_fits_comes_raw_and_the_rest_in_buckets(world: tuple[str, World]) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        span = f"from={DAY.isoformat().replace('+', '%2B')}&to=2026-11-22T00:00:00Z"
        url = f"/api/v1/series?tags=M1.heat,M1.alarm&{span}"
        answer = await client.get(f"{url}&points=100", headers=as_(world[1], "key of A"))
        assert answer.status_code == 200, answer.text
        heat, alarm = answer.json()["series"]
        assert (heat["points"], heat["bucket_s"], len(heat["ts"]), sum(heat["count"])) == (
            "buckets",
            900.0,
            96,
            8640,
        )
        assert sum(heat["bad"]) == 864
        assert sum(heat["good"]) == 8640 - 864
        assert heat["ts"][0] == US
        assert all(t % 900_000_000 == 0 for t in heat["ts"])
        assert (alarm["points"], len(alarm["ts"]), alarm["text"][:2]) == ("texts", 2000, ["报警 0", "报警 1"])
        rest = await client.get("/api/v1/series", headers=as_(world[1], "key of A"),
                                params={"tags": "M1.alarm", "from": alarm["next"], "to": "2026-11-22T00:00:00Z"})  # fmt: skip
        [more] = rest.json()["series"]
        assert (more["text"][0], len(more["text"]), more["next"]) == ("报警 2000", 101, None)
        few = {"tags": "M1.heat", "from": "2026-11-21T08:00:00 08:00", "to": "2026-11-21T00:10:00Z"}
        [raw] = (await client.get("/api/v1/series", params=few, headers=as_(world[1], "key of A"))).json()[
            "series"
        ]
        assert (raw["points"], len(raw["value"]), raw["quality"][:2]) == (
            "raw",
            60,
            [0x80000000 - 0x80000000, 0],
        )
        good = {**few, "quality": "good", "to": "2026-11-21T00:10:01Z"}
        [clean] = (await client.get("/api/v1/series", params=good, headers=as_(world[1], "key of A"))).json()[
            "series"
        ]
        assert set(clean["quality"]) == {0}
        assert len(clean["value"]) < 61

    ask(world[0], test)


def test_whose_series_may_be_read(world: tuple[str, World]) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        span = {"from": "2026-11-20T00:00:00Z", "to": "2026-11-22T00:00:00Z", "tags": "M1.heat"}
        for who, unit, status in (
            ("key of A", None, 200), ("key of A", B, 404), ("key of B", None, 200), ("province", None, 422),
            ("province", A, 200), ("city 441900", A, 200), ("city 441900", B, 404), ("county 440305", B, 200),
            ("county 440305", A, 404), ("enterprise of A", A, 200), ("enterprise of A", B, 404), ("bank", B, 403),
            ("think tank of B", A, 404), ("think tank of B", B, 200),
        ):  # fmt: skip
            params = span if unit is None else {**span, "unit": unit}
            answer = await client.get("/api/v1/series", params=params, headers=as_(world[1], who))
            assert answer.status_code == status, (who, unit, answer.text)
            latest = await client.get(
                "/api/v1/latest", params={"unit": unit} if unit else {}, headers=as_(world[1], who)
            )
            assert latest.status_code == status, (who, unit, latest.text)
        mine = await client.get("/api/v1/series", params=span, headers=as_(world[1], "key of B"))
        assert mine.json()["series"][0]["value"] == [1.0]
        other = await client.get(
            "/api/v1/series", params={**span, "tags": "M1.alarm"}, headers=as_(world[1], "key of B")
        )
        assert other.status_code == 404

    ask(world[0], test)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"tags": ","}, "names no tag"),
        ({"tags": ",".join(f"t{i}" for i in range(21))}, "at most 20"),
        ({"tags": "M1.heat", "points": "2001"}, "2000"),
        ({"tags": "M1.heat", "from": "2026-11-21T00:00:00"}, "timezone"),
        ({"tags": "M1.heat", "from": "9999-12-31T23:00:00-08:00"}, "1970 to 2199"),
        ({"tags": "M1.heat", "from": "2026-11-21T00:00:00Z", "to": "2026-11-21T00:00:00Z"}, "before"),
        ({"tags": "M1.\0"}, "U+0000"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_place(
    world: tuple[str, World], parameters: dict[str, str], said: str
) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        answer = await client.get("/api/v1/series", params=parameters, headers=as_(world[1], "key of A"))
        assert answer.status_code == 422, answer.text
        assert said in answer.json()["detail"]

    ask(world[0], test)


def test_more_readings_than_one_answer_may_cost_are_refused(
    world: tuple[str, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route, "MOST_READINGS", 8_640)

    async def test(client: httpx.AsyncClient) -> None:
        span = {"from": "2026-11-21T00:00:00Z", "to": "2026-11-22T00:00:01Z", "tags": "M1.heat"}
        answer = await client.get("/api/v1/series", params=span, headers=as_(world[1], "key of A"))
        assert answer.status_code == 422
        assert "/api/v1/export/readings" in answer.json()["detail"]
        less = {**span, "to": "2026-11-22T00:00:00Z"}
        assert (
            await client.get("/api/v1/series", params=less, headers=as_(world[1], "key of A"))
        ).status_code == 200

    ask(world[0], test)


def test_series_functions_show_nothing_of_a_tag_out_of_sight(
    world: tuple[str, World], mine: Connection
) -> None:
    span = (DAY - timedelta(days=30), DAY + timedelta(days=30))
    theirs, own = world[1].tags[B], world[1].tags[A]
    assert len(series.raw(mine, theirs, *span, 10).ts) == 0
    assert series.rolled(mine, theirs, *span, 10, 10).ts == []
    assert series.texts(mine, theirs, *span, 10).ts == []
    assert len(series.raw(mine, own, *span, 10).ts) == 10


_ROWS = st.lists(
    st.tuples(
        st.integers(0, 3 * 86_400_000_000 - 1), st.floats(-1e9, 1e9, allow_nan=False), st.sampled_from([0, 0x4000, -0x8000])
    ),
    min_size=1, max_size=60, unique_by=lambda row: row[0],
)  # fmt: skip


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=_ROWS, points=st.integers(1, 20), quality=st.sampled_from(["any", "usable", "good"]))
def test_a_rollup_keeps_every_extreme_and_counts_every_reading(
    world: tuple[str, World], rows: list[tuple[int, float, int]], points: int, quality: str
) -> None:
    dsn, made = world
    with connect(dsn, application="test") as conn:
        conn.execute("DELETE FROM measurement WHERE tag_id = %s", (made.tags[B],))
        for ts, value, status in rows:
            conn.execute(
                "INSERT INTO measurement VALUES (%s, %s::timestamptz + %s * interval '1 microsecond', %s, %s)",
                (made.tags[B], DAY, ts, value, status),
            )
        conn.execute("SELECT set_config('qunce.principal', %s, true)", (made.principals["key of B"].sealed,))
        end = DAY + timedelta(days=3)
        rolled = series.rolled(conn, made.tags[B], DAY, end, points, 1000, quality)
    least = {"any": -0x8000, "usable": 0, "good": 0}[quality]
    most = 0x3FFF if quality == "good" else 0x7FFF
    kept = sorted((US + ts, value, status) for ts, value, status in rows if least <= status <= most)
    assert len(rolled.ts) <= points
    assert rolled.ts == sorted(set(rolled.ts))
    assert sum(rolled.count) == len(kept)
    for i, start in enumerate(rolled.ts):
        inside = [row for row in kept if start <= row[0] < start + rolled.width_us]
        values = [value for _, value, _ in inside]
        assert (rolled.min[i], rolled.max[i]) == (min(values), max(values))
        assert (rolled.first[i], rolled.last[i], rolled.count[i]) == (values[0], values[-1], len(values))
        assert rolled.mean[i] == pytest.approx(sum(values) / len(values), rel=1e-9, abs=1e-6)
        assert rolled.good[i] == sum(status == 0 for _, _, status in inside)
        assert rolled.bad[i] == sum(status < 0 for _, _, status in inside)


@given(first=st.integers(0, 3 * 10**15), span=st.integers(0, 4 * 10**15), points=st.integers(1, 2000))
def test_the_width_is_the_narrowest_that_fits(first: int, span: int, points: int) -> None:
    width = series.width_for(first, first + span, points)
    at = series.WIDTHS_US.index(width)

    def buckets(w: int) -> int:
        return (first + span - series.ORIGIN_US) // w - (first - series.ORIGIN_US) // w + 1

    assert buckets(width) <= points or width == series.WIDTHS_US[-1]
    assert at == 0 or buckets(series.WIDTHS_US[at - 1]) > points
