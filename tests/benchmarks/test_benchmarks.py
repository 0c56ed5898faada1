"""Each benchmark runs, small, and gives the figures it promises; how large they are is no matter here."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks import freshness, ingest, scale, soak
from benchmarks.platform import Platform
from qunce.cli import app

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    """One for all, in the order of the tests: a process takes longer to start than what is measured here."""
    with Platform(tags=800, log_bytes=64 * 2**20) as found:
        found.start("writer", "api", "connectors")
        yield found


def test_freshness_sees_every_probe_and_the_limit(platform: Platform) -> None:
    found = freshness.on(platform, rate=4_000, seconds=1.5, rows=1_000)
    assert 0 < found["limit"]["p50_seconds"] <= found["p50_seconds"] <= found["p99_seconds"]
    assert found["n"] > 0
    assert (found["lost"], found["doubled"], found["strange"]) == (0, 0, 0)


def test_soak_samples_every_process_and_loses_nothing(platform: Platform, tmp_path: Path) -> None:
    found = soak.on(platform, minutes=0.05, overload=False, rate=4_000, samples=tmp_path / "soak.jsonl")
    assert {"api", "writer", "connectors", "nats", "postgres", "log_bytes"} <= set(found["memory"])
    assert found["acknowledged"] > 0
    assert (found["lost"], found["doubled"], found["strange"]) == (0, 0, 0)
    assert json.loads((tmp_path / "soak.jsonl").read_text().splitlines()[0])["seconds"] > 0


def test_ingest_measures_ways_in_and_loses_nothing(platform: Platform) -> None:
    paths = ["http_arrow", "mqtt_json"]
    found = ingest.on(platform, rows=8_000, rounds=1, names=paths)
    assert found["machine"]["cores"] >= 1
    assert found["raw_copy"]["connections"] == 1
    for name in paths:
        for one in (found[name], found[f"{name}_late"]):
            assert one["rows_per_second"] > 0
            assert one["ratio"] == one["ratio_to_raw_copy"] >= 0
            assert (one["lost"], one["doubled"], one["strange"]) == (0, 0, 0)
            assert one["stored"] == one["distinct"]
            assert {"postgres_backends", "nats", "elsewhere"} <= set(one["cpu_seconds"])
        assert "slowdown" in found[f"{name}_late"]
    assert found["mqtt_json"]["points_per_second"] > 0
    assert found["http_arrow_late"]["rounds"][0]["booked"]["duplicates"] == 800
    assert (found["lost"], found["doubled"]) == (0, 0)
    assert json.loads(json.dumps(found)) == found


def test_scale_measures_the_start_and_the_memory_of_writers(platform: Platform) -> None:
    platform.stop_roles()
    found = scale.on(platform, scans=20, writers=1, rounds=1)
    assert (found["tags"], found["writers"]) == (800, 1)
    assert found["start_seconds"] > 0
    assert found["writer_max_rss_bytes"] > 0
    assert (found["lost"], found["doubled"]) == (0, 0)


@pytest.mark.parametrize("arguments", [["ingest", "--only", "fax"], ["scale", "--writers", "3"]])
def test_what_cannot_be_measured_is_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["bench", *arguments]).exit_code == 2
