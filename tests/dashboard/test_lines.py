"""The pages' connections, when they end while one is in use."""

from __future__ import annotations

import pytest

from dashboard.lines import Lines
from store.roles import role_dsn

pytestmark = pytest.mark.concurrent


def test_a_connection_that_comes_back_after_the_end_is_closed(module_dsn: str) -> None:
    lines = Lines(role_dsn(module_dsn, "dashboard"))
    with lines.one() as first, lines.one() as late:
        pass
    assert not first.closed
    with lines.one() as late:
        lines.end()
    assert (first.closed, late.closed) == (True, True)
