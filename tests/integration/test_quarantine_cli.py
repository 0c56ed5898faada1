"""`qunce quarantine` and `qunce periods` as typed, with a real database and log."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ingest.log import Log
from qunce.cli import app
from store import quarantine, registry
from store.database import connect
from store.quarantine import Refused

pytestmark = pytest.mark.concurrent
AT = int(datetime.now(UTC).timestamp()) * 1_000_000 - 60_000_000


class Line:
    """A command line on a data directory of its own."""

    def __init__(self, dsn: str, log_url: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("QUNCE_DATABASE__DSN", dsn)
        monkeypatch.setenv("QUNCE_LOG__URL", log_url)
        self.dsn, self.data_dir = dsn, data_dir

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(app, [*words, "--data-dir", str(self.data_dir)])

    def json(self, *words: str) -> dict:
        done = self.run(*words, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)


@pytest.fixture
def line(dsn: str, nats_fresh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Line:
    with connect(dsn, application="test") as conn:
        unit = registry.NewUnit("GD-T-01", "测试", "Test", 1, "91440300MA5DTE0T0B")
        unit_id = registry.register_unit(conn, unit)
        source_id = registry.source_id(conn, unit_id, "mqtt:t")
        row = b'{"tag":"=M1.x","ts":"2026-11-25T00:00:00Z","value":1}'
        quarantine.keep(
            conn,
            [
                Refused(unit_id, source_id, None, "b.1", "records[0].tag", "unknown_tag", {"tag": "=M1.x"},
                        "=M1.x", AT, row, AT),
                Refused(unit_id, source_id, None, "b.1", "$", "malformed_json",
                        {"line": "1", "column": "2", "detail": "?"}, None, None, b"\x00\xff{", AT),
            ],
        )  # fmt: skip
    return Line(dsn, nats_fresh, tmp_path, monkeypatch)


def test_list_show_and_filters(line: Line) -> None:
    found = line.json("quarantine", "list")
    assert [entry["reason"] for entry in found["entries"]] == ["malformed_json", "unknown_tag"]
    assert found["next"] is None
    assert line.json("quarantine", "list", "--limit", "1")["next"] == found["entries"][0]["id"]
    for words, n in (
        (["--unit", "GD-T-01"], 2), (["--unit", "GD-NO"], 0), (["--reason", "unknown_tag"], 1), (["--replayed"], 0),
        (["--open", "--batch", "b"], 2), (["--since", "2026-01-01T00:00+08:00"], 2),
        (["--until", "2026-01-01T00:00+08:00"], 0), (["--source", "mqtt:t", "--tag", "=M1.x"], 1),
    ):  # fmt: skip
        assert len(line.json("quarantine", "list", *words)["entries"]) == n, words
    assert "隔离区" in line.run("quarantine", "list").stdout
    text = line.run("quarantine", "show", str(found["entries"][1]["id"])).stdout
    assert '"tag":"=M1.x"' in text
    assert "请先通过数据集 tag 登记该标签" in text
    assert "00000000  00 ff 7b" in line.run("quarantine", "show", str(found["entries"][0]["id"])).stdout
    assert line.run("quarantine", "show", "999").exit_code == 1
    assert line.run("quarantine", "list", "--reason", "no_such").exit_code == 2
    assert line.run("quarantine", "list", "--since", "2026-01-01T00:00").exit_code == 2


def test_nothing_that_came_from_outside_steers_the_terminal(line: Line) -> None:
    with connect(line.dsn, application="test") as conn:
        evil = "[/red]\x1b[2J"
        quarantine.keep(
            conn, [Refused(0, 0, None, evil, evil, "unknown_tag", {"tag": evil}, evil, AT, evil.encode(), AT)]
        )
    listed = line.run("quarantine", "list")
    assert listed.exit_code == 0
    assert "[/red]\N{REPLACEMENT CHARACTER}[2J" in listed.stdout.replace("\n", "")
    shown = line.run("quarantine", "show", str(line.json("quarantine", "list")["entries"][0]["id"]))
    assert "\x1b" not in listed.stdout + shown.stdout


def test_export_to_a_file_and_to_stdout(line: Line) -> None:
    objects = list(map(json.loads, line.run("quarantine", "export").stdout.splitlines()))
    assert [one["reason"] for one in objects] == ["unknown_tag", "malformed_json"]
    file = line.data_dir / "out.csv"
    assert line.run("quarantine", "export", "--format", "csv", "-o", str(file)).exit_code == 0
    table = list(csv.DictReader(io.StringIO(file.read_text("utf-8-sig"), newline="")))
    assert [row["tag"] for row in table] == ["'=M1.x", ""]
    assert sorted(path.name for path in line.data_dir.glob("out*")) == ["out.csv"]


def test_replay_puts_into_the_log_what_passes_now(line: Line, nats_fresh: str) -> None:
    assert line.run("quarantine", "replay").exit_code == 2
    first = line.json("quarantine", "replay", "--all")
    assert (first["looked_at"], first["replayed"], first["reasons"]) == (
        2, 0, {"unknown_tag": 1, "not_readable": 1},
    )  # fmt: skip
    with connect(line.dsn, application="test") as conn:
        conn.execute(
            "WITH e AS (INSERT INTO enterprise (unit_id, uscc, name, region_code, registered_on)"
            "  SELECT unit_id, uscc, 'e', '441900', '2026-01-01' FROM lead_unit RETURNING unit_id, enterprise_id),"
            " q AS (INSERT INTO equipment (unit_id, enterprise_id, code, name, kind, digital, networked)"
            "  SELECT unit_id, enterprise_id, '=M1', 'm', 'CNC', true, true FROM e RETURNING unit_id, equipment_id)"
            " INSERT INTO tag (unit_id, equipment_id, name, signal, data_type, unit)"
            " SELECT unit_id, equipment_id, '=M1.x', 'x', 'float', '1' FROM q"
        )
    done = line.run("quarantine", "replay", "--unit", "GD-T-01")
    assert done.exit_code == 0
    assert "重放 1 条" in done.stdout
    assert "not_readable" in done.stdout
    assert line.json("quarantine", "replay", "--unit", "GD-T-01")["replayed"] == 0

    async def waiting() -> list[tuple[str, int]]:
        log = await Log.connect(nats_fresh, name="test")
        found = [(w.source, w.rows) for w in await log.waiting() if w.unit == "GD-T-01"]
        await log.close()
        return found

    assert asyncio.run(waiting()) == [("mqtt:t", 1)]


def test_periods_are_closed_and_opened_again(line: Line) -> None:
    close = ("periods", "close", "--unit", "GD-T-01", "--until")
    assert line.run(*close, "2026-10-01T00:00+08:00", "--by", "审计").exit_code == 0
    [one] = line.json("periods", "list")
    assert (one["unit"], one["until"], one["closed_by"]) == ("GD-T-01", "2026-09-30 16:00:00+00:00", "审计")
    assert "结账" in line.run("periods", "list").stdout
    assert line.run(*close, "2026-09-01T00:00+08:00").exit_code == 2
    assert line.run(*close, "2099-01-01T00:00+08:00").exit_code == 2
    assert line.run("periods", "close", "--unit", "X", "--until", "2026-10-01T00:00Z").exit_code == 2
    assert line.run("periods", "reopen", "--unit", "GD-T-01").exit_code == 0
    assert line.json("periods", "list") == []
    assert line.run("periods", "reopen", "--unit", "GD-T-01").exit_code == 2
