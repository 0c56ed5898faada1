"""Each benchmark runs, small, and gives the figures it promises; how large they are is no matter here."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import freshness, ingest, scale, soak
from benchmarks.copying import rows_of, store
from benchmarks.plan import STEP_US, Chunk
from benchmarks.platform import Platform
from benchmarks.verdict import Verdict
from qunce.cli import app
from store.rows import measurement_copy

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


def test_soak_finds_what_is_lost_and_what_nobody_sent(platform: Platform) -> None:
    fleet, of = platform.fleet, platform.next_pass(1, history_scans=0)
    machines = np.arange(fleet.machines, dtype=np.int32)
    for unit in range(len(fleet.units)):
        chunks = [Chunk(unit, machines, np.full(len(machines), of.begins + i * STEP_US)) for i in range(3)]
        store(platform.conn, measurement_copy(rows_of(fleet, chunks)))
    scans = [3] * len(fleet.units)
    assert soak.judge(platform, of, scans) == Verdict(2400, 2400, 0, 0, 0)
    tag = int(fleet.tag_ids[2, 5])
    platform.conn.execute("DELETE FROM measurement WHERE tag_id = %s", [tag])
    platform.conn.execute("UPDATE measurement SET value = -1 WHERE tag_id = %s", [tag + 1])
    found = soak.judge(platform, of, [2, *scans[1:]])
    platform.forget(of)
    assert (found.lost, found.strange) == (3, 3 + 100)


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
