"""Roles in real processes, and how they report."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import bcrypt
import httpx
import pytest

from ingest.callout.nkeys import Issuer
from qunce import web
from qunce.process import free_port, write_private
from qunce.reporter import Reporter
from qunce.roles import parse
from qunce.settings import Settings, to_toml
from store.database import connect
from store.identity import authenticate_key, digest
from store.roles import logins
from store.status import Component, components
from tests.conftest import RunningNats

pytestmark = pytest.mark.concurrent


def until(what: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def words(dsn: str) -> dict[str, Component]:
    with connect(dsn, application="test") as conn:
        return {word.component: word for word in components(conn)}


def qunce(*arguments: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("QUNCE_")}
    command = [sys.executable, "-m", "qunce", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=False)


def test_roles_are_parsed_and_a_wrong_one_is_named() -> None:
    assert parse("writer, api") == ["api", "writer"]
    with pytest.raises(ValueError, match="'riter'"):
        parse("api,riter")
    with pytest.raises(ValueError, match="at least one"):
        parse(" , ")


def test_the_reporter_writes_changes_at_once_and_the_last_word_at_the_end(dsn: str) -> None:
    reporter = Reporter(dsn, "here")
    reporter("writer", "starting", {})
    assert until(lambda: "writer" in words(dsn), 5)
    for n in range(100):
        reporter("writer", "ok", {"n": n})
    assert until(lambda: words(dsn)["writer"].status == "ok", 5)
    reporter("writer", "ok", {"n": "last"})
    reporter.close()
    detail = words(dsn)["writer"].detail
    assert detail.pop("rss_bytes") > 10_000_000
    assert detail == {"n": "last"}


def test_the_reporter_never_blocks_while_the_database_is_away() -> None:
    reporter = Reporter(f"postgresql://u:p@127.0.0.1:{free_port()}/d", "here")
    begun = time.monotonic()
    for n in range(1000):
        reporter("writer", "ok", {"n": n})
    assert time.monotonic() - begun < 1
    reporter.close()


@pytest.fixture
def settings_file(dsn: str, nats_server: RunningNats, tmp_path: Path) -> Path:
    settings = Settings.model_validate(
        {
            "data_dir": tmp_path,
            "database": {"dsn": dsn},
            "log": {"url": nats_server.url, "max_bytes": 2**28},
            "mqtt": {"url": nats_server.mqtt_url},
            "api": {"port": free_port()},
            "dashboard": {"password": "long enough"},
        }
    )
    file = tmp_path / "own.toml"
    write_private(file, to_toml(settings))
    (tmp_path / "connectors.toml").write_text("connectors = []\n")
    return file


def test_a_role_process_reports_and_drains_on_sigterm(settings_file: Path, dsn: str, tmp_path: Path) -> None:
    roles = ("api", "writer", "connectors", "dashboard")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "qunce", "up", "--roles", ",".join(roles), "--config", str(settings_file)],
            stderr=log,
        )
        try:

            def well() -> bool:
                return set(roles) <= {name for name, word in words(dsn).items() if word.status == "ok"}

            assert until(well, 60), (words(dsn), (tmp_path / "log").read_text())
            # `mqtt.url` alone is enough to read the platform's broker.
            assert until(lambda: words(dsn)["platform-broker"].status == "ok"), words(dsn)
            checked = qunce("check", "--json", "--config", str(settings_file))
            answers = {one["name"]: one["ok"] for one in json.loads(checked.stdout)}
            assert answers == dict.fromkeys(("database", "log", "mqtt", "http", "platform-broker"), True)
            assert checked.returncode == 0
            told = json.loads(qunce("status", "--json", "--config", str(settings_file)).stdout)
            assert told["well"], told
            process.send_signal(signal.SIGTERM)
            assert process.wait(15) == 0, (tmp_path / "log").read_text()
        finally:
            process.kill()
            process.wait()
    assert {word.status for word in words(dsn).values()} == {"stopped"}


def test_what_is_missing_ends_with_code_2_and_says_what() -> None:
    done = qunce("up", "--roles", "writer", "--data-dir", "/nonexistent")
    assert done.returncode == 2
    assert "database.dsn" in done.stderr
    assert "QUNCE_DATABASE__DSN" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_says_what_cannot_be_reached(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {
            "data_dir": tmp_path,
            "database": {"dsn": f"postgresql://u:hush@127.0.0.1:{free_port()}/d"},
            "log": {"url": f"nats://u:hush@127.0.0.1:{free_port()}"},
            "api": {"port": free_port()},
        }
    )
    file = tmp_path / "own.toml"
    write_private(file, to_toml(settings))
    done = qunce("check", "--json", "--config", str(file))
    assert done.returncode == 1
    assert "hush" not in done.stdout + done.stderr
    assert {one["name"]: one["ok"] for one in json.loads(done.stdout)} == {
        "database": False, "log": False, "http": False, "mqtt": None, "connectors": None,
    }  # fmt: skip


def test_db_migrate_and_version(settings_file: Path) -> None:
    done = qunce("db", "migrate", "--config", str(settings_file))
    assert done.returncode == 0, done.stderr
    assert "layout" in done.stdout
    assert qunce("version").stdout.startswith("qunce ")


def test_ordinary_failures_are_told_without_a_traceback(tmp_path: Path, dsn: str, nats_url: str) -> None:
    away = {"database": {"dsn": f"postgresql://u:hush@127.0.0.1:{free_port()}/d"}}
    no_log = {"database": {"dsn": dsn}, "log": {"url": f"nats://u:hush@127.0.0.1:{free_port()}"}}
    fine = {"database": {"dsn": dsn}, "log": {"url": nats_url}}
    pilots = tmp_path / "pilots.json"
    pilots.write_text('{"pilots": [{"code": "P-1"}]}')
    (tmp_path / "connectors.toml").write_text("[[connectors]]\ntype = 'carrier-pigeon'\n")
    cases: list[tuple[dict[str, dict[str, str]], list[str], str]] = [
        (away, ["db", "migrate"], "database.dsn"),
        ({**away, "log": {"url": nats_url}}, ["verify"], "database.dsn"),
        (no_log, ["verify"], "log.url"),
        (fine, ["provision", str(pilots)], "pilots[0]: 缺少 / is missing name_zh"),
        (fine, ["provision", str(tmp_path / "none.json")], "none.json"),
        (fine, ["provision", "pyproject.toml"], "JSON"),
        (fine, ["up", "--roles", "connectors"], "carrier-pigeon"),
    ]
    for number, (given, arguments, told) in enumerate(cases):
        file = tmp_path / f"{number}.toml"
        write_private(file, to_toml(Settings.model_validate({"data_dir": tmp_path, **given})))
        done = qunce(*arguments, "--config", str(file))
        assert done.returncode == 2, (arguments, done.stderr)
        assert told in done.stderr
        assert "Traceback" not in done.stderr
        assert "hush" not in done.stderr


PILOT = {
    "code": "P-1", "name_zh": "试点", "name_en": "Pilot", "cluster_code": "new-it", "region_code": "441900",
    "stage": "piloting", "started_on": "2026-02-17",
    "unit": {"code": "GD-ELE-01", "name_zh": "单位", "name_en": "Unit", "path": 2, "uscc": "91441900842271421P"},
}  # fmt: skip


def test_provision_issues_keys_once(settings_file: Path, tmp_path: Path, dsn: str) -> None:
    pilots = tmp_path / "pilots.json"
    pilots.write_text(json.dumps({"pilots": [PILOT]}))
    for _ in range(2):
        done = qunce("provision", str(pilots), "--config", str(settings_file))
        assert done.returncode == 0, done.stderr
    keys = json.loads((tmp_path / "keys.json").read_text())
    assert set(keys) == {"GD-ELE-01"}
    with connect(dsn, application="test") as conn:
        found = authenticate_key(conn, digest(keys["GD-ELE-01"]))
        assert found is not None
        assert found[0].unit == "GD-ELE-01"
        assert conn.execute("SELECT count(*) FROM api_key").fetchone() == (1,)


def test_the_brokers_users_are_written(settings_file: Path, tmp_path: Path) -> None:
    users = tmp_path / "users.conf"
    done = qunce("nats-users", str(users), "--config", str(settings_file))
    assert done.returncode == 2
    assert "mqtt.callout_url" in done.stderr
    url = f"nats://asked:{'s' * 32}@127.0.0.1:1"
    settings_file.write_text(settings_file.read_text().replace("[mqtt]", f'[mqtt]\ncallout_url = "{url}"'))
    done = qunce("nats-users", str(users), "--config", str(settings_file))
    assert done.returncode == 0, done.stderr
    text = users.read_text()
    assert users.stat().st_mode & 0o077 == 0
    assert "s" * 32 not in text
    assert f'"issuer": "{Issuer("s" * 32).public}"' in text
    digests = re.findall(r'"user": "([^"]+)",\s+"password": "([^"]+)"', text)
    assert [user for user, _ in digests] == ["qunce-platform", "asked"]
    assert bcrypt.checkpw(b"s" * 32, digests[1][1].encode())


def test_pages_alone_do_not_serve_the_interface(dsn: str) -> None:
    settings = Settings.model_validate(
        {"dashboard": {"password": "long enough"}},
    )
    app = web.build(settings, ["dashboard"], logins(dsn), "nats://127.0.0.1:1")

    async def ask(path: str) -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get(path, headers={"accept": "text/html"})

    assert asyncio.run(ask("/healthz")).json() == {"pages": "ok"}
    problem = asyncio.run(ask("/api/v1/units"))
    assert problem.status_code == 404
    assert problem.json()["type"] == "urn:qunce:problem:not_found"
    assert asyncio.run(ask("/")).headers["location"].startswith("/login")
