"""What each kind of viewer's pages are drawn from, and that nobody else's is in it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from dashboard.boards import Boards
from dashboard.pages import View, pages, pages_of
from dashboard.shell import page_for
from dashboard.snapshot import Picture
from store.database import connect
from store.identity import NOBODY, Principal, digest, session_principal
from store.roles import role_dsn
from tests.isolation.world import FIRMS, MARKS, SCOPES, World, seed

pytestmark = pytest.mark.concurrent
PEOPLE = [who for who in SCOPES if who not in ("nobody", "key of A")]


@pytest.fixture(scope="module")
def world(module_dsn: str) -> World:
    with connect(module_dsn, application="test") as conn:
        made = seed(conn)
        for who in PEOPLE:
            found = session_principal(conn, digest(made.tokens[who]))
            assert found is not None
            made.principals[who] = found[0]
        return made


@pytest.fixture
def boards(module_dsn: str) -> Iterator[Boards]:
    made = Boards(role_dsn(module_dsn, "dashboard"), period_s=0.05, most=4, idle_s=30)
    yield made
    made.stop()


def picture(boards: Boards, who: Principal, *, want: str | None = None) -> Picture:
    deadline, began = time.monotonic() + 20, boards.of(who).current().seq
    while time.monotonic() < deadline:
        board = boards.of(who)
        if want is not None:
            board.want(want)
        snapshot = board.current()
        if snapshot.picture is not None and snapshot.seq > began + 1:
            return snapshot.picture
        time.sleep(0.02)
    raise AssertionError("no picture")


@pytest.mark.parametrize("who", PEOPLE)
def test_a_picture_holds_what_its_viewer_may_see(boards: Boards, world: World, who: str) -> None:
    scope = SCOPES[who]
    for unit, mark in MARKS.items():
        found = picture(boards, world.principals[who], want=f"P-{unit}")
        known = unit in scope.units | scope.firms | scope.pool
        told = repr(found)
        assert (mark in told) <= known
        assert (unit in told or FIRMS[unit] in told) <= known
        assert (f"P-{unit}" in {p.code for p in found.pilots}) == (unit in scope.units and found.own is None)
        assert (f"P-{unit}" in found.clusters) == (unit in scope.units)
        if found.own is not None:
            assert {e.name for e in found.own.enterprises} == {MARKS[u] for u in scope.firms | scope.pool}
    assert bool(found.components) == scope.province
    assert found.whole == scope.province


def test_a_page_of_somebody_else_does_not_exist(boards: Boards, world: World) -> None:
    for who, code, there in (
        ("lead unit A", "GD-AAA-01", True),
        ("lead unit A", "GD-BBB-01", False),
        ("city 441900", "GD-BBB-01", False),
        ("bank", "GD-BBB-01", False),
        ("enterprise of A", "GD-AAA-01", False),
    ):
        viewer = world.principals[who]
        picture(boards, viewer, want=f"P-{code}")
        view = View(boards.of(viewer).current(), "zh", {})
        drawn = json.dumps(
            page_for(f"/cluster/P-{code}", view, viewer.role).to_plotly_json(),
            default=repr,
            ensure_ascii=False,
        )
        assert (MARKS[code] in drawn) == there, who


def test_pages_by_role() -> None:
    paths = {role: {p.path for p in pages_of(role)} for role in ("operator", "city", "lead_unit", "bank")}  # type: ignore[arg-type]
    assert paths["operator"] >= {"/", "/supply", "/operations", "/cluster/<code>", "/unit"}
    assert paths["city"] == {"/", "/supply", "/cluster/<code>"}
    assert paths["lead_unit"] >= {"/", "/supply", "/reports", "/unit", "/cluster/<code>"}
    assert paths["bank"] == {"/"}
    assert all(page.roles for page in pages())


def test_whoever_sees_the_same_shares_a_board_and_boards_are_bounded(boards: Boards, world: World) -> None:
    province = world.principals["province"]
    assert boards.of(province) is boards.of(replace_id(province))
    for who in PEOPLE:
        boards.of(world.principals[who])
    assert len(boards.scopes) == 4
    with pytest.raises(LookupError):
        boards.of(NOBODY)
    with pytest.raises(LookupError):
        boards.of(world.principals["key of A"])


def test_a_board_that_nobody_looks_at_ends(module_dsn: str, world: World) -> None:
    ended: list[str] = []
    boards = Boards(role_dsn(module_dsn, "dashboard"), period_s=0.05, idle_s=0, on_stopped=ended.append)
    boards.of(world.principals["province"])
    time.sleep(0.01)
    boards.sweep()
    assert (boards.scopes, ended) == ([], ["province"])
    boards.stop()


def replace_id(who: Principal) -> Principal:
    """Somebody else of the same scope."""
    return who._replace(id=who.id + 1000)
